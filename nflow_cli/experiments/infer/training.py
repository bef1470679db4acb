"""Training of flow stacks on a log-density, by reverse KL."""

import math
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.densities.log_density import LogDensity, units_of
from nflow_cli.densities.pushforward import FlowDensity, values_at
from nflow_cli.errors import TargetError
from nflow_cli.evaluation.inference import (
    RESAMPLED_FROM,
    arrays_of,
    judge,
    resampled,
    sample_size,
)
from nflow_cli.experiments.density_2d.training import Fit2D, train
from nflow_cli.experiments.infer.array_fit import ArrayFit
from nflow_cli.experiments.infer.data import Subject
from nflow_cli.experiments.infer.members import with_missed_modes
from nflow_cli.experiments.infer.starts import starts_of
from nflow_cli.experiments.infer.trial import WHERE_IT_ENDS, compiling, point_text
from nflow_cli.experiments.loaded_flows import stack_of
from nflow_cli.experiments.summary import Fitted, Judged
from nflow_cli.random_streams import stream
from nflow_cli.registry import INFER_BASES, make
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.budget import Cost, pace, seconds_of
from nflow_cli.training.progress import phase
from nflow_cli.training.restarts import Restarts, plan

START_SAMPLES = 1_000  # for comparing a mode with the base
AHEAD, WIDEST = 10_000, 3.0  # draws in search of a divergence, and their widest, times q's
TIMED = 20_000  # draws, in a trial
OTHERS = 3.0  # times their resampling: missed mass, rounding


class CautiousStarts(Fit2D):
    """Start at a mode only if base samples shifted to it have a larger mean ``log p``.

    A hierarchical model can have a peak without mass: a funnel's neck.
    """

    def starts(self, modes: np.ndarray) -> np.ndarray:
        """Means of the Gaussians ``(R, D)`` that start the first stage."""
        noise = self.density.base.sample(stream(0, "starts"), (START_SAMPLES, modes.shape[-1]))
        there = np.stack([self._score(noise + mode) for mode in modes])
        return np.where((there > self._score(noise))[:, None], modes, 0.0).astype(modes.dtype)

    def _score(self, points: np.ndarray) -> float:
        values = values_at(self.target.log_prob, points).astype(np.float64)
        return float(values.mean()) if np.isfinite(values).all() else -math.inf

    def cause(self, weights: list[Any]) -> str:
        """A point where the log-density is not finite: of draws, the farther the wider."""
        if not isinstance(self.target, LogDensity):
            return ""
        self.set_weights(weights)
        shape = (*self.restarts, AHEAD, self.target.dim)
        noise = self.density.base.sample(stream(0, "divergence"), shape)
        wider = noise * np.linspace(1, WIDEST, AHEAD, dtype=noise.dtype)[:, None]
        z = ops.convert_to_numpy(self.density.push(ops.convert_to_tensor(wider))[0])
        z = z.reshape(-1, self.target.dim)
        try:
            log_p, x = values_at(self.target.log_prob, z), self.target.units.outside(z)
        except TargetError:  # a function that fails far away: the divergence is what is told
            return ""
        wrong = np.flatnonzero(np.isfinite(x).all(axis=-1) & ~np.isfinite(log_p))
        if not len(wrong):
            return ""
        place = point_text(x[wrong[0]], self.target.names)
        return f"the log-density of the target at {place} is {log_p[wrong[0]]}; {WHERE_IT_ENDS}"


class TensorFit(CautiousStarts):
    """Fit to a log-density of tensors."""


class HostFit(CautiousStarts, ArrayFit):
    """Fit to a log-density of NumPy arrays."""


def build(config: InferConfig, target: Any) -> Fit2D:
    """Build and compile the model of a run."""
    density = FlowDensity(make(INFER_BASES, config.base), stack_of(config))
    of = HostFit if getattr(target, "takes_arrays", False) else TensorFit
    model = of(density, target, config.train.annealed)
    model.xla, model.start_width = config.train.compile, config.train.start_width
    model.path_from = config.train.path_from(config.flow.pattern)
    model.prepare(config.train, config.train.steps)
    return model


def trial(config: InferConfig, subject: Subject) -> Cost:
    """Time the scores of a model, by a resampling, and its updates.

    An update of the first stage is taken to last as long as any.
    """
    settings, target = config.train, subject.target
    with compiling(settings.compile):
        model = build(config, target)
        units, n = units_of(config.density.columns, config.density.bounds), TIMED // RESAMPLED_FROM
        for _ in range(2):  # the first compiles
            seconds = seconds_of(lambda: resampled(model.density, target, units, config.seed, n))
        restarts = Restarts(model, config)
        update, one_program = pace(restarts.trainer, restarts.chunks(settings.steps))
    rungs = plan(settings.restarts, settings.steps, settings.chunk, settings.halving)
    scoring = seconds * (config.evaluate.samples / TIMED + OTHERS)
    return Cost(update, len(rungs) * one_program + settings.first_stage * update + scoring)


def judged(config: InferConfig, density: FlowDensity, target: Any) -> Judged:
    """Scores of a density by its draws, and its arrays."""
    units = units_of(config.density.columns, config.density.bounds)
    parts = density, target, units
    n = sample_size(config.evaluate.samples, density)
    with phase(f"scoring: {n:,} draws"):
        judgement = judge(*parts, config.density.columns, config.seed, n, starts_of(config))
    scores = {**judgement.scores, "has_exact_samples": target.sample is not None}
    with phase("preparing pictures"):
        return Judged(scores, arrays_of(*parts, config.seed, judgement))


def run(config: InferConfig, directory: RunDirectory, subject: Subject) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    model = build(config, subject.target)
    with compiling(config.train.compile):
        training = train(model, config, directory)
        density, member_seconds = with_missed_modes(model, config)
    model_sha256 = save_model(directory, density.flow)
    scores, arrays = judged(config, density, subject.target)
    facts = {
        **scores,
        "steps": training.steps,
        "n_parameters": density.flow.count_params(),
        "model_sha256": model_sha256,
        **training.speed._asdict(),
        "restarts": training.restarts.judged(scores),
        "member_weights": density.member_weights.tolist(),
        "member_seconds": member_seconds,
    }
    return Fitted(facts, arrays)
