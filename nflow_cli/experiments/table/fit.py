"""Fit a flow stack to the rows of a table by maximum likelihood (forward KL)."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.config.presets import fingerprint
from nflow_cli.config.schema import Fit2DConfig, FitConfig
from nflow_cli.data.points import PointData
from nflow_cli.densities.pushforward import FlowDensity, chunks
from nflow_cli.evaluation.scores import gap_to_the_truth, mass_of
from nflow_cli.flows import FlowStack
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.divergence import trace_flows
from nflow_cli.training.progress import nats_text
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import ChunkTrainer, Clock, ProgressReport, Speed, compiled
from nflow_cli.training.validation import ValidationLog


class FitPoints(ChunkTrainer):
    """A density that is fitted to rows, in the coordinates that its units give.

    Args:
        density: That of its base must not be 0 anywhere.
        log_det: The mean of ``log|det dz/dx|`` in nats of the training rows: what their units add
            to their log-density.
    """

    terms = ("loss",)

    def __init__(self, density: FlowDensity, log_det: float):
        super().__init__()
        self.density, self.flow = density, density.flow  # Keras finds the weights in the flow
        self.log_det = log_det
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return the :meth:`negative_log_likelihood` of rows ``(D, batch_size)``."""
        return {"loss": self.negative_log_likelihood(ops.swapaxes(batch, -1, -2))}

    def trace(self, batch: Any) -> Iterator[tuple[str, Any]]:
        """Yield what :meth:`objective` computes, from the last flow to the first."""
        z0 = yield from trace_flows(self.flow, ops.swapaxes(batch, -1, -2), inverse=True)
        yield "the log-density of the base", self.density.base.log_prob(z0)

    def negative_log_likelihood(self, z: Any) -> Any:
        """Return ``-mean log q(x)`` in nats of rows ``z`` ``(n, D)``.

        ``log q(x) = log q0(f^-1(z)) + log|det df^-1/dz| + log|det dz/dx|`` (arXiv 1505.05770,
        eq. 5); the last is that of the mean training row. Its expectation over ``p`` is
        ``KL(p || q)`` plus the entropy of ``p``.
        """
        _, log_q = self.density.pull(z)
        return -ops.mean(log_q) - self.log_det


class Training(NamedTuple):
    """How a fit was trained: its updates, whose weights were kept, and how long it took."""

    steps: int
    best_update: int
    speed: Speed


def build(config: Fit2DConfig | FitConfig, data: PointData) -> FitPoints:
    """Build and compile the model that a config describes."""
    flow = FlowStack(**config.flow.model_dump(), seed=config.seed)
    flow.build((None, data.dim))
    z, log_det = data.units.inside_and_log_det(data.train)
    if config.flow.affine:  # the last map starts as the Gaussian of the rows
        covariance = np.cov(z, rowvar=False, bias=True).reshape(data.dim, data.dim)
        flow.adapt(z.mean(axis=0), np.linalg.cholesky(covariance))
    density = FlowDensity(resolve(BASES[config.base_name])(), flow, data.units)
    model = FitPoints(density, float(log_det.mean()))
    model.prepare(config.train, config.train.steps or 0)
    return model


def train(
    model: FitPoints,
    data: PointData,
    config: Fit2DConfig | FitConfig,
    directory: RunDirectory | None = None,
    from_start: bool = False,
) -> Training:
    """Train ``model`` as ``config.train`` says, and go back to the weights of the best validation.

    With ``directory``, the training is logged and saved there, and goes on from where it was.
    ``from_start``: those that it begins with are among them.
    """
    settings, points = config.train, data.units.inside(data.train)
    steps = settings.steps or 0
    chunks = PointChunks(points, config.seed, steps, settings.chunk, settings.batch_size)
    clock, validate = Clock(), _validator(model, data)
    log = ValidationLog(
        clock, validate=validate, stopping=settings.early_stopping, from_start=from_start
    )

    def note(logs: Any) -> str:
        text = f"log-likelihood {nats_text(-float(logs['loss']))}"
        validation = f", validation {nats_text(-log.validation)}" if log.rows else ""
        return f"{text}{validation} nats"

    progress = ProgressReport(steps, clock, note)
    with Session(config, steps, directory, log=log, progress=progress) as session:
        session.fit(model, chunks)
        log.take_best(model)
        session.finish(model)
    return Training(clock.steps, log.kept_at, clock.speed())


def _validator(model: FitPoints, data: PointData) -> Callable[[], float]:
    """Return the function that computes the loss of the validation rows."""
    loss = compiled(model.negative_log_likelihood)
    z, log_det = data.units.inside_and_log_det(data.validation)
    parts = [ops.convert_to_tensor(z[p].astype(np.float32)) for p in chunks(*z.shape)]
    shift = model.log_det - float(log_det.mean())
    return lambda: sum(len(part) * float(loss(part)) for part in parts) / len(z) + shift


class Judges(NamedTuple):
    """What a fit is judged and drawn by.

    Attributes:
        scores: Returns scores of a density and the rows that it was fitted to, for the summary.
        arrays: Returns what the pictures are drawn from.
        from_start: Whether the weights that training begins with may be the best.
    """

    scores: Callable[[FlowDensity, PointData], dict[str, Any]]
    arrays: Callable[[FlowDensity, PointData], dict[str, np.ndarray]]
    from_start: bool


def run(
    config: Fit2DConfig | FitConfig, directory: RunDirectory, data: PointData, judges: Judges
) -> dict[str, Any]:
    """Fit, judge and save in ``directory``, from where it is; return the summary."""
    model = build(config, data)
    training = train(model, data, config, directory, judges.from_start)
    model_sha256 = save_model(directory, model.flow)
    directory.write_evaluation(judges.arrays(model.density, data))
    mass = {}
    if data.dim == 2:
        mass["mass"], mass["mass_error"] = mass_of(model.density, config.seed)
    unknown = ("kl", "kl_standard_error", "ess", "free_energy", "log_z", "log_z_source")
    return {
        "flow": config.flow.text,
        "k": config.flow.k,
        "target": None,
        "data": {"name": data.name, "sha256": data.sha256},
        "base": config.base_name,
        "seed": config.seed,
        "steps": training.steps,
        "best_update": training.best_update,
        **judges.scores(model.density, data),
        **gap_to_the_truth(model.density, data.name, config.seed, data.columns),
        **data.sizes,
        "atoms": list(data.atoms),
        **dict.fromkeys(unknown),
        **mass,
        "n_parameters": model.flow.count_params(),
        "model_sha256": model_sha256,
        "config_sha256": fingerprint(config),
        **training.speed._asdict(),
    }
