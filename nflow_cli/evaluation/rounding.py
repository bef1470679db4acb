"""Rounding of a log-density in float32, at samples of a fit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nflow_cli.densities.log_density import LogDensity
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.target import values_at
from nflow_cli.random_streams import stream

POINTS = 1_000
BITS = 53  # of a mantissa in float64


def step_of(values: np.ndarray) -> float:
    """Return the step in nats that values of a log-density are rounded to.

    The median step of their type; or the greatest power of 2 that all are multiples of, which is
    larger where they were rounded before: ``(log p + 1e8) - 1e8`` in float32 goes in steps of 8,
    and float32 stays so in float64. NaN where one is not finite.
    """
    if not np.isfinite(values).all():
        return math.nan
    step = float(np.median(np.spacing(np.abs(values))))
    different = np.unique(values.astype(np.float64))
    if len(different) == 1:  # of how large a step, it does not say
        return step
    mantissas, exponents = np.frexp(different[different != 0])
    whole = (mantissas * 2.0**BITS).astype(np.int64)
    common = np.ldexp((whole & -whole).astype(np.float64), exponents - BITS)
    return max(step, float(common.min()))


def own_values(target: Target) -> Callable[[Any], Any]:
    """Return ``log p`` of points ``(..., D)``; of a user's function, without the Jacobian."""
    if isinstance(target, LogDensity):
        return lambda z: target.values(target.outside(z)[0])
    return target.log_prob


def rounding(density: FlowDensity, target: Target, seed: int) -> dict[str, Any]:
    """Measure how exactly ``log p`` is computed at samples of ``q``.

    Args:
        density: ``q``, in the coordinates of its flows.
        target: ``p`` in these.
        seed: Fixes the samples.

    Returns:
        ``log_density_step``, what the values of ``log p`` are rounded to, in nats
        (:func:`step_of`); and ``rounding_error``, the standard deviation in nats of the error of
        ``log p``: that of such steps, and of moving each coordinate of a sample by a step of its
        own. Of a step h either has h²/12. NaN where ``log p`` is not finite.
    """
    rng = stream(seed, "rounding")
    z = next(density.draw(POINTS, lambda _: rng)).x
    moved = z + np.spacing(z) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
    with np.errstate(all="ignore"):  # of a user's function
        here, there = (values_at(target.log_prob, points) for points in (z, moved))
        step = step_of(values_at(own_values(target), z))
        noise = float(np.mean((there.astype(np.float64) - here) ** 2))
    return {"log_density_step": step, "rounding_error": float(np.sqrt((step**2 + noise) / 12))}
