"""A benchmark: its cases, the measurement of one, and the table of their rows that a page has.

Rows are lines of ``results/NAME.jsonl``. A row is of a case if it has the case's values of all keys
that cases of the benchmark have; a case with a row is not measured again.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from nflow_cli.evaluation.estimates import with_error

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
NFLOW = (sys.executable, "-P", "-c", "from nflow_cli.cli import main; main()")
APART = """
import importlib, json, sys
module, name = sys.argv[1].split(":")
print(json.dumps(getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))))
"""
Row = dict[str, Any]


class AbsentError(Exception):
    """What a case needs and this machine does not have."""


class Options(NamedTuple):
    """What a user names: the Python that has other libraries, and a folder of data."""

    peers: str | None = None
    data: Path | None = None

    def file(self, name: str) -> Path:
        """Return a file of the folder."""
        if self.data is None or not (self.data / name).exists():
            raise AbsentError(f"{name} in --data FOLDER")
        return (self.data / name).absolute()

    def peer(self, function: str, seconds: float | None = None, **arguments: Any) -> Any:
        """Return the result of a ``module:function`` of ``benchmarks.peers``, by --peers PYTHON."""
        if self.peers is None:
            raise AbsentError("--peers PYTHON")
        return apart(f"benchmarks.peers.{function}", arguments, self.peers, seconds)


@dataclass(frozen=True)
class Benchmark:
    """Cases to measure, and their table.

    Attributes:
        name: Of the command and of the file of rows.
        cases: What a page publishes; values that identify a row.
        measure: One case; returns its row, or several.
        table: Markdown of the rows, in the order of the cases.
    """

    name: str
    cases: Sequence[Row]
    measure: Callable[[Row, Options], Row | Iterable[Row]]
    table: Callable[[list[Row]], str]

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.name}.jsonl"

    def rows(self) -> list[Row]:
        """Return the rows that are kept, in the order of the cases."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows_of: dict[str, list[Row]] = {}
        for row in map(json.loads, lines):
            rows_of.setdefault(self.identity(row), []).append(row)
        return [row for case in self.cases for row in rows_of.get(self.identity(case), ())]

    @cached_property
    def keys(self) -> list[str]:
        """Keys that identify a case."""
        return sorted({key for case in self.cases for key in case})

    def identity(self, row: Row) -> str:
        """Values of a case, or of a row of it, as text."""
        return json.dumps([row.get(key) for key in self.keys])

    def run(self, options: Options, fresh: bool) -> None:
        """Measure the cases that have no row, or all."""
        rows = self.rows()
        for case in self.cases:
            of_case = self.identity(case)
            if not fresh and any(self.identity(row) == of_case for row in rows):
                continue
            try:
                found = self.measure(case, options)
                several: Any = [found] if isinstance(found, dict) else found
                new = [{**case, **row} for row in several]
            except AbsentError as error:
                print(f"left out: {self.name} {json.dumps(case)}: {error}", file=sys.stderr)
                continue
            rows = [row for row in rows if self.identity(row) != of_case] + new
            lines = [json.dumps(row, default=float) + "\n" for row in rows]
            whole = self.path.with_suffix(".part")
            whole.write_text("".join(lines))
            whole.replace(self.path)
            print(*lines[-len(new) :], sep="", end="", file=sys.stderr, flush=True)


def launched(command: Sequence[Any], seconds: float | None = None, **options: Any) -> str:
    """Return what a command prints; an error has the last line of its stderr."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, **options)
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        raise AbsentError(said) if "ModuleNotFoundError" in said else RuntimeError(said)
    return done.stdout


def apart(
    function: str,
    arguments: Mapping[str, Any],
    python: str = sys.executable,
    seconds: float | None = None,
    **options: Any,
) -> Any:
    """Return the result of ``module:function`` in a process of its own, of whichever Python."""
    command = [python, "-c", APART, function, json.dumps(arguments)]
    return json.loads(launched(command, seconds, cwd=ROOT, **options).splitlines()[-1])


def trained(*words: Any, **settings: Any) -> Row:
    """Return the summary of the run that a command of nflow makes."""
    changes = [
        word for key, value in settings.items() for word in ("--set", f"{key}={text(value)}")
    ]
    with tempfile.TemporaryDirectory() as folder:
        launched([*NFLOW, *words, *changes, "--output", f"{folder}/run"])
        return json.loads(Path(folder, "run", "summary.json").read_text())


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def settings_of(case: Row) -> Row:
    """Return the values of a case whose keys are those of a preset."""
    return {key: value for key, value in case.items() if "." in key}


def named(prefix: str, values: Any) -> Row:
    """Return the columns of an array by name, from 1 on."""
    return {f"{prefix}{i + 1}": values[..., i] for i in range(values.shape[-1])}


def in_turn(contenders: Mapping[str, Callable[[], Row | None]], rounds: int) -> dict[str, Row]:
    """Measure all contenders in each round, so that ratios are of one machine at one time.

    Returns:
        Medians of each; a contender that is not there is left out.
    """
    found: dict[str, list[Row]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            try:
                found[name].append(measure() or {})
            except AbsentError as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
    return {name: medians(some) for name, some in found.items() if some}


def medians(rows: list[Row]) -> Row:
    keys = [key for key, value in rows[0].items() if isinstance(value, int | float)]
    return {key: statistics.median(row[key] for row in rows) for key in keys}


def markdown(head: Sequence[Any], lines: Iterable[Sequence[Any]]) -> str:
    """Return a table."""
    rows = [f"| {' | '.join(map(str, row))} |" for row in (head, *lines)]
    return "\n".join([rows[0], f"|{'---|' * len(head)}", *rows[1:]])


def pivot(
    head: str,
    rows: Iterable[Row],
    down: Callable[[Row], str],
    across: Callable[[Row], str],
    cell: Callable[[list[Row]], str],
) -> str:
    """Return a table of cells that each tell of the rows of a line and a column."""
    found: dict[str, dict[str, list[Row]]] = {}
    columns: dict[str, None] = {}
    for row in rows:
        columns.setdefault(across(row))
        found.setdefault(down(row), {}).setdefault(across(row), []).append(row)
    lines = [
        [name, *(cell(some[column]) if column in some else "" for column in columns)]
        for name, some in found.items()
    ]
    return markdown([head, *columns], lines)


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by their values of some keys."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(text(row.get(key)) for key in keys), []).append(row)
    return found


def pm(value: float | None, error: float | None, digits: int) -> str:
    """Return a figure with its standard error, "—" where there is none."""
    if value is None:
        return "—"
    return with_error(value, error, digits).replace("-", "−")
