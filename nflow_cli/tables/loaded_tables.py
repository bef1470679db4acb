"""Loaded densities of table rows, without the questions that are asked of them, and what is read of
user tables and written: rows, row weights, conditions, rows beside others, draws.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import LARGEST_CELL
from nflow_cli.data.files.array_tables import columns_table
from nflow_cli.data.files.columns import read_columns
from nflow_cli.data.files.python_tables import Given, Table
from nflow_cli.data.files.table_files import STDIN, is_table, open_table, opened, table_of
from nflow_cli.data.files.tables import LOG_Q, TableFile, listed, shown
from nflow_cli.data.files.writing import arrow_table, as_written, batch_of, write_table
from nflow_cli.data.kinds.dataset import NEW, Dataset, level_texts, rows_of
from nflow_cli.data.kinds.reader import texts_in
from nflow_cli.data.points import checksum
from nflow_cli.errors import DataError, one_line
from nflow_cli.evaluation.tallies import RowScores
from nflow_cli.experiments.loaded import TrainedRun
from nflow_cli.experiments.recorded_data import is_data_of
from nflow_cli.experiments.run import Run
from nflow_cli.random_streams import stream
from nflow_cli.registry import nearest
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.latents import latents, rows_at
from nflow_cli.tables.given import Conditions, draws_given
from nflow_cli.tables.table_report import are_cells
from nflow_cli.terminal.output import tell
from nflow_cli.text import printable

if TYPE_CHECKING:
    from nflow_cli.data.files.python_tables import PyArrowTable

DRAWS_AT_A_TIME = 20_000  # draws at a time
SPREAD_COLUMN = "log_q_spread"  # standard deviation over members
OWN_TABLES = "own"  # count in a tally: tables whose rows are the run's own
TEXT_TYPES = ("text", "truth", "date", "time")  # types of cells that are written as text
TIME_PATTERN = r"(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
TIME_RANGE = re.compile(f"{TIME_PATTERN}:{TIME_PATTERN}")  # LOW:HIGH, either may be empty


class TableModel(Protocol):
    """Scores and pictures of a kind of density of rows."""

    def row_scores(
        self,
        density: Any,
        rows: np.ndarray,
        seed: int,
        data: Dataset | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> RowScores:
        """Scores of rows ``(n, C)``, of the test rows of ``data`` or of others."""
        ...

    def further_scores(
        self, density: Any, data: Dataset, test_scores: RowScores, seed: int
    ) -> dict[str, Any]:
        """Scores beside the log-likelihood, by key."""
        ...

    def arrays(
        self, density: Any, data: Dataset, seed: int, keep_rows: bool
    ) -> dict[str, np.ndarray]:
        """Arrays of its pictures."""
        ...


class TableRun(TrainedRun):
    """Trained density ``q`` of a table's rows, of a finished run of ``nflow fit``.

    Methods take arrays ``(n, C)`` in the order of ``columns``, or tables with these columns: a
    DataFrame of any library, a mapping of arrays, or a file's path.

    Attributes:
        density: Of rows ``(n, C)``.
        table_model: Its scores and pictures.
        batches: Draws ``n`` rows by a seed at each of m conditions: the number of rows before, rows
            ``(l, C)``, and ``log q`` ``(l,)`` in nats.
    """

    density: Any
    table_model: TableModel
    batches: Callable[..., Iterator[tuple[int, np.ndarray, np.ndarray]]]

    @property
    def kinds(self) -> Mapping[str, ColumnKind]:
        """Kind of each column by name; of a computed one, the kind it has without its relation."""
        return {name: kind.alone for name, kind in (self.config.data.kinds or {}).items()}

    @property
    def columns(self) -> list[str]:
        """Names of the C columns of a row, given ones first."""
        groups = self.config.data.row_names
        return [name for group in groups for name in group]

    @property
    def given(self) -> list[str]:
        """Names of the G given columns."""
        return self.config.data.row_names.given

    def rows(self, table: Table) -> NDArray[np.float64]:
        """Table, the path of one, or an array of rows as rows ``(n, C)``."""
        if (table_file := opened(table)) is not None:
            return self.rows_of(table_file)
        try:
            rows = np.asarray(table, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"expected a table, or rows of numbers: {one_line(error)}") from None
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            expected = f"(n, {len(self.columns)}): {', '.join(map(shown, self.columns[:10]))}"
            raise DataError(f"expected rows {expected}, received shape {rows.shape}")
        return rows

    def rows_of(self, table: TableFile, names: Sequence[str] | None = None) -> np.ndarray:
        """Rows ``(n, C)`` of a table, or only their columns ``names``."""
        return rows_of(table, self.kinds, names or self.columns, self.config.data)

    def sample(self, n: int, seed: int = 0, given: Given | None = None) -> NDArray[np.float64]:
        """Draw ``n`` rows at each of m conditions: ``(m n, C)``, as ``log_prob`` takes them.

        ``given`` maps the given columns to values, or is a table that has them.
        """
        conditions = self.conditions(given)
        rows = room_for(n, (len(self.columns),), np.float64, times=len(conditions))
        for start, part, _ in self.batches(n, seed, conditions):
            rows[start : start + len(part)] = part
        return rows

    def sample_table(self, n: int, seed: int = 0, given: Given | None = None) -> "PyArrowTable":
        """Draw as :meth:`sample`, into an Arrow table with ``log_q``."""
        conditions = self.conditions(given)
        room_for(n, (len(self.columns) + 1,), np.float64, times=len(conditions))
        return arrow_table(self.names_of_draws, self.batches_of_draws(n, seed, conditions))

    @property
    def names_of_draws(self) -> list[str]:
        """Columns of draws: modelled, given, ``log_q``."""
        in_table_order = self.config.data.kinds or {}
        drawn = set(self.columns) - set(self.given)
        return [*(name for name in in_table_order if name in drawn), *self.given, LOG_Q]

    def batches_of_draws(self, n: int, seed: int, given: Conditions) -> Iterator[Any]:
        """Yield batches, Arrow's, of ``n`` draws at each condition, in the columns
        :attr:`names_of_draws`, of which ``log_q`` is the last.

        Draws have the code of any new level; at a condition that gives one they have its text.
        """
        places = {name: place for place, name in enumerate(self.columns)}
        for start, rows, log_q in self.batches(n, seed, given):
            condition_of_row = np.arange(start, start + len(rows)) // n
            columns = []
            for name in self.names_of_draws[:-1]:
                place = places[name]
                kind = self.kinds[name]
                cells = rows[:, place]  # numbers, or indices of levels
                if (texts := given.new_levels.get(place)) is not None:
                    kind, cells = with_new_levels(kind, cells, texts[condition_of_row])
                columns.append(as_written(kind, cells))
            yield batch_of([*columns, log_q])

    def table_of_rows(self, rows: np.ndarray) -> "PyArrowTable":
        """Rows ``(n, C)`` as an Arrow table in the columns of draws, a new level as a gap."""
        names = self.names_of_draws[:-1]
        places = [self.columns.index(name) for name in names]
        columns = [as_written(self.kinds[name], rows[:, k]) for name, k in zip(names, places)]
        return arrow_table(names, [batch_of(columns)])

    @property
    def conditioned(self) -> list[str]:
        """Names of the columns that may be conditioned on."""
        return self.given

    def conditions(self, given: Any, name: str = "given") -> Conditions:
        """Conditions of :meth:`sample`; ``name`` is theirs in errors.

        Of a mapping a value may be ``slice(low, high)``, the numbers between, or ``None`` for an
        end.
        """
        if given is None:
            if self.given:
                raise DataError(f"expected values of the given columns: {', '.join(self.given)}")
            return Conditions(np.full((1, len(self.columns)), np.nan))
        if not self.conditioned:
            raise DataError("expected no `given`: this density has no given columns")
        if isinstance(given, np.ndarray) and given.shape[1:] == (len(self.given),):
            return Conditions(self.rows_with(self.given, given))
        if not isinstance(given, Mapping):
            return self.conditions_in(table_of(given))
        ranges = {column: value for column, value in given.items() if isinstance(value, slice)}
        values = {
            column: np.atleast_1d(value) for column, value in given.items() if column not in ranges
        }
        typed = columns_table(name, values) if values else None
        conditions = self.conditions_of(typed, ranges, name)
        for text in self.new_level_texts(conditions.new_levels):
            raise DataError(f"{name}: {text}")
        return conditions

    def conditions_in(self, table: TableFile) -> Conditions:
        """Conditions of a table, with a note on levels that no training row has."""
        conditions = self.conditions_of(table, {}, table.name)
        self.note_new_levels(conditions.new_levels)
        return conditions

    def note_new_levels(self, new_levels: Mapping[int, np.ndarray]) -> None:
        """Print a note for each column on its levels that no training row has."""
        for text in self.new_level_texts(new_levels):
            tell(f"note: {text}")

    def new_level_texts(self, new_levels: Mapping[int, np.ndarray]) -> Iterator[str]:
        """Text for each column on its levels that no training row has, the first of them by name.

        ``new_levels``: texts ``(m,)`` of new levels by the place of a column; ``None`` of others.
        """
        for place, texts in new_levels.items():
            name = self.columns[place]
            first, *others = dict.fromkeys(filter(None, texts))
            ending = f", and {len(others):,} more" if others else ""
            hint = nearest(first, [*map(str, self.kinds[name].levels or ())])
            yield f"{printable(name)}: no training row has {first!r:.60}{hint}{ending}"

    def conditions_of(
        self, table: TableFile | None, ranges: Mapping[str, slice], name: str
    ) -> Conditions:
        """Conditions on the cells of a table ``(m, …)`` and on ``ranges`` of other columns.

        No column may be computed, and no given one may be absent (``DataError``); ``name``: of the
        conditions in errors.
        """
        in_table = [] if table is None else [column.name for column in table.columns]
        computed = self.config.data.row_names.computed
        if in_both := [shown(column) for column in in_table if column in computed]:
            raise DataError(f"{name}: {in_both[0]} is computed from other columns: give these")
        names = [column for column in self.conditioned if column in in_table]
        if missing := [shown(column) for column in self.given if column not in names]:
            raise DataError(f"{name}: expected values of {listed(missing)} too")
        if not names and not ranges:
            raise DataError(f"{name}: expected one of the columns {listed(self.conditioned)}")
        values = self.rows_of(table, names) if table and names else np.zeros((1, 0))
        intervals = dict(self._ends_of_range(column, ends, name) for column, ends in ranges.items())
        new_levels = self.new_levels(table, names, values) if table else {}
        return Conditions(self.rows_with(names, values), intervals, new_levels)

    def new_levels(
        self, table: TableFile, names: Sequence[str], values: np.ndarray
    ) -> dict[int, np.ndarray]:
        """Texts ``(m,)`` of the cells of each column with levels that no training row has, by its
        place; None of other cells.
        """
        new_levels = {}
        for name, cells in zip(names, values.T, strict=True):
            is_new = cells == NEW
            if self.kinds[name].kind != "levels" or not is_new.any():
                continue
            (column,), _ = read_columns(
                table, names=[name], texts=texts_in(table, self.kinds, [name])
            )
            texts, codes = level_texts(column, self.kinds[name])
            new_texts = np.array([*texts, None], object)[codes]
            new_texts[~is_new] = None
            new_levels[self.columns.index(name)] = new_texts
        return new_levels

    def rows_with(self, names: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Rows ``(m, C)`` with values of some columns, the others unknown."""
        rows = np.full((len(values), len(self.columns)), np.nan)
        rows[:, [self.columns.index(column) for column in names]] = values
        return rows

    def _ends_of_range(
        self, column: str, ends: slice, name: str
    ) -> tuple[int, tuple[float, float]]:
        """Place of a modelled column of numbers, and the lowest and highest of a range, infinite if
        open (``DataError``); ``name``: of the conditions in errors.
        """
        modelled = [option for option in self.conditioned if option not in self.given]
        if column not in modelled:
            expected = f"expected ranges of {listed(modelled) or 'no column'}"
            raise DataError(f"{name}: {expected}. Received: {shown(column)}")
        if self.kinds[column].kind == "levels":
            expected = "expected a level, as it has no range of numbers"
            raise DataError(f"{name}: {shown(column)}: {expected}")
        low = self._number_of_end(column, ends.start, -np.inf, name)
        high = self._number_of_end(column, ends.stop, np.inf, name)
        if not low <= high:
            received = f"received {[low, high]}"
            raise DataError(f"{name}: {shown(column)}: expected LOW:HIGH, {received}")
        return self.columns.index(column), (low, high)

    def _number_of_end(self, column: str, end: Any, open_end: float, name: str) -> float:
        """Number of an end of a range as the user wrote it; ``open_end`` of ``None``."""
        if end is None:
            return open_end
        table = columns_table(name, {column: np.atleast_1d(end)})
        return float(self.rows_of(table, [column])[0, 0])


