"""Columns that flows take: plain numbers.

With repeated values or columns that determine each other, the likelihood of flows rises without
bound.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.table_schema import TableData
from nflow_cli.constants import FAR
from nflow_cli.data.csv_dialect import is_number
from nflow_cli.data.dataset_faults import Fault, leaving_out
from nflow_cli.data.dependence import dependent
from nflow_cli.data.points import Weights, no_spread
from nflow_cli.data.raw_columns import Column
from nflow_cli.data.split import Parts
from nflow_cli.data.tables import TableFile, listed, shown
from nflow_cli.data.units import ColumnUnits

HINT = (
    "flows take plain numbers alone, and the default density of cells, without --flow and --k, "
    "takes all kinds of columns"
)
ROWS = 100_000  # to test for dependence
# A column repeats if an atom has more than this share and number of its rows, or if its usual
# step, relative to its interquartile range, and its share of repeated rows exceed these.
ATOM_SHARE, ATOM_ROWS = 0.005, 20
STEP, REPEATED = 0.01, 0.5


def plain_kinds(
    table: TableFile,
    columns: Mapping[str, Column],
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
) -> tuple[dict[str, ColumnKind], list[Fault]]:
    """Kinds of columns for flows, and faults of others.

    Computed columns are left out; repeated values are faults, unless given.
    """
    plain, faults = dict(kinds), list[Fault]()
    for name, kind in kinds.items():
        if problem := _why_not(table, columns[name], kind, name in settings.given):
            faults.append(Fault(name, problem, leaving_out(name, settings)))
        elif kind.kind == "computed":
            why = f"computed from others ({kind.why:.400})"
            plain[name] = ColumnKind(kind="left out", why=why)
        elif kind.kind != "left out":
            plain[name] = ColumnKind(kind="number", why="plain numbers", missing=kind.missing)
    return plain, faults


def _why_not(table: TableFile, column: Column, kind: ColumnKind, is_given: bool) -> str:
    row, text = column.stray or (0, "")
    other_mark = "." if table.decimal == "," else ","
    if kind.why.startswith("text") and is_number(text, other_mark):  # also if mostly unique
        return f"holds {shown(text)}, with another decimal mark than the table's"
    if kind.kind in ("left out", "computed"):
        return ""
    if column.source != "number":
        source = "text" if column.numbers is None else f"a {column.source}"
        return f"{source} ({shown(text)} in {table.place(row)})" if text else source
    return "" if is_given else _repeats(column, kind)


def _repeats(column: Column, kind: ColumnKind) -> str:
    if kind.kind == "levels":
        return f"has {kind.why}"
    numbers = column.numbers_as(kind)
    numbers = numbers[np.isfinite(numbers)]
    atoms, counts = np.unique(numbers[np.isin(numbers, kind.atoms)], return_counts=True)
    if len(atoms) and counts.max() > max(ATOM_SHARE * len(numbers), ATOM_ROWS):
        share = counts.max() / len(numbers)
        return f"is {atoms[counts.argmax()]:g} in {share:.1%} of the rows"
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
    """Fault of modelled columns that depend on others, in the user's units, as a total and its
    parts, or in the flows'.
    """
    some, given = train[:ROWS], len(settings.given)
    for z in (some, units.inside(some)):
        together = [name for name, is_one in zip(names[given:], dependent(z, given)) if is_one]
        if together:
            others = "the others and the given columns" if given else "the others"
            problem = f"each of {listed(together)} depends on {others}"
            if len(together) == 1:
                problem = "depends on the given columns"
            return [Fault(together[-1], problem, leaving_out(together[-1], settings))]
    return []
