"""Training of flow stacks by reverse KL."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.config.schema import Fit2DConfig, InferConfig
from nflow_cli.config.training_schema import Annealed, CooledStopping
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.evaluation.target import (
    IN_SUMMARY,
    Evaluation,
    density_arrays,
    evaluate_samples,
)
from nflow_cli.experiments.loaded_flows import stack_of
from nflow_cli.experiments.summary import Fitted, Judged
from nflow_cli.flows import FlowStack
from nflow_cli.registry import BASES, TARGETS, make, resolve
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.progress import ProgressReport, nats_text, phase
from nflow_cli.training.restarts import Restarts
from nflow_cli.training.restarts_record import RestartsRecord
from nflow_cli.training.schedules import inverse_temperature
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import EarlyStop, Plateau
from nflow_cli.training.trainer import (
    ChunkTrainer,
    Clock,
    MetricsLog,
    Speed,
)


class Fit2D(ChunkTrainer):
    """Trainable density and its target; ``annealing`` is the schedule of ``beta``.

    ``restarts`` is ``(R,)`` for R stacks side by side. ``is_first``: first stage, to the target as
    annealed at the start.
    """

    terms = ("loss", "kl", "beta")
    start_width = 1.0  # of the starting Gaussian, relative to that of the first stage
    path_from: int | None = None  # first update whose gradient leaves out the score
    _by_path = False

    def __init__(
        self,
        density: FlowDensity,
        target: Target,
        annealing: Annealed,
        restarts: tuple[int, ...] = (),
        is_first: bool = False,
    ):
        super().__init__()
        self.density, self.target, self.annealing = density, target, annealing
        self.flow = density.flow  # Keras finds the weights here
        self.restarts, self.is_first = restarts, is_first
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Annealed free energy and the KL of base samples ``(D, [R,] batch_size)``.

        ``KL(q || p) = E[log q(z) - log p(z)]`` where ``p`` is normalised, else the free energy
        ``KL - log Z`` (arXiv 1505.05770, eq. 15).
        """
        beta = self.beta(update)
        z, log_q = self.density.push(ops.swapaxes(batch, -1, -2))
        log_p, kept = self.target.log_prob(z), self.log_q_to_train(z, log_q)
        loss, kl = ops.mean(kept - beta * log_p, axis=-1), ops.mean(log_q - log_p, axis=-1)
        return {"loss": loss, "kl": kl, "beta": beta}

    def log_q_to_train(self, z: Any, log_q: Any) -> Any:
        """``log q`` at samples ``z`` ``(..., D)``, with the gradient used for training.

        ``d log q(z(θ); θ)/dθ`` is a path term, ``∇_z log q · dz/dθ``, plus the score at fixed
        ``z``, whose mean is 0. Without the score the gradient has no variance where q = p (Roeder,
        Wu & Duvenaud 2017, arXiv 1703.09194).
        """
        return self.density.held_log_prob(z) if self._by_path else log_q

    def differentiate(self, batch: Any) -> tuple[dict[str, Any], list[Any]]:
        """Terms of the next update and the gradient of its loss."""
        return self.early_or_late(lambda: super(Fit2D, self).differentiate(batch))

    def early_or_late(self, differentiated: Callable[[], Any]) -> Any:
        """``differentiated()``, from ``path_from`` on with the path gradient: unstable far from
        ``p``, of less variance near it.
        """
        if self.path_from is None:
            return differentiated()

        def by_path(choice: bool) -> Any:
            self._by_path = choice
            try:
                return differentiated()
            finally:
                self._by_path = False

        is_late = ops.convert_to_tensor(self.optimizer.iterations) >= self.path_from
        return ops.cond(is_late, lambda: by_path(True), lambda: by_path(False))

    def beta(self, update: Any) -> Any:
        """Inverse temperature of the target at an update."""
        made = 0 * update if self.is_first else update
        return inverse_temperature(made, self.annealing.updates, self.annealing.start)

    def start_over(self, seeds: Sequence[int]) -> None:
        """Restart with other seeds, one for each stack."""
        self.forget()
        self.flow.restart(*seeds)

    def starts(self, modes: np.ndarray) -> np.ndarray:
        """Means of the Gaussians ``(R, D)`` that start the first stage: the modes."""
        return modes

    def with_flow(self, flow: FlowStack, restarts: int) -> "Fit2D":
        """Same fit with another flow of ``restarts`` stacks."""
        return self._like(flow, (restarts,))

    def member_fit(self, flow: FlowStack) -> "Fit2D":
        """Same fit with another flow, not annealed."""
        fit = self._like(flow, flow.members)
        fit.annealing = Annealed(1.0, 0)
        return fit

    def first_stage(self) -> "Fit2D":
        """Fit of the last affine map alone."""
        return self._like(self.flow.without_maps(), self.restarts, is_first=True)

    def _like(self, flow: FlowStack, restarts: tuple[int, ...], is_first: bool = False) -> "Fit2D":
        flow.build((None, self.density.dim))
        density = FlowDensity(self.density.base, flow)
        fit = type(self)(density, self.target, self.annealing, restarts, is_first)
        fit.xla, fit.start_width = self.xla, self.start_width
        fit.path_from = None if is_first else self.path_from
        return fit


