"""Faults of a table, reported all at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.forms import escaped
from nflow_cli.config.kinds_schema import ColumnKind, row_names
from nflow_cli.config.presets import A_KEY, is_key
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.delimited import is_number
from nflow_cli.data.left_out import cells_of
from nflow_cli.data.points import LEAST
from nflow_cli.data.raw_columns import MAX_TEXTS, RawColumn
from nflow_cli.data.tables import LOG_Q, TableFile, listed, shown
from nflow_cli.errors import DataError
from nflow_cli.registry import nearest

STEP_TOLERANCE = 0.01  # distance from a multiple of a step, in steps


class Fault(NamedTuple):
    """Reason why a table cannot be fitted, and the option that fixes it.

    Attributes:
        column: "" for the whole table.
        mend: Option, or "".
    """

    column: str
    problem: str
    mend: str = ""

    @property
    def text(self) -> str:
        """Column and problem."""
        return f"column {shown(self.column)}: {self.problem}" if self.column else self.problem


class FaultsError(DataError):
    """All faults of a table in one line, with the options that fix them."""

    def __init__(self, message: str, faults: Sequence[Fault]):
        super().__init__(message)
        self.faults = list(faults)


def leaving_out(name: str, settings: TableData) -> str:
    """Option that leaves out a column."""
    for key in ("columns", "given"):
        if name in (getattr(settings, key) or ()):
            return f"--{key} without {escaped(name)}"
    return f"--exclude {escaped(name)}"


def refuse(name: str, faults: Sequence[Fault], hint: str = "") -> None:
    """Raise the faults of a table, if any."""
    if not faults:
        return
    mends: dict[str, list[str]] = {}
    for fault in faults:
        option, _, value = fault.mend.partition(" ")
        if option and value not in mends.setdefault(option, []):
            mends[option].append(value)
    options = [f"{option} {','.join(values)}" for option, values in mends.items()]
    words = [*(fault.text for fault in faults), hint, " ".join(options)]
    raise FaultsError(f"{name}: {'; '.join(filter(None, words))}", faults)


def expect_names(table: TableFile, settings: TableData) -> None:
    """Check that a table has all columns named."""
    known = [column.name for column in table.columns]
    one = ((key, getattr(settings, key)) for key in ("split", "group", "weights"))
    asked = {
        "columns": settings.columns or [],
        "exclude": settings.exclude,
        "bounds": settings.bounds,
        "given": settings.given,
        "categorical": settings.categorical,
        "discrete": settings.discrete,
        "kinds": used(settings.kinds or {}, settings),
        **{key: [name] for key, name in one if name},
    }
    unknown = [
        Fault("", f"data.{key}: no column {shown(name)}{nearest(name, known)}")
        for key, names in asked.items()
        for name in names
        if name not in known
    ]
    if unknown:
        refuse(table.name, [*unknown, Fault("", f"its columns: {listed([*map(shown, known)])}")])


def expect_kinds(kinds: Mapping[str, ColumnKind], columns: Sequence[str], name: str) -> None:
    """Check that kinds are set of all columns read."""
    if without := [shown(column) for column in columns if column not in kinds]:
        raise DataError(
            f"{name}: data.kinds: expected the kinds of all columns, as config.yaml of a run has "
            f"them, received none of {listed(without)}; for single columns there are "
            "--categorical, --discrete, --bounds and --exclude"
        )


def expect_resolutions(kinds: Mapping[str, ColumnKind], name: str) -> None:
    """Check that all numbers of a density of cells have a resolution."""
    for column, kind in kinds.items():
        if kind.alone.kind == "number" and kind.resolution is None:
            raise DataError(f"{name}: data.kinds.{column}.resolution: expected a number above 0")


def used(kinds: Mapping[str, ColumnKind], settings: TableData) -> list[str]:
    """Columns of a row, in order."""
    return [name for group in row_names(kinds, settings.given) for name in group]


def complete_rows(
    columns: Mapping[str, RawColumn], names: Iterable[str], n: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows ``(n,)`` have no missing value, and counts by column."""
    present, counts = np.ones(n, bool), {}
    for name in names:
        column = columns[name]
        gaps = cells_of(column) < 0 if column.numbers is None else np.isnan(column.numbers)
        if len(gaps) == n and gaps.any():
            present &= ~gaps
            counts[name] = int(gaps.sum())
    return present, counts


def gaps_text(present: np.ndarray, counts: Mapping[str, int]) -> str:
    """Numbers of missing values."""
    where = listed([f"{name} {count:,}" for name, count in counts.items()])
    return f"{(~present).sum():,} of {len(present):,} rows have missing values ({where})"


