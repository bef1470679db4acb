"""Scores of a fit to a normalised 2-D target: KL divergence, ESS, missed share; arrays to plot."""

import math
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.densities.pushforward import Draw, FlowDensity, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.motion import deformation_arrays, grid_between
from nflow_cli.evaluation.reverse_kl import EXACT_DRAWS, UNCOVERED_RATIO, judge
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES

OF_P = ("missed_share", "missed_share_standard_error", "uncovered_share")
IN_SUMMARY = (
    *("kl", "kl_standard_error", "ess", "largest_weight", "pareto_k", "free_energy"),
    *("base_free_energy", "base_free_energy_standard_error", "log_z", "log_z_source"),
    *OF_P,
)
MISSED_RATIO = 1_000  # p/q above which p is missed


class Evaluation(NamedTuple):
    """Scores of a fit by its samples.

    Attributes:
        scores: :func:`~nflow_cli.evaluation.reverse_kl.judge`, :func:`coverage`, the base's
            ``base_free_energy``, and the target's ``log_z``.
        first: First chunk of samples.
    """

    scores: dict[str, Any]
    first: Draw


def evaluate_samples(density: FlowDensity, target: Target, seed: int, n: int) -> Evaluation:
    """Score ``q`` by ``n`` fresh samples, with the control variate if it covers ``p``."""
    rng, log_z = stream(seed, "evaluation"), target.log_z
    draws = [*density.draw(n, lambda _: rng)]
    log_q = np.concatenate([draw.log_q for draw in draws])
    log_p = values_at(target.log_prob, np.concatenate([draw.x for draw in draws]))
    z0 = np.concatenate([draw.z0 for draw in draws])
    base = Moments.of(values_at(density.base.log_prob, z0) - values_at(target.log_prob, z0))
    of_p = coverage(density, target, seed)
    covered = log_z is not None and of_p["uncovered_share"] == 0
    scores = judge(log_q, log_p, log_z=None if log_z is None else 0.0, covered=covered)
    shift = log_z or 0.0  # of exp(-U): log_prob is normalised
    shifted = {
        "kl": None if log_z is None else scores["kl"],
        "free_energy": scores["free_energy"] - shift,
        "estimated_log_z": scores["estimated_log_z"] + shift,
        "base_free_energy": base.mean - shift,
        "base_free_energy_standard_error": base.standard_error,
        "log_z": log_z,
        "log_z_source": target.log_z_source,
    }
    return Evaluation({**scores, **shifted, **of_p}, draws[0])


def coverage(density: FlowDensity, target: Target, seed: int) -> dict[str, float | None]:
    """Shares of ``p`` that ``q`` hardly covers, by exact samples of ``p``: samples of ``q`` do not
    show a mode that none visits. ``None`` if ``p`` has no sampler.

    ``missed_share`` is ``∫ max(p - 1000 q, 0)``, the mean of ``max(1 - 1000 q/p, 0)``. A share
    ``s`` costs about ``-log(1 - s)`` nats of ``KL(q || p)`` or more. Where a bounded base makes
    ``q`` 0 nothing counts. ``uncovered_share`` is that of samples with ``q < p/100``, those too.
    """
    if target.sample is None:
        return dict.fromkeys(OF_P)
    x = target.sample(stream(seed, "missed"), EXACT_DRAWS)
    excess = values_at(target.log_prob, x) - density.log_prob(x).astype(np.float64)
    uncovered = float(np.mean(~(excess < math.log(UNCOVERED_RATIO))))
    if density.base.bounded:
        excess[np.isposinf(excess)] = -np.inf
    with np.errstate(over="ignore"):
        missed = Moments.of(np.maximum(1 - MISSED_RATIO * np.exp(-excess), 0))
    return dict(zip(OF_P, (missed.mean, missed.standard_error, uncovered)))


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
