"""Other tables scored by a density of cells, and its draws written as a table. No Keras here."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.data.array_tables import columns_table
from nflow_cli.data.points import checksum
from nflow_cli.data.table_files import STDIN, TableFile, batch_of, open_table, write_table
from nflow_cli.data.table_rows import LOG_Q
from nflow_cli.data.tables import shown
from nflow_cli.data.written_cells import as_written
from nflow_cli.errors import DataError
from nflow_cli.evaluation.caveats import TRAINED_ON, Caveat, few_rows
from nflow_cli.experiments.cells import judge, printed
from nflow_cli.experiments.data import is_data_of
from nflow_cli.experiments.rows import Judgement, Rows
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loaded import TrainedCells

SPREAD = "log_q_spread"


def judged_table(trained: "TrainedCells", table: TableFile, lines: Rows) -> Judgement:
    """Judge a density by the rows of a table of the user's own."""
    rows = trained.rows_of(table)
    return _judgement(trained, rows, judge.estimates(trained, rows, trained.config.seed), lines)


def _judgement(
    trained: "TrainedCells", rows: np.ndarray, estimated: judge.Estimates, lines: Rows
) -> Judgement:
    names = trained.columns[trained.n_given :]
    scores = {**judge.scores(estimated, names).model_dump(), "n": len(rows)}
    found: list[Caveat] = []
    if is_data_of(RunDirectory(trained.path), checksum(rows)):
        found.append(TRAINED_ON)
    if few := few_rows(scores):
        found.append(few)
    rows_shown = printed.verdict_of(scores, found) + printed.notes(scores)
    return Judgement(scores, [*lines, ("rows", f"{len(rows):,}"), *rows_shown], found)


def write_scored(trained: "TrainedCells", table: TableFile, path: Path, lines: Rows) -> Judgement:
    """Write the rows of a table, in order, with their ``log_q`` in nats; return its mean.

    Of an ensemble its members' standard deviation is beside it, as ``log_q_spread``. Columns of
    these names that the table had before are replaced.

    Raises:
        DataError: In one line: a column of the run is called as one that is added.
    """
    added = [LOG_Q, *([SPREAD] if trained.members > 1 else [])]
    for name in set(added) & set(trained.columns):
        raise DataError(f"the run has a column {name!r}, as one is called that is written")
    rows = trained.rows_of(table)
    estimated = judge.estimates(trained, rows, trained.config.seed)
    columns = [np.where(np.isnan(estimated["log_q"]), 0.0, estimated["log_q"]).sum(axis=1)]
    if trained.members > 1:
        with np.errstate(invalid="ignore"):  # of rows that no member gives a probability
            columns.append(trained.member_log_probs(rows).std(axis=0, ddof=1))
    others = [column.name for column in table.columns if column.name not in added]

    def scored() -> Iterator[Any]:
        first = 0
        for block in table.blocks(others):
            part = slice(first, first + block.num_rows)
            yield batch_of([values[part] for values in columns], block)
            first += block.num_rows

    write_table(path, [*others, *added], scored())
    return _judgement(trained, rows, estimated, lines)


def names_of_draws(trained: "TrainedCells") -> list[str]:
    """Return the columns of draws: those of the table in its order, those given, ``log_q``."""
    drawn = trained.columns[trained.n_given :]
    kinds = trained.config.data.kinds or {}
    return [*(name for name in kinds if name in drawn), *trained.given, LOG_Q]


def draws(trained: "TrainedCells", batches: Any) -> Iterator[Any]:
    """Yield draws, some at a time, in the columns that :func:`names_of_draws` says."""
    cells = {column.name: column for column in trained.row}
    places = {name: i for i, name in enumerate(trained.columns)}
    for _, rows, log_q in batches:
        names = names_of_draws(trained)[:-1]
        columns = [as_written(cells[n].kind, rows[:, places[n]]) for n in names]
        yield batch_of([*columns, log_q])


def write_draws(trained: "TrainedCells", n: int, path: Path, seed: int, given: str | None) -> None:
    """Write draws in the columns of the run, with their ``log_q`` in nats.

    Raises:
        DataError: In one line: text, in a file of numbers.
    """
    text = [c.name for c in trained.row if c.kind.type in ("text", "truth", "date", "time")]
    if text and path.suffix.lower() == ".npy":
        raise DataError(
            f"{path}: an .npy holds numbers, and {', '.join(map(shown, text[:10]))} "
            f"{'is' if len(text) == 1 else 'are'} of another type; expected a .csv or .parquet file"
        )
    batches = trained.batches(n, seed, conditions_of(trained, given))
    write_table(path, names_of_draws(trained), draws(trained, batches))


def conditions_of(trained: "TrainedCells", text: str | None) -> np.ndarray:
    """Return rows ``(m, C)`` whose given columns are what a text says: a table, or ``a=1,b=two``.

    Raises:
        DataError: In one line: a column is missing, or is not given, or a value is no number.
    """
    if text is None or not trained.n_given:
        return trained.given_rows(text)
    if text == STDIN or os.path.exists(text) or "=" not in text:
        return trained.conditions(open_table(text))
    values: dict[str, str] = {}
    for pair in text.replace("\\,", "\0").split(","):
        name, equals, value = (part.strip() for part in pair.replace("\0", ",").partition("="))
        if not equals or name not in trained.given or name in values:
            raise DataError(
                f"--given: expected each of {', '.join(trained.given)} once, as NAME=VALUE, or a "
                f"table. Received: {pair!r:.60}"
            )
        values[name] = value
    if missing := [name for name in trained.given if name not in values]:
        raise DataError(f"--given: expected a value of {', '.join(missing)} too")
    kinds = {column.name: column.kind for column in trained.cells}
    typed = {name: [_typed(name, value, kinds[name])] for name, value in values.items()}
    return trained.conditions(columns_table("--given", typed))


def _typed(name: str, text: str, kind: Any) -> str | float:
    if kind.type in ("text", "truth", "date", "time"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"--given: {name}: expected a finite number. Received: {text!r:.60}")
    return value
