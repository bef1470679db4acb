"""Importance weights: Pareto-smoothed (PSIS), and of draws of ``q`` and of a wide neighbour.

Defensive weights ``p/q_α``, ``q_α = a q + (1 - a) wide`` with the shares of both in the draws, are
bounded where ``p/q`` is not. The mean of ``q/q_α`` is 1: as a control variate it makes the
estimates no worse than by ``q`` alone where ``q`` is good.

References:
    Owen & Zhou, *Safe and effective importance sampling*, 2000.
"""

import math
from typing import NamedTuple

import numpy as np

from nflow_cli.evaluation.warnings import GOOD, ROUGH

LARGE = 2.0  # weight, relative to the mean
LEAST_LOG_WEIGHT = -60.0  # relative to the largest; smaller exceedances underflow the fit


def pareto_k(ratios: np.ndarray) -> float:
    """Pareto k-hat: shape of a generalised Pareto tail fitted to the largest weights.

    Of ``n`` weights ``exp(-ratios)`` the tail holds ``min(n/5, 3 √n)``. Moments of order ``1/k``
    and above are infinite: above 0.7 importance sampling is unreliable (Vehtari, Simpson, Gelman,
    Yao & Gabry 2024, arXiv 1507.02646). Fitted as by Zhang & Stephens 2009, with the former's weak
    prior towards 0.5. 0 for equal weights.
    """
    return tail_of(largest_of(-ratios.astype(np.float64))).k


def largest_of(log_weights: np.ndarray) -> np.ndarray:
    """The largest ``(1 + m,)``, in order and relative to the last: the tail, and one before it."""
    count = tail_length(len(log_weights)) + 1
    largest = np.sort(np.partition(log_weights, -count)[-count:])
    return largest - largest[-1]


