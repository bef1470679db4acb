"""Split conformal prediction: sets that contain a share of fresh values, whatever the model.

Of n exchangeable calibration scores the set of values whose score is at most the
``⌈(n + 1) c⌉``-th smallest contains a fresh value with probability at least c (Vovk et al. 2005).
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
    """

    n: int
    threshold: float
    band: tuple[float, float]


def calibrated(scores: np.ndarray, coverage: float) -> Calibration:
    """Calibrate sets by the scores ``(n,)`` of values, to a coverage between 0 and 1.

    Over fresh values the coverage of one calibration has the distribution Beta(k, n + 1 - k),
    ``k = ⌈(n + 1) c⌉``, of continuous scores (Vovk 2012); ties cover more.
    """
    n = len(scores)
    k = math.ceil((n + 1) * coverage * (1 - 1e-12))
    if k > n:
        return Calibration(n, math.inf, (1.0, 1.0))
    threshold = float(np.partition(scores, k - 1)[k - 1])
    low = _beta_quantile((1 - CONFIDENCE) / 2, k, n)
    high = _beta_quantile((1 + CONFIDENCE) / 2, k, n)
    return Calibration(n, threshold, (low, high))


def central_scores(below: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Scores ``(n,)`` of values by ``P(X < x)`` and ``P(X = x)``: the share c of the least central
    interval, between the quantiles at ``(1 - c)/2`` and ``(1 + c)/2``, that contains x
    (Chernozhukov, Wüthrich & Zhu 2021).
    """
    return np.maximum(np.maximum(1 - 2 * (below + at), 2 * below - 1), 0.0)


@cache
def _beta_quantile(p: float, k: int, n: int) -> float:
    """Quantile of Beta(k, n + 1 - k): x with ``P(Binomial(n, x) >= k) = p``, by bisection."""
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
