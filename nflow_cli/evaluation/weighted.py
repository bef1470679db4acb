"""Weighted means of rows, their standard errors and effective sample sizes. No Keras here."""

import math

import numpy as np

from nflow_cli.evaluation.caveats import LEAST


def effective(weights: np.ndarray) -> float:
    """Return how many rows of equal weight rows count for: ``(Σw)²/Σw²``; 0 of none."""
    scaled = weights / weights.max() if len(weights) else weights
    return float(scaled.sum() ** 2 / (scaled**2).sum()) if len(weights) else 0.0


def weighted_mean(
    name: str, values: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return the mean of values ``(n,)`` and its standard error, by name.

    With weights ``w``: ``m = Σ w v / Σ w``, and ``√(Σ w² (v - m)²) / Σ w``, which allows for their
    being unequal. The error is NaN below 1.5 rows in effect, which show no spread.
    """
    w = np.ones(len(values)) if weights is None else weights
    with np.errstate(invalid="ignore"):  # of infinities
        mean = np.average(values, weights=w)
        n = effective(w)
        squares = np.sum((w / w.sum() * (values - mean)) ** 2) * (
            n / (n - 1) if n >= LEAST else math.nan
        )
    return {name: float(mean), f"{name}_standard_error": float(np.sqrt(squares))}
