"""How good a trained flow is, by fresh samples of it, and by points that the user has."""

import math
from typing import Any

import numpy as np

from nflow_cli.evaluation import pushed_samples
from nflow_cli.point_data import PointData, gaussian_log_prob
from nflow_cli.trained import TrainedFlow, TrainedOnPoints


def log_ratios(trained: TrainedFlow, n: int, seed: int) -> np.ndarray:
    """Return ``log q - log p`` at ``n`` samples of ``q``: ``(n,)``, float64, in nats.

    With the seed of the run, the samples are those that its summary was computed from.
    """
    parts = (trained.flow, trained.base, trained.target)
    return np.concatenate([ratios for _, _, ratios in pushed_samples(*parts, seed, n)])


def likelihood(trained: TrainedFlow, points: np.ndarray) -> dict[str, Any]:
    """Judge ``q`` by points ``(n, 2)`` drawn elsewhere.

    Returns:
        ``log_likelihood``: the mean ``log q`` in nats over the points where ``q > 0`` (``None``
        where there are none), its ``standard_error`` (``None`` for fewer than 2), ``n``, and how
        many points lie ``outside``, where ``q`` is 0.
    """
    log_q = trained.log_prob(points).astype(np.float64)
    inside = log_q[log_q > -math.inf]
    n = len(inside)
    return {
        "log_likelihood": float(inside.mean()) if n else None,
        "standard_error": float(inside.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
        "n": len(log_q),
        "outside": len(log_q) - n,
    }


def held_out_figures(trained: TrainedOnPoints, data: PointData) -> dict[str, Any]:
    """Judge ``q``, and the Gaussian most likely given the training points, by the test points.

    Returns:
        ``log_likelihood`` and ``gaussian_log_likelihood``: means in nats per test point, with the
        ``*_standard_error`` of each; ``-inf`` and NaN where a test point is beyond all densities.
    """
    log_q = {
        "log_likelihood": trained.log_prob(data.test),
        "gaussian_log_likelihood": gaussian_log_prob(data.train, data.test, data.units),
    }
    figures = {}
    for name, values in log_q.items():
        with np.errstate(invalid="ignore"):  # of minus infinities
            figures[name] = float(values.mean())
            figures[f"{name}_standard_error"] = float(values.std(ddof=1) / math.sqrt(len(values)))
    return figures
