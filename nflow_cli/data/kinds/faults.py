"""Faults of a table, reported all at once, and what flows refuse.

With repeated values or columns that determine each other, the likelihood of flows rises without
bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind, row_names
from nflow_cli.config.presets import A_KEY, is_key
from nflow_cli.constants import FAR
from nflow_cli.data.dependence import dependent
from nflow_cli.data.files import dates
from nflow_cli.data.files.columns import MAX_TEXTS, Column
from nflow_cli.data.files.dates import unit_of_form
from nflow_cli.data.files.tables import LOG_Q, TableFile, listed, shown
from nflow_cli.data.files.written import EXACT
from nflow_cli.data.kinds.asked import AskedColumn, AskedColumns, given_names
from nflow_cli.data.kinds.fit_units import Bounds
from nflow_cli.data.kinds.mends import Mend, arguments_of, grouped, options_of
from nflow_cli.data.points import LEAST_ROWS, Parts, Weights, no_spread
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError

STEP_TOLERANCE = 0.01  # distance from a multiple of a step, in steps
HINT = (
    "flows take plain numbers alone, and the default density of cells, without --flow and --k, "
    "takes all kinds of columns"
)
MAX_ROWS_TESTED = 100_000  # for linear dependence
# A column repeats if an atom has more than this share and number of its rows, or if its median
# step, relative to its interquartile range, and its share of repeated rows exceed these.
ATOM_SHARE = 0.005
ATOM_ROWS = 20
REPEATED_STEP = 0.01
REPEATED_SHARE = 0.5


class Fault(NamedTuple):
    """Reason why a table cannot be fitted, and what mends it, if known.

    Attributes:
        column: "" for the whole table.
        problem: The reason, up to the place of the row.
        mend: Change of the settings.
        row: Number of the row that has it, of those read.
        rest: The reason, behind the place.
    """

    column: str
    problem: str
    mend: Mend | None = None
    row: int | None = None
    rest: str = ""

    def in_table(self, rows: np.ndarray) -> "Fault":
        """Fault whose row is numbered as in the table; ``rows`` ``(n,)``: numbers of those read."""
        return self if self.row is None else self._replace(row=int(rows[self.row]))

    def placed(self, place: Callable[[int], str]) -> "Fault":
        """Fault whose problem names its row in words, which ``place`` has for a row's number."""
        if self.row is None:
            return self
        problem = f"{self.problem} in {place(self.row)}{self.rest}"
        return Fault(self.column, problem, self.mend)

    @property
    def text(self) -> str:
        """Column and problem."""
        return f"column {shown(self.column)}: {self.problem}" if self.column else self.problem


class FaultsError(DataError):
    """All faults of a table in one line, with the options that mend them."""

    def __init__(self, name: str, faults: Sequence[Fault], hint: str = ""):
        texts = [fault.text for fault in faults]
        if hint:
            texts.append(hint)
        self.faults = list(faults)
        self._problems = f"{name}: {'; '.join(texts)}"
        self._mends = [fault.mend for fault in faults if fault.mend]
        super().__init__(self._line(options_of(self._mends)))

    def _line(self, remedies: str) -> str:
        """Message of all problems and their remedies, in words, if there are any."""
        return f"{self._problems}; {remedies}" if remedies else self._problems

    @property
    def in_python(self) -> str:
        """Message with keyword arguments."""
        return self._line(arguments_of(self._mends))


def refuse(table: TableFile, faults: Sequence[Fault], hint: str = "") -> None:
    """Raise the faults of a table, if any."""
    if faults:
        raise FaultsError(table.name, [fault.placed(table.place) for fault in faults], hint)


def expect_kinds(
    kinds: Mapping[str, ColumnKind], columns: Sequence[str], name: str, of_cells: bool
) -> None:
    """Check that the kinds of the settings have all ``columns`` that are read, and a resolution of
    each number if they are ``of_cells``; else a DataError that begins with ``name``.
    """
    missing = [shown(column) for column in columns if column not in kinds]
    if missing:
        raise DataError(
            f"{name}: data.kinds: expected the kinds of all columns, as config.yaml of a run has "
            f"them, received none of {listed(missing)}; for single columns there are "
            "--categorical, --discrete, --bounds and --exclude"
        )
    for column, kind in kinds.items():
        if of_cells and kind.alone.kind == "number" and kind.resolution is None:
            raise DataError(f"{name}: data.kinds.{column}.resolution: expected a number above 0")


