"""First stage of a fit to a density: mode search, then a Gaussian.

Couplings start as the identity, and splines move nothing outside their box, so the affine map at
the data's end is fitted first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.modes import climb, value_and_gradient
from nflow_cli.training.session import Session

GAUSSIAN_RATE = 0.05  # of learning, at the start


def run(trainer: Any, seeds: Sequence[int], train: Any, session: Session) -> None:
    """Fit the affine map of each restart of ``trainer`` to its density, in ``first_stage`` updates.

    A Gaussian is fitted by reverse KL, from the mode where a search from base samples ends. An
    annealed target is the density to the power β of the start: as wide as the flows' first
    objective. The flows may start wider: mass that the start covers is found by shrinking, mass
    outside hardly ever.

    ``trainer``: a :class:`~nflow_cli.experiments.reverse_kl.trainer.ReverseKL`, of one stack
    or several.
    """
    density = trainer.density
    starts = [density.base.sample(stream(s, "mode"), (1, density.dim))[0] for s in seeds]
    gaussian = trainer.first_stage()
    slopes = value_and_gradient(trainer.target, trainer.xla)
    shifts = trainer.starts(climb(slopes, np.stack(starts)))
    gaussian.flow.last["shift"].assign(shifts.reshape(gaussian.flow.last["shift"].shape))
    settings = train.model_copy(update={"learning_rate": GAUSSIAN_RATE, "schedule": "cosine"})
    gaussian.prepare(settings, train.first_stage)
    size = (train.first_stage, train.chunk, train.batch_size)
    noise = NoiseChunks(density.base, density.dim, seeds, *size, purpose="first-stage")
    session.fit_first(gaussian, noise)
    for name, weight in widened(gaussian.flow.last, trainer.start_width).items():
        trainer.flow.last[name].assign(weight)


def widened(weights: Mapping[str, Any], width: float) -> dict[str, Any]:
    """Affine map's weights with its Gaussian ``width`` times as wide."""
    if width == 1:
        return dict(weights)
    wider = {"log_scale": lambda s: s + math.log(width), "lower": lambda below: width * below}
    return {name: wider.get(name, lambda w: w)(w.value) for name, w in weights.items()}
