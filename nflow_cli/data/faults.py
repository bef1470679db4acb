"""Faults of a table, reported all at once, and what flows refuse.

With repeated values or columns that determine each other, the likelihood of flows rises without
bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.kinds import ColumnKind, row_names
from nflow_cli.config.presets import A_KEY, is_key
from nflow_cli.constants import FAR
from nflow_cli.data import dates
from nflow_cli.data.asked import AskedColumn, AskedColumns, given_names
from nflow_cli.data.columns import MAX_TEXTS, Column
from nflow_cli.data.dates import unit_of_form
from nflow_cli.data.dependence import dependent
from nflow_cli.data.fit_units import Bounds
from nflow_cli.data.mends import Mend, arguments_of, grouped, options_of
from nflow_cli.data.points import LEAST, Parts, Weights, no_spread
from nflow_cli.data.tables import LOG_Q, TableFile, listed, shown
from nflow_cli.data.units import ColumnUnits
from nflow_cli.data.written import EXACT
from nflow_cli.errors import DataError

STEP_TOLERANCE = 0.01  # distance from a multiple of a step, in steps
HINT = (
    "flows take plain numbers alone, and the default density of cells, without --flow and --k, "
    "takes all kinds of columns"
)
ROWS = 100_000  # to test for dependence
# A column repeats if an atom has more than this share and number of its rows, or if its usual
# step, relative to its interquartile range, and its share of repeated rows exceed these.
ATOM_SHARE = 0.005
ATOM_ROWS = 20
STEP = 0.01
REPEATED = 0.5


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
        """The same, its row by the numbers ``(n,)`` that the rows have in the table."""
        return self if self.row is None else self._replace(row=int(rows[self.row]))

    def placed(self, place: Callable[[int], str]) -> "Fault":
        """The same, its row in the problem in words."""
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
    """Check that kinds are set of all columns read, ``of_cells``: numbers with a resolution."""
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


def used(kinds: Mapping[str, ColumnKind], columns: AskedColumns) -> list[str]:
    """Columns of a row, in order."""
    return [name for group in row_names(kinds, given_names(columns)) for name in group]


def complete_rows(
    columns: AskedColumns, names: Iterable[str], n: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows ``(n,)`` have no missing value, and counts by column."""
    present = np.ones(n, bool)
    counts = dict[str, int]()
    for name in names:
        gaps = columns[name].column.gaps
        if len(gaps) == n and gaps.any():
            present &= ~gaps
            counts[name] = int(gaps.sum())
    return present, counts


def gaps_text(present: np.ndarray, counts: Mapping[str, int]) -> str:
    """Numbers of missing values."""
    where = listed([f"{name} {count:,}" for name, count in counts.items()])
    return f"{(~present).sum():,} of {len(present):,} rows have missing values ({where})"


def faults_of(
    columns: AskedColumns,
    n: int,
    kinds: Mapping[str, ColumnKind],
    missing: str,
    is_of_flows: bool = False,
) -> list[Fault]:
    """Faults of ``n`` rows; flows take no missing values, and none on a bound.

    ``missing`` as of ``data.missing``.
    """
    names = used(kinds, columns)
    remedy = Mend("missing", "drop" if is_of_flows else "model")
    faults = [
        Fault(name, f"expected a name that is {A_KEY}: rename it")
        for name in kinds
        if not is_key(name)
    ]
    for name in names:
        faults += _of_column(columns[name], kinds[name], is_of_flows)
    weights = [column for column in columns.values() if column.is_weight]
    for column in weights:
        faults += _of_weights(column.column, missing == "drop")
    with_weights = [*names, *(column.name for column in weights)]
    present, counts = complete_rows(columns, with_weights, n)
    text = gaps_text(present, counts)
    left = int(present.sum())
    if missing == "refuse" and counts:
        faults.append(Fault("", text, remedy))
    if n < LEAST:
        faults.append(Fault("", f"expected at least {LEAST} rows, received {n:,}"))
    elif missing == "drop" and left < LEAST:
        problem = (
            f"expected at least {LEAST} rows without missing values, received {left:,}: {text}"
        )
        faults.append(Fault("", problem, None if is_of_flows else remedy))
    given = given_names(columns)
    modelled = row_names(kinds, given).modelled
    if not set(modelled) - {fault.column for fault in faults if fault.mend}:
        reasons = _reasons(kinds, [*given, *modelled])
        faults.append(Fault("", f"expected a column to model, received {reasons}"))
    return faults


