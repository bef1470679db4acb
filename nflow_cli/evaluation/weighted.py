"""Weighted means, their standard errors, and effective sample sizes."""

import math

import numpy as np

from nflow_cli.evaluation.warnings import LEAST_ROWS


def effective(weights: np.ndarray) -> float:
    """Effective sample size ``(Σw)²/Σw²``; 0 without rows."""
    scaled = weights / weights.max() if len(weights) else weights
    return float(scaled.sum() ** 2 / (scaled**2).sum()) if len(weights) else 0.0


def weighted_mean(
    name: str, values: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Mean of values ``(n,)`` and its standard error, by name.

    With weights ``w``: ``m = Σ w v / Σ w``, error ``√(n/(n - 1) Σ w² (v - m)²) / Σ w``, n the
    effective sample size; NaN below n = 1.5.
    """
    w = np.ones(len(values)) if weights is None else weights
    with np.errstate(invalid="ignore"):  # of infinities
        mean = np.average(values, weights=w)
        n = effective(w)
        squares = np.sum((w / w.sum() * (values - mean)) ** 2) * (
            n / (n - 1) if n >= LEAST_ROWS else math.nan
        )
    return {name: float(mean), f"{name}_standard_error": float(np.sqrt(squares))}
