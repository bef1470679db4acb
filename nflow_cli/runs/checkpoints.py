"""Checkpoints, from which a run can resume after a kill at any moment."""

import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs import files, npz
from nflow_cli.runs.directory import CHECKPOINTS, RunDirectory
from nflow_cli.text import to_stderr

MANIFEST = "manifest.json"
MAX_CHECKPOINTS = 2
_STATE = "state"


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, and the rest of the state as JSON."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[0-9]{12}\.npz", name) is not None


class Checkpoints:
    """Last two checkpoints of a run, in ``checkpoints/``, and a manifest of their SHA-256.

    Each is synced to disk after its rows of ``metrics.csv`` and before the manifest lists it; the
    older is removed last: a kill or a power cut leaves at least one intact. ``notify`` is called
    with lines for the user; ``most``: bytes of one that is loaded.
    """

    def __init__(
        self,
        directory: RunDirectory,
        notify: Callable[[str], Any] = to_stderr,
        most: int = npz.MAX_BYTES,
    ):
        self.directory = directory
        self.notify = notify
        self.most = most

    def save(self, update: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove all but the newest two."""
        # JSON as an array: one file, written atomically.
        state = np.frombuffer(json.dumps(checkpoint.state).encode(), np.uint8)
        members = {**checkpoint.arrays, _STATE: state}
        content = io.BytesIO()
        np.savez(content, **members)
        name = f"{update:012d}.npz"
        digest = hashlib.sha256(content.getbuffer()).hexdigest()
        self.directory.sync_metrics()
        self.directory.write(f"{CHECKPOINTS}/{name}", lambda file: file.write(content.getbuffer()))
        manifest = {**self._manifest(), name: digest}
        newest = dict(sorted(manifest.items())[-MAX_CHECKPOINTS:])
        self.directory.write_json(f"{CHECKPOINTS}/{MANIFEST}", newest)
        # Any other file is the user's.
        folder = self.directory.path / CHECKPOINTS
        files.remove(folder, lambda name: _is_name(name) and name not in newest)

    def load(self) -> Checkpoint | None:
        """Newest intact checkpoint; ``None`` if none was written yet."""
        manifest = self._manifest()
        oldest = min(manifest, default="")
        for name in sorted(manifest, reverse=True):
            try:
                return self._read(f"{CHECKPOINTS}/{name}", manifest[name])
            except RunDirectoryError as error:
                has_previous = name != oldest
                self.notify(
                    f"{error}; loading the previous checkpoint" if has_previous else str(error)
                )
        if manifest:
            raise RunDirectoryError(
                f"{self.directory.path / CHECKPOINTS}: no intact checkpoint; the run can only be "
                "trained again from its config.yaml"
            )
        return None

    def _read(self, name: str, digest: str) -> Checkpoint:
        content = self.directory.read(name, self.most)
        if hashlib.sha256(content).hexdigest() != digest:
            raise RunDirectoryError(f"{self.directory.path / name}: damaged: its checksum differs")
        arrays = self.directory.arrays_of(name, content, self.most)
        try:
            state = json.loads(arrays.pop(_STATE).tobytes())
        except (KeyError, ValueError, RecursionError):
            state = None
        if not isinstance(state, dict):
            raise RunDirectoryError(f"{self.directory.path / name}: damaged: no state")
        return Checkpoint(arrays, state)

    def _manifest(self) -> dict[str, str]:
        name = f"{CHECKPOINTS}/{MANIFEST}"
        if not self.directory.has(name):
            return {}
        manifest = self.directory.read_json(name)
        if not all(map(_is_name, manifest)):
            raise RunDirectoryError(
                f"{self.directory.path / name}: damaged: expected names of checkpoints"
            )
        return manifest
