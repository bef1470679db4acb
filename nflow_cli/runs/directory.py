"""Run directory: file names, format and versions, atomic writes, locks and status."""

import csv
import io
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nflow_cli.constants import RUN, __version__
from nflow_cli.errors import BusyError, DivergenceError, RunDirectoryError
from nflow_cli.runs import files, npz
from nflow_cli.runs.json_text import json_object, with_nulls
from nflow_cli.runs.npz import Shapes, check_axes, check_of

CONFIG = "config.yaml"
METRICS = "metrics.csv"
SUMMARY = "summary.json"
EVALUATION = "evaluation.npz"
MODEL = "model.keras"
WEIGHTS = "weights.npz"  # of a density of cells, in place of the model
PLOTS = "plots"  # from the other files, as is the next
REPORT = "report.html"
LIVE = "live.html"  # likewise
ANIMATION = "animation"  # in plots/: a GIF and a WebP
ESTIMATES = "estimates.npz"  # of a VAE, for each test image
CHECKPOINTS = "checkpoints"
LOG = "log.txt"  # of each run of a sweep
ENDED = (SUMMARY, METRICS, EVALUATION, ESTIMATES)  # files of a finished run, beside its model
FILES = "files"  # in run.json: their SHA-256
MACHINES = "machines"  # in run.json: of the training, one more for each other machine
COUNTS = {"update", "epoch"}  # increasing columns of metrics.csv
LOCK = ".lock"  # while the run is being written, or after a kill -9

# Bytes.
MAX_JSON = 16 * 2**20
MAX_METRICS = 256 * 2**20
MAX_EVALUATION = 2**30
Arrays = dict[str, np.ndarray]
FORMAT = 6  # in run.json
VERSIONS = "versions"  # in run.json: of each package
NFLOW = "nflow-cli"  # the key of this one among them


