"""Two-sample tests: smooth tests of numbers, Pearson's and Fisher's tests of levels.

Each is valid whatever the distribution: given the pooled values, without a change all divisions
into the two samples are equally probable.
"""

import math

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike

from nflow_cli.arrays import log_ndtr
from nflow_cli.evaluation.oddness import no_likelier

ORDERS = 4  # of the polynomials: location, scale, skewness, tails
LEAST_EXPECTED = 5.0  # rows of an outcome in either sample, below which its test is exact
SINGULAR = 1e-9  # smallest eigenvalue over the largest
_TINY = 1e-300
_HUGE = 1e300


def tail_of_chi_squared(x: ArrayLike, degrees: int) -> np.ndarray:
    """``P(X > x)`` of the chi-squared distribution at ``x`` ``(...)``, a finite sum of positive
    terms: to a share of 1e-12 of it for 1,000 degrees of freedom.

    ``Q(k/2, y) = Q(k/2 - 1, y) + y^(k/2 - 1) exp(-y) / Γ(k/2)`` with ``y = x/2``, from
    ``Q(1/2, y) = erfc(√y) = 2 Φ(-√x)`` or ``Q(0, y) = 0`` on (Abramowitz & Stegun, 26.4.4 and
    26.4.5).
    """
    y = np.clip(np.asarray(x, np.float64) / 2, _TINY, _HUGE)
    if degrees == 0:
        return np.ones_like(y)
    tail = 2 * np.exp(log_ndtr(-np.sqrt(2 * y), np)) if degrees % 2 else np.zeros_like(y)
    for a in np.arange(degrees % 2 / 2, degrees / 2):
        tail += np.exp(a * np.log(y) - y - math.lgamma(a + 1))
    return np.minimum(tail, 1.0)


def p_of_levels(held_out: np.ndarray, new: np.ndarray) -> float:
    """P-value for a change of the shares of outcomes ``(m,)`` and ``(n,)``, equal where NaN.

    Pearson's chi-squared test. Outcomes expected in fewer than five rows of a sample are one; if
    that is too, Fisher's exact test judges it, and Pearson's the others.
    """
    codes = np.unique(np.concatenate([held_out, new]), return_inverse=True)[1]
    size = codes.max() + 1
    counts = np.array([np.bincount(part, minlength=size) for part in _unpooled(codes, new)])
    totals = counts.sum(axis=0)
    least = least_count(len(held_out), len(new))
    rare = counts[:, totals < least].sum(axis=1)
    counts = counts[:, totals >= least]
    if rare.sum() >= least:
        counts = np.column_stack([counts, rare])
        rare = np.zeros(2, int)
    return _with_fisher(_pearson(counts), rare, len(held_out), len(new))


def least_count(m: int, n: int) -> float:
    """Count of an outcome in both samples, expected to be 5 in the smaller."""
    return LEAST_EXPECTED * (m + n) / max(min(m, n), 1)


def p_of_numbers(held_out: np.ndarray, new: np.ndarray) -> float:
    """P-value for a change of numbers ``(m,)`` and ``(n,)``, NaN if missing.

    A smooth test (Neyman 1937) by Legendre polynomials of orders 1 to 4 of the pooled ranks, tied
    values at their mean rank, and by the share of missing values.
    """
    before, after = polynomials(held_out, new)
    return p_of_scores(before, after)


