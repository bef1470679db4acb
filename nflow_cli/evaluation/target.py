"""Scores of a fit by its target: the share of it that is missed; arrays of a 2-D one to plot."""

import math
from typing import Any

import numpy as np

from nflow_cli.densities.bases import Base
from nflow_cli.densities.pushforward import Draw, FlowDensity, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.motion import deformation_arrays, grid_between
from nflow_cli.evaluation.reverse_kl import EXACT_DRAWS, UNCOVERED_RATIO
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_SAMPLES

MISSED_RATIO = 1_000  # p/q above which p is missed


def base_energy(base: Base, target: Target, seed: int, n: int) -> dict[str, Any]:
    """Free energy of the base alone, by the ``n`` samples of it that give those of a fit."""
    z0 = base.sample(stream(seed, "evaluation"), (n, target.dim))
    found = Moments.of(values_at(base.log_prob, z0) - values_at(target.log_prob, z0))
    return {
        "base_free_energy": found.mean - (target.log_z or 0.0),  # of exp(-U)
        "base_free_energy_standard_error": found.standard_error,
    }


def coverage(density: FlowDensity, target: Target, seed: int) -> dict[str, Any]:
    """Shares of ``p`` that ``q`` hardly covers, by exact samples of ``p``: samples of ``q`` do not
    show a mode that none visits. ``None`` if ``p`` has no sampler.

    ``missed_share`` is ``∫ max(p - 1000 q, 0)``, the mean of ``max(1 - 1000 q/p, 0)``. A share
    ``s`` costs about ``-log(1 - s)`` nats of ``KL(q || p)`` or more. Where a bounded base makes
    ``q`` 0 nothing counts. ``uncovered_share`` is that of samples with ``q < p/100``, those too.
    """
    keys = ("missed_share", "missed_share_standard_error", "uncovered_share", "missed_mode")
    if target.sample is None:
        return dict.fromkeys(keys)
    x = target.sample(stream(seed, "missed"), EXACT_DRAWS)
    excess = values_at(target.log_prob, x) - density.log_prob(x).astype(np.float64)
    uncovered = float(np.mean(~(excess < math.log(UNCOVERED_RATIO))))
    if density.base.bounded:
        excess[np.isposinf(excess)] = -np.inf
    with np.errstate(over="ignore"):
        missed = Moments.of(np.maximum(1 - MISSED_RATIO * np.exp(-excess), 0))
    return dict(zip(keys, (missed.mean, missed.standard_error, uncovered, None)))


def density_arrays(
    density: FlowDensity, target: Target, first: Draw, seed: int, n: int
) -> dict[str, np.ndarray]:
    """Arrays for the plots: densities on an ``n x n`` grid over the target's window, and after each
    flow.

    The density is exact, ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|``; ``first`` are samples
    of the fit.
    """
    window = target.window
    if window is None:
        window = float(np.quantile(np.abs(first.x), 0.999))
    center = np.broadcast_to(target.center, 2)
    grid = grid_between(center - window, center + window, n)
    points, shape = grid.points, grid.shape
    drawn = np.empty((0, target.dim))
    if target.sample is not None:
        drawn = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    arrays = {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_target": values_at(target.log_prob, points).reshape(shape),
        "log_base": values_at(density.base.log_prob, points).reshape(shape),
        "log_q": density.log_prob(points).reshape(shape),
        "samples": first.x[:SHOWN_SAMPLES],
        "base_samples": first.z0[:SHOWN_SAMPLES],
        "target_samples": drawn,
        **deformation_arrays(density, first.z0[:SHOWN_SAMPLES]),
    }
    return {k: a.astype(np.float32) if a.dtype == np.float64 else a for k, a in arrays.items()}
