"""Maximum-likelihood training with validation and early stopping, for flows and cells."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Clock, ProgressReport, Speed, nats_text
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import ValidationLog
from nflow_cli.training.trainer import ChunkTrainer


class Training(NamedTuple):
    """Result of a training: updates, the best update, and speed."""

    steps: int
    best_update: int
    speed: Speed


def train_on_rows(
    model: ChunkTrainer,
    chunks: PointChunks,
    validate: Callable[[], Any],
    data: Dataset,
    config: CellsConfig | FitConfig,
    directory: RunDirectory | None = None,
    observers: Sequence[Any] = (),
) -> Training:
    """Train a model as ``config.train`` specifies; restore the weights of the best validation.

    ``validate`` returns the losses ``(R, n)`` of validation rows in nats; the initial weights are
    candidates too. With ``directory``: logged there and resumable.
    """
    steps, clock = config.train.steps or 0, Clock()
    of_rows = {"stopping": config.train.stopping, "weights": data.weights.validation}
    log = ValidationLog(clock, validate=validate, from_start=True, **of_rows)

    def note(logs: Any) -> str:
        text = f"log-likelihood {nats_text(-float(logs['loss']))}"
        validation = f", validation {nats_text(-log.validation)}" if log.rows else ""
        return f"{text}{validation} nats"

    def best() -> str:
        return log.best_text(lambda loss: nats_text(-loss))

    progress = ProgressReport(steps, clock, note, best)
    of_session = {"log": log, "progress": progress, "observers": observers}
    with Session(config, steps, directory, **of_session) as session:
        session.fit(model, chunks)
        log.take_best(model)
        session.finish(model)
    return Training(clock.steps, log.kept_at, clock.speed())
