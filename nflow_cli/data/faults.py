"""Faults of a table, reported all at once, and what flows refuse.

With repeated values or columns that determine each other, the likelihood of flows rises without
bound.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nflow_cli.config.kinds import ColumnKind, row_names
from nflow_cli.config.options import escaped
from nflow_cli.config.presets import A_KEY, is_key
from nflow_cli.config.table import TableData
from nflow_cli.constants import FAR
from nflow_cli.data import dates
from nflow_cli.data.columns import MAX_TEXTS, Column
from nflow_cli.data.dates import unit_of_form
from nflow_cli.data.dependence import dependent
from nflow_cli.data.fit_units import Bounds
from nflow_cli.data.points import LEAST, Parts, Weights, no_spread
from nflow_cli.data.tables import LOG_Q, TableFile, listed, shown
from nflow_cli.data.units import ColumnUnits
from nflow_cli.data.written import EXACT
from nflow_cli.errors import DataError
from nflow_cli.registry import nearest

LOSING = ("columns", "given")  # keys that lose a column
STEP_TOLERANCE = 0.01  # distance from a multiple of a step, in steps
HINT = (
    "flows take plain numbers alone, and the default density of cells, without --flow and --k, "
    "takes all kinds of columns"
)
ROWS = 100_000  # to test for dependence
# A column repeats if an atom has more than this share and number of its rows, or if its usual
# step, relative to its interquartile range, and its share of repeated rows exceed these.
ATOM_SHARE, ATOM_ROWS = 0.005, 20
STEP, REPEATED = 0.01, 0.5


class Mend(NamedTuple):
    """Change of the settings of a table that mends a fault.

    ``missing`` becomes a value, ``exclude`` gains a column; ``columns`` and ``given`` lose one.
    """

    key: Literal["missing", "exclude", "columns", "given"]
    value: str

    @property
    def option(self) -> str:
        """As of the command line."""
        return _options([self])


class Fault(NamedTuple):
    """Reason why a table cannot be fitted, and what mends it, if known.

    Attributes:
        column: "" for the whole table.
    """

    column: str
    problem: str
    mend: Mend | None = None

    @property
    def text(self) -> str:
        """Column and problem."""
        return f"column {shown(self.column)}: {self.problem}" if self.column else self.problem


class FaultsError(DataError):
    """All faults of a table in one line, with the options that mend them."""

    def __init__(self, name: str, faults: Sequence[Fault], hint: str = ""):
        texts = filter(None, (*(fault.text for fault in faults), hint))
        self.faults, self._problems = list(faults), f"{name}: {'; '.join(texts)}"
        self._mends = [fault.mend for fault in faults if fault.mend]
        super().__init__(self._line(_options(self._mends)))

    def _line(self, remedies: str) -> str:
        return f"{self._problems}; {remedies}" if remedies else self._problems

    @property
    def in_python(self) -> str:
        """Message with keyword arguments."""
        return self._line(_arguments(self._mends))


def _options(mends: Iterable[Mend]) -> str:
    return " ".join(
        f"--{key} {'without ' * (key in LOSING)}{','.join(map(escaped, values))}"
        for key, values in grouped(dict.fromkeys(mends)).items()
    )


def _arguments(mends: Iterable[Mend]) -> str:
    values = grouped(dict.fromkeys(mends))
    said = {key: some[-1] if key == "missing" else some for key, some in values.items()}
    return ", ".join(
        f"{key}{' without ' if key in LOSING else '='}{json.dumps(value, ensure_ascii=False)}"
        for key, value in said.items()
    )


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Second ones of pairs by their first."""
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def mended(settings: TableData, mends: Iterable[Mend]) -> TableData:
    """Settings with all mends; a ValueError if no column is left."""
    values = grouped(dict.fromkeys(mends))
    left_out = {name for key in ("exclude", *LOSING) for name in values.get(key, ())}
    update: dict[str, Any] = {"exclude": [*settings.exclude, *values.get("exclude", ())]}
    for key in ("bounds", "date"):
        named = getattr(settings, key)
        update[key] = {name: value for name, value in named.items() if name not in left_out}
    for key in LOSING:
        if named := getattr(settings, key):
            update[key] = [name for name in named if name not in left_out]
    if "missing" in values:
        update["missing"] = values["missing"][-1]
    return TableData.model_validate(settings.model_copy(update=update).model_dump())


def leaving_out(name: str, settings: TableData) -> Mend:
    """What leaves out a column."""
    for key in LOSING:
        if not settings.target and name in (getattr(settings, key) or ()):
            return Mend(key, name)
    return Mend("exclude", name)


def refuse(name: str, faults: Sequence[Fault], hint: str = "") -> None:
    """Raise the faults of a table, if any."""
    if faults:
        raise FaultsError(name, faults, hint)


