"""Training of a density for each fold of chains, and log Z by the chains that it left out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.regression import fit_regression
from nflow_cli.experiments.summary import Fitted
from nflow_cli.flows.stack import FlowStack, SideBySide, seeds_from
from nflow_cli.inference.evidence.draws import Draws, space_in_words
from nflow_cli.inference.evidence.evidence_config import EvidenceConfig
from nflow_cli.inference.evidence.evidence_data import fold_rows
from nflow_cli.inference.evidence.evidence_scoring import (
    BOUND_UPDATES,
    bound_scores,
    judged,
)
from nflow_cli.random_streams import stream
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Clock, ProgressReport, nats_text
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import ValidationLog
from nflow_cli.training.trainer import ChunkTrainer, RuntimeConstant

WEIGHT = 10.0  # of the spread of log q - log p in the loss
LINEAR = 1.0  # nats from which it is linear


class FitDraws(ChunkTrainer):
    """Densities to train on draws whose log-density is known.

    Args:
        density: Of R members, one a fold.

    Attributes:
        weight: Of the spread of ``log q - log p̃`` in the loss; 0: maximum likelihood.
    """

    terms = ("loss",)

    def __init__(self, density: PushforwardDensity):
        super().__init__()
        self.density = density
        self.trained = density.trained  # where Keras finds the weights
        self.weight = RuntimeConstant(WEIGHT)
        self.restarts = density.flow.members
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """:meth:`mismatch` of rows ``(R, D + 1, batch_size)``."""
        return {"loss": self.mismatch(ops.swapaxes(batch, -1, -2))}

    def mismatch(self, rows: Any) -> Any:
        """``-mean log q + w mean h(d - mean d)`` ``(R,)`` in nats, ``d = log q - log p̃``, ``w`` 10.

        ``h`` is Huber's: half the square, linear beyond 1 nat. Half the variance of ``d`` under
        ``p`` is, near ``q = p``, the KL divergence, with no noise there: draws with their
        log-density are fitted closer than draws alone (log-variance divergence: Richter, Boustati,
        Nüsken, Ruiz & Akyildiz 2020, arXiv 2010.10436).

        Args:
            rows: ``(R, n, D + 1)``: latents, and ``log p̃`` in their coordinates.
        """
        _, log_q = self.density.pull(rows[..., :-1])
        difference = log_q - rows[..., -1]
        distance = ops.abs(difference - ops.mean(difference, axis=-1, keepdims=True))
        quadratic = 0.5 * distance * distance
        huber = ops.where(distance < LINEAR, quadratic, LINEAR * (distance - 0.5 * LINEAR))
        return ops.mean(self.weight.value * huber - log_q, axis=-1)


class FoldChunks(PointChunks):
    """Batches of rows, for each member from its own fold.

    Args:
        rows: Numbers of each member's rows.
    """

    def __init__(self, rows: Sequence[np.ndarray], *arguments: Any):
        super().__init__(*arguments)
        self.rows = rows

    def _rows(self, seed: int, index: int) -> np.ndarray:
        rows = self.rows[self.seeds.index(seed)]
        rng = stream(seed, "batches", index)
        return rows[rng.integers(len(rows), size=(self.chunk, self.batch_size))]


def built_stack(config: EvidenceConfig) -> FlowStack:
    """Initial flows of a settled config, one stack a fold."""
    settings = config.flow
    flow = SideBySide(settings.pattern, settings.k, folds_seeds(config), affine=settings.affine)
    flow.build((None, config.dim))
    return flow


def build(config: EvidenceConfig, draws: Draws) -> FitDraws:
    """Build and compile the model: each member starts at the Gaussian of all draws."""
    flow = built_stack(config)
    density = PushforwardDensity(resolve(BASES[config.base_name])(), flow, ColumnUnits(draws.units))
    if config.flow.affine:
        encoded = density.encoded(draws.rows)[0]
        start = fit_regression(encoded, np.zeros((len(encoded), 0)))
        flow.adapt(start.intercept, start.cholesky, None)
    model = FitDraws(density)
    model.prepare(config.train, config.train.steps)
    return model


def fit(
    model: FitDraws, draws: Draws, config: EvidenceConfig, directory: RunDirectory | None = None
) -> tuple[Clock, ValidationLog]:
    """Train all members; restore each one's weights of the best validation loss."""
    settings = config.train
    clock = Clock()
    chunks = fold_chunks(model.density, draws, config, settings.steps)
    validate = _validator(model, draws)
    log = ValidationLog(
        clock, validate=validate, stopping=settings.early_stopping, validates_start=True
    )

    def note(logs: Mapping[str, float]) -> str:
        return f"validation loss {nats_text(log.mean_loss)}" if log.rows else ""

    best = partial(log.best_text, nats_text)
    progress = ProgressReport(settings.steps, clock, note, best)
    with Session(config, settings.steps, directory, log=log, progress=progress) as session:
        session.fit(model, chunks)
        log.take_best(model)
        session.finish(model)
    return clock, log


def folds_seeds(config: EvidenceConfig) -> list[int]:
    """Seed of each fold's density."""
    return seeds_from(config.seed, config.data.folds or 0)


def fold_chunks(
    density: PushforwardDensity, draws: Draws, config: EvidenceConfig, steps: int
) -> FoldChunks:
    """Batches of ``steps`` updates for each fold's density."""
    return FoldChunks(
        fold_rows(draws)[0],
        _with_log_p(density, draws),
        folds_seeds(config),
        steps,
        config.train.chunk,
        config.train.batch_size,
    )


def _with_log_p(density: PushforwardDensity, draws: Draws) -> np.ndarray:
    """Draws in the flows' coordinates, and their log-density there ``(n, D + 1)``."""
    encoded, log_det = density.encoded(draws.rows)
    log_p = draws.log_p - log_det
    return np.column_stack([encoded, log_p - log_p.mean()])


def _validator(model: FitDraws, draws: Draws) -> Callable[[], np.ndarray]:
    """Loss of each member ``(R,)`` by as many validation rows of each, evenly spaced."""
    rows = _with_log_p(model.density, draws)
    _, validation = fold_rows(draws)
    count = min(map(len, validation))
    numbers = [part[np.arange(count) * len(part) // count] for part in validation]
    batch = ops.convert_to_tensor(rows[np.stack(numbers)].astype(np.float32))
    loss = compiled(model.mismatch)
    return lambda: ops.convert_to_numpy(loss(batch)).astype(float)


def train(config: EvidenceConfig, directory: RunDirectory, draws: Draws) -> Fitted:
    """Train or resume in ``directory``, judge and save."""
    model = build(config, draws)
    clock, log = fit(model, draws, config, directory)
    model_sha256 = save_model(directory, model.trained)
    scores, arrays = judged(model.density, draws)
    chunks = fold_chunks(model.density, draws, config, BOUND_UPDATES)
    log_z = scores["log_z"]
    facts = {
        **scores,
        **bound_scores(model, chunks, draws, log_z, scores["log_z_standard_error"]),
        "data": {"name": draws.name, "sha256": draws.sha256},
        "space": space_in_words(config.data, draws.space),
        "steps": clock.steps,
        "best_update": log.last_best_update,
        "n_parameters": model.trained.count_params(),
        "model_sha256": model_sha256,
        **clock.speed()._asdict(),
    }
    return Fitted(config, facts, arrays)