def faults_of(
    table: TableFile,
    columns: Mapping[str, RawColumn],
    rows: np.ndarray,
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
    takes_gaps: bool = True,
) -> list[Fault]:
    """Faults of rows of a table; ``takes_gaps``: missing values are modelled."""
    names, way_on = used(kinds, settings), "--missing model" if takes_gaps else "--missing drop"
    faults = [
        Fault(name, f"expected a name that is {A_KEY}: rename it")
        for name in kinds
        if not is_key(name)
    ]
    faults += [
        fault for name in names for fault in _of_column(table, columns[name], rows, kinds, settings)
    ]
    weights = [settings.weights] if settings.weights else []
    if weights:
        faults += _of_weights(table, columns[weights[0]], rows, settings)
    present, counts = complete_rows(columns, [*names, *weights], len(rows))
    text, left = gaps_text(present, counts), int(present.sum())
    if settings.missing == "refuse" and counts:
        faults.append(Fault("", text, way_on))
    if len(rows) < LEAST:
        faults.append(Fault("", f"expected at least {LEAST} rows, received {len(rows):,}"))
    elif settings.missing == "drop" and left < LEAST:
        problem = (
            f"expected at least {LEAST} rows without missing values, received {left:,}: {text}"
        )
        faults.append(Fault("", problem, "--missing model" if takes_gaps else ""))
    if len(kinds) > MAX_COLUMNS:
        text = f"expected at most {MAX_COLUMNS:,} columns, received {len(kinds):,}"
        faults.append(Fault("", f"{text}; --columns takes some"))
    modelled = row_names(kinds, settings.given).modelled
    if not set(modelled) - {fault.column for fault in faults if fault.mend}:
        known = [*settings.given, *modelled]
        faults.append(Fault("", f"expected a column to model, received {_reasons(kinds, known)}"))
    return faults


def without_levels(kinds: Mapping[str, ColumnKind], settings: TableData) -> list[Fault]:
    """Faults of columns without levels in the training rows."""
    expected = "expected a value in the training rows, received none"
    return [
        Fault(name, expected, leaving_out(name, settings))
        for name, kind in kinds.items()
        if kind.levels == []
    ]


def _reasons(kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> str:
    whys: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if name not in names:
            whys.setdefault(kind.why, []).append(name)
    texts = [f"{listed(columns)} ({why})" for why, columns in whys.items()]
    return f"none; left out: {', '.join(texts)}" if texts else "none"


def _of_column(
    table: TableFile,
    column: RawColumn,
    rows: np.ndarray,
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
) -> Iterator[Fault]:
    name, kind = column.name, kinds[column.name]
    mend = leaving_out(name, settings)
    if name == LOG_Q:
        yield Fault(name, "the name is reserved for log-densities", mend)
    if column.numbers is None and column.codes is None:
        yield Fault(name, f"more than {MAX_TEXTS:,} distinct texts, or nested data", mend)
    for key in ("bounds", "discrete"):
        if column.numbers is None and name in getattr(settings, key):
            received = _no_number(table, column, rows)
            yield Fault(name, f"expected numbers, as data.{key} says, received {received}")
    for problem, wrong, is_left in _wrong_numbers(column, kind, settings):
        if wrong.any():
            row, count = int(np.argmax(wrong)), int(wrong.sum())
            received = f"{cells_of(column)[row]:.15g} in {table.place(int(rows[row]))}"
            others = f" and {count - 1:,} other rows" if count > 1 else ""
            yield Fault(name, f"{problem}, received {received}{others}", mend if is_left else "")


def _wrong_numbers(
    column: RawColumn, kind: ColumnKind, settings: TableData
) -> Iterator[tuple[str, np.ndarray, bool]]:
    numbers = column.numbers
    if numbers is None:
        return
    yield "expected finite numbers", np.isinf(numbers), True
    if column.name in settings.bounds:
        low, high = settings.bounds[column.name]
        lowest, highest = (-np.inf if low is None else low), (np.inf if high is None else high)
        between = f"expected values between {lowest:.15g} and {highest:.15g}"
        yield between, (numbers < lowest) | (numbers > highest), False
    if column.name in settings.discrete and kind.lattice:
        step, offset = kind.lattice.step, kind.lattice.offset
        steps = (np.where(np.isinf(numbers), offset, numbers) - offset) / step
        beside = f", {offset:.15g} more" if offset else ""
        expected = f"expected multiples of {step:.15g}{beside}, as data.discrete says"
        yield expected, np.abs(steps - np.rint(steps)) > STEP_TOLERANCE, False


def _no_number(table: TableFile, column: RawColumn, rows: np.ndarray) -> str:
    others = [i for i, text in enumerate(column.texts) if not is_number(text, table.decimal)]
    if column.codes is None or not others:
        return "text"
    row = int(np.argmax(np.isin(column.codes, others)))
    return f"{shown(column.texts[column.codes[row]])} in {table.place(int(rows[row]))}"


def _of_weights(
    table: TableFile, column: RawColumn, rows: np.ndarray, settings: TableData
) -> Iterator[Fault]:
    expected = "expected finite weights of 0 or more"
    if column.numbers is None:
        yield Fault(column.name, f"{expected}, received {_no_number(table, column, rows)}")
        return
    weights = column.numbers
    known = weights[~np.isnan(weights)]
    wrong = ~((known >= 0) & (known < np.inf))
    if wrong.any():
        received = f"{known[np.argmax(wrong)]:.15g} ({wrong.sum():,} rows have another)"
        yield Fault(column.name, f"{expected}, received {received}")
    elif len(known) and not known.any():
        yield Fault(column.name, f"{expected}, received 0 in all rows")
    if settings.missing != "drop" and len(known) < len(weights):
        count = len(weights) - len(known)
        yield Fault(column.name, f"{expected}, received none in {count:,} rows", "--missing drop")