def tail_length(n: int, effective: float | None = None) -> int:
    """Number of weights in the Pareto tail: ``min(n/5, 3 √n)``, the second rounded up as in the
    paper; ArviZ rounds it down.

    Of n draws of a chain with fewer ``effective`` ones: ``min(n/5, 3 n / √effective)``.
    """
    return min(n // 5, math.ceil(3 * n / math.sqrt(n if effective is None else effective)))


class Tail(NamedTuple):
    """Shape ``k`` and scale of a generalised Pareto distribution."""

    k: float
    scale: float


def tail_of(log_weights: np.ndarray) -> Tail:
    """Fit the tail ``(m,)`` of ordered log-weights ``(1 + m,)`` relative to the largest.

    Beyond a float's range k-hat is the mean of ``log(w / threshold)`` (Hill 1975), close to the fit
    for large k; the scale is 0.
    """
    log_tail = log_weights[1:]
    quartile = _quartile(len(log_tail))
    if -math.inf < log_tail[quartile] < LEAST_LOG_WEIGHT:
        return Tail(float(np.mean(log_tail[quartile:] - log_tail[quartile])), 0.0)
    scaled = np.exp(log_weights)
    return fit_tail(scaled[1:] - scaled[0])


def unseen(tail: Tail, log_weights: np.ndarray) -> float:
    """Part of a sum of weights that a sample may lack, relative to the largest, of a rough tail.

    Expected sum of ``m`` draws of the tail beyond its quantile ``1 - 1/m``: most samples have less,
    few much more. 0 for a good tail, whose standard error says it. ``log_weights`` are as of
    :func:`tail_of`.
    """
    k = tail.k
    count = len(log_weights) - 1
    if not GOOD <= k < ROUGH:
        return 0.0
    return math.exp(log_weights[0]) + tail.scale * (count**k - 1 + k) / (k * (1 - k))


def _quartile(count: int) -> int:
    return int(count / 4 + 0.5) - 1


def fit_tail(x: np.ndarray) -> Tail:
    """Generalised Pareto tail of ordered exceedances ``(m,)``; see :func:`pareto_k`."""
    count = len(x)
    if not x[-1] > 1e-6:  # equal up to rounding, or not finite
        return Tail(0.0 if np.isfinite(x[-1]) else math.nan, 0.0)
    x = np.maximum(x, 1e-30 * x[-1])
    i = np.arange(1, 30 + math.isqrt(count) + 1)
    quartile = x[_quartile(count)]
    theta = 1 / x[-1] + (1 - np.sqrt(len(i) / (i - 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * x).mean(axis=1)
    log_likelihood = count * (np.log(-theta / k) - k - 1)
    with np.errstate(over="ignore"):  # very unlikely ones get weight 0
        weight = 1 / np.exp(log_likelihood - log_likelihood[:, None]).sum(axis=1)
    theta = np.sum(theta * weight)
    shape = float(np.log1p(-theta * x).mean())
    return Tail((count * shape + 10 * 0.5) / (count + 10), float(-shape / theta))


class Smoothed(NamedTuple):
    """Pareto-smoothed importance weights.

    Attributes:
        log_weights: ``(n,)``, in nats.
        k: k-hat.
        tail: Raw log-weights of the tail, ordered, relative to the largest.
        smooth_tail: Smoothed ones.
        unseen: Relative to the largest; see :func:`unseen`.
    """

    log_weights: np.ndarray
    k: float
    tail: np.ndarray
    smooth_tail: np.ndarray
    unseen: float = 0.0


def smoothed(log_weights: np.ndarray, count: int | None = None) -> Smoothed:
    """Pareto-smoothed importance weights.

    The largest are replaced by the expected order statistics of the fitted tail, truncated at the
    largest raw weight (Vehtari et al. 2024, arXiv 1507.02646, section 2). ``log_weights`` ``(n,)``:
    float64, in nats; ``-inf`` for a weight of 0. ``count``: weights of the tail, by default
    :func:`tail_length`.
    """
    highest = log_weights.max()
    count = tail_length(len(log_weights)) if count is None else count
    order = np.argsort(log_weights, kind="stable")
    largest = log_weights[order[-count - 1 :]] - highest
    log_tail = largest[1:]
    tail = tail_of(largest)
    if not (tail.k > -math.inf and tail.scale > 0):
        return Smoothed(log_weights, tail.k, log_tail, log_tail)
    p = (np.arange(count) + 0.5) / count
    if abs(tail.k) < 1e-12:
        exceedances = -tail.scale * np.log1p(-p)
    else:
        exceedances = tail.scale * np.expm1(-tail.k * np.log1p(-p)) / tail.k
    smooth_tail = np.minimum(np.log(math.exp(largest[0]) + exceedances), 0.0)
    smooth_weights = log_weights.copy()
    smooth_weights[order[-count:]] = smooth_tail + highest
    return Smoothed(smooth_weights, tail.k, log_tail, smooth_tail, unseen(tail, largest))


class Draws(NamedTuple):
    """Log-densities ``(n,)`` in nats at draws of ``q``, which are first, and of ``wide``.

    Attributes:
        log_q: ``log q``.
        log_mix: ``log q_α``.
        log_p: ``log p``, up to a constant.
        strata: The flow of ``q`` that each is of, or less than 0 for a part of ``wide``.
    """

    log_q: np.ndarray
    log_mix: np.ndarray
    log_p: np.ndarray
    strata: np.ndarray

    @property
    def is_of_q(self) -> np.ndarray:
        """Which are draws of ``q`` ``(n,)``, not of ``wide``."""
        return self.strata >= 0

    @property
    def without_wide(self) -> "Draws":
        """Draws of ``q`` alone."""
        count = int(self.is_of_q.sum())
        log_q = self.log_q[:count]
        return Draws(log_q, log_q, self.log_p[:count], self.strata[:count])


class Weights:
    """Importance weights of draws, with the control variate.

    Sums with :attr:`shares` are ratios of two estimates with the control variate: ``Σ s f`` is the
    mean of ``f`` under ``p``.

    Attributes:
        log_z: Estimate of ``log ∫p``, in nats.
        largest: Logarithm of the largest weight ``p/q_α``, relative to ``∫p``.
        tail: Their largest, smoothed too.
        k: k-hat; at most 0 if none is :data:`LARGE`, so that a heavy tail is not that of Σ w².
        plain: Weights, divided by their estimated sum ``(n,)``.
        shares: The same with the control variate, of sum 1.
        control: The control variate less its means in the strata ``(n,)``; ``square``, its norm.
        strata: Of each draw, from 0; ``counts``, their sizes.
    """

    def __init__(self, draws: Draws):
        log_weights = log_ratio(draws.log_p, draws.log_mix)
        w, highest = scaled(log_weights)
        largest = float(log_weights.max())
        self.tail = smoothed(log_weights)._replace(log_weights=np.zeros(0))  # which fill the memory
        del log_weights
        sources, self.counts = np.unique(draws.strata, return_counts=True)
        self.strata = np.searchsorted(sources, draws.strata).astype(np.int16)
        if draws.log_q is draws.log_mix:
            self.control = np.broadcast_to(0.0, w.shape)
            self.square = math.inf
            controlled = w
        else:
            excess = np.expm1(log_ratio(draws.log_q, draws.log_mix))
            self.control = self.within(excess)
            self.square = float(self.control @ self.control) or math.inf
            controlled = w * np.maximum(1 - excess.sum() / self.square * self.control, 0.0)
            del excess
        total = controlled.sum()
        self.log_z = math.log(controlled.mean()) + highest
        self.shares = np.divide(controlled, total, out=controlled)
        self.plain = self.shares
        if controlled is not w:
            self.plain = np.divide(w, total, out=w)
        self.largest = largest - self.log_z
        self.k = self.tail.k if self.largest > math.log(LARGE) else min(self.tail.k, 0.0)

    def within(self, terms: np.ndarray) -> np.ndarray:
        """Terms ``(n,)`` of a sum less their means in the strata: its error is their norm."""
        means = np.bincount(self.strata, terms) / self.counts
        return terms - means[self.strata]

    def terms(self, values: np.ndarray | float = 1.0) -> np.ndarray:
        """Terms ``(n,)`` of the mean of values ``(n,)`` of mean 0 under ``p``, whose error is their
        norm; by default those of :attr:`log_z`.
        """
        terms = self.within(self.plain * values)
        terms -= (terms @ self.control) / self.square * self.control
        return terms

    def error(self, values: np.ndarray) -> tuple[float, float]:
        """Standard error of the mean of :meth:`terms`, with a rough tail's bias; their k-hat."""
        sizes = np.abs(self.plain * values)
        largest = float(sizes.max())
        log_sizes = largest_of(np.log(sizes, out=sizes))
        del sizes
        tail = tail_of(log_sizes)
        terms = self.terms(values)
        bias = largest * unseen(tail, log_sizes)
        return math.hypot(math.sqrt(terms @ terms), bias), tail.k

    @property
    def unseen(self) -> float:
        """Part of :attr:`log_z` that a rough tail may lack, in nats."""
        return self.tail.unseen * float(self.plain.max())


def log_ratio(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """``log p/q`` ``(n,)``, ``-inf`` where one is no number."""
    are_finite = np.isfinite(log_p) & np.isfinite(log_q)
    ratio = log_p - log_q
    ratio[~are_finite] = -math.inf
    return ratio


def scaled(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights ``(n,)`` relative to the largest, and its logarithm; equal ones if all are 0."""
    highest = float(log_weights.max())
    if not math.isfinite(highest):  # p is finite nowhere
        return np.full(len(log_weights), 1.0), -math.inf
    return np.exp(log_weights - highest), highest