class Training(NamedTuple):
    """Result of a training: updates, speed, and the record of its restarts."""

    steps: int
    speed: Speed
    restarts: RestartsRecord


def build(config: Fit2DConfig) -> Fit2D:
    """Build and compile the model of a config."""
    density = FlowDensity(resolve(BASES[config.base_name])(), stack_of(config))
    model = Fit2D(density, make(TARGETS, config.target), config.train.annealed)
    model.path_from = config.train.path_from(config.flow.pattern)
    model.prepare(config.train, config.train.steps)
    return model


def train(
    model: Fit2D,
    config: Fit2DConfig | InferConfig,
    directory: RunDirectory | None = None,
) -> Training:
    """Train ``model`` as ``config.train`` specifies, in ``directory`` if given: logged and
    resumable.
    """
    settings = config.train
    clock, restarts = Clock(), Restarts(model, config)
    name = "free energy" if model.target.log_z is None else "KL"

    def note(logs: Any) -> str:
        return f"{name} {nats_text(float(logs['kl']))} nats"

    with Session(
        config,
        settings.steps,
        directory,
        log=MetricsLog(clock),
        progress=ProgressReport(settings.steps, clock, note),
        observers=_stopping(config, clock),
        parts=[restarts],
    ) as session:
        restarts.train(session)
    return Training(clock.steps, clock.speed(), restarts.record())


def _stopping(config: Fit2DConfig | InferConfig, clock: Clock) -> list[Any]:
    train, stopping = config.train, config.train.early_stopping
    if stopping is None:
        return []
    if not isinstance(stopping, CooledStopping):
        return [EarlyStop(**stopping.model_dump(), clock=clock)]
    start = max(train.annealed.updates, train.path_from(config.flow.pattern) or 0)
    return [Plateau(**stopping.model_dump(), clock=clock, start=start)]


def judged(
    config: Fit2DConfig, density: FlowDensity, target: Target, evaluation: Evaluation
) -> Judged:
    """Scores by the draws of an evaluation, and arrays."""
    scores = {name: evaluation.scores[name] for name in IN_SUMMARY}
    drawn = evaluation.first, config.seed, config.evaluate.grid
    return Judged(scores, density_arrays(density, target, *drawn))


def run(config: Fit2DConfig, directory: RunDirectory, data: None = None) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    model = build(config)
    training = train(model, config, directory)
    model_sha256 = save_model(directory, model.flow)
    parts, seed = (model.density, model.target), config.seed
    with phase(f"scoring: {config.evaluate.samples:,} draws"):
        evaluation = evaluate_samples(*parts, seed, config.evaluate.samples)
        mass, mass_error = mass_of(model.density, seed)
    with phase("preparing pictures"):
        scores, arrays = judged(config, *parts, evaluation)
    facts = {
        **scores,
        "steps": training.steps,
        "mass": mass,
        "mass_error": mass_error,
        "n_parameters": model.flow.count_params(),
        "model_sha256": model_sha256,
        **training.speed._asdict(),
        "restarts": training.restarts.judged(scores),
    }
    return Fitted(facts, arrays)