def names_in_row(kinds: Mapping[str, ColumnKind], columns: AskedColumns) -> list[str]:
    """Names of the columns of a row, in order: given, modelled, computed."""
    return [name for group in row_names(kinds, given_names(columns)) for name in group]


def complete_rows(
    columns: AskedColumns, names: Iterable[str], n: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Mask of the rows ``(n,)`` without a missing value in the columns ``names``, and the number of
    missing values of each column that has some.
    """
    present = np.ones(n, bool)
    counts = dict[str, int]()
    for name in names:
        are_gaps = columns[name].column.are_gaps
        if len(are_gaps) == n and are_gaps.any():  # of no cells if the text is not collected
            present &= ~are_gaps
            counts[name] = int(are_gaps.sum())
    return present, counts


def gaps_text(present: np.ndarray, counts: Mapping[str, int]) -> str:
    """Words for rows that are not ``present`` ``(n,)``, and for the missing values of columns."""
    where = listed([f"{name} {count:,}" for name, count in counts.items()])
    return f"{(~present).sum():,} of {len(present):,} rows have missing values ({where})"


def faults_of(
    columns: AskedColumns,
    n: int,
    kinds: Mapping[str, ColumnKind],
    missing: str,
    is_of_flows: bool = False,
) -> list[Fault]:
    """Faults of a table of ``n`` rows: names, cells, weights, missing values, number of rows.

    A fault's ``mend`` is the change of settings that avoids it: for a column's cells, most often
    to leave the column out. ``missing`` as of ``data.missing``; ``is_of_flows``: for flows, which
    take no missing values, and none on a bound.
    """
    names = names_in_row(kinds, columns)
    remedy = Mend("missing", "drop" if is_of_flows else "model")
    faults = [
        Fault(name, f"expected a name that is {A_KEY}: rename it")
        for name in kinds
        if not is_key(name)
    ]
    for name in names:
        faults += _faults_of_column(columns[name], kinds[name], is_of_flows)
    weights = [request for request in columns.values() if request.is_weight]
    for request in weights:
        faults += _faults_of_weights(request.column, missing == "drop")
    with_weights = [*names, *(request.name for request in weights)]
    present, counts = complete_rows(columns, with_weights, n)
    gaps = gaps_text(present, counts)
    n_complete = int(present.sum())
    if missing == "refuse" and counts:
        faults.append(Fault("", gaps, remedy))
    if n < LEAST_ROWS:
        faults.append(Fault("", f"expected at least {LEAST_ROWS} rows, received {n:,}"))
    elif missing == "drop" and n_complete < LEAST_ROWS:
        problem = (
            f"expected at least {LEAST_ROWS} rows without missing values, received "
            f"{n_complete:,}: {gaps}"
        )
        faults.append(Fault("", problem, None if is_of_flows else remedy))
    given = given_names(columns)
    modelled = row_names(kinds, given).modelled
    # After all mends, columns with such a fault are left out: another one has to stay.
    if not set(modelled) - {fault.column for fault in faults if fault.mend}:
        reasons = _left_out_text(kinds, [*given, *modelled])
        faults.append(Fault("", f"expected a column to model, received {reasons}"))
    return faults


def without_levels(kinds: Mapping[str, ColumnKind], columns: AskedColumns) -> list[Fault]:
    """Faults of columns without levels in the training rows."""
    expected = "expected a value in the training rows, received none"
    return [
        Fault(name, expected, columns[name].exclusion)
        for name, kind in kinds.items()
        if kind.levels == []
    ]


def _left_out_text(kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> str:
    """Words for a table without a column to model: which columns other than ``names`` are left
    out, grouped by the reason.
    """
    columns_by_reason = grouped(
        (kind.why, name) for name, kind in kinds.items() if name not in names
    )
    texts = [f"{listed(columns)} ({why})" for why, columns in columns_by_reason.items()]
    return f"none; left out: {', '.join(texts)}" if texts else "none"


def _faults_of_column(request: AskedColumn, kind: ColumnKind, is_open: bool) -> Iterator[Fault]:
    """Faults of the name and the cells of a column; ``is_open``: its bounds are no values of it."""
    column = request.column
    if column.name == LOG_Q:
        yield Fault(column.name, "the name is reserved for log-densities", request.exclusion)
    if not column.is_collected:
        problem = f"more than {MAX_TEXTS:,} distinct texts, or nested data"
        yield Fault(column.name, problem, request.exclusion)
    for key, value in (("bounds", request.bounds), ("discrete", request.step)):
        if column.numbers is None and value is not None:
            expected = f"expected numbers, as data.{key} says"
            yield _fault_of_text(column, f"{expected}, received ")
    if (
        request.date_format is not None
        and request.known_kind is None
        and column.date_format is None
    ):
        expected = f"expected dates or times as {request.date_format} in 95 % of the cells"
        yield _fault_of_format(request, f"{expected}, as data.date says, received ")
    if request.order and request.known_kind is None:
        yield from _fault_of_order(column, request.order)
    if column.numbers is None:
        return
    yield from _fault_of_numbers(
        column, "expected finite numbers", np.isinf(column.numbers), request.exclusion
    )
    for expected, are_wrong in _expectations(request, column.numbers, kind, is_open):
        yield from _fault_of_numbers(column, expected, are_wrong)


def _fault_of_order(column: Column, order: Sequence[str]) -> Iterator[Fault]:
    """Fault of a column in order with a value that is none of the levels."""
    expected = f"expected one of the levels {listed([*order])}, as data.ordered says, received "
    if column.numbers is None:
        others = [text for text in column.unmarked[0] if text not in order]
        if others:
            yield Fault(column.name, f"{expected}{shown(others[0])}")
        return
    try:
        numbers = np.array(order, float)
    except ValueError:
        yield Fault(column.name, f"{expected}numbers")
        return
    others = np.setdiff1d(column.numbers[np.isfinite(column.numbers)], numbers)
    if len(others):
        yield Fault(column.name, f"{expected}{others[0]:.15g}")


def _fault_of_numbers(
    column: Column, expected: str, are_wrong: np.ndarray, mend: Mend | None = None
) -> Iterator[Fault]:
    """Fault of numbers that are not as ``expected``, at the first of the mask ``are_wrong``
    ``(n,)``; none where none is wrong.
    """
    count = int(are_wrong.sum())
    if count:
        row = int(np.argmax(are_wrong))
        others = f" and {count - 1:,} other rows" if count > 1 else ""
        problem = f"{expected}, received {column.cells[row]:.15g}"
        yield Fault(column.name, problem, mend, row, others)


def _expectations(
    request: AskedColumn, numbers: np.ndarray, kind: ColumnKind, is_open: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Expectations of a column's bounds and step, in words, and masks ``(n,)`` of the numbers that
    do not meet them; ``is_open``: the bounds are no values.
    """
    if request.bounds is not None:
        low, high = Bounds(*request.bounds).ends
        between = f"{'strictly ' * is_open}between {low:.15g} and {high:.15g}"
        are_beyond = (numbers < low) | (numbers > high)
        are_on_bound = np.isin(numbers, [low, high]) & np.isfinite(numbers) & is_open
        yield f"expected values {between}", are_beyond | are_on_bound
    if request.step is None or kind.lattice is None:
        return
    step = kind.lattice.step
    offset = kind.lattice.offset
    # Infinite numbers are a fault of their own, and none here.
    steps = (np.where(np.isinf(numbers), offset, numbers) - offset) / step
    beside = f", {offset:.15g} more" if offset else ""
    expected = f"expected multiples of {step:.15g}{beside}, as data.discrete says"
    yield expected, np.abs(steps - np.rint(steps)) > STEP_TOLERANCE
    expected = f"expected numbers whose digits tell steps of {step:.15g}, as data.discrete says"
    yield expected, np.abs(steps) > EXACT
    if kind.type in ("date", "time"):
        default = "%d" if kind.type == "date" else "%f"
        unit = unit_of_form(kind.form or default)
        expected = f"expected a step of data.discrete in multiples of {unit:g}, as texts tell"
        is_finer = abs(step / unit - round(step / unit)) > STEP_TOLERANCE
        yield f"{expected}, not {step:.15g}", np.isfinite(numbers) & is_finer


def _fault_of_text(column: Column, before: str, after: str = "") -> Fault:
    """Fault of a column of text where numbers are expected: a problem of the words ``before``, the
    first cell that is no number, if known, and the words ``after``.
    """
    if column.first_text_cell is None:
        return Fault(column.name, f"{before}text{after}")
    row, text = column.first_text_cell
    return Fault(column.name, f"{before}{shown(text)}", None, row, after)


def _fault_of_format(request: AskedColumn, expected: str) -> Fault:
    """Fault of a column whose cells lack the format of dates that is set, at the first of them; its
    problem is the words ``expected`` and the cell.
    """
    column = request.column
    if column.codes is None:
        return Fault(request.name, f"{expected}a {column.cell_type}", request.exclusion)
    are_wrong = np.isnan(dates.numbers_of(column.texts, request.date_format or ""))
    row = int(np.argmax(np.append(are_wrong, False)[column.codes]))  # code -1: missing
    received = shown(column.texts[column.codes[row]])
    return Fault(request.name, f"{expected}{received}", request.exclusion, row)


def _faults_of_weights(column: Column, may_be_missing: bool) -> Iterator[Fault]:
    """Faults of a column of row weights: negative, infinite, all 0, or missing unless they may."""
    expected = "expected finite weights of 0 or more"
    if column.numbers is None:
        yield _fault_of_text(column, f"{expected}, received ")
        return
    weights = column.numbers
    known = weights[~np.isnan(weights)]
    wrong = ~((known >= 0) & (known < np.inf))
    if wrong.any():
        received = f"{known[np.argmax(wrong)]:.15g} ({wrong.sum():,} rows have another)"
        yield Fault(column.name, f"{expected}, received {received}")
    elif len(known) and not known.any():
        yield Fault(column.name, f"{expected}, received 0 in all rows")
    if not may_be_missing and len(known) < len(weights):
        count = len(weights) - len(known)
        yield Fault(
            column.name, f"{expected}, received none in {count:,} rows", Mend("missing", "drop")
        )


def plain_kinds(
    columns: AskedColumns, kinds: Mapping[str, ColumnKind]
) -> tuple[dict[str, ColumnKind], list[Fault]]:
    """Kinds of columns for flows, and faults of columns that flows cannot model.

    Numbers are of the kind number whatever their shape, computed columns are left out; text, dates,
    and repeated values of columns that are not given are faults.
    """
    plain = dict(kinds)
    faults = list[Fault]()
    for name, kind in kinds.items():
        if fault := _fault_of_flows(columns[name], kind):
            faults.append(fault._replace(mend=columns[name].exclusion))
        elif kind.kind == "computed":
            plain[name] = ColumnKind(kind="left out", why=f"computed from others ({kind.why:.400})")
        elif kind.kind != "left out":
            facts = {"missing": kind.missing, "notation": kind.notation}
            plain[name] = ColumnKind(kind="number", why="plain numbers", **facts)
    return plain, faults


def _fault_of_flows(request: AskedColumn, kind: ColumnKind) -> Fault | None:
    """Fault of a modelled or given column that flows cannot take: text, dates, or repeated values;
    None if they can.
    """
    column = request.column
    if kind.kind in ("left out", "computed"):
        return None
    if column.cell_type != "number" or column.date_format is not None:
        problem = f"a {column.cell_type}" if column.codes is None else "text"
        if column.first_text_cell:
            return _fault_of_text(column, f"{problem} (", ")")
        return Fault(request.name, problem)
    problem = "" if request.is_given else _why_repeated(column, kind)
    return Fault(request.name, problem) if problem else None


def _why_repeated(column: Column, kind: ColumnKind) -> str:
    """Why numbers repeat too often for flows, or "": levels, a frequent atom, or coarse steps."""
    if kind.kind == "levels":
        return f"has {kind.why}"
    numbers = column.numbers_as(kind)
    numbers = numbers[np.isfinite(numbers)]
    atoms, counts = np.unique(numbers[np.isin(numbers, kind.atoms)], return_counts=True)
    if len(atoms) and counts.max() > max(ATOM_SHARE * len(numbers), ATOM_ROWS):
        return f"is {atoms[counts.argmax()]:g} in {counts.max() / len(numbers):.1%} of the rows"
    low, high = np.quantile(numbers, [0.25, 0.75])  # ends of the interquartile range
    step = float(np.median(np.diff(column.distinct_numbers.values)))
    repeated_share = column.value_counts[column.value_counts > 1].sum() / len(numbers)
    if step > REPEATED_STEP * (high - low) and repeated_share > REPEATED_SHARE:
        return f"has steps of {step:g}, {repeated_share:.0%} of its rows repeat"
    return ""


def too_few(parts: Parts, weights: Weights, width: int) -> Iterator[Fault]:
    """Faults of a split for flows of ``width`` columns: no more training rows than columns, or
    fewer than two validation or test rows of a weight above 0.
    """
    n = len(parts.train)
    if n <= width:
        received = f"received {n:,} rows of {width:,}"
        yield Fault("", f"expected more training rows than columns, {received}")
    for part in ("validation", "test"):
        count = len(getattr(parts, part))
        received = f"{count}"
        part_weights = getattr(weights, part)
        if part_weights is not None:
            total = count
            count = int((part_weights > 0).sum())
            received = f"{count} with weights above 0, of {total:,}"
        if count < 2:
            yield Fault("", f"expected two {part} rows or more, received {received}")


def without_spread(
    train: np.ndarray, names: Sequence[str], columns: AskedColumns
) -> Iterator[Fault]:
    """Faults of columns whose training rows ``train`` ``(n, C)`` have no spread."""
    for name, values in zip(names, train.T):
        if problem := no_spread(values):
            yield Fault(name, f"{problem} (in the training rows)", columns[name].exclusion)


def far_values(
    parts: Parts, units: ColumnUnits, names: Sequence[str], columns: AskedColumns
) -> Iterator[Fault]:
    """Faults of columns with a value that is farther than ``FAR`` from the training rows, in their
    robust standard deviations, in the rows of any part.
    """
    expected = f"expected values within {FAR:.0e} robust standard deviations of the training rows"
    for rows in parts:
        distances = np.abs(units.inside(rows))
        for i, name in enumerate(names):
            if not (distances[:, i] < FAR).all():  # NaN is far, too
                received = rows[int(np.argmax(distances[:, i])), i]
                problem = f"{expected}, received {received:.6g}"
                yield Fault(name, problem, columns[name].exclusion)


def linear_dependence(
    train: np.ndarray, units: ColumnUnits, names: Sequence[str], columns: AskedColumns
) -> list[Fault]:
    """Fault of modelled columns that depend linearly on others, in training rows ``(n, C)`` in the
    user's units or in the flows'.
    """
    train = train[:MAX_ROWS_TESTED]
    n_given = len(given_names(columns))
    for rows in (train, units.inside(train)):
        pairs = zip(names[n_given:], dependent(rows, n_given))
        dependent_names = [name for name, is_dependent in pairs if is_dependent]
        if dependent_names:
            others = "the others and the given columns" if n_given else "the others"
            problem = f"each of {listed(dependent_names)} depends linearly on {others}"
            if len(dependent_names) == 1:
                problem = "depends linearly on the given columns"
            return [Fault(dependent_names[-1], problem, columns[dependent_names[-1]].exclusion)]
    return []
