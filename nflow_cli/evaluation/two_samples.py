"""Two-sample tests: smooth tests of numbers, Pearson's and Fisher's tests of levels.

Each is valid whatever the distribution: given the pooled values, without a change all divisions
into the two samples are equally probable.
"""

import math
from typing import Any

import numpy as np
from numpy.polynomial import legendre

from nflow_cli.arrays import log_ndtr
from nflow_cli.evaluation.oddness import no_likelier

ORDERS = 4  # of the polynomials: location, scale, skewness, tails
LEAST_EXPECTED = 5.0  # rows of an outcome in either sample, below which its test is exact
SINGULAR = 1e-9  # smallest eigenvalue over the largest
_TINY, _HUGE = 1e-300, 1e300


def tail_of_chi_squared(x: Any, degrees: int) -> np.ndarray:
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
    both = np.concatenate([held_out, new])
    codes = np.unique(both, return_inverse=True)[1]
    counts = np.array([np.bincount(part, minlength=codes.max() + 1) for part in _parts(codes, new)])
    totals = counts.sum(axis=0)
    least = least_count(len(held_out), len(new))
    rare = counts[:, totals < least].sum(axis=1)
    counts = counts[:, totals >= least]
    if rare.sum() >= least:
        counts, rare = np.column_stack([counts, rare]), np.zeros(2, int)
    return _of_both(_pearson(counts), rare, len(held_out), len(new))


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
    both = np.concatenate([held_out, new])
    scores, known = np.full((len(both), ORDERS), np.nan), ~np.isnan(both)
    if known.any():
        scores[known] = legendre.legvander(2 * ranks(both[known], both[known]) - 1, ORDERS)[:, 1:]
    return _parts(scores, new)


def p_of_scores(held_out: np.ndarray, new: np.ndarray) -> float:
    """P-value for a change of the means of scores ``(m, k)`` and ``(n, k)``, or of their NaNs."""
    gaps = [np.isnan(part.sum(axis=1)) for part in (held_out, new)]
    rare = np.array([gap.sum() for gap in gaps])
    if rare.sum() >= least_count(len(held_out), len(new)):
        held_out, new = (
            np.column_stack([np.where(gap[:, None], 0.0, part), gap])
            for part, gap in zip((held_out, new), gaps)
        )
        rare = np.zeros(2, int)
    known = [part[~np.isnan(part.sum(axis=1))] for part in (held_out, new)]
    return _of_both(p_of_means(known[0], known[1]), rare, len(held_out), len(new))


def p_of_means(
    held_out: np.ndarray, new: np.ndarray, given: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """P-value for a change of the means of scores ``(m, k)`` and ``(n, k)``.

    ``T = mn/(m + n) d' S⁺ d``, d the difference of means and S the covariance of all rows, is
    chi-squared with ``rank S`` degrees of freedom in large samples. With covariates ``given``
    ``(m, l)`` and ``(n, l)``, a change that follows linearly from theirs does not count.
    """
    m, n = len(held_out), len(new)
    if not (m and n):
        return 1.0
    both = np.column_stack([np.concatenate([held_out, new]), np.repeat([0.0, 1.0], [m, n])])
    both -= both.mean(axis=0)
    if given is not None:
        covariates = np.concatenate(given)
        basis = _orthonormal(covariates - covariates.mean(axis=0))
        both -= basis @ (basis.T @ both)
    scores, side = both[:, :-1], both[:, -1]
    if side @ side <= SINGULAR * (m + n):
        return 1.0
    basis = _orthonormal(scores)
    statistic = (m + n) * float(np.square(side @ basis).sum() / (side @ side))
    return float(tail_of_chi_squared(statistic, basis.shape[1]))


def _orthonormal(x: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(n, r)`` of the r independent columns of ``(n, k)``."""
    values, vectors = np.linalg.eigh(x.T @ x)
    some = values > SINGULAR * max(values.max(initial=0.0), 1e-300)
    return x @ (vectors[:, some] / np.sqrt(values[some]))


def ranks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """``(#{x < v} + #{x = v}/2) / n`` of values ``(k,)`` among n values x."""
    ordered = np.sort(among)
    both = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return (both[0] + both[1]) / (2 * len(among))


def _parts(both: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return both[: len(both) - len(new)], both[len(both) - len(new) :]


def _pearson(counts: np.ndarray) -> float:
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(counts.sum(), 1)
    if not expected.all():
        return 1.0
    statistic = float((np.square(counts - expected) / expected).sum())
    return float(tail_of_chi_squared(statistic, max(counts.shape[1] - 1, 0)))


def _of_both(p: float, rare: np.ndarray, m: int, n: int) -> float:
    """Twice the smaller p-value of two tests, at most 1, if there are rare outcomes."""
    if not rare.sum():
        return p
    return min(1.0, 2 * min(p, fisher(int(rare[0]), int(rare[1]), m, n)))


def fisher(k: int, j: int, m: int, n: int) -> float:
    """P-value of Fisher's exact test for ``k`` of m rows and ``j`` of n rows, two-sided.

    Of n and m up to a million it has nine digits, as logarithms of factorials are rounded.
    """
    x = np.arange(max(0, k + j - n), min(k + j, m) + 1)

    def log_choose(total: int, some: np.ndarray) -> np.ndarray:
        parts = (math.lgamma(i + 1) + math.lgamma(total - i + 1) for i in some)
        return math.lgamma(total + 1) - np.array([*parts])

    log_p = log_choose(m, x) + log_choose(n, k + j - x)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return float(min(1.0, no_likelier(p[[k - x[0]]], p[None])[0]))
