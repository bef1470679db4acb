"""The run directory: the one module that knows the file names inside a run. No Keras here."""

import csv
import errno
import hashlib
import io
import json
import os
import platform
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nflow_cli import npz
from nflow_cli.errors import BusyError, DivergenceError, RunDirectoryError

CONFIG, RUN, METRICS, SUMMARY = "config.yaml", "run.json", "metrics.csv", "summary.json"
MODEL, EVALUATION, PLOTS = "model.keras", "evaluation.npz", "plots"
ESTIMATES = "estimates.npz"  # of a VAE, for each test image
CHECKPOINTS = "checkpoints"
SWEEP, LOG = "sweep.yaml", "log.txt"  # of a sweep, and of each run in it
ENDED = (SUMMARY, METRICS, EVALUATION, ESTIMATES)  # what a run ends with, beside its model
FILES = "files"  # in run.json: the SHA-256 of each of those
LOCK = ".lock"  # there only while the run is being written, or after a kill -9

FORMAT = 1  # of a run directory, in run.json; a newer one is not read
MAX_JSON, MAX_METRICS = 16 * 2**20, 256 * 2**20  # bytes


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
                if not _is_unbegun([entry.name for entry in path.iterdir()]):
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
    def at(cls, path: str) -> "RunDirectory":
        """Take a folder as it is, making it where it is missing: of a sweep, or of pictures."""
        with _explained(Path(path)):
            Path(path).mkdir(parents=True, exist_ok=True)
        return cls(Path(path))

    @classmethod
    def open(cls, path: str) -> "RunDirectory":
        """Open a run that exists."""
        folder = Path(path)
        with _explained(folder):
            if not folder.is_dir():
                raise RunDirectoryError(f"{path}: no such run directory")
            if not (folder / RUN).is_file():
                raise RunDirectoryError(f"{path}: not a run directory: it has no {RUN}")
        run = cls(folder)
        number = run.read_json(RUN).get("format")
        if isinstance(number, int) and number > FORMAT:
            raise RunDirectoryError(
                f"{folder / RUN}: format {number}, of a newer nflow; this one reads {FORMAT}"
            )
        if number != FORMAT:
            raise RunDirectoryError(f"{folder / RUN}: damaged: expected a format number")
        return run

    @property
    def begun(self) -> bool:
        """Whether there is a run, which can be resumed."""
        return (self.path / RUN).is_file()

    @contextmanager
    def locked(self, what: str = "run") -> Iterator[None]:
        """Let no other process write in this folder until the block, or this process, ends.

        Raises:
            BusyError: If another one is.
        """
        path = self.path / LOCK
        with _opened(path, "wb") as file:
            if not _lock(file, path):
                raise BusyError(f"{self.path}: another nflow is writing this {what}")
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()

    @contextmanager
    def recorded(self, info: Mapping[str, Any], config: str | None = None) -> Iterator[None]:
        """Keep ``run.json``: ``info`` and the status, from running to how the block ends.

        A run that is resumed keeps what was recorded first, and counts how often it was. One that
        is completed says the SHA-256 of the files that it ends with.

        Args:
            info: What else is recorded.
            config: The text of ``config.yaml``. Of a new run it is written first, for from
                ``run.json`` on a run can be resumed; of one that goes on afterwards, for one that
                was finished and is extended must not be taken for finished.
        """
        record = {"format": FORMAT, **info, "resumed": 0, "start_seconds": round(time.time(), 3)}
        first, then = config, None
        if self.begun:
            record, first, then = self._resumed(), None, config
        try:
            self._write_config(first)
            self.write_json(RUN, {**record, "status": "running"})
        except BaseException:
            if not self.begun:  # and never will
                (self.path / CONFIG).unlink(missing_ok=True)
            raise
        try:
            self._write_config(then)
            yield
        except BaseException as error:
            status = "diverged" if isinstance(error, DivergenceError) else "interrupted"
            with suppress(RunDirectoryError):  # what ended the run matters more
                self._record_end(record, status)
            raise
        self._record_end({**record, FILES: self.checksums()}, "completed")

    def _resumed(self) -> dict[str, Any]:
        record = self.read_json(RUN)
        before = record.get("resumed", 0)
        if not isinstance(before, int):
            raise RunDirectoryError(f"{self.path / RUN}: damaged: resumed: expected a number")
        record.pop(FILES, None)  # of a run that is extended
        return {**record, "resumed": before + 1}

    def _write_config(self, text: str | None) -> None:
        if text is not None:
            self.write_text(CONFIG, text)

    def _record_end(self, record: Mapping[str, Any], status: str) -> None:
        end = {"status": status, "end_seconds": round(time.time(), 3)}
        self.write_json(RUN, {**record, **end})

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each of the files that a run ends with."""
        contents = {
            name: self.read(name, npz.MAX_BYTES) for name in ENDED if (self.path / name).is_file()
        }
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}

    def write(self, name: str, fill: Callable[[BinaryIO], Any]) -> Path:
        """Write a file whole, or leave the old one."""
        with self._replaced(name) as temporary, temporary.open("wb") as file:
            fill(file)
        return self.path / name

    @contextmanager
    def _replaced(self, name: str) -> Iterator[Path]:
        """Yield a temporary name, of a file that replaces the old one when the block ends well."""
        path = self.path / name
        with _explained(path):
            if path.parent != self.path:
                path.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(path.suffix, f".{path.stem}.", path.parent)
            try:
                os.close(handle)
                yield Path(temporary)
                _sync(temporary)
                os.chmod(temporary, 0o644)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):  # what went wrong first matters more
                    os.unlink(temporary)
                raise
            _sync(path.parent)

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        # An argument that is not UTF-8 reaches Python as surrogates: JSON escapes them this way.
        content = text.encode(errors="backslashreplace")
        return self.write(name, lambda file: file.write(content))

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        """Write a JSON file; a figure that is not finite is written as null."""
        finite = {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in data.items()
        }
        return self.write_text(name, json.dumps(finite, indent=2, ensure_ascii=False) + "\n")

    def write_evaluation(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write the arrays that the plots are drawn from."""
        return self._write_arrays(EVALUATION, arrays)

    def write_estimates(self, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write what the figures of a VAE are means of: an entry for each test image."""
        return self._write_arrays(ESTIMATES, arrays)

    def _write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> Path:
        content = io.BytesIO()  # a zip file half written would complain again when it is freed
        np.savez(content, allow_pickle=False, **arrays)
        return self.write(name, lambda file: file.write(content.getbuffer()))

    def write_model(self, save: Callable[[str], Any]) -> Path:
        """Write ``model.keras`` with ``save(path)``."""
        with self._replaced(MODEL) as temporary:
            save(str(temporary))
        return self.path / MODEL

    def write_plot(self, name: str, format: str, draw: Callable[[BinaryIO], Any]) -> Path:
        """Write one picture with ``draw(file)``."""
        return self.write(f"{PLOTS}/{name}.{format}", draw)

    @contextmanager
    def metrics_writer(
        self, rows: int | None = None
    ) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Open ``metrics.csv`` at its end, or after its first ``rows`` rows, dropping the rest.

        Yields a function that adds a row.
        """
        path = self.path / METRICS
        if rows is not None:
            self._keep_rows(path, rows)
        with _opened(path, "ab") as file:

            def add(row: Mapping[str, Any]) -> None:
                with _explained(path):
                    text = io.StringIO()
                    header = [] if file.seek(0, os.SEEK_END) else [row]
                    csv.writer(text).writerows([*header, row.values()])
                    _append(file, text.getvalue().encode())

            yield add

    def sync_metrics(self) -> None:
        """Make the rows of ``metrics.csv`` outlast a power cut."""
        path = self.path / METRICS
        with _explained(path):
            if path.exists():
                _sync(path)

    def _keep_rows(self, path: Path, rows: int) -> None:
        """Cut ``metrics.csv`` off after ``rows`` rows and their header, or where it begins."""
        with _explained(path):
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            if rows and len(lines) <= rows:
                raise RunDirectoryError(f"{path}: damaged: expected {rows} rows or more")
            if lines:
                os.truncate(path, sum(map(len, lines[: rows + 1])) if rows else 0)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read ``run.json`` or ``summary.json``."""
        text = self.read(name, MAX_JSON).decode("utf-8", errors="replace")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise RunDirectoryError(f"{self.path / name}: damaged: expected a JSON object")
        return data

    def read_evaluation(self) -> dict[str, np.ndarray]:
        """Read the arrays that the plots are drawn from."""
        return self.arrays_of(EVALUATION, self.read(EVALUATION, npz.MAX_BYTES))

    def read_estimates(self) -> dict[str, np.ndarray]:
        """Read what the figures of a VAE are means of."""
        return self.arrays_of(ESTIMATES, self.read(ESTIMATES, npz.MAX_BYTES))

    def arrays_of(self, name: str, content: bytes) -> dict[str, np.ndarray]:
        """Return the arrays of numbers in the bytes of an ``.npz`` file of the run, by name."""
        wrong: object = "expected arrays saved by nflow"
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                keys = [key.removesuffix(".npy") for key in archive.namelist()]
                if all(re.fullmatch(r"[\w/]+", key) for key in keys):
                    return npz.read_arrays(archive, keys, _check_numbers)
        except npz.ArrayError as error:
            wrong = error
        except Exception:  # zlib, zipfile and NumPy each have their own for damaged bytes
            pass
        raise RunDirectoryError(f"{self.path / name}: damaged: {wrong}")

    def read_metrics(self) -> dict[str, np.ndarray]:
        """Read the columns of ``metrics.csv``."""
        text = self.read(METRICS, MAX_METRICS).decode("utf-8", errors="replace")
        try:
            header, *rows = text.splitlines()
            if not any(rows):  # NumPy would only warn
                raise ValueError
            table = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
            return dict(zip(next(csv.reader([header])), table.T, strict=True))
        except (ValueError, StopIteration, csv.Error):
            raise RunDirectoryError(
                f"{self.path / METRICS}: damaged: expected a header and rows of numbers"
            ) from None

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of the run, of at most ``limit`` bytes."""
        path = self.path / name
        with _explained(path):
            if not path.is_file():
                raise RunDirectoryError(f"{path}: missing; did the run end?")
            if path.stat().st_size > limit:
                raise RunDirectoryError(f"{path}: damaged: expected at most {limit:,} bytes")
            return path.read_bytes()


def _is_unbegun(names: list[str]) -> bool:
    """Return whether a folder is empty but for what a run leaves that is killed before it began."""
    left = rf"{re.escape(LOCK)}|{re.escape(CONFIG)}|\.(config|run)\.\w+\.(yaml|json)"
    return not names or (LOCK in names and all(re.fullmatch(left, name) for name in names))


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that decides the numbers, if known."""
    packages = ("nflow-cli", "keras", "tensorflow", "numpy")
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):  # a build of another name: tensorflow-cpu, tf-nightly
            found[name] = version(name)
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into one line that names ``path``, not a temporary file on the way to it."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from None


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[Any]:
    """Open a file unbuffered; only opening and closing it are explained, not the block."""
    with _explained(path):
        file = path.open(mode, buffering=0)
    try:
        yield file
    finally:
        with _explained(path):  # a network file system may say only now that it is full
            file.close()


def _lock(file: Any, path: Path) -> bool:
    """Lock an open file unless another process has; closing it or any end of ours unlocks it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True  # this system or file system has no locks: train without one
    with suppress(OSError):  # the last holder may have removed the file since it was opened
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _append(file: Any, content: bytes) -> None:
    """Append all of ``content`` to an unbuffered file, or leave it as it was."""
    start, rest = file.seek(0, os.SEEK_END), memoryview(content)
    try:
        while rest:  # a disk that fills up takes a part first
            rest = rest[file.write(rest) :]
    except BaseException:
        with suppress(OSError):
            file.truncate(start)
        raise


def _sync(path: str | Path) -> None:
    """Make a file, or the names in a folder, outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(handle)


def _check_numbers(key: str, _: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise npz.ArrayError(f"{key}: expected numbers, received dtype {dtype}")
