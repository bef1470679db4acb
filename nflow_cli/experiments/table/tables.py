"""Input and output of user tables: weights, conditions, rows beside others, draws."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.columns import read_columns
from nflow_cli.data.points import checksum
from nflow_cli.data.table_files import STDIN, open_table
from nflow_cli.data.tables import TableFile, listed, shown
from nflow_cli.data.writing import batch_of, write_table
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.warnings import TRAINED_ON, ScoreWarning, few_rows, grouped_rows
from nflow_cli.evaluation.warnings import found as told
from nflow_cli.experiments.recorded_data import is_data_of
from nflow_cli.experiments.summary import Summary
from nflow_cli.experiments.table.given import Conditions
from nflow_cli.experiments.table.loaded import TableRun
from nflow_cli.registry import nearest
from nflow_cli.terminal.output import tell

SPREAD = "log_q_spread"
OWN = "own"  # in a tally: tables that are the run's
TEXTS = ("text", "truth", "date", "time")  # types of cells that are written as text
TIME = r"(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
TIMES = re.compile(f"{TIME}:{TIME}")  # a range, either end open


def weights_in(trained: TableRun, table: TableFile) -> np.ndarray | None:
    """Weights ``(n,)`` of a table's rows, 0 if missing, if it has the run's weight column."""
    name = trained.config.data.weights
    if name not in [column.name for column in table.columns]:
        return None
    (column,), _ = read_columns(table, names=[name])
    weights = np.nan if column.numbers is None else np.nan_to_num(column.numbers, posinf=np.inf)
    wrong = ~np.atleast_1d((weights >= 0) & (weights < np.inf))
    if wrong.any():
        place = table.place(int(np.argmax(wrong)))
        raise DataError(
            f"{table.name}: {place}, column {shown(name)}: expected a finite weight of 0 or more"
        )
    return np.atleast_1d(weights)


def are_own(trained: TableRun, rows: np.ndarray) -> bool:
    """Whether rows ``(n, C)`` of a user table are those of the run."""
    complete, run = rows[~np.isnan(rows).any(axis=1)], trained.run
    return any(is_data_of(run, checksum(some)) for some in (rows, complete))


def warnings_of(found: Tally, scores: Summary, group: str | None) -> list[ScoreWarning]:
    """Warnings about scores of a user table, of a run with rows grouped by a column."""
    own = TRAINED_ON if found.counts[OWN] else None
    return told(own, few_rows(scores), grouped_rows(scores, group))


def expect_room(trained: TableRun, added: Iterable[str]) -> None:
    """Refuse added columns whose names are columns of the run."""
    for name in set(added) & set(trained.columns):
        raise DataError(f"column {name!r} of the run has the name of an added column")


def write_beside(table: TableFile, path: Path, added: Mapping[str, Any]) -> None:
    """Write the rows of a table, in order, with added columns ``(n,)``.

    They replace columns of equal name, which a note lists.
    """
    others = [column.name for column in table.columns if column.name not in added]
    if replaced := [column.name for column in table.columns if column.name in added]:
        tell(f"{table.name}: replaced in the output: {listed(replaced)}")

    def beside() -> Iterator[Any]:
        first = 0
        for block in table.blocks(others):
            part = slice(first, first + block.num_rows)
            yield batch_of([values[part] for values in added.values()], block)
            first += block.num_rows

    write_table(path, [*others, *added], beside())


def spread_of(log_q: np.ndarray) -> dict[str, np.ndarray]:
    """Standard deviation over members of log-densities ``(R, n)``, by its name."""
    with np.errstate(invalid="ignore"):  # of rows that no member gives a probability
        return {SPREAD: log_q.std(axis=0, ddof=1)}


def write_draws(trained: TableRun, n: int, path: Path, seed: int, given: str | None) -> None:
    """Write draws in the columns of the run, with their ``log_q`` in nats."""
    text = [name for name in trained.columns if trained.kinds[name].type in TEXTS]
    if text and path.suffix.lower() == ".npy":
        raise DataError(
            f"{path}: an .npy holds numbers, and {', '.join(map(shown, text[:10]))} "
            f"{'is' if len(text) == 1 else 'are'} of another type; expected a .csv or .parquet file"
        )
    batches = trained.batches(n, seed, conditions_in(trained, given))
    write_table(path, trained.names_of_draws, trained.written(batches))


def conditions_in(trained: TableRun, text: str | None) -> Conditions:
    """Conditions of ``--given``, as ``batches`` takes them: a table, or ``a=1,b=two``."""
    if text is None:
        return trained.conditions(None)
    if text == STDIN or os.path.exists(text) or "=" not in text:
        table = open_table(text)
        return trained.conditions_of(table, {}, table.name)
    values: dict[str, Any] = {}
    for pair in text.replace("\\,", "\0").split(","):
        pair = pair.replace("\0", ",")
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name not in trained.conditioned or name in values:
            names = listed(trained.conditioned)
            raise DataError(
                f"--given: expected each of {names} once, as NAME=VALUE, or a table. Received: "
                f"{pair!r:.60}"
            )
        values[name] = _typed(name, value, trained.kinds[name], name not in trained.given)
    if missing := [name for name in trained.given if name not in values]:
        raise DataError(f"--given: expected a value of {', '.join(missing)} too")
    return trained.conditions(values, "--given")


def range_ends(text: str, kind: ColumnKind) -> Sequence[str]:
    """Both ends of a range ``LOW:HIGH``, "" if open; none of a single value."""
    if kind.type != "time":
        return text.split(":") if text.count(":") == 1 else ()
    found = TIMES.fullmatch(text)
    return [found[1] or "", found[2] or ""] if found else ()


def _typed(name: str, text: str, kind: ColumnKind, may_be_range: bool) -> str | float | slice:
    levels = kind.levels if kind.kind == "levels" and kind.type == "text" else None
    if levels and text and text not in levels:
        tell(f"note: {name}: no training row has {text!r:.60}{nearest(text, levels)}")
    if may_be_range and kind.kind != "levels" and (ends := range_ends(text, kind)):
        return slice(*(_typed(name, end, kind, False) if end else None for end in ends))
    if kind.type in TEXTS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"--given: {name}: expected a finite number. Received: {text!r:.60}")
    return value