def expect_names(table: TableFile, settings: TableData) -> None:
    """Check that a table has all columns named."""
    known = [column.name for column in table.columns]
    one = ((key, getattr(settings, key)) for key in ("split", "group", "weights"))
    asked = {
        "columns": settings.columns or [],
        "exclude": settings.exclude,
        "bounds": settings.bounds,
        "target": settings.target,
        "given": settings.given,
        "categorical": settings.categorical,
        "discrete": settings.discrete,
        "date": settings.date,
        "na": [name for text in settings.na if (name := text.rpartition("=")[0])],
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


def expect_kinds(
    kinds: Mapping[str, ColumnKind], columns: Sequence[str], name: str, of_cells: bool
) -> None:
    """Check that kinds are set of all columns read, ``of_cells``: numbers with a resolution."""
    if without := [shown(column) for column in columns if column not in kinds]:
        raise DataError(
            f"{name}: data.kinds: expected the kinds of all columns, as config.yaml of a run has "
            f"them, received none of {listed(without)}; for single columns there are "
            "--categorical, --discrete, --bounds and --exclude"
        )
    for column, kind in kinds.items():
        if of_cells and kind.alone.kind == "number" and kind.resolution is None:
            raise DataError(f"{name}: data.kinds.{column}.resolution: expected a number above 0")


def used(kinds: Mapping[str, ColumnKind], settings: TableData) -> list[str]:
    """Columns of a row, in order."""
    return [name for group in row_names(kinds, settings.given) for name in group]


def complete_rows(
    columns: Mapping[str, Column], names: Iterable[str], n: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows ``(n,)`` have no missing value, and counts by column."""
    present, counts = np.ones(n, bool), {}
    for name in names:
        gaps = columns[name].gaps
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
    columns: Mapping[str, Column],
    rows: np.ndarray,
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
    is_of_flows: bool = False,
) -> list[Fault]:
    """Faults of rows of a table; flows take no missing values, and none on a bound."""
    names, remedy = used(kinds, settings), Mend("missing", "drop" if is_of_flows else "model")
    faults = [
        *(
            Fault(name, f"expected a name that is {A_KEY}: rename it")
            for name in kinds
            if not is_key(name)
        ),
        *(
            fault
            for name in names
            for fault in _of_column(table, columns[name], rows, kinds, settings, is_of_flows)
        ),
    ]
    weights = [settings.weights] if settings.weights else []
    if weights:
        faults += _of_weights(table, columns[weights[0]], rows, settings)
    present, counts = complete_rows(columns, [*names, *weights], len(rows))
    text, left = gaps_text(present, counts), int(present.sum())
    if settings.missing == "refuse" and counts:
        faults.append(Fault("", text, remedy))
    if len(rows) < LEAST:
        faults.append(Fault("", f"expected at least {LEAST} rows, received {len(rows):,}"))
    elif settings.missing == "drop" and left < LEAST:
        problem = (
            f"expected at least {LEAST} rows without missing values, received {left:,}: {text}"
        )
        faults.append(Fault("", problem, None if is_of_flows else remedy))
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
    whys = grouped((kind.why, name) for name, kind in kinds.items() if name not in names)
    texts = [f"{listed(columns)} ({why})" for why, columns in whys.items()]
    return f"none; left out: {', '.join(texts)}" if texts else "none"


def _of_column(
    table: TableFile,
    column: Column,
    rows: np.ndarray,
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
    is_open: bool,
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
    if name in settings.date and settings.kinds is None and column.form is None:
        form = settings.date[name]
        expected = f"expected dates or times as {form} in 95 % of the cells, as data.date says"
        yield Fault(name, f"{expected}, received {_no_date(table, column, rows, form)}", mend)
    for problem, wrong, is_left in _wrong_numbers(column, kind, settings, is_open):
        if wrong.any():
            row, count = int(np.argmax(wrong)), int(wrong.sum())
            received = f"{column.cells[row]:.15g} in {table.place(int(rows[row]))}"
            others = f" and {count - 1:,} other rows" if count > 1 else ""
            yield Fault(name, f"{problem}, received {received}{others}", mend if is_left else None)


def _wrong_numbers(
    column: Column, kind: ColumnKind, settings: TableData, is_open: bool
) -> Iterator[tuple[str, np.ndarray, bool]]:
    numbers = column.numbers
    if numbers is None:
        return
    yield "expected finite numbers", np.isinf(numbers), True
    if column.name in settings.bounds:
        low, high = Bounds(*settings.bounds[column.name]).ends
        between = f"{'strictly ' * is_open}between {low:.15g} and {high:.15g}"
        beyond = (numbers < low) | (numbers > high)
        on = np.isin(numbers, [low, high]) & np.isfinite(numbers) & is_open
        yield f"expected values {between}", beyond | on, False
    if column.name in settings.discrete and kind.lattice:
        step, offset = kind.lattice.step, kind.lattice.offset
        steps = (np.where(np.isinf(numbers), offset, numbers) - offset) / step
        beside = f", {offset:.15g} more" if offset else ""
        expected = f"expected multiples of {step:.15g}{beside}, as data.discrete says"
        yield expected, np.abs(steps - np.rint(steps)) > STEP_TOLERANCE, False
        expected = f"expected numbers whose digits tell steps of {step:.15g}, as data.discrete says"
        yield expected, np.abs(steps) > EXACT, False
        if kind.type in ("date", "time"):
            unit = unit_of_form(kind.form or ("%d" if kind.type == "date" else "%f"))
            expected = f"expected a step of data.discrete in multiples of {unit:g}, as texts tell"
            is_finer = abs(step / unit - round(step / unit)) > STEP_TOLERANCE
            yield f"{expected}, not {step:.15g}", np.isfinite(numbers) & is_finer, False


def _no_number(table: TableFile, column: Column, rows: np.ndarray) -> str:
    if column.stray is None:
        return "text"
    row, text = column.stray
    return f"{shown(text)} in {table.place(int(rows[row]))}"


def _no_date(table: TableFile, column: Column, rows: np.ndarray, form: str) -> str:
    if column.codes is None:
        return f"a {column.source}"
    are_others = np.isnan(dates.numbers_of(column.texts, form))
    row = int(np.argmax(np.append(are_others, False)[column.codes]))
    return f"{shown(column.texts[column.codes[row]])} in {table.place(int(rows[row]))}"


def _of_weights(
    table: TableFile, column: Column, rows: np.ndarray, settings: TableData
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
        yield Fault(
            column.name, f"{expected}, received none in {count:,} rows", Mend("missing", "drop")
        )


def plain_kinds(
    table: TableFile,
    columns: Mapping[str, Column],
    rows: np.ndarray,
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
) -> tuple[dict[str, ColumnKind], list[Fault]]:
    """Kinds of columns for flows, and faults of others.

    Computed columns are left out; repeated values are faults, unless given.
    """
    plain, faults = dict(kinds), list[Fault]()
    for name, kind in kinds.items():
        if problem := _why_not(table, columns[name], rows, kind, name in settings.given):
            faults.append(Fault(name, problem, leaving_out(name, settings)))
        elif kind.kind == "computed":
            plain[name] = ColumnKind(kind="left out", why=f"computed from others ({kind.why:.400})")
        elif kind.kind != "left out":
            facts = {"missing": kind.missing, "notation": kind.notation}
            plain[name] = ColumnKind(kind="number", why="plain numbers", **facts)
    return plain, faults


def _why_not(
    table: TableFile, column: Column, rows: np.ndarray, kind: ColumnKind, is_given: bool
) -> str:
    if kind.kind in ("left out", "computed"):
        return ""
    if column.source != "number" or column.form is not None:
        source = f"a {column.source}" if column.codes is None else "text"
        return f"{source} ({_no_number(table, column, rows)})" if column.stray else source
    return "" if is_given else _repeats(column, kind)


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
        rows, of_part = getattr(parts, part), getattr(weights, part)
        count = len(rows) if of_part is None else int((of_part > 0).sum())
        if count < 2:
            of = "" if of_part is None else f" with weights above 0, of {len(rows):,}"
            yield Fault("", f"expected two {part} rows or more, received {count}{of}")


def without_spread(train: np.ndarray, names: Sequence[str], settings: TableData) -> Iterator[Fault]:
    """Faults of columns without spread in the training rows."""
    for name, values in zip(names, train.T):
        if problem := no_spread(values):
            yield Fault(name, f"{problem} (in the training rows)", leaving_out(name, settings))


def far(
    parts: Parts, units: ColumnUnits, names: Sequence[str], settings: TableData
) -> Iterator[Fault]:
    """Faults of columns with values too far away."""
    expected = f"expected values within {FAR:.0e} robust standard deviations of the training rows"
    for rows in parts:
        away = np.abs(units.inside(rows))
        for i, name in enumerate(names):
            if not (away[:, i] < FAR).all():
                received = rows[int(np.argmax(away[:, i])), i]
                problem = f"{expected}, received {received:.6g}"
                yield Fault(name, problem, leaving_out(name, settings))


def dependence(
    train: np.ndarray, units: ColumnUnits, names: Sequence[str], settings: TableData
) -> list[Fault]:
    """Fault of modelled columns that depend on others, in the user's units or in the flows'."""
    some, given = train[:ROWS], len(settings.given)
    for z in (some, units.inside(some)):
        together = [name for name, is_one in zip(names[given:], dependent(z, given)) if is_one]
        if together:
            others = "the others and the given columns" if given else "the others"
            problem = f"each of {listed(together)} depends linearly on {others}"
            if len(together) == 1:
                problem = "depends linearly on the given columns"
            return [Fault(together[-1], problem, leaving_out(together[-1], settings))]
    return []
