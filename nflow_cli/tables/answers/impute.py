"""Imputation of the gaps of a table by a density of cells."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from nflow_cli.arguments import whole_number
from nflow_cli.config.column_kinds import ColumnKind, Notation
from nflow_cli.data.files.arrow_cells import texts_in
from nflow_cli.data.files.dates import iso_form
from nflow_cli.data.files.tables import TableFile, shown
from nflow_cli.data.files.writing import as_written, batch_of, filled
from nflow_cli.errors import DataError
from nflow_cli.evaluation.warnings import FEW_ROWS, Summary
from nflow_cli.experiments.summary import Judgement, Rows, counted_rows
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.given import (
    Completions,
    column_values,
    completions,
    weighted_quantiles,
)
from nflow_cli.tables.loaded_tables import CellsRun
from nflow_cli.tables.table_rows import COUNTED_CELLS, TableRows
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

Statistic = Literal["mean", "median"]
ADDED = ("draw", "row")  # columns of the numbers of a draw and of a row of the table, from 1
SELDOM = 0.1  # probability of a cell, below which few rows show its values
COUNTED = {
    **COUNTED_CELLS,
    "n_given_missing": (
        "left",
        "{n_given_missing:,} cells of given columns, which the run does not model",
    ),
    "n_few_draws": (
        "unreliable",
        f"{{n_few_draws:,}} rows: fewer than {FEW_ROWS} effective draws: their known cells are "
        "improbable",
    ),
    "n_seldom_present": (
        "extrapolated",
        f"{{n_seldom_present:,}} cells: of rows like theirs fewer than {SELDOM:.0%} have the cell",
    ),
}


class Imputed(NamedTuple):
    """Imputations of the gaps in n rows.

    Attributes:
        gaps: Which cells ``(n, C)`` are imputed.
        rows: ``(M, n, C)``: draws, or one of a statistic of numbers and likeliest levels.
        effective: Effective sample size ``(n,)`` of a row's draws; NaN without gaps.
        present: Probability ``(n,)`` that the only gap of a row is none; else NaN.
    """

    gaps: np.ndarray
    rows: np.ndarray
    effective: np.ndarray
    present: np.ndarray


def imputed(
    rows: TableRows, draws: int | None, seed: int, statistic: Statistic = "mean"
) -> Imputed:
    """Impute the gaps of rows, by ``draws``, or by a statistic of numbers and likeliest levels."""
    gaps = np.isnan(rows.values)
    gaps[:, : rows.density.n_given] = False
    filled_rows = np.repeat(rows.values[None], draws or 1, axis=0)
    effective = np.full(len(rows), np.nan)
    present = np.full(len(rows), np.nan)
    rng = stream(seed, "imputation")
    count = int(gaps.any(axis=1).sum())
    with phase(f"imputing: {count:,} rows", count) as advance:
        for completed in completions(rows, gaps, seed):
            places = completed.places
            if draws:
                values = completed.resampled(draws, rng).swapaxes(0, 1)
            else:
                values = _middles(rows.density, completed, statistic)[None]
            advance(len(places))
            filled_rows[:, places] = np.where(gaps[places], values, filled_rows[:, places])
            effective[places] = completed.effective
            present[places] = completed.present
    return Imputed(gaps, filled_rows, effective, present)


def _middles(density: CellDensity, completed: Completions, statistic: Statistic) -> np.ndarray:
    """Means or medians of numbers, as values of their columns, and likeliest levels ``(b, C)``."""
    weights = completed.weights
    middles = np.empty((len(weights), len(density.row_columns)))
    for j, column in enumerate(density.row_columns):
        draws = completed.draws[:, :, j]
        if not column.has_levels:
            middles[:, j] = column_values(column, _middle(draws, weights, statistic))
            continue
        levels = np.arange(len(column.levels))
        shares = np.stack([(weights * (draws == level)).sum(axis=1) for level in levels], axis=1)
        middles[:, j] = shares.argmax(axis=1)
        if column.has_numbers and statistic == "median":  # of levels in order
            middles[:, j] = _middle(draws, weights, statistic)
        elif column.kind.type not in ("text", "truth") and len(levels) > 2:  # of ordered numbers
            numbers = np.array([float(level) for level in column.levels])
            values = np.broadcast_to(numbers, shares.shape)
            middle = _middle(values, shares, statistic)
            middles[:, j] = np.abs(middle[:, None] - numbers).argmin(axis=1)
    return middles


def _middle(values: np.ndarray, weights: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Mean or median ``(b,)`` of values with weights, both ``(b, S)``."""
    if statistic == "mean":
        return np.einsum("bs,bs->b", weights, values)
    half = np.full((len(values), 1), 0.5)
    return weighted_quantiles(values, weights, half)[:, 0]


