"""Scores of a fit to a normalised 2-D target: KL divergence, ESS, missed share; arrays to plot."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.densities.pushforward import Draw, FlowDensity, chunks
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.grids import Grid, Together, grid_of, window_of_all
from nflow_cli.evaluation.importance import mean, score, standard_deviation
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES, STRIP_GRID, STRIP_PANELS

IN_SUMMARY = (
    *("kl", "kl_standard_error", "ess", "largest_weight", "pareto_k", "free_energy"),
    *("base_free_energy", "base_free_energy_standard_error", "log_z", "log_z_source"),
)
MISSED_RATIO, EXACT_DRAWS = 1_000, 10_000  # p/q above which p is missed; samples of p


class Evaluation(NamedTuple):
    """Scores of a fit by its samples.

    Attributes:
        scores: :func:`~nflow_cli.evaluation.importance.score`, the base's ``base_free_energy``, and
            the target's ``log_z``.
        first: First chunk of samples.
    """

    scores: dict[str, Any]
    first: Draw


def evaluate_samples(density: FlowDensity, target: Target, seed: int, n: int) -> Evaluation:
    """Score ``q`` by ``n`` fresh samples."""
    rng = stream(seed, "evaluation")
    ratios, base_ratios = np.empty(n, np.float32), np.empty(n, np.float32)
    draws = []
    for draw in density.draw(n, lambda _: rng):
        part = slice(draw.start, draw.start + len(draw.x))
        ratios[part] = draw.log_q - values_at(target.log_prob, draw.x)
        log_q0 = values_at(density.base.log_prob, draw.z0)
        base_ratios[part] = log_q0 - values_at(target.log_prob, draw.z0)
        draws = draws or [draw]
    error = standard_deviation(base_ratios, ddof=1) / math.sqrt(n)
    scores = {
        **score(ratios, target.log_z),
        "base_free_energy": mean(base_ratios) - (target.log_z or 0.0),
        "base_free_energy_standard_error": error,
        "log_z": target.log_z,
        "log_z_source": target.log_z_source,
    }
    return Evaluation(scores, draws[0])


def missed_share(density: FlowDensity, target: Target, seed: int) -> dict[str, float]:
    """Share of ``p`` where ``q`` has almost no mass, ``∫ max(p - 1000 q, 0)``, and its standard
    error.

    By exact samples of ``p``, as the mean of ``max(1 - 1000 q/p, 0)``: samples of ``q`` do not show
    a mode that none visits. A missed share ``s`` costs about ``-log(1 - s)`` nats of ``KL(q || p)``
    or more. Where a bounded base makes ``q`` 0 nothing counts; empty if ``p`` has no sampler.
    """
    if target.sample is None:
        return {}
    x = target.sample(stream(seed, "missed"), EXACT_DRAWS)
    log_q = density.log_prob(x).astype(np.float64)
    if density.base.bounded:
        log_q[np.isneginf(log_q)] = np.inf
    with np.errstate(over="ignore"):
        missed = np.maximum(1 - MISSED_RATIO * np.exp(log_q - values_at(target.log_prob, x)), 0)
    error = standard_deviation(missed, ddof=1) / math.sqrt(EXACT_DRAWS)
    return {"missed_share": mean(missed), "missed_share_standard_error": error}


def values_at(log_prob: Callable[[Any], Any], points: Any) -> np.ndarray:
    """Log-density of tensors at points ``(n, D)``, in chunks: ``(n,)``, in its own type.

    Points are an array, or give arrays when sliced.
    """
    values = [np.empty(0, np.float32)]
    for part in chunks(len(points), points[:1].shape[-1]):
        tensor = ops.convert_to_tensor(points[part].astype(np.float32))
        values.append(ops.convert_to_numpy(log_prob(tensor)))
    return np.concatenate(values)


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
    grid, k = _square(window, target.center, n), density.flow.length
    panels = strip_panels(k)
    moved = density.partial_samples(first.z0[:SHOWN_SAMPLES], panels)
    coarse = grid_of(window_of_all(moved), STRIP_GRID)
    points = {**dict.fromkeys(panels, coarse), k: Together(grid, coarse)}
    log_density = density.partial_log_densities(points)
    log_q = log_density[k][: len(grid)].reshape(grid.shape)
    strip = [log_density[i][-len(coarse) :].reshape(coarse.shape) for i in panels]
    drawn = np.empty((0, target.dim))
    if target.sample is not None:
        drawn = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    arrays = {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_target": values_at(target.log_prob, grid).reshape(grid.shape),
        "log_base": values_at(density.base.log_prob, grid).reshape(grid.shape),
        "log_q": log_q,
        "samples": first.x[:SHOWN_SAMPLES],
        "base_samples": first.z0[:SHOWN_SAMPLES],
        "target_samples": drawn,
        "deformation_k": np.array(panels),
        "log_deformation": np.stack(strip),
        "deformation_axis_1": coarse.first,
        "deformation_axis_2": coarse.second,
        "deformation_samples": moved,
    }
    return {k: a.astype(np.float32) if a.dtype == np.float64 else a for k, a in arrays.items()}


def strip_panels(k: int) -> list[int]:
    """Numbers of flows in the deformation picture: 0, ..., k, at most nine."""
    return sorted({round(i) for i in np.linspace(0, k, min(k + 1, STRIP_PANELS))})


def _square(window: float, center: Any, n: int) -> Grid:
    axis = np.linspace(-window, window, n)
    first, second = np.broadcast_to(center, 2)
    return Grid(first + axis, second + axis)
