"""The run directory: the one module that knows the file names inside a run. No Keras here."""

import csv
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nflow_cli.errors import DivergenceError, RunDirectoryError

CONFIG, RUN, METRICS, SUMMARY = "config.yaml", "run.json", "metrics.csv", "summary.json"
MODEL, EVALUATION, PLOTS = "model.keras", "evaluation.npz", "plots"
CHECKPOINTS = "checkpoints"


class RunDirectory:
    """One run on disk. Every file but ``metrics.csv`` is written whole or not at all.

    Raises:
        RunDirectoryError: From every method, naming the file, when it cannot be read or written.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, name: str, output: str | None = None) -> "RunDirectory":
        """Make ``outputs/<YYYYmmdd-HHMMSS>-<name>[-n]``, or ``output``, new or empty."""
        with _explained(Path(output or "outputs")):
            if output is not None:
                path = Path(output)
                path.mkdir(parents=True, exist_ok=True)
                if any(path.iterdir()):
                    raise RunDirectoryError(f"{path}: not empty; --output takes a new folder")
                return cls(path)
            stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
            Path("outputs").mkdir(exist_ok=True)
            for n in range(1, 10_000):
                path = Path("outputs") / (stem if n == 1 else f"{stem}-{n}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path)
        raise RunDirectoryError(f"outputs/{stem}: no free name for the run")

    @classmethod
    def open(cls, path: str) -> "RunDirectory":
        """Open a run that exists."""
        folder = Path(path)
        with _explained(folder):
            if not folder.is_dir():
                raise RunDirectoryError(f"{path}: no such run directory")
            if not (folder / RUN).is_file():
                raise RunDirectoryError(f"{path}: not a run directory: it has no {RUN}")
        return cls(folder)

    @contextmanager
    def recorded(self, info: Mapping[str, Any]) -> Iterator[None]:
        """Keep ``run.json``: ``info`` and the status, from running to how the block ends.

        A run that is resumed keeps what was recorded first, and counts how often it was.
        """
        record = {**info, "resumed": 0, "start_seconds": round(time.time(), 3)}
        if (self.path / RUN).is_file():
            record = self.read_json(RUN)
            record["resumed"] = int(record.get("resumed", 0)) + 1
        record["status"] = "running"
        self.write_json(RUN, record)
        status = "interrupted"
        try:
            yield
            status = "completed"
        except DivergenceError:
            status = "diverged"
            raise
        finally:
            end = {"status": status, "end_seconds": round(time.time(), 3)}
            self.write_json(RUN, {**record, **end})

    def write(self, name: str, fill: Callable[[BinaryIO], Any]) -> Path:
        """Write a file under a temporary name, flush it, and rename it."""
        path = self.path / name
        with _explained(path):
            path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(temporary, 0o644)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        return self.write(name, lambda file: file.write(text.encode()))

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        """Write a JSON file; a figure that is not finite is written as null."""
        finite = {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in data.items()
        }
        return self.write_text(name, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")

    def write_evaluation(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write the arrays that the plots are drawn from."""
        return self.write(EVALUATION, lambda file: np.savez(file, allow_pickle=False, **arrays))

    def write_model(self, save: Callable[[str], Any]) -> Path:
        """Write ``model.keras`` with ``save(path)``."""
        with _explained(self.path / MODEL), tempfile.TemporaryDirectory(dir=self.path) as folder:
            temporary = Path(folder) / MODEL
            save(str(temporary))
            content = temporary.read_bytes()
        return self.write(MODEL, lambda file: file.write(content))

    def write_plot(self, name: str, format: str, draw: Callable[[BinaryIO], Any]) -> Path:
        """Write one picture with ``draw(file)``."""
        return self.write(f"{PLOTS}/{name}.{format}", draw)

    @contextmanager
    def metrics_writer(self, rows: int = 0) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Open ``metrics.csv`` after its first ``rows`` rows, dropping what follows them.

        Yields a function that adds a row.
        """
        path = self.path / METRICS
        with _explained(path):
            lines = path.read_bytes().splitlines(keepends=True) if rows else []
            if rows and len(lines) <= rows:
                raise RunDirectoryError(f"{path}: damaged: expected {rows} rows or more")
            if path.exists():
                os.truncate(path, sum(map(len, lines[: rows + 1])))
        with _explained(path), path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)

            def add(row: Mapping[str, Any]) -> None:
                with _explained(path):
                    if file.tell() == 0:
                        writer.writerow(row)
                    writer.writerow(row.values())
                    file.flush()

            yield add

    def read_json(self, name: str) -> dict[str, Any]:
        """Read ``run.json`` or ``summary.json``."""
        text = self.read(name).decode("utf-8", errors="replace")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise RunDirectoryError(f"{self.path / name}: damaged: expected a JSON object")
        return data

    def read_evaluation(self) -> dict[str, np.ndarray]:
        """Read the arrays that the plots are drawn from; never runs code from the file."""
        content = io.BytesIO(self.read(EVALUATION))
        try:
            with np.load(content, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception:  # zlib, zipfile and numpy each have their own for damaged bytes
            raise RunDirectoryError(
                f"{self.path / EVALUATION}: damaged: expected arrays saved by nflow"
            ) from None

    def read_metrics(self) -> dict[str, np.ndarray]:
        """Read the columns of ``metrics.csv``."""
        text = self.read(METRICS).decode("utf-8", errors="replace")
        try:
            rows = list(csv.reader(text.splitlines()))
            table = np.array([[float(cell) for cell in row] for row in rows[1:]])
            return dict(zip(rows[0], table.T, strict=True))
        except (ValueError, IndexError, csv.Error):
            raise RunDirectoryError(
                f"{self.path / METRICS}: damaged: expected a header and rows of numbers"
            ) from None

    def read(self, name: str) -> bytes:
        """Return the content of a file of the run."""
        path = self.path / name
        with _explained(path):
            if not path.is_file():
                raise RunDirectoryError(f"{path}: missing; did the run end?")
            return path.read_bytes()


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that decides the numbers."""
    packages = ("nflow-cli", "keras", "tensorflow", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into one line that names ``path``, not a temporary file on the way to it."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from None
