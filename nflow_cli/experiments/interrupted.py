"""Weights of an interrupted training, from its last checkpoint."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.errors import RunDirectoryError, UnfinishedWarning
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import MAX_METRICS, RunDirectory
from nflow_cli.runs.model_file import most_bytes
from nflow_cli.text import printable
from nflow_cli.training.checkpointing import Checkpointer, forms, grouped
from nflow_cli.training.saved_state import (
    ClockState,
    RestartsState,
    StateError,
    TrainingState,
    checked,
)

if TYPE_CHECKING:
    from nflow_cli.experiments.experiment import Experiment

COPIES = 4  # of the weights in a checkpoint: last and best ones, two moments of the optimizer


class SoFar(NamedTuple):
    """Weights so far, and which they are."""

    weights: list[np.ndarray]
    which: str


def load_weights(experiment: "Experiment", run: RunDirectory, model: Any) -> None:
    """Load the weights so far of ``model``, which is built; an ``UnfinishedWarning`` has which.

    Those of the lowest validation loss, if there is one yet; else those of the last checkpoint, of
    restarts in training those of the lowest KL divergence when last compared. Nothing larger than
    expected is unpacked.
    """
    most = COPIES * experiment.config.train.restarts * most_bytes(model) + MAX_METRICS
    reader = Checkpointer(Checkpoints(run, most=most), experiment.config, 0, [])
    if (saved := reader.read()) is None:
        raise reader.damaged("no checkpoint")
    try:
        clock = checked(ClockState, _part(saved, "Clock"))
        steps = checked(TrainingState, saved.state).steps
        found = _so_far(saved, len(model.weights))
    except StateError as error:
        raise reader.damaged(str(error)) from None
    far, way_on = f"update {clock.updates[-1]:,} of {steps:,}", experiment.way_on(run)
    if found is None:
        raise RunDirectoryError(
            f"{run.path}: interrupted at {far}, before its restarts were compared; {way_on}"
        )
    if forms(found.weights) != forms(model.weights):
        raise reader.damaged("a checkpoint of another model")
    if not all(np.isfinite(array).all() for array in found.weights):
        raise reader.damaged("weights that are not finite")
    model.set_weights(found.weights)
    text = f"{printable(run.path)}: interrupted at {far}; these are its {found.which}; {way_on}"
    warnings.warn(text, UnfinishedWarning, stacklevel=2)


def _part(saved: Checkpoint, name: str) -> Mapping[str, Any]:
    part = saved.state.get(name)
    return part if isinstance(part, dict) else {}


def _so_far(saved: Checkpoint, count: int) -> SoFar | None:
    """Weights so far, ``count`` arrays; ``None`` of restarts that were never compared."""
    for name in saved.state:
        if best := grouped(saved.arrays, f"{name}/").get("best_weights"):
            return SoFar(best, "best weights so far, by the validation loss")
    last = grouped(saved.arrays, "").get("variable", [])[:count]
    if "Restarts" not in saved.state:
        return SoFar(last, "weights at that update")
    state = checked(RestartsState, _part(saved, "Restarts"))
    alive = len(state.alive)
    if alive == 1:
        return SoFar(last, "weights at that update")
    if max(state.alive) >= len(state.kl) or any(array.shape[:1] != (alive,) for array in last):
        raise StateError(f"expected weights and a KL of each of {alive} restarts")
    scores = np.array([state.kl[r] for r in state.alive], float)  # NaN: not finite, or never judged
    if not np.isfinite(scores).any():
        return None
    best = int(np.nanargmin(scores))
    which = f"weights at that update, of the best of {alive} restarts when last compared"
    return SoFar([array[best] for array in last], which)
