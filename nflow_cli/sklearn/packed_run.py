"""Run directories in memory, for pickling."""

import io
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from nflow_cli.experiments.run import load

_PREFIX = "nflow-"  # of temporary folders


class PackedRun:
    """Run directory as bytes; unpacked and loaded when its density is first used.

    Copies and pickles hold the bytes only.
    """

    def __init__(self, content: bytes):
        self.content = content

    @classmethod
    def of(cls, train: Callable[[Path], Any]) -> "PackedRun":
        """Run that ``train(folder)`` leaves, without pictures and checkpoints."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
            train(Path(folder))
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(Path(folder).iterdir()):
                    if path.is_file():
                        archive.write(path, path.name)
        return cls(content.getvalue())

    def unpack(self, folder: Path) -> None:
        """Write the run into a folder."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            archive.extractall(folder)

    @cached_property
    def density(self) -> Any:
        """Trained density, of a temporary run directory that is removed with this object."""
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.unpack(Path(folder))
        return load(folder)

    def __getstate__(self) -> dict[str, bytes]:
        return {"content": self.content}
