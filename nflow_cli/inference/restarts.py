"""Restarts of a reverse-KL fit: trained side by side in one program, the worse half dropped early.

Reverse KL drops modes depending on the initial weights: the best of several is kept.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from keras import ops
from pydantic import BaseModel, Field

from nflow_cli.arrays import Tensor
from nflow_cli.flows.stack import SideBySide, seeds_from
from nflow_cli.inference.modes import climb, value_and_gradient
from nflow_cli.inference.reverse_kl_data import DensityTrain
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.observers import Count, Saved, StateError
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import ChunkTrainer

# The worse half goes after so many eighths of the updates. Where the objective is annealed in the
# first half, the order of the restarts means little before 3/8 and is nearly the final one from
# there on.
DROPS = (3, 4, 5, 6, 7)
COMPARED_SAMPLES = 50_000
GAUSSIAN_RATE = 0.05  # of learning, at the start


def plan(count: int, steps: int, chunk: int, halving: bool) -> list[tuple[int, int]]:
    """Pairs (restarts, update up to which they are trained), in order."""
    if not halving:
        return [(count, steps)]
    chunks = math.ceil(steps / chunk)
    ends = sorted({round(eighths * chunks / 8) for eighths in DROPS} - {0, chunks})
    rungs = []
    for end in ends:
        if count > 1:
            rungs.append((count, end * chunk))
            count = math.ceil(count / 2)
    return [*rungs, (count, steps)]


class Restarts(Saved):
    """Restarts of one fit: those still trained, and the last scores of the others.

    ``kl`` and ``updates`` hold each restart's last KL divergence (nats; ``None``: never evaluated,
    or not finite) and number of updates.

    Args:
        model: Fit that the best restart ends in.
        train: How the restarts are trained.
        seed: Restart ``r`` has the seed ``seed + r``, modulo the number of seeds.
    """

    class State(BaseModel):
        alive: Annotated[list[Count], Field(min_length=1)]
        kl: list[float | None]
        updates: list[Count]

    def __init__(self, model: ChunkTrainer, train: DensityTrain, seed: int):
        self.model = model
        self.settings = train
        self.seed = seed
        count = train.restarts
        self.seeds = seeds_from(seed, count)
        self.alive = list(range(count))
        self.kl: list[float | None] = [None] * count
        self.updates = [0] * count
        self.trainer = self._trainer()

    def search(self, session: Session) -> None:
        """Train the restarts, dropping the worse by :func:`plan`; leave the best in ``model``."""
        settings = self.settings
        if not session.take_over(self.trainer) and settings.first_stage:
            seeds = [self.seeds[r] for r in self.alive]
            fit_first_stage(self.trainer, seeds, settings, session)
            session.save_start(self.trainer)
        for count, end in plan(len(self.seeds), settings.steps, settings.chunk, settings.halving):
            if session.finished or self.trainer.stop_training:
                break
            self.narrow(count)
            self.fit_until(end, session)
        self.narrow(1)
        session.finish(self.model)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a :meth:`state`; the weights come later."""
        super().restore(state)
        count = len(self.seeds)
        if not len(self.kl) == len(self.updates) == count:
            raise StateError(f"kl, updates: expected one for each of {count} restarts")
        if len(set(self.alive)) != len(self.alive) or max(self.alive) >= count:
            raise StateError(f"alive: expected some of {count} restarts")
        self.trainer = self._trainer()

    def record(self) -> dict[str, Any]:
        """Outcome by the keys of the summary's ``restarts``."""
        best = self.alive[0]
        return {
            "count": len(self.seeds),
            "best": best,
            "seed": self.seeds[best],
            "kl": self.kl,
            "updates": self.updates,
        }

    def fit_until(self, steps: int, session: Session) -> None:
        """Train the restarts alive up to update ``steps``."""
        session.fit(self.trainer, self.chunks(steps))
        for r in self.alive:
            self.updates[r] = int(self.trainer.optimizer.iterations)

    def chunks(self, steps: int) -> NoiseChunks:
        """Base samples of the restarts alive, up to update ``steps``."""
        settings = self.settings
        density = self.model.density
        return NoiseChunks(
            density.base,
            density.dim,
            [self.seeds[r] for r in self.alive],
            steps,
            settings.chunk,
            settings.batch_size,
            even=settings.draws == "even",
        )

    def narrow(self, count: int) -> None:
        """Keep the ``count`` restarts of the lowest KL divergence."""
        if count >= len(self.alive):
            return
        alive = self.alive
        trainer = self.trainer
        scores = self.evaluate()
        for r, score in zip(alive, scores.tolist(), strict=True):
            self.kl[r] = score if math.isfinite(score) else None
        best = sorted(np.argsort(scores)[:count].tolist())  # NaN comes last
        self.alive = [alive[i] for i in best]
        self.trainer = self._trainer()
        _hand_over(trainer, self.trainer, best)

    def evaluate(self) -> np.ndarray:
        """KL (nats) of each restart alive, from common samples; the free energy if log Z is
        unknown.

        The samples are neither those of training nor of the final scores.
        """
        density = self.trainer.density
        shape = (COMPARED_SAMPLES, density.dim)
        z0 = density.base.sample(stream(self.seed, "restarts"), shape)
        z, log_q = density.push(ops.broadcast_to(z0, (len(self.alive), *shape)))
        log_p = self.trainer.target.log_prob(z)
        return ops.convert_to_numpy(ops.mean(ops.subtract(log_q, log_p), axis=-1))

    def _trainer(self) -> ChunkTrainer:
        """Trainer of the restarts alive: of several side by side, or of the last one the model."""
        seeds = [self.seeds[r] for r in self.alive]
        if len(seeds) == 1:
            self.model.start_over(seeds)
            return self.model
        flow = self.model.flow
        stacks = SideBySide(flow.pattern, flow.k, seeds, affine=flow.affine)
        trainer = self.model.with_flow(stacks, len(seeds))
        trainer.prepare(self.settings, self.settings.steps)
        return trainer


