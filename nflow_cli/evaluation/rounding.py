"""Rounding of a log-density in float32, at samples of a fit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nflow_cli.densities.log_density import LogDensity
from nflow_cli.densities.pushforward import FlowDensity, values_at
from nflow_cli.densities.targets import Target
from nflow_cli.random_streams import stream

POINTS = 1_000
BITS = 53  # of a float64 mantissa


def step_of(values: np.ndarray) -> float:
    """Rounding step of log-density values, in nats; NaN if one is not finite.

    The median spacing of their type, or if larger the greatest power of 2 that divides all:
    ``(log p + 1e8) - 1e8`` in float32 has steps of 8, also when cast to float64.
    """
    if not np.isfinite(values).all():
        return math.nan
    step = float(np.median(np.spacing(np.abs(values))))
    different = np.unique(values.astype(np.float64))
    if len(different) == 1:  # the step is unknown
        return step
    mantissas, exponents = np.frexp(different[different != 0])
    whole = (mantissas * 2.0**BITS).astype(np.int64)
    common = np.ldexp((whole & -whole).astype(np.float64), exponents - BITS)
    return max(step, float(common.min()))


def own_values(target: Target) -> Callable[[Any], Any]:
    """``log p`` of points ``(..., D)``; of a user's function without the Jacobian."""
    if isinstance(target, LogDensity):
        return lambda z: target.values(target.outside(z)[0])
    return target.log_prob


def rounding(density: FlowDensity, target: Target, seed: int) -> dict[str, Any]:
    """Rounding error of ``log p`` at samples of ``q``; NaN if not finite.

    ``log_density_step`` in nats (:func:`step_of`); ``rounding_error``, the standard deviation in
    nats of the error by such steps and by moving each coordinate by one float: a step h has
    variance h²/12.
    """
    rng = stream(seed, "rounding")
    z = next(density.draw(POINTS, lambda _: rng)).x
    moved = z + np.spacing(z) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
    with np.errstate(all="ignore"):  # of a user's function
        here, there = (values_at(target.log_prob, points) for points in (z, moved))
        step = step_of(values_at(own_values(target), z))
        noise = float(np.mean((there.astype(np.float64) - here) ** 2))
    return {"log_density_step": step, "rounding_error": float(np.sqrt((step**2 + noise) / 12))}
