"""A table of many files, its parts: each is scored or predicted by itself, into a file of its own.

A record beside an output, in a hidden folder, holds what it was made from and the sums over its
rows. It is written last, so a part with a record is done.
"""

import glob
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nflow_cli import experiments
from nflow_cli.backend.start import machine_of, start_tensorflow
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.runs import files
from nflow_cli.runs.directory import CONFIG, LOCK, MAX_JSON, RunDirectory

RECORDS = ".nflow"  # folder of the records, which readers of a folder of tables leave out
COMMAND = "command.json"  # in it: the command and the run that the folder belongs to
TABLES = ".csv", ".parquet"
HIDDEN = ".", "_"  # first letters of files of a folder that are no parts, as in Arrow and Dask


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

    def request(self, folder: Path) -> dict[str, str]:
        """Paths of the part, its output, and its record."""
        record = folder / RECORDS / f"{self.name}.json"
        return {"path": str(self.path), "output": str(folder / self.name), "record": str(record)}

    def tally(self, folder: Path) -> Tally | None:
        """Sums over the rows of a part that is done; ``None`` if not, or of a changed file."""
        paths = {name: Path(path) for name, path in self.request(folder).items()}
        if not files.is_file(paths["record"]):
            return None
        try:
            record = json.loads(files.read(paths["record"], MAX_JSON))
            found = Tally.read(record["tally"])
        except (ValueError, KeyError, TypeError):
            return None
        stamps = {name: stamp(paths[name]) for name in ("path", "output")}
        return found if {name: record.get(name) for name in stamps} == stamps else None


def stamp(path: Path) -> list[Any] | None:
    """Place, size and time of a file, by which a change of it is noticed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def parts_of(name: str) -> list[Part]:
    """Parts of a folder or a pattern, in the order of their paths."""
    folder = Path(name)
    if folder.is_dir():
        found = [path for path in folder.rglob("*") if not _is_hidden(path, folder)]
    else:
        found = map(Path, glob.glob(name, recursive=True))
        folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), folder.parts))
    paths = sorted(path for path in found if path.is_file())
    if not paths:
        raise DataError(f"{name}: no files; expected those of a table")
    parts = [Part(_output(path.relative_to(folder)), path, path.stat().st_size) for path in paths]
    outputs: dict[str, Path] = {}
    for part in parts:
        if (other := outputs.setdefault(part.name, part.path)) != part.path:
            raise DataError(f"{other} and {part.path}: both would be written to {part.name}")
    return parts


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(name.startswith(HIDDEN) for name in path.relative_to(folder).parts)


def _output(path: Path) -> str:
    """Name of an output: that of the part, or one of a CSV."""
    if path.suffix.lower() in TABLES:
        return str(path)
    path = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return str(path.with_suffix(".csv"))


def identity(run: RunDirectory, question: Mapping[str, Any]) -> dict[str, Any]:
    """Command and run that an output follows from."""
    model = experiments.of(run.read_config()).model_file
    sha256 = {name: files.sha256(run.path / name) for name in (CONFIG, model)}
    return {"run": sha256, **question}


def claim(folder: RunDirectory, asked: Mapping[str, Any], parts: Sequence[Part]) -> None:
    """Reserve a folder for the outputs of a command, or check that it holds those."""
    for part in parts:
        if (folder.path / part.name).resolve() == part.path.resolve():
            raise RunDirectoryError(f"{folder.path}: holds the data; -o takes another folder")
    records = RunDirectory.at(str(folder.path / RECORDS)) if _is_free(folder) else None
    records = records or folder.below(RECORDS)
    if not records.has(COMMAND):
        records.write_json(COMMAND, asked)
    elif records.read_json(COMMAND) != json.loads(json.dumps(asked)):
        raise RunDirectoryError(
            f"{folder.path}: of another run, or of other options; -o takes a new folder"
        )
    for parent in {Path(path).parent for part in parts for path in part.request(folder.path)}:
        files.remove(parent, files.is_unfinished)


def _is_free(folder: RunDirectory) -> bool:
    names = {entry.name for entry in folder.path.iterdir()} - {LOCK}
    if names and RECORDS not in names:
        raise RunDirectoryError(f"{folder.path}: not empty; -o takes a new folder")
    return not names


def work_off(
    run: str,
    part: Mapping[str, str],
    asked: Mapping[str, Any],
    cwd: str,
    device: str,
    threads: int | None,
) -> None:
    """Write the output of a part, and its record; ``asked`` is an :func:`identity`."""
    os.chdir(cwd)
    directory = RunDirectory.open(run)
    question = {name: value for name, value in asked.items() if name != "run"}
    if identity(directory, question) != asked:
        raise RunDirectoryError(f"{run}: has changed since the command began")
    experiment: Any = experiments.of(directory.read_config())
    path, output, record = (Path(part[name]) for name in ("path", "output", "record"))
    before = stamp(path)
    if experiment.needs_tensorflow:
        start_tensorflow(machine_of(device).of(threads))
    trained, table = experiment.load(directory), experiment.read_data(part["path"])
    folder = RunDirectory.at(str(output.parent))
    if "latent" in question:
        judged = experiment.write_scores(trained, table, output, question["latent"])
    else:
        judged = experiment.write_predictions(trained, table, output, question, None)
    made = {"path": before, "output": stamp(folder.path / output.name)}
    text = json.dumps({**made, "tally": judged.tally._asdict()})
    RunDirectory.at(str(record.parent)).write_text(record.name, text)