def without_levels(kinds: Mapping[str, ColumnKind], columns: AskedColumns) -> list[Fault]:
    """Faults of columns without levels in the training rows."""
    expected = "expected a value in the training rows, received none"
    return [
        Fault(name, expected, columns[name].mend)
        for name, kind in kinds.items()
        if kind.levels == []
    ]


def _reasons(kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> str:
    whys = grouped((kind.why, name) for name, kind in kinds.items() if name not in names)
    texts = [f"{listed(columns)} ({why})" for why, columns in whys.items()]
    return f"none; left out: {', '.join(texts)}" if texts else "none"


def _of_column(request: AskedColumn, kind: ColumnKind, is_open: bool) -> Iterator[Fault]:
    column = request.column
    if column.name == LOG_Q:
        yield Fault(column.name, "the name is reserved for log-densities", request.mend)
    if not column.is_collected:
        problem = f"more than {MAX_TEXTS:,} distinct texts, or nested data"
        yield Fault(column.name, problem, request.mend)
    for key, value in (("bounds", request.bounds), ("discrete", request.step)):
        if column.numbers is None and value is not None:
            expected = f"expected numbers, as data.{key} says"
            yield _of_text(column, f"{expected}, received ")
    if request.form is not None and request.known_kind is None and column.form is None:
        expected = f"expected dates or times as {request.form} in 95 % of the cells"
        yield _no_date(request, f"{expected}, as data.date says, received ")
    if column.numbers is None:
        return
    yield from _of_cells(column, "expected finite numbers", np.isinf(column.numbers), request.mend)
    for expected, are_wrong in _against_settings(request, column.numbers, kind, is_open):
        yield from _of_cells(column, expected, are_wrong)


def _of_cells(
    column: Column, expected: str, are_wrong: np.ndarray, mend: Mend | None = None
) -> Iterator[Fault]:
    """Fault of a column's numbers, with the first of those ``(n,)`` that are wrong."""
    count = int(are_wrong.sum())
    if count:
        row = int(np.argmax(are_wrong))
        others = f" and {count - 1:,} other rows" if count > 1 else ""
        problem = f"{expected}, received {column.cells[row]:.15g}"
        yield Fault(column.name, problem, mend, row, others)


def _against_settings(
    request: AskedColumn, numbers: np.ndarray, kind: ColumnKind, is_open: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """What the bounds and the step of a column expect, and which numbers ``(n,)`` differ."""
    if request.bounds is not None:
        low, high = Bounds(*request.bounds).ends
        between = f"{'strictly ' * is_open}between {low:.15g} and {high:.15g}"
        beyond = (numbers < low) | (numbers > high)
        on = np.isin(numbers, [low, high]) & np.isfinite(numbers) & is_open
        yield f"expected values {between}", beyond | on
    if request.step is None or kind.lattice is None:
        return
    step = kind.lattice.step
    offset = kind.lattice.offset
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


def _of_text(column: Column, before: str, after: str = "") -> Fault:
    """Fault of a column of text, with the first cell that is no number, if it is known."""
    if column.stray is None:
        return Fault(column.name, f"{before}text{after}")
    row, text = column.stray
    return Fault(column.name, f"{before}{shown(text)}", None, row, after)


def _no_date(request: AskedColumn, expected: str) -> Fault:
    column = request.column
    if column.codes is None:
        return Fault(request.name, f"{expected}a {column.source}", request.mend)
    are_others = np.isnan(dates.numbers_of(column.texts, request.form or ""))
    row = int(np.argmax(np.append(are_others, False)[column.codes]))
    received = shown(column.texts[column.codes[row]])
    return Fault(request.name, f"{expected}{received}", request.mend, row)


def _of_weights(column: Column, may_be_missing: bool) -> Iterator[Fault]:
    expected = "expected finite weights of 0 or more"
    if column.numbers is None:
        yield _of_text(column, f"{expected}, received ")
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
    """Kinds of columns for flows, and faults of others.

    Computed columns are left out; repeated values are faults, unless given.
    """
    plain = dict(kinds)
    faults = list[Fault]()
    for name, kind in kinds.items():
        if fault := _why_not(columns[name], kind):
            faults.append(fault._replace(mend=columns[name].mend))
        elif kind.kind == "computed":
            plain[name] = ColumnKind(kind="left out", why=f"computed from others ({kind.why:.400})")
        elif kind.kind != "left out":
            facts = {"missing": kind.missing, "notation": kind.notation}
            plain[name] = ColumnKind(kind="number", why="plain numbers", **facts)
    return plain, faults


def _why_not(request: AskedColumn, kind: ColumnKind) -> Fault | None:
    column = request.column
    if kind.kind in ("left out", "computed"):
        return None
    if column.source != "number" or column.form is not None:
        source = f"a {column.source}" if column.codes is None else "text"
        if column.stray:
            return _of_text(column, f"{source} (", ")")
        return Fault(request.name, source)
    problem = "" if request.is_given else _repeats(column, kind)
    return Fault(request.name, problem) if problem else None


def _repeats(column: Column, kind: ColumnKind) -> str:
    if kind.kind == "levels":
        return f"has {kind.why}"
    numbers = column.numbers_as(kind)
    numbers = numbers[np.isfinite(numbers)]
    atoms, counts = np.unique(numbers[np.isin(numbers, kind.atoms)], return_counts=True)
    if len(atoms) and counts.max() > max(ATOM_SHARE * len(numbers), ATOM_ROWS):
        return f"is {atoms[counts.argmax()]:g} in {counts.max() / len(numbers):.1%} of the rows"
    low, high = np.quantile(numbers, [0.25, 0.75])
    step = float(np.median(np.diff(column.distinct.values)))
    repeated = column.counts[column.counts > 1].sum() / len(numbers)
    if step > STEP * (high - low) and repeated > REPEATED:
        return f"has steps of {step:g}, {repeated:.0%} of its rows repeat"
    return ""


def too_few(parts: Parts, weights: Weights, width: int) -> Iterator[Fault]:
    """Faults of parts with few rows."""
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
    """Faults of columns without spread in the training rows."""
    for name, values in zip(names, train.T):
        if problem := no_spread(values):
            yield Fault(name, f"{problem} (in the training rows)", columns[name].mend)


def far_values(
    parts: Parts, units: ColumnUnits, names: Sequence[str], columns: AskedColumns
) -> Iterator[Fault]:
    """Faults of columns with values too far away."""
    expected = f"expected values within {FAR:.0e} robust standard deviations of the training rows"
    for rows in parts:
        away = np.abs(units.inside(rows))
        for i, name in enumerate(names):
            if not (away[:, i] < FAR).all():
                received = rows[int(np.argmax(away[:, i])), i]
                problem = f"{expected}, received {received:.6g}"
                yield Fault(name, problem, columns[name].mend)


def linear_dependence(
    train: np.ndarray, units: ColumnUnits, names: Sequence[str], columns: AskedColumns
) -> list[Fault]:
    """Fault of modelled columns that depend on others, in the user's units or in the flows'."""
    train = train[:ROWS]
    given = len(given_names(columns))
    for z in (train, units.inside(train)):
        together = [name for name, is_one in zip(names[given:], dependent(z, given)) if is_one]
        if together:
            others = "the others and the given columns" if given else "the others"
            problem = f"each of {listed(together)} depends linearly on {others}"
            if len(together) == 1:
                problem = "depends linearly on the given columns"
            return [Fault(together[-1], problem, columns[together[-1]].mend)]
    return []
