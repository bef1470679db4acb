"""Rounding of a log-density in float32, at samples of a fit."""

from typing import Any

import numpy as np

from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.target import values_at
from nflow_cli.random_streams import stream

POINTS = 1_000


def rounding(density: FlowDensity, target: Target, seed: int) -> dict[str, Any]:
    """Measure how exactly ``log p`` is computed at samples of ``q``.

    Args:
        density: ``q``, in the coordinates of its flows.
        target: ``p`` in these.
        seed: Fixes the samples.

    Returns:
        ``log_density_step``, the median step of the type of ``log p`` at its values, in nats; and
        ``rounding_error``, the standard deviation in nats of the error of ``log p``: that of its
        rounding to such steps, and of moving each coordinate of a sample by a step of its own. Of
        a step h either has h²/12. NaN where ``log p`` is not finite.
    """
    rng = stream(seed, "rounding")
    z = next(density.draw(POINTS, lambda _: rng)).x
    moved = z + np.spacing(z) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
    with np.errstate(all="ignore"):  # of a user's function
        here, there = (values_at(target.log_prob, points) for points in (z, moved))
        step = float(np.median(np.abs(np.spacing(here))))
        noise = float(np.mean((there.astype(np.float64) - here) ** 2))
    return {"log_density_step": step, "rounding_error": float(np.sqrt((step**2 + noise) / 12))}
