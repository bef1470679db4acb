"""Runs of an older format, brought up to date before they go on. No Keras here.

A finished run of format 1 reads as one of format 2: only checkpoints differ. In format 2 they hold
the config that they were trained by, where format 1 had its SHA-256, and the restarts of a fit are
the first axis of every weight and moment, where they were the second.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.config.keys import FREE_TO_CHANGE, without
from nflow_cli.config.presets import fingerprint
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import CONFIG, FORMAT, RunDirectory


def bring_up_to_date(run: RunDirectory) -> None:
    """Rewrite the checkpoints of a run of format 1, if there are some.

    The run is locked, and its ``config.yaml`` is still what the older version wrote. What is
    damaged is left: whoever reads it says so.
    """
    store = Checkpoints(run)
    for update, checkpoint in store.whole():
        if checkpoint.format != FORMAT:
            store.save(update, from_1_to_2(checkpoint, run.read_preset(CONFIG)))


def from_1_to_2(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Checkpoint:
    """Return a checkpoint of format 1 as one of format 2.

    Args:
        checkpoint: Of format 1.
        config: What ``config.yaml`` holds.
    """
    state, settings = dict(checkpoint.state), without(config, FREE_TO_CHANGE)
    if state.pop("settings", None) == fingerprint(settings):
        state.setdefault("config", settings)
    restarts = state.get("Restarts")
    alive = restarts.get("alive") if isinstance(restarts, dict) else None
    if not isinstance(alive, list) or len(alive) < 2:
        return Checkpoint(checkpoint.arrays, state)
    arrays = {name: _restarts_first(array) for name, array in checkpoint.arrays.items()}
    return Checkpoint(arrays, state)


def _restarts_first(array: np.ndarray) -> np.ndarray:
    """Return weights ``(repeats, R, 1, ...)`` as ``(R, repeats, ...)``; counts as they are."""
    if array.ndim < 3 or array.shape[2] != 1:
        return array
    return np.ascontiguousarray(np.swapaxes(array[:, :, 0], 0, 1))
