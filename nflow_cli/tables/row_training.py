"""Training on the rows of a table, with validation rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Clock, Observer, ProgressReport, Speed, nats_text
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import ValidationLog
from nflow_cli.training.trainer import ChunkTrainer


class Training(NamedTuple):
    """Result of a training: updates, the latest whose weights are kept, and speed."""

    steps: int
    best_update: int
    speed: Speed


def train_on_rows(
    model: ChunkTrainer,
    chunks: PointChunks,
    validate: Callable[[], np.ndarray],
    data: Dataset,
    config: CellsConfig | FitConfig,
    directory: RunDirectory | None = None,
    observers: Sequence[Observer] = (),
    keeps_last: bool = False,
) -> Training:
    """Train a model as ``config.train`` specifies; restore the weights of the best validation,
    unless ``keeps_last``.

    ``validate`` returns the losses ``(R, n)`` of validation rows in nats; the initial weights are
    candidates too. With ``directory``: logged there and resumable.
    """
    steps = config.train.steps or 0
    clock = Clock()
    log = ValidationLog(
        clock,
        validate=validate,
        stopping=config.train.stopping,
        validates_start=True,
        row_weights=data.weights.validation,
    )

    def note(logs: Mapping[str, float]) -> str:
        text = f"log-likelihood {nats_text(-float(logs['loss']))}"
        validation = f", validation {nats_text(-log.mean_loss)}" if log.rows else ""
        return f"{text}{validation} nats"

    def best() -> str:
        return "" if keeps_last else log.best_text(lambda loss: nats_text(-loss))

    progress = ProgressReport(steps, clock, note, best)
    with Session(
        config, steps, directory, log=log, progress=progress, observers=observers
    ) as session:
        session.fit(model, chunks)
        if not keeps_last:
            log.take_best(model)
        session.finish(model)
    kept = clock.steps if keeps_last else log.last_best_update
    return Training(clock.steps, kept, clock.speed())