class RunDirectory:
    """One run on disk. All files but ``metrics.csv`` are written atomically.

    An unreadable or unwritable file is a ``RunDirectoryError`` that names it.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def expect_free(cls, output: str | None) -> None:
        """Check that ``output`` may be the folder of a new run; it is not created."""
        path = Path(output or "outputs")
        with files.explained(path):
            if output is None or not path.exists():
                return
            if not _is_unbegun([entry.name for entry in path.iterdir()]):
                raise RunDirectoryError(f"{path}: not empty; --output takes a new folder")

    @classmethod
    def create(cls, name: str, output: str | None = None) -> "RunDirectory":
        """Create ``outputs/<YYYYmmdd-HHMMSS>-<name>[-n]``, or ``output``, new or empty."""
        cls.expect_free(output)
        with files.explained(Path(output or "outputs")):
            if output is not None:
                Path(output).mkdir(parents=True, exist_ok=True)
                return cls(Path(output))
            stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
            Path("outputs").mkdir(exist_ok=True)
            for n in range(1, 10_000):
                path = Path("outputs") / stem
                if n > 1:
                    path = path.with_name(f"{stem}-{n}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path)
        raise RunDirectoryError(f"outputs/{stem}: no free name for the run")

    @classmethod
    def at(cls, path: str) -> "RunDirectory":
        """Folder that need not be a run, of a sweep or of pictures; created if missing."""
        with files.explained(Path(path)):
            Path(path).mkdir(parents=True, exist_ok=True)
        return cls(Path(path))

    @classmethod
    def open(cls, path: str) -> "RunDirectory":
        """Open an existing run that this version of nflow can read."""
        folder = Path(path)
        with files.explained(folder):
            if not folder.is_dir():
                raise RunDirectoryError(f"{path}: no such run directory")
        run = cls(folder)
        if not run.has(RUN):
            raise RunDirectoryError(f"{path}: not a run directory: it has no {RUN}")
        expect_readable(str(folder / RUN), run.read_json(RUN))
        return run

    @property
    def begun(self) -> bool:
        """Whether there is a run to resume."""
        return self.has(RUN)

    @property
    def is_busy(self) -> bool:
        """Whether another process is writing in this folder."""
        return files.is_locked(self.path / LOCK)

    def below(self, name: str) -> "RunDirectory":
        """Subfolder, such as a run of a sweep."""
        files.is_folder(self.path / name)
        return RunDirectory(self.path / name)

    def has(self, name: str) -> bool:
        """Whether there is a plain file of that name; anything else is refused."""
        return files.is_file(self._path(name))

    def _path(self, name: str) -> Path:
        path = self.path / name
        if path.parent != self.path:
            files.is_folder(path.parent)
        return path

    @contextmanager
    def locked(self, noun: str = "run") -> Iterator[None]:
        """Lock the folder against other processes (``BusyError``) until the block, or this process,
        ends.

        Removes unfinished files of a killed process.
        """
        path = self.path / LOCK
        with files.opened(path, "ab") as file:
            if not files.lock(file, path):
                raise BusyError(f"{self.path}: another nflow is writing this {noun}")
            try:
                for name in ("", PLOTS, CHECKPOINTS):
                    files.remove(self.path / name, files.is_unfinished)
                yield
            finally:
                with suppress(OSError):
                    path.unlink()

    @contextmanager
    def recorded(self, info: Mapping[str, Any], config: str | None = None) -> Iterator[None]:
        """Record ``info`` and the run's status in ``run.json``, from start to end of the block.

        A resumed run keeps its first record, counts the resumption and adds another machine. A
        completed run lists the SHA-256 of its final files.

        ``config``, the text of ``config.yaml``, is written first for a new run, which can be
        resumed once ``run.json`` is there; afterwards for an extended run, which must not be taken
        for finished.
        """
        is_new = not self.begun
        fresh = {**info, "resumed": 0, "start_seconds": round(time.time(), 3)}
        record = signed(fresh) if is_new else self._resumed(info)
        try:
            if is_new and config is not None:
                self.write_text(CONFIG, config)
            self.write_json(RUN, {**record, "status": "running"})
        except BaseException:
            if not self.begun:  # and never will
                (self.path / CONFIG).unlink(missing_ok=True)
            raise
        try:
            if not is_new and config is not None:
                self.write_text(CONFIG, config)
            yield
        except BaseException as error:
            status = "diverged" if isinstance(error, DivergenceError) else "interrupted"
            with suppress(RunDirectoryError):  # the error that ended the run matters more
                self._record_end(record, status)
            raise
        self._record_end({**record, FILES: self.checksums()}, "completed")

    def _resumed(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Record of a run that is resumed: its first one, once more resumed."""
        record = self.read_json(RUN)
        times_resumed = record.get("resumed", 0)
        if not isinstance(times_resumed, int):
            raise RunDirectoryError(f"{self.path / RUN}: damaged: resumed: expected a number")
        record.pop(FILES, None)  # of a run that is extended
        machines = record.get(MACHINES)
        if not isinstance(machines, list):  # none if trained from Python
            machines = []
        added = info.get(MACHINES, [])
        if added and machines[-1:] != added:
            record[MACHINES] = [*machines, *added]
        return {**record, "resumed": times_resumed + 1}

    def _record_end(self, record: Mapping[str, Any], status: str) -> None:
        end = {"status": status, "end_seconds": round(time.time(), 3)}
        self.write_json(RUN, {**record, **end})

    def checksums(self) -> dict[str, str]:
        """SHA-256 of a finished run's files."""
        return {name: files.sha256(self._path(name)) for name in ENDED if self.has(name)}

    def write(self, name: str, fill: Callable[[BinaryIO], Any]) -> Path:
        """Write a file atomically, by ``fill(file)``, a temporary one with the same suffix."""
        path = self._path(name)
        with files.explained(path):
            if path.parent != self.path:
                path.parent.mkdir(exist_ok=True)
            with files.replaced(path) as temporary, temporary.open("wb") as file:
                fill(file)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        # An argument that is not UTF-8 reaches Python as surrogates: JSON escapes them this way.
        content = text.encode(errors="backslashreplace")
        return self.write(name, lambda file: file.write(content))

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        """JSON file; non-finite numbers become null."""
        text = json.dumps(with_nulls(data), indent=2, ensure_ascii=False)
        return self.write_text(name, text + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> Path:
        """Arrays by name, as ``.npz``."""
        content = io.BytesIO()  # an unfinished zip file raises again when it is freed
        members: dict[str, Any] = dict(arrays)
        np.savez(content, **members)
        return self.write(name, lambda file: file.write(content.getbuffer()))

    @contextmanager
    def metrics_writer(
        self, rows: int | None = None
    ) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """``metrics.csv``, cut to ``rows`` rows if given; yields a function that adds a row."""
        path = self.path / METRICS
        if rows is not None:
            self._keep_rows(path, rows)
        with files.opened(path, "ab") as file:

            def add(row: Mapping[str, Any]) -> None:
                with files.explained(path):
                    text = io.StringIO()
                    writer = csv.writer(text)
                    if not file.seek(0, os.SEEK_END):
                        writer.writerow(row)  # its keys
                    writer.writerow(row.values())
                    files.append(file, text.getvalue().encode())

            yield add

    def sync_metrics(self) -> None:
        """Sync ``metrics.csv`` to disk."""
        path = self.path / METRICS
        if self.has(METRICS):
            with files.explained(path):
                files.sync(path)

    def _keep_rows(self, path: Path, rows: int) -> None:
        """Cut ``metrics.csv`` to its header and ``rows`` rows; to nothing without rows."""
        content = self.read(METRICS, MAX_METRICS) if self.has(METRICS) else b""
        lines = content.splitlines(keepends=True)
        if rows and len(lines) <= rows:
            raise RunDirectoryError(f"{path}: damaged: expected {rows} rows or more")
        if lines:
            kept = lines[: rows + 1] if rows else []
            with files.opened(path, "rb+") as file, files.explained(path):
                file.truncate(sum(len(line) for line in kept))

    def open_log(self) -> AbstractContextManager[Any]:
        """Open ``log.txt`` for appending."""
        return files.opened(self.path / LOG, "ab+")

    def read_json(self, name: str) -> dict[str, Any]:
        """``run.json`` or ``summary.json``; non-finite numbers become None."""
        text = self.read(name, MAX_JSON).decode("utf-8", errors="replace")
        try:
            return json_object(text)
        except ValueError as error:
            raise RunDirectoryError(f"{self.path / name}: damaged: {error}") from None

    def read_arrays(self, name: str, shapes: Shapes) -> Arrays:
        """Arrays of an ``.npz`` file, of the given shapes."""
        content = self.read(name, MAX_EVALUATION)
        with self.damaged_arrays(name), zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = set(archive.namelist())
            keys = [k for k, axes in shapes.items() if axes[0] != "?" or f"{k}.npy" in members]
            arrays = npz.read_arrays(archive, keys, check_of(shapes))
            check_axes(arrays)
            return arrays

    def arrays_of(self, name: str, content: bytes, most: int) -> Arrays:
        """Arrays of an ``.npz`` file's bytes, by name; of ``most`` bytes together."""
        with self.damaged_arrays(name), zipfile.ZipFile(io.BytesIO(content)) as archive:
            keys = [key.removesuffix(".npy") for key in archive.namelist()]
            return npz.read_arrays(archive, keys, _check_numbers, most)

    @contextmanager
    def damaged_arrays(self, name: str) -> Iterator[None]:
        """Turn errors while arrays are read into a RunDirectoryError."""
        try:
            yield
            return
        except npz.ArrayError as error:
            reason = str(error)
        except Exception:  # zlib, zipfile and NumPy raise different ones for damaged bytes
            reason = "expected arrays saved by nflow"
        raise RunDirectoryError(f"{self.path / name}: damaged: {reason}")

    def read_metrics(self) -> Arrays:
        """Columns of ``metrics.csv``."""
        text = self.read(METRICS, MAX_METRICS).decode("utf-8", errors="replace")
        try:
            lines = io.StringIO(text)
            header = next(csv.reader([next(lines)]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's about an empty file: reported below
                table = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
            if not len(table):
                raise ValueError
            columns = dict(zip(header, table.T, strict=True))
        except (ValueError, StopIteration, csv.Error):
            raise RunDirectoryError(
                f"{self.path / METRICS}: damaged: expected a header and rows of numbers"
            ) from None
        for name in columns.keys() & COUNTS:
            if not (np.all(np.abs(columns[name]) < 1e15) and np.all(np.diff(columns[name]) > 0)):
                raise RunDirectoryError(
                    f"{self.path / METRICS}: damaged: {name}: expected increasing numbers"
                )
        return columns

    def read(self, name: str, limit: int) -> bytes:
        """Content of a file of at most ``limit`` bytes."""
        if not self.has(name):
            raise RunDirectoryError(f"{self.path / name}: missing; did the run end?")
        return files.read(self._path(name), limit)


def _is_unbegun(names: list[str]) -> bool:
    """Whether a folder is empty, or only has files of a run killed at its start."""
    others = [name for name in names if name not in (LOCK, CONFIG)]
    return not names or (LOCK in names and all(files.is_unfinished(name) for name in others))


def _check_numbers(key: str, _: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise npz.ArrayError(f"{key}: expected numbers, received dtype {dtype}")


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``run.json`` with the format and this version."""
    versions = {NFLOW: __version__, **record.get(VERSIONS, {})}
    return {"format": FORMAT, **record, VERSIONS: versions}


def expect_readable(path: str, record: Mapping[str, Any]) -> None:
    """Check that this version can read a run: its format and, if a development version wrote it,
    that version.
    """
    number = record.get("format")
    versions = record.get(VERSIONS)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise RunDirectoryError(f"{path}: damaged: expected a format number")
    if number > FORMAT:
        raise RunDirectoryError(
            f"{path}: format {number}, written by a newer nflow; this one reads {FORMAT}"
        )
    writer = versions.get(NFLOW) if isinstance(versions, Mapping) else None
    if not isinstance(writer, str):
        raise RunDirectoryError(f"{path}: damaged: expected the version of {NFLOW}")
    if number < FORMAT:
        raise RunDirectoryError(
            f"{path}: a run of format {number}, which nflow {writer:.40} reads; this is "
            f"{__version__}, of format {FORMAT}: train it again"
        )
    if writer != __version__ and ".dev" in writer:
        raise RunDirectoryError(
            f"{path}: written by nflow {writer:.40}; this is {__version__}, and a development "
            "version's runs are read by no other: train it again"
        )


def write_file(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write a file atomically by ``fill(file)``, through a link that the user names."""
    path = files.followed(path)
    RunDirectory(path.parent).write(path.name, fill)
