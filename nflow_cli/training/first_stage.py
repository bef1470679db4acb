"""The first stage of a fit to a density: its mode, then a Gaussian, before any other map.

Couplings start as the identity, and splines move nothing that is outside of their box: so the
affine map at the data's end is brought to the density first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.modes import modes, slopes_of
from nflow_cli.training.session import Session

RATE = 0.05  # of learning, at the start


def run(trainer: Any, seeds: Sequence[int], train: Any, session: Session) -> None:
    """Bring the affine map of each restart of ``trainer`` to its density.

    A Gaussian is fitted by reverse KL, from the mode that a search from a sample of the base ends
    at. Where the objective is annealed, it is fitted to the density to the power β at the start:
    so it is as wide as what the flows begin with. The flows may start from a wider one: what it
    covers of the density is found by shrinking, and what it does not hardly ever.

    Args:
        trainer: A :class:`~nflow_cli.experiments.density_2d.fit.Fit2D`, of one stack or of several.
        seeds: Of the restarts.
        train: The settings of the training; ``first_stage`` says how many updates.
        session: Of the training.
    """
    density = trainer.density
    starts = [density.base.sample(stream(s, "mode"), (1, density.dim))[0] for s in seeds]
    gaussian = trainer.first_stage()
    shifts = trainer.starts(modes(slopes_of(trainer.target, trainer.xla), np.stack(starts)))
    gaussian.flow.last["shift"].assign(shifts.reshape(gaussian.flow.last["shift"].shape))
    settings = train.model_copy(update={"learning_rate": RATE, "schedule": "cosine"})
    gaussian.prepare(settings, train.first_stage)
    size = (train.first_stage, train.chunk, train.batch_size)
    noise = NoiseChunks(density.base, density.dim, seeds, *size, purpose="first-stage")
    session.fit_first(gaussian, noise)
    for name, weight in widened(gaussian.flow.last, trainer.start_width).items():
        trainer.flow.last[name].assign(weight)


def widened(weights: Mapping[str, Any], width: float) -> dict[str, Any]:
    """Return the weights of an affine map whose Gaussian is so many times as wide."""
    if width == 1:
        return dict(weights)
    wider = {"log_scale": lambda s: s + math.log(width), "lower": lambda below: width * below}
    return {name: wider.get(name, lambda w: w)(w.value) for name, w in weights.items()}
