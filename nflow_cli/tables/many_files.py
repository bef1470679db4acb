"""A table of many files, its parts: each is scored or predicted by itself, into a file of its own.

The record of an output, in a hidden folder, holds size and time of both files, and the sums over
the rows. It is written last, so a part with a record is done.
"""

import glob
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nflow_cli.backend.start import machine_of, memory_errors, start_tensorflow
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.files.tables import TableFile
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.run import Run
from nflow_cli.runs import files
from nflow_cli.runs.directory import CONFIG, LOCK, MAX_JSON, RunDirectory
from nflow_cli.tables.answers.predict import answer, question_of
from nflow_cli.tables.loaded_tables import write_beside

RECORDS = ".nflow"  # folder of the records, which readers of a folder of tables leave out
COMMAND = "command.json"  # in it: the command and the run that the folder belongs to
TABLES = (".csv", ".parquet")
HIDDEN = (".", "_")  # first letters of files of a folder that are no parts, as in Arrow and Dask


def are_parts(name: str) -> bool:
    """Whether this is a folder, or a pattern of file names."""
    return os.path.isdir(name) or (glob.has_magic(name) and not os.path.exists(name))


@dataclass(frozen=True)
class Part:
    """File of a table; ``name`` is that of its output in the folder, a relative path."""

    name: str
    path: Path
    work: int  # bytes

    def part_done(self, folder: Path) -> float:
        """Share done of a part that has no record: 0."""
        return 0.0

    def paths(self, folder: Path) -> tuple[str, str, str]:
        """Paths of the part, its output, and its record."""
        record = folder / RECORDS / f"{self.name}.json"
        return str(self.path), str(folder / self.name), str(record)

    def tally(self, folder: Path) -> Tally | None:
        """Sums over the rows of a part that is done; ``None`` if not, or of a changed file."""
        path, output, record = self.paths(folder)
        if not files.is_file(Path(record)):
            return None
        try:
            written = json.loads(files.read(Path(record), MAX_JSON))
            tally = Tally.read(written["tally"])
        except (ValueError, KeyError, TypeError):
            return None
        return tally if written.get("files") == [stamp(path), stamp(output)] else None


def stamp(path: str) -> list[str | int] | None:
    """Place, size and time of a file, by which a change of it is noticed."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]


def parts_of(name: str, output: Path) -> list[Part]:
    """Parts of a folder or a pattern, in the order of their paths; files in ``output`` are none."""
    folder = Path(name)
    if folder.is_dir():
        paths = [path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder))]
    else:
        paths = [Path(path) for path in glob.glob(name, recursive=True)]
        folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), folder.parts))
    results = output.resolve()
    paths = [path for path in paths if path.is_file() and results not in path.resolve().parents]
    if not paths:
        raise DataError(f"{name}: no files; expected parts of a table, outside {output}")
    paths_by_label: dict[str, Path] = {}
    for path in sorted(paths):
        label = _output_label(path.relative_to(folder))
        first = paths_by_label.setdefault(label, path)
        if first != path:
            raise DataError(f"{first} and {path}: both would be written to {label}")
    return [Part(label, path, path.stat().st_size) for label, path in paths_by_label.items()]


def _is_hidden(path: Path) -> bool:
    return any(name.startswith(HIDDEN) for name in path.parts)


def _output_label(path: Path) -> str:
    """Name of an output: that of the part, or one of a CSV."""
    if path.suffix.lower() in TABLES:
        return str(path)
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return str(path.with_suffix(".csv"))


def identity(run: Run, question: Mapping[str, Any]) -> dict[str, Any]:
    """Command and run that an output follows from."""
    sha256 = {name: files.sha256(run.path / name) for name in (CONFIG, run.model_file)}
    return {"run": sha256, "question": {**question}}


def claim(folder: RunDirectory, command: Mapping[str, Any], parts: Sequence[Part]) -> None:
    """Reserve a folder for the outputs of a command, an :func:`identity`, or check that it holds
    those.
    """
    names = {entry.name for entry in folder.path.iterdir()} - {LOCK}
    if names and RECORDS not in names:
        raise RunDirectoryError(f"{folder.path}: not empty; -o takes a new folder")
    records = RunDirectory.at(str(folder.path / RECORDS))
    if not records.has(COMMAND):
        records.write_json(COMMAND, command)
    elif records.read_json(COMMAND) != command:
        raise RunDirectoryError(
            f"{folder.path}: of another run, or of other options; -o takes a new folder"
        )
    outputs = [path for part in parts for path in part.paths(folder.path)[1:]]
    for parent in {Path(path).parent for path in outputs}:
        files.remove(parent, files.is_unfinished)


def work_off(
    run: str,
    paths: Sequence[str],
    command: Mapping[str, Any],
    cwd: str,
    device: str,
    threads: int | None,
) -> None:
    """Write the output of a part, and then its record.

    ``paths``: of :meth:`Part.paths`; ``command``: an :func:`identity`.
    """
    os.chdir(cwd)
    opened = Run.open(run)
    path, output, record = paths
    if identity(opened, command["question"]) != command:
        raise RunDirectoryError(f"{run}: has changed since the command began")
    before = stamp(path)
    if opened.config.is_of_flows:
        start_tensorflow(machine_of(device).of(threads))
    RunDirectory.at(os.path.dirname(output))
    with memory_errors("smaller parts take less"):
        table = open_table(path)
        table.is_part = True
        columns, judgement = _answer(opened, table, command["question"])
        write_beside(table, Path(output), columns)
    text = json.dumps({"files": [before, stamp(output)], "tally": judgement.tally._asdict()})
    RunDirectory.at(os.path.dirname(record)).write_text(os.path.basename(record), text)


def _answer(run: Run, table: TableFile, question: Mapping[str, Any]) -> Any:
    """Columns of a part, and their judgement: log-densities, or predictions."""
    if "latent" in question:
        scoring: Any = run.kind.scoring
        return scoring.score(run.trained, table, question["latent"])
    return answer(run.trained, table, question_of(run.trained, **question))