def polynomials(held_out: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Legendre polynomials ``(m, 4)`` and ``(n, 4)`` of the pooled ranks of numbers, or NaN."""
    pooled = np.concatenate([held_out, new])
    known = ~np.isnan(pooled)
    scores = np.full((len(pooled), ORDERS), np.nan)
    if known.any():
        places = 2 * ranks(pooled[known], pooled[known]) - 1
        scores[known] = legendre.legvander(places, ORDERS)[:, 1:]
    return _unpooled(scores, new)


def p_of_scores(held_out: np.ndarray, new: np.ndarray) -> float:
    """P-value for a change of the means of scores ``(m, k)`` and ``(n, k)``, or of their NaNs."""
    m = len(held_out)
    n = len(new)
    is_missing = np.isnan(held_out.sum(axis=1))
    is_new_missing = np.isnan(new.sum(axis=1))
    rare = np.array([is_missing.sum(), is_new_missing.sum()])
    if rare.sum() >= least_count(m, n):
        held_out = _with_column(held_out, is_missing)
        new = _with_column(new, is_new_missing)
        rare = np.zeros(2, int)
    else:
        held_out = held_out[~is_missing]
        new = new[~is_new_missing]
    return _with_fisher(p_of_means(held_out, new), rare, m, n)


def _with_column(scores: np.ndarray, is_missing: np.ndarray) -> np.ndarray:
    """Scores ``(n, k)``, 0 in rows that miss some, with a column that says which do."""
    return np.column_stack([np.where(is_missing[:, None], 0.0, scores), is_missing])


def p_of_means(
    held_out: np.ndarray,
    new: np.ndarray,
    covariates: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """P-value for a change of the means of scores ``(m, k)`` and ``(n, k)``.

    ``T = mn/(m + n) d' S⁺ d``, d the difference of means and S the covariance of all rows, is
    chi-squared with ``rank S`` degrees of freedom in large samples. With ``covariates`` ``(m, l)``
    and ``(n, l)``, a change that follows linearly from theirs does not count.
    """
    m = len(held_out)
    n = len(new)
    if not (m and n):
        return 1.0
    side = np.repeat([0.0, 1.0], [m, n])
    pooled = np.column_stack([np.concatenate([held_out, new]), side])
    pooled -= pooled.mean(axis=0)
    if covariates is not None:
        values = np.concatenate(covariates)
        basis = _orthonormal(values - values.mean(axis=0))
        pooled -= basis @ (basis.T @ pooled)
    side = pooled[:, -1]
    if side @ side <= SINGULAR * (m + n):
        return 1.0
    basis = _orthonormal(pooled[:, :-1])
    statistic = (m + n) * float(np.square(side @ basis).sum() / (side @ side))
    return float(tail_of_chi_squared(statistic, basis.shape[1]))


def _orthonormal(x: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(n, r)`` of the r independent columns of ``(n, k)``."""
    values, vectors = np.linalg.eigh(x.T @ x)
    positive = values > SINGULAR * max(values.max(initial=0.0), 1e-300)
    return x @ (vectors[:, positive] / np.sqrt(values[positive]))


def ranks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """``(#{x < v} + #{x = v}/2) / n`` of values ``(k,)`` among n values x."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, values, "left")
    not_above = np.searchsorted(ordered, values, "right")
    return (below + not_above) / (2 * len(among))


def _unpooled(pooled: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pooled values of the held-out rows, and of the new ones, which are last."""
    held_out = len(pooled) - len(new)
    return pooled[:held_out], pooled[held_out:]


def _pearson(counts: np.ndarray) -> float:
    """P-value of Pearson's test of counts ``(2, L)``."""
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(counts.sum(), 1)
    if not expected.all():
        return 1.0
    statistic = float((np.square(counts - expected) / expected).sum())
    return float(tail_of_chi_squared(statistic, max(counts.shape[1] - 1, 0)))


def _with_fisher(p: float, rare: np.ndarray, m: int, n: int) -> float:
    """P-value of a test and of Fisher's of rare rows: twice the smaller, at most 1.

    ``rare`` are their counts ``(2,)`` among m and n rows; without any it is ``p``.
    """
    if not rare.sum():
        return p
    return min(1.0, 2 * min(p, fisher(int(rare[0]), int(rare[1]), m, n)))


def fisher(k: int, j: int, m: int, n: int) -> float:
    """P-value of Fisher's exact test for ``k`` of m rows and ``j`` of n rows, two-sided.

    Of n and m up to a million it has nine digits, as logarithms of factorials are rounded.
    """
    x = np.arange(max(0, k + j - n), min(k + j, m) + 1)

    def log_choose(total: int, counts: np.ndarray) -> np.ndarray:
        lost = [math.lgamma(i + 1) + math.lgamma(total - i + 1) for i in counts]
        return math.lgamma(total + 1) - np.array(lost)

    log_p = log_choose(m, x) + log_choose(n, k + j - x)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return float(min(1.0, no_likelier(p[[k - x[0]]], p[None])[0]))
