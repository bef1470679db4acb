"""Trained densities of tables, loaded from their run: what is asked of them in Python."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from nflow_cli.data.files.python_tables import Frame, NamedTable, Table
from nflow_cli.data.files.table_files import opened
from nflow_cli.data.files.writing import arrow_table, batch_of, frame_like
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.experiments.python_arguments import python_words
from nflow_cli.experiments.recorded_data import column_units
from nflow_cli.experiments.run import Run
from nflow_cli.runs.directory import WEIGHTS
from nflow_cli.runs.weights_file import load_weights
from nflow_cli.tables import cells_scoring as cells
from nflow_cli.tables import cells_weights
from nflow_cli.tables.answers.drift import drifted
from nflow_cli.tables.answers.explain import explained, largest_of_held_out
from nflow_cli.tables.answers.impute import answer
from nflow_cli.tables.answers.predict import predicted, question_of
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.fitting import layout_of
from nflow_cli.tables.loaded_tables import CellsRun, TableModel, TableRun, write_draws
from nflow_cli.tables.scores.drift_tests import Drift
from nflow_cli.tables.table_data import expect_settled
from nflow_cli.terminal.progress import shown

if TYPE_CHECKING:
    from nflow_cli.data.files.python_tables import PyArrowTable


class TrainedCells(CellsRun):
    """Trained density ``q`` of a table's rows, of a finished run of ``nflow fit``.

    Methods take arrays ``(n, C)`` in the order of ``columns``, where a level is its index from 0,
    -1 a new level, and NaN a missing cell; or tables that contain these columns.
    """

    table_model: TableModel = cells

    @cached_property
    def largest_surprises(self) -> NDArray[np.float64]:
        """Largest surprise ``(m,)`` of a cell in each of some held-out rows, in nats."""
        return largest_of_held_out(self)

    @overload
    def predict(
        self,
        table: Frame,
        target: str | Sequence[str] | None = None,
        quantiles: Sequence[float] = ...,
        coverage: float | None = None,
        by: str | None = None,
        verbose: bool | None = None,
    ) -> Frame: ...

    @overload
    def predict(
        self,
        table: Table,
        target: str | Sequence[str] | None = None,
        quantiles: Sequence[float] = ...,
        coverage: float | None = None,
        by: str | None = None,
        verbose: bool | None = None,
    ) -> "PyArrowTable": ...

    @python_words()
    def predict(
        self,
        table: Any,
        target: str | Sequence[str] | None = None,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        coverage: float | None = None,
        by: str | None = None,
        verbose: bool | None = None,
    ) -> Any:
        """Distribution of one column given all others, or of several given the rest, of each row.

        Columns are those of ``nflow predict``: mean, standard deviation and quantiles, or the
        probabilities of levels, in nats where they are logarithms.

        Args:
            table: Table with the other given and modelled columns; or rows ``(n, C)``.
            target: Modelled column, by default the only one; or several or a computed one,
                predicted by draws, without ``coverage``.
            quantiles: Their probabilities, between 0 and 1.
            coverage: Share of fresh values in an interval or a set of levels, by split conformal
                prediction on the test rows of the run.
            by: Column whose levels are calibrated by themselves.
            verbose: Whether to print progress; ``None``: in a terminal alone.

        Returns:
            A DataFrame of pandas or polars where ``table`` is one, with its index; else a table of
            Arrow.

        Raises:
            DataError: The table lacks a column, or the target is no modelled column.
        """
        targets = [target] if isinstance(target, str) else target
        opened_table = opened(table)
        with shown(verbose):
            question = question_of(self, targets, quantiles, coverage, by)
            prediction = predicted(self, table if opened_table is None else opened_table, question)
        if opened_table is not None:
            cells = prediction.rows.values
            self.note_new_levels(self.new_levels(opened_table, self.columns, cells))
        return _like(table, prediction.columns)

    @overload
    def explain(self, table: Frame, verbose: bool | None = None) -> Frame: ...

    @overload
    def explain(self, table: Table, verbose: bool | None = None) -> "PyArrowTable": ...

    def explain(self, table: Any, verbose: bool | None = None) -> Any:
        """Oddness of rows and surprise of each cell, as :meth:`predict` returns a table.

        Columns are those of ``nflow evaluate --explain`` without its words: ``log_q`` in nats,
        ``p_value`` among the held-out rows of the run, ``p_adjusted`` for the false discovery rate;
        ``oddness`` of the row, and the measures ``odd_…`` by which it is found;
        ``oddest``, the column with the largest surprise, and that surprise with p-values of its
        own; and ``-log p`` of each cell given all others of its row, in nats.

        Args:
            table: A table with the columns of the run; or rows ``(n, C)``.
            verbose: Whether to print progress; ``None``: in a terminal alone.

        Raises:
            DataError: The table lacks a column, or that of the run has changed.
        """
        with shown(verbose):
            rows = self.rows(table)
            held_out = self.held_out
            surprises = self.largest_surprises
            log_q = self.density.cell_log_probs(rows)
            is_robust = self.config.data.robust
            odd = explained(self.density, rows, log_q, held_out, surprises, is_robust)
            return _like(table, odd.columns)

    @overload
    def impute(
        self, table: Frame, draws: int | None = None, seed: int = 0, verbose: bool | None = None
    ) -> Frame: ...

    @overload
    def impute(
        self,
        table: NamedTable,
        draws: int | None = None,
        seed: int = 0,
        verbose: bool | None = None,
    ) -> "PyArrowTable": ...

    def impute(
        self, table: Any, draws: int | None = None, seed: int = 0, verbose: bool | None = None
    ) -> Any:
        """Table with its gaps imputed, as :meth:`predict` returns a table.

        By means of numbers, as values of their columns, and likeliest levels; or ``draws`` times by
        draws, one after another, with first columns ``draw`` and ``row`` if there are several.
        Cells are assumed to be missing at random given the known cells of their row. ``verbose`` as
        of :meth:`predict`.

        Raises:
            DataError: The table lacks a column of the run.
        """
        if (opened_table := opened(table)) is None:
            raise DataError("expected a table with named columns, or a file's path")
        with shown(verbose):
            names, batches, _ = answer(self, opened_table, draws, seed)
            return frame_like(table, arrow_table(names, batches))

    def drift(self, table: Table) -> Drift:
        """Changes of new rows against the held-out rows of the run, as ``nflow drift`` has them.

        Args:
            table: A table with the columns of the run; or rows ``(n, C)``.

        Returns:
            A ``Drift``: the columns and relations that moved, all tests with their effect sizes,
            the mean log-probability of a row, and the p-value of the whole.

        Raises:
            DataError: The table lacks a column, or that of the run has changed.
        """
        return drifted(self.density, self.held_out, self.rows(table), self.config.seed)


def _like(table: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """Columns as a DataFrame of the library of ``table``, else as a table of Arrow."""
    return frame_like(table, arrow_table([*columns], [batch_of([*columns.values()])]))


def load(run: Run) -> TrainedCells:
    """Density of a run whose config is settled."""
    expect_settled(run)
    config = run.config
    names = config.data.row_names
    columns = _columns(run, [*names.given, *names.modelled])
    computed = _columns(run, names.computed)
    settings = config.cells
    layout = layout_of(
        columns,
        len(names.given),
        settings.components or 0,
        settings.width or 0,
        config.train.frequencies,
        config.train.knots,
    )
    networks = config.train.n_networks
    is_unmixed = bool(settings.unmixed)
    shapes = cells_weights.shapes(
        layout, columns, computed, settings.blocks or 0, networks, is_unmixed
    )
    arrays = load_weights(run.directory, shapes)
    if wrong := cells_weights.inconsistency(layout, arrays):
        raise RunDirectoryError(f"{run.path / WEIGHTS}: damaged: {wrong}")
    density = cells_weights.density_of(columns, computed, layout, arrays).ruled(
        settings.rules or ()
    )
    return TrainedCells(run, density, arrays)


def _columns(run: Run, names: Sequence[str]) -> list[CellColumn]:
    """Columns of a density of cells, in the units that the run records."""
    kinds = {name: run.config.data.kinds[name].alone for name in names}
    numbers = [name for name, kind in kinds.items() if kind.has_intervals]
    key = "straight_units" if run.config.cells.unmixed else "units"
    units = dict(zip(numbers, column_units(run, numbers, key).columns))
    return [CellColumn(name, kind, units.get(name, ())) for name, kind in kinds.items()]


def write_samples(
    trained: TableRun, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` rows in the table's columns, with their log-density in nats."""
    write_draws(trained, n, path, seed, given)
    return [path]
