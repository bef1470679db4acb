"""The first stage of a fit to a density: its mode, then a Gaussian, before any other map.

Couplings start as the identity, and splines move nothing that is outside of their box: so the
affine map at the data's end is brought to the density first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import compiled

RATE = 0.05  # of learning, at the start
SEARCH_STEPS = 400
# Of the search: its first step in each coordinate, and by how much a step grows or shrinks.
FIRST_STEP, GROWTH, SHRINKAGE = 0.1, 1.2, 0.5


def run(trainer: Any, seeds: Sequence[int], train: Any, session: Session) -> None:
    """Bring the affine map of each restart of ``trainer`` to its density.

    A Gaussian is fitted by reverse KL, from the mode that a search from a sample of the base ends
    at. Where the objective is annealed, it is fitted to the density to the power β at the start:
    so it is as wide as what the flows begin with.

    Args:
        trainer: A :class:`~nflow_cli.experiments.target.fit.Fit2D`, of one stack or of several.
        seeds: Of the restarts.
        train: The settings of the training; ``first_stage`` says how many updates.
        session: Of the training.
    """
    density = trainer.density
    starts = [density.base.sample(stream(s, "mode"), (1, density.dim))[0] for s in seeds]
    gaussian = trainer.first_stage()
    shifts = modes(trainer.target.log_prob, np.stack(starts))
    gaussian.flow.last["shift"].assign(shifts.reshape(gaussian.flow.last["shift"].shape))
    settings = train.model_copy(update={"learning_rate": RATE, "schedule": "cosine"})
    gaussian.prepare(settings, train.first_stage)
    size = (train.first_stage, train.chunk, train.batch_size)
    noise = NoiseChunks(density.base, density.dim, seeds, *size, purpose="first-stage")
    session.fit_first(gaussian, noise)
    for name, weight in gaussian.flow.last.items():
        trainer.flow.last[name].assign(weight)


def modes(log_prob: Any, starts: np.ndarray) -> np.ndarray:
    """Climb a log-density from each of ``starts`` ``(n, D)``; return the highest points reached.

    By the signs of the gradient alone (Riedmiller & Braun, *RPROP*, 1993): the step of a
    coordinate grows while the sign stays, and is halved where it changes. So a mode at a distance
    of 1,000 is reached within a hundred steps, whatever its width.
    """
    import tensorflow as tf

    def climb(best: Any) -> Any:
        def step(i: Any, x: Any, size: Any, sign: Any, best: Any, height: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                values = log_prob(x)
            now = tf.sign(tape.gradient(values, x))
            now = tf.where(tf.math.is_finite(now), now, 0.0)
            higher = values > height  # not where it is NaN
            best = tf.where(higher[:, None], x, best)
            turned = now * sign
            growth = tf.where(turned > 0, GROWTH, tf.where(turned < 0, SHRINKAGE, 1.0))
            size = size * growth
            return i + 1, x + now * size, size, now, best, tf.where(higher, values, height)

        start = (0, best, tf.fill(best.shape, FIRST_STEP), tf.zeros_like(best), best)
        low = tf.fill(best.shape[:1], -np.inf)
        return tf.while_loop(lambda i, *_: i < SEARCH_STEPS, step, (*start, low))[4]

    return ops.convert_to_numpy(compiled(climb)(ops.convert_to_tensor(starts)))
