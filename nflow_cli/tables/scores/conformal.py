"""Split conformal prediction: sets that contain a share of fresh values, whatever the model.

Of n exchangeable calibration scores the set of values whose score is at most the
``⌈(n + 1) c⌉``-th smallest contains a fresh value with probability at least c (Vovk et al. 2005).
Of G exchangeable clusters, each the rows of a person, it holds for a row of a fresh one if each
cluster weighs 1/(G + 1), in equal parts by row (Lee, Barber & Willett 2023).
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95  # of a band


class Calibration(NamedTuple):
    """Scores of n calibration values at a coverage.

    Attributes:
        n: Number of values.
        threshold: Largest score in a set; ``inf`` of fewer than ``c/(1 - c)`` values.
        band: Ends of the coverage of this calibration, with probability 95 %.
        n_clusters: Number of clusters of dependent values, if there are some.
    """

    n: int
    threshold: float
    band: tuple[float, float]
    n_clusters: int | None = None


def calibrated(
    scores: np.ndarray, coverage: float, clusters: np.ndarray | None = None
) -> Calibration:
    """Calibrate sets by the scores ``(n,)`` of values, to a coverage between 0 and 1.

    Over fresh values the coverage of one calibration has the distribution Beta(k, n + 1 - k),
    ``k = ⌈(n + 1) c⌉``, of continuous scores (Vovk 2012); ties cover more. With ``clusters``
    ``(n,)`` of the values n is the number of these: so it is if those of a cluster are equal.
    """
    order = np.argsort(scores, kind="stable")
    n = len(scores)
    n_clusters = None
    weights = np.ones(n)
    if clusters is not None:
        _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        n_clusters = len(sizes)
        weights = 1 / sizes[codes]
    n_units = n if n_clusters is None else n_clusters
    target = (n_units + 1) * coverage * (1 - 1e-12)
    k = math.ceil(target)
    place = int(np.searchsorted(np.cumsum(weights[order]) * (1 + 1e-12), target))
    if k > n_units or place == n:
        return Calibration(n, math.inf, (1.0, 1.0), n_clusters)
    low = _beta_quantile((1 - CONFIDENCE) / 2, k, n_units)
    high = _beta_quantile((1 + CONFIDENCE) / 2, k, n_units)
    return Calibration(n, float(scores[order[place]]), (low, high), n_clusters)


def central_scores(below: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Scores ``(n,)`` of values by ``P(X < x)`` and ``P(X = x)``: the share c of the least central
    interval, between the quantiles at ``(1 - c)/2`` and ``(1 + c)/2``, that contains x
    (Chernozhukov, Wüthrich & Zhu 2021).
    """
    return np.maximum(np.maximum(1 - 2 * (below + at), 2 * below - 1), 0.0)


@cache
def _beta_quantile(p: float, k: int, n: int) -> float:
    """Quantile of Beta(k, n + 1 - k): x with ``P(Binomial(n, x) >= k) = p``, by bisection.

    To a share of 1e-13 n of it for p of 0.025 to 0.975, as sums of n logarithms are rounded.
    """
    i = np.arange(k, n + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_choose = log_factorials[n] - log_factorials[i] - log_factorials[n - i]
    low = 0.0
    high = 1.0
    for _ in range(50):
        x = (low + high) / 2
        with np.errstate(divide="ignore"):
            total = np.exp(log_choose + i * np.log(x) + (n - i) * np.log1p(-x)).sum()
        if total < p:
            low = x
        else:
            high = x
    return (low + high) / 2