class ImputedTable:
    """Table with its gaps imputed, once or by several draws.

    Attributes:
        rows: Its cells in the columns of the run.
        imputation: Their imputations.
    """

    def __init__(
        self,
        trained: CellsRun,
        table: TableFile,
        draws: int | None,
        seed: int,
        statistic: Statistic = "mean",
    ):
        if draws is not None and not whole_number("draws", draws, error=DataError):
            raise DataError("expected one or more draws. Received: draws=0")
        self.rows = TableRows(trained.density, trained.rows_of(table))
        self.imputation = imputed(self.rows, draws, seed, statistic)
        self.names = [column.name for column in table.columns]
        self._table = table
        gaps = self.imputation.gaps
        self._places = {
            name: place
            for place, name in enumerate(trained.columns)
            if name in self.names and gaps[:, place].any()
        }
        self._kinds = {name: _as_spelled(trained.kinds[name], table, name) for name in self._places}

    def batches(self, draw: int) -> Iterator[Any]:
        """Yield batches of the table, by one of the draws, from 0."""
        gaps = self.imputation.gaps
        values = self.imputation.rows[draw]
        first = 0
        for block in self._table.blocks(self.names):
            part = slice(first, first + block.num_rows)
            first += block.num_rows
            cells = {}
            for name, place in self._places.items():
                if gaps[part, place].any():
                    written = as_written(self._kinds[name], values[part, place])
                    cells[self.names.index(name)] = (gaps[part, place], written)
            yield filled(block, cells)

    def numbered_batches(self) -> Iterator[Any]:
        """Yield batches of all draws, with first columns of their numbers and the rows'."""
        for draw in range(len(self.imputation.rows)):
            first = 0
            for batch in self.batches(draw):
                draws = np.full(batch.num_rows, draw + 1)
                rows = 1 + np.arange(first, first + batch.num_rows)
                first += batch.num_rows
                yield batch_of([draws, rows], batch, are_first=True)


def _as_spelled(kind: ColumnKind, table: TableFile, name: str) -> ColumnKind:
    """Kind of a column as a table has it: of text with its decimal mark and its format of ISO dates
    or times, of another type without any.
    """
    if kind.type in ("text", "truth"):
        return kind
    iso = kind.type if kind.form is None and kind.type in ("date", "time") else None
    texts = set[str]()
    for block in table.blocks([name]):
        cells = texts_in(block.column(name))
        if cells is None:
            return kind.model_copy(update={"form": None, "notation": None})
        if iso is None:
            break
        texts.update(cells)
    if iso is not None:
        return kind.model_copy(update={"form": iso_form(sorted(texts), iso)})
    if kind.type == "decimal" and kind.notation is None and table.decimal == ",":
        return kind.model_copy(update={"notation": Notation(decimal=",")})
    return kind


def answer(
    trained: CellsRun, table: TableFile, draws: int | None, seed: int
) -> tuple[list[str], Iterator[Any], Judgement]:
    """Names and batches of a table with its gaps imputed, and the counts of imputed cells."""
    added = ADDED if draws and draws > 1 else ()
    for column in table.columns:
        if column.name in added:
            raise DataError(
                f"{table.name}: column {shown(column.name)} has the name of an added column"
            )
    completed = ImputedTable(trained, table, draws, seed)
    scores = _scores(trained, completed.rows, completed.imputation)
    judgement = Judgement(scores, _printed(table, scores, draws), [])
    batches = completed.numbered_batches() if added else completed.batches(0)
    return [*added, *completed.names], batches, judgement


def _scores(trained: CellsRun, rows: TableRows, imputation: Imputed) -> dict[str, Any]:
    counts = zip(trained.columns, imputation.gaps.sum(axis=0))
    return {
        "n": len(rows),
        "n_imputed": int(imputation.gaps.sum()),
        "imputed": {name: int(count) for name, count in counts if count},
        "n_rows_imputed": int(imputation.gaps.any(axis=1).sum()),
        "n_given_missing": int(np.isnan(rows.values[:, : trained.density.n_given]).sum()),
        **rows.counts(),
        "n_few_draws": int((imputation.effective < FEW_ROWS).sum()),
        "n_seldom_present": int((imputation.present < SELDOM).sum()),
    }


def _printed(table: TableFile, scores: Summary, draws: int | None) -> Rows:
    by = f"{draws:,} draw{'s' * (draws > 1)}" if draws else "means and likeliest levels"
    cells = f"{scores['n_imputed']:,} cells of {scores['n_rows_imputed']:,} rows, by {by}"
    rows = [("data", f"{printable(table.name)}: {scores['n']:,} rows"), ("imputed", cells)]
    counts = [f"{printable(name)} {count:,}" for name, count in scores["imputed"].items()]
    if counts:
        rows.append(("columns", ", ".join(counts)))
    rows += counted_rows(COUNTED, scores)
    rows.append(("assumed", "cells are missing at random, given the known cells of their row"))
    return rows