def with_new_levels(
    kind: ColumnKind, cells: np.ndarray, texts: np.ndarray
) -> tuple[ColumnKind, np.ndarray]:
    """Kind and cells ``(n,)`` of a column with its new levels added to the levels: those of
    ``texts`` ``(n,)`` where a cell is new.
    """
    is_new = cells == NEW
    levels = [*(kind.levels or ()), *dict.fromkeys(texts[is_new])]
    places = {level: place for place, level in enumerate(levels)}
    cells = cells.copy()
    cells[is_new] = [places[text] for text in texts[is_new]]
    return kind.model_copy(update={"levels": levels}), cells


class CellsRun(TableRun):
    """Trained density of cells.

    Attributes:
        held_out_scores: Scores ``(n,)`` of the held-out rows' own values, by the name of each
            target that was calibrated.
    """

    density: CellDensity

    def __init__(self, run: Run, density: CellDensity, arrays: Mapping[str, np.ndarray]):
        super().__init__(run)
        self.density = density
        self.arrays = arrays
        self.held_out_scores: dict[str, np.ndarray] = {}

    @cached_property
    def held_out(self) -> np.ndarray:
        """Test rows ``(n, C)`` that the run keeps, or if it keeps none, those of its table."""
        run = self.run
        if self.config.evaluate.keep_rows:
            return run.shown_arrays["rows"].astype(float)
        return run.data.test

    @property
    def held_out_groups(self) -> np.ndarray | None:
        """Number ``(n,)`` of the group of each of :attr:`held_out`, if rows are grouped."""
        if self.config.data.group is None:
            return None
        if self.config.evaluate.keep_rows:
            return self.run.shown_arrays.get("groups")
        return self.run.data.test_groups

    def rows(self, table: Table) -> NDArray[np.float64]:
        """Table or an array of rows as rows ``(n, C)``; a cell of an array must be such as its
        column can have, but of a computed column (``DataError``).
        """
        rows = super().rows(table)
        if not is_table(table):
            for column, values in zip(
                self.density.row_columns[: len(self.density.columns)], rows.T
            ):
                _expect_cells_of_column(column, values[~np.isnan(values)])
        return rows

    def log_prob(self, rows: Table) -> NDArray[np.float64]:
        """``log q`` ``(n,)`` in nats of a table, or of rows ``(n, C)``."""
        return self.density.log_prob(self.rows(rows))

    def cell_log_probs(self, rows: Table) -> NDArray[np.float64]:
        """Log-probability ``(n, D + K)`` in nats of each cell given those before, of a table, or of
        rows ``(n, C)``; computed cells last. Those of a row sum to its log-density.
        """
        return self.density.cell_log_probs(self.rows(rows))

    def latent(self, rows: Table) -> NDArray[np.float64]:
        """Latents ``(n, D + K)`` of a table, or of rows ``(n, C)``: normal scores of each cell
        given those before, computed cells last; NaN if unknown.

            z_j = Φ⁻¹(P(X_j < x_j | before) + P(X_j = x_j | before)/2)
        """
        return latents(self.density, self.rows(rows))

    def from_latent(self, z: Any, given: Given | None = None) -> NDArray[np.float64]:
        """Rows ``(n, C)`` with latents ``z`` ``(n, D + K)``, the inverse of :meth:`latent`.

        ``given``: the given columns of the rows, as of :meth:`sample`.

        Raises:
            DataError: ``z`` or ``given`` are of another shape.
        """
        names = self.density.cell_names
        try:
            z = np.asarray(z, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"expected latents, numbers: {one_line(error)}") from None
        if z.ndim != 2 or z.shape[1] != len(names):
            expected = f"(n, {len(names)}): {', '.join(map(shown, names[:10]))}"
            raise DataError(f"expected latents {expected}, received shape {z.shape}")
        conditions = self.conditions(given).rows
        if len(conditions) not in (1, len(z)):
            received = f"received {len(conditions):,}"
            raise DataError(f"given: expected {len(z):,} rows, as of the latents, {received}")
        return rows_at(self.density, z, np.broadcast_to(conditions, (len(z), len(self.columns))))

    @property
    def conditioned(self) -> list[str]:
        """Names of the columns that may be conditioned on: all but computed ones."""
        return self.columns[: len(self.density.columns)]

    def batches(
        self, n: int, seed: int, given: Conditions
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw ``n`` rows at each of m conditions, in batches.

        Yields:
            The number of rows before, the rows ``(l, C)``, and their ``log q`` ``(l,)`` in nats.
        """
        total = whole_number("n", n, error=DataError) * len(given)
        if not given.are_on_given_only(self.density.n_given):
            for start, rows in draws_given(self.density, given, n, seed):
                yield start, rows, self.density.log_prob(rows)
            return
        redrawn = list[int]()
        for batch, start in enumerate(range(0, total, DRAWS_AT_A_TIME)):
            places = np.arange(start, min(start + DRAWS_AT_A_TIME, total))
            rng = stream(seed, "samples", batch)
            rows = self.density.draw(given.rows[places // n], rng, redrawn=redrawn.append)
            yield start, rows, self.density.log_prob(rows)
        if redrawn:
            reason = "no value that the rules allow was left for one of their cells"
            tell(f"{sum(redrawn):,} of {total:,} rows were drawn again: {reason}")


def _expect_cells_of_column(column: CellColumn, values: np.ndarray) -> None:
    """Raise a DataError of the first known value that is no cell of a column."""
    wrong = ~are_cells(column.kind, values)
    if wrong.any():
        expected = f"a number from {-LARGEST_CELL:g} to {LARGEST_CELL:g}"
        if column.has_levels:
            expected = f"a level index, 0 to {len(column.levels) - 1}, or -1 for a new level"
        received = values[int(np.argmax(wrong))]
        raise DataError(f"column {shown(column.name)}: expected {expected}, received {received}")


def row_weights_in(trained: TableRun, table: TableFile) -> np.ndarray | None:
    """Row weights ``(n,)`` of a table, 0 where missing; ``None`` without the run's weight column.

    Raises a DataError of the first that is negative, infinite or no number.
    """
    name = trained.config.data.weights
    if name not in [column.name for column in table.columns]:
        return None
    (column,), _ = read_columns(table, names=[name])
    column = column.without(trained.config.data.na_of(name))
    weights = np.nan if column.numbers is None else np.nan_to_num(column.numbers, posinf=np.inf)
    wrong = ~np.atleast_1d((weights >= 0) & (weights < np.inf))
    if wrong.any():
        place = table.place(int(np.argmax(wrong)))
        raise DataError(
            f"{table.name}: {place}, column {shown(name)}: expected a finite weight of 0 or more"
        )
    return np.atleast_1d(weights)


def are_rows_of_run(trained: TableRun, rows: np.ndarray) -> bool:
    """Whether rows ``(n, C)`` of a user table, or its complete rows, are data of the run."""
    run = trained.run
    complete = rows[~np.isnan(rows).any(axis=1)]
    return is_data_of(run, checksum(rows)) or is_data_of(run, checksum(complete))


def expect_new_names(trained: TableRun, added: Iterable[str]) -> None:
    """Check that no added column has the name of a column of the run (``DataError``)."""
    for name in set(added) & set(trained.columns):
        raise DataError(f"column {name!r} of the run has the name of an added column")


def write_beside(table: TableFile, path: Path, added: Mapping[str, np.ndarray]) -> None:
    """Write the rows of a table, in order, with added columns ``(n,)``.

    They replace columns of equal name, which a note lists.
    """
    kept = [column.name for column in table.columns if column.name not in added]
    if replaced := [column.name for column in table.columns if column.name in added]:
        tell(f"{table.name}: replaced in the output: {listed(replaced)}")

    def batches() -> Iterator[Any]:
        """Blocks of the table with the added columns."""
        start = 0
        for block in table.blocks(kept):
            rows = slice(start, start + block.num_rows)
            yield batch_of([values[rows] for values in added.values()], block)
            start += block.num_rows

    write_table(path, [*kept, *added], batches())


def spread_of(log_q: np.ndarray) -> dict[str, np.ndarray]:
    """Column of the standard deviation over members of log-densities ``(R, n)``, by its name."""
    with np.errstate(invalid="ignore"):  # of rows that no member gives a probability
        return {SPREAD_COLUMN: log_q.std(axis=0, ddof=1)}


def write_draws(trained: TableRun, n: int, path: Path, seed: int, given: str | None) -> None:
    """Write ``n`` draws at each condition of the text ``given``, with their ``log_q`` in nats."""
    kinds = {name: trained.kinds[name] for name in trained.columns}
    texts = [name for name, kind in kinds.items() if kind.type in TEXT_TYPES or kind.notation]
    if texts and path.suffix.lower() == ".npy":
        verb = "is" if len(texts) == 1 else "are"
        raise DataError(
            f"{path}: an .npy holds numbers, and {', '.join(map(shown, texts[:10]))} "
            f"{verb} of another type; expected a .csv or .parquet file"
        )
    conditions = conditions_in(trained, given)
    write_table(path, trained.names_of_draws, trained.batches_of_draws(n, seed, conditions))


def conditions_in(trained: TableRun, text: str | None) -> Conditions:
    """Conditions of the option ``--given``: a table, or a text such as ``a=1,b=two``."""
    if text is None:
        return trained.conditions(None)
    if text == STDIN or os.path.exists(text) or "=" not in text:
        return trained.conditions_in(open_table(text))
    values: dict[str, str | float | slice] = {}
    # A NUL takes the place of a comma that belongs to a value.
    for pair in text.replace("\\,", "\0").split(","):
        pair = pair.replace("\0", ",")
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or name not in trained.conditioned or name in values:
            names = listed(trained.conditioned)
            raise DataError(
                f"--given: expected each of {names} once, as NAME=VALUE, or a table. Received: "
                f"{pair!r:.60}"
            )
        may_be_range = name not in trained.given
        values[name] = _typed_condition(name, value.strip(), trained.kinds[name], may_be_range)
    if missing := [name for name in trained.given if name not in values]:
        raise DataError(f"--given: expected a value of {', '.join(missing)} too")
    return trained.conditions(values, "--given")


def range_ends(text: str, kind: ColumnKind) -> Sequence[str]:
    """Texts of both ends of a range ``LOW:HIGH``, "" if open; empty if it is a single value."""
    if kind.type != "time":
        return text.split(":") if text.count(":") == 1 else ()
    match = TIME_RANGE.fullmatch(text)
    return [match[1] or "", match[2] or ""] if match else ()


def _typed_condition(
    name: str, text: str, kind: ColumnKind, may_be_range: bool
) -> str | float | slice:
    """Value of a condition in a text, or the slice of a range ``LOW:HIGH``."""
    if may_be_range and kind.kind != "levels" and (ends := range_ends(text, kind)):
        low, high = ends
        return slice(_typed_end(name, low, kind), _typed_end(name, high, kind))
    return _typed_value(name, text, kind)


def _typed_end(name: str, text: str, kind: ColumnKind) -> str | float | None:
    return _typed_value(name, text, kind) if text else None


def _typed_value(name: str, text: str, kind: ColumnKind) -> str | float:
    """Value of the column ``name`` in a text: a text, or a finite number (``DataError``)."""
    if kind.type in TEXT_TYPES:
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"--given: {name}: expected a finite number. Received: {text!r:.60}")
    return value
