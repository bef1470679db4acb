"""A density of cells that is loaded from its run: from Python, and for every command. No Keras."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.data.column_maps import ColumnMap, recorded_map
from nflow_cli.data.dataset import rows_of
from nflow_cli.data.table_files import is_table, table_of
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.experiments.cells import weights_arrays
from nflow_cli.experiments.trained_run import TrainedRun
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RUN, WEIGHTS, RunDirectory
from nflow_cli.runs.weights_file import load_weights

BATCH = 20_000  # draws at a time
MAX_MAPS = 8  # of a column


class TrainedCells(TrainedRun, CellDensity):
    """The density ``q`` of a row of a table, of a finished run of ``nflow fit``.

    Its methods take arrays ``(n, C)`` in the order of ``columns``, in which a level is its number
    from 0, -1 a new one, and NaN a gap; or tables that have columns of these names among others.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        arrays: Its weights, by name.
    """

    def __init__(
        self, path: Path, config: CellsConfig, density: CellDensity, arrays: Mapping[str, Any]
    ):
        parts = density.cells, density.layout, density.marginal, density.networks
        super().__init__(*parts, density.computed)
        self.path, self.config, self.arrays = path, config, arrays

    @property
    def columns(self) -> list[str]:
        """The names of the C columns of a row: given ones first."""
        return [column.name for column in self.row]

    @property
    def given(self) -> list[str]:
        """The names of the given columns."""
        return self.columns[: self.n_given]

    def rows(self, table: Any) -> np.ndarray:
        """Return a table, or rows ``(n, C)`` as they are, as rows ``(n, C)``."""
        if is_table(table):
            return self.rows_of(table_of(table))
        rows = np.asarray(table, np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            expected = f"(n, {len(self.columns)}): {', '.join(map(shown, self.columns[:10]))}"
            raise DataError(f"expected rows {expected}, received shape {rows.shape}")
        for column, values in zip(self.cells, rows.T):
            _expect_cells(column, values[~np.isnan(values)])
        return rows

    def rows_of(self, table: TableFile) -> np.ndarray:
        """Return the rows ``(n, C)`` of a table."""
        kinds = {column.name: column.kind for column in self.row}
        return rows_of(table, kinds, self.columns)

    def log_prob(self, rows: Any) -> np.ndarray:
        """Return ``log q`` ``(n,)`` in nats of a table, or of rows ``(n, C)``."""
        return super().log_prob(self.rows(rows))

    def sample(self, n: int, seed: int = 0, given: Any = None) -> np.ndarray:
        """Draw ``n`` rows at each of m conditions: ``(m n, C)``, as ``log_prob`` takes them.

        Args:
            n: How many.
            seed: Fixes them.
            given: A mapping of the given columns to values, or a table that has them; ``None``
                where nothing is.

        Raises:
            DataError: A given column is missing; or ``n`` is no whole number, or more than memory
                holds.
        """
        at = self.given_rows(given)
        rows = room_for(n, (len(self.columns),), np.float64, times=len(at))
        for start, part, _ in self.batches(n, seed, at):
            rows[start : start + len(part)] = part
        return rows

    def sample_table(self, n: int, seed: int = 0, given: Any = None) -> Any:
        """Draw what :meth:`sample` does, as a table of Arrow, with ``log_q``."""
        from nflow_cli.data.table_files import arrow_table
        from nflow_cli.experiments.cells.scoring import draws, names_of_draws

        at = self.given_rows(given)
        room_for(n, (len(self.columns) + 1,), np.float64, times=len(at))
        return arrow_table(names_of_draws(self), draws(self, self.batches(n, seed, at)))

    def batches(
        self, n: int, seed: int, given_rows: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw ``n`` rows at each of ``given_rows`` ``(m, C)``, some at a time.

        Yields:
            The number of rows before, the rows ``(l, C)``, and ``log q`` at them ``(l,)`` in nats.
        """
        total = whole_number("n", n, error=DataError) * len(given_rows)
        for part, start in enumerate(range(0, total, BATCH)):
            places = np.arange(start, min(start + BATCH, total))
            rows = self.draw(given_rows[places // n], stream(seed, "samples", part))
            yield start, rows, CellDensity.log_prob(self, rows)

    def given_rows(self, given: Any) -> np.ndarray:
        """Return rows ``(m, C)`` of the conditions that :meth:`sample` takes; the rest is NaN.

        Raises:
            DataError: As it does.
        """
        if not self.n_given:
            if given is not None:
                raise DataError("expected nothing given: this density is of all its columns")
            return np.full((1, len(self.columns)), np.nan)
        if given is None:
            raise DataError(f"expected values of the given columns: {', '.join(self.given)}")
        if isinstance(given, Mapping):
            given = {name: np.atleast_1d(values) for name, values in given.items()}
        return self.conditions(table_of(given))

    def conditions(self, table: TableFile) -> np.ndarray:
        """Return rows ``(m, C)`` whose given columns are those of a table."""
        kinds = {column.name: column.kind for column in self.cells}
        at = rows_of(table, kinds, self.given)
        rows = np.full((len(at), len(self.columns)), np.nan)
        rows[:, : self.n_given] = at
        return rows


def _expect_cells(column: CellColumn, values: np.ndarray) -> None:
    """See that numbers are finite, and levels are the number of one.

    Raises:
        DataError: Some are not.
    """
    count = len(column.first)
    expected, wrong = "a finite number", ~np.isfinite(values)
    if not column.has_numbers:
        expected = f"the number of a level, 0 to {count - 1}, or -1 for a new one"
        wrong = ~np.isin(values, np.arange(-1, count))
    if wrong.any():
        received = values[int(np.argmax(wrong))]
        raise DataError(f"column {shown(column.name)}: expected {expected}, received {received}")


def load(run: RunDirectory, config: CellsConfig) -> TrainedCells:
    """Return the density of a run whose config is settled.

    Raises:
        RunDirectoryError: In one line: a file of it is missing or damaged.
    """
    kinds, cells = config.data.kinds or {}, config.cells
    names = row_names(kinds, config.data.given)
    every = [name for group in names for name in group]
    units = _units(run, kinds, every)
    columns = [CellColumn(name, kinds[name].alone, units.get(name, ())) for name in every]
    n_cells = len(every) - len(names.computed)
    columns, computed = columns[:n_cells], columns[n_cells:]
    outcomes = tuple(column.outcomes for column in columns)
    layout = Layout(outcomes, len(names.given), cells.components or 0, cells.width or 0)
    shapes = weights_arrays.shapes(layout, computed, cells.blocks or 0, config.train.members)
    arrays = load_weights(run, shapes)
    if damage := weights_arrays.damage(layout, arrays):
        raise RunDirectoryError(f"{run.path / WEIGHTS}: damaged: {damage}")
    density = weights_arrays.density_of(columns, computed, layout, arrays)
    return TrainedCells(run.path, config, density, arrays)


def _units(run: RunDirectory, kinds: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the maps of the columns of numbers that ``run.json`` holds."""
    record: Any = run.read_json(RUN).get("data")
    try:
        recorded = record["units"]
        numbers = [name for name in names if kinds[name].alone.kind in ("grid", "number")]
        return {name: _maps(recorded[name]) for name in numbers}
    except (KeyError, TypeError, ValueError):
        raise RunDirectoryError(f"{run.path / RUN}: damaged: expected the units of data") from None


def _maps(records: Any) -> tuple[ColumnMap, ...]:
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_MAPS:
        raise ValueError("expected maps")
    return tuple(map(recorded_map, records))