def _hand_over(wide: ChunkTrainer, narrow: ChunkTrainer, places: list[int]) -> None:
    """Copy weights and Adam's moments of the restarts at ``places`` of ``wide`` to ``narrow``."""
    pairs = [(wide.trainable_variables, narrow.trainable_variables)]
    pairs += [(wide.optimizer.variables, narrow.optimizer.variables)]
    for sources, targets in pairs:
        for source, target in zip(sources, targets, strict=True):
            value = ops.convert_to_numpy(source.value)
            if value.ndim > 0:  # not the count of updates
                value = value[places].reshape(target.shape)
            target.assign(value)


def fit_first_stage(
    trainer: ChunkTrainer,
    seeds: Sequence[int],
    train: DensityTrain,
    session: Session,
) -> None:
    """Fit the affine map of each restart of ``trainer`` to its density, in ``first_stage`` updates.

    Couplings start as the identity, and splines move nothing outside their box. So a Gaussian is
    fitted first by reverse KL, from the mode where a search from base samples ends. An annealed
    target is the density to the power β of the start: as wide as the flows' first objective. The
    flows may start wider: mass that the start covers is found by shrinking, mass outside hardly
    ever.

    ``trainer``: a :class:`~nflow_cli.inference.reverse_kl_trainer.ReverseKL`, of one stack
    or several.
    """
    density = trainer.density
    starts = [density.base.sample(stream(seed, "mode"), (1, density.dim))[0] for seed in seeds]
    gaussian = trainer.first_stage()
    log_p = value_and_gradient(trainer.target, trainer.xla)
    means = trainer.starts(climb(log_p, np.stack(starts)))
    shift = gaussian.flow.last["shift"]
    shift.assign(means.reshape(shift.shape))
    settings = train.model_copy(update={"learning_rate": GAUSSIAN_RATE, "schedule": "cosine"})
    gaussian.prepare(settings, train.first_stage)
    noise = NoiseChunks(
        density.base,
        density.dim,
        seeds,
        train.first_stage,
        train.chunk,
        train.batch_size,
        purpose="first-stage",
    )
    session.fit_first(gaussian, noise)
    for name, weight in widened(gaussian.flow.last, trainer.start_width).items():
        trainer.flow.last[name].assign(weight)


def widened(weights: Mapping[str, Tensor], width: float) -> dict[str, Tensor]:
    """Affine map's weights with its Gaussian ``width`` times as wide."""
    wide = {name: weight.value for name, weight in weights.items()}
    if width != 1:
        wide["log_scale"] = wide["log_scale"] + math.log(width)
        if "lower" in wide:
            wide["lower"] = width * wide["lower"]
    return wide
