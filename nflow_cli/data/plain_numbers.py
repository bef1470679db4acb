"""Checks and units of plain numbers, the only columns that flows model.

With repeated values or computed columns, the likelihood of flows rises without bound.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.table_schema import TableData, Tails
from nflow_cli.constants import FAR
from nflow_cli.data.column_maps import ColumnMap
from nflow_cli.data.csv_dialect import is_number
from nflow_cli.data.dataset_faults import Fault, leaving_out
from nflow_cli.data.fit_units import Bounds, fit_units
from nflow_cli.data.points import atoms_of, no_spread
from nflow_cli.data.raw_columns import Column
from nflow_cli.data.tables import TableFile, listed, shown
from nflow_cli.data.units import ColumnUnits
from nflow_cli.random_streams import stream

if TYPE_CHECKING:
    from nflow_cli.data.dataset import Dataset

HINT = (
    "flows take plain numbers alone, and the default density of cells, without --flow and --k, "
    "takes all kinds of columns"
)
CHUNK = 100_000  # rows at a time, and rows to test for dependence
# Least eigenvalue of the correlation matrix of independent columns.
LEAST_EIGENVALUE = 1e-10
SHARE_OF_SUM = 0.05  # of a combination's squares, for each of its columns


def plain_kinds(
    table: TableFile,
    columns: Mapping[str, Column],
    kinds: Mapping[str, ColumnKind],
    settings: TableData,
) -> tuple[dict[str, ColumnKind], list[Fault]]:
    """Kinds of columns for flows, and faults of others.

    Computed columns are left out; repeated values are faults, unless given.
    """
    plain, faults = dict[str, ColumnKind](), list[Fault]()
    for name, kind in kinds.items():
        is_marked = _has_other_mark(table, columns[name]) and kind.why.startswith("text")
        if kind.kind == "left out" and not is_marked:
            plain[name] = kind
        elif kind.kind == "computed":
            why = f"computed from others ({kind.why:.400})"
            plain[name] = ColumnKind(kind="left out", why=why)
        elif problem := _why_not(table, columns[name], name in settings.given):
            plain[name] = kind
            faults.append(Fault(name, problem, leaving_out(name, settings)))
        else:
            plain[name] = ColumnKind(kind="number", why="plain numbers", missing=kind.missing)
    return plain, faults


def _has_other_mark(table: TableFile, column: Column) -> bool:
    other = "." if table.decimal == "," else ","
    return column.stray is not None and is_number(column.stray[1], other)


def _why_not(table: TableFile, raw: Column, is_given: bool) -> str:
    if raw.stray and _has_other_mark(table, raw):
        return f"holds {shown(raw.stray[1])}, with another decimal mark than the table's"
    if raw.numbers is None or raw.source != "number":
        where = f" ({shown(raw.stray[1])} in {table.place(raw.stray[0])})" if raw.stray else ""
        return f"{'text' if raw.source in ('text', 'truth') else f'a {raw.source}'}{where}"
    numbers = raw.numbers[np.isfinite(raw.numbers)]
    atoms = atoms_of(numbers[:, None]) if len(numbers) and not is_given else []
    return _atom_text(atoms[0]) if atoms else ""


def _atom_text(atom: Mapping[str, Any]) -> str:
    if "value" in atom:
        return f"is {atom['value']:g} in {atom['share']:.1%} of the rows"
    return f"has steps of {atom['step']:g}, {atom['repeated']:.0%} of its rows repeat"


def on_bounds(
    table: TableFile,
    columns: Mapping[str, Column],
    rows: np.ndarray,
    names: Sequence[str],
    settings: TableData,
) -> list[Fault]:
    """Faults of modelled columns with values on a bound: no density there."""
    faults = []
    for name in names:
        numbers, ends = columns[name].numbers, settings.bounds.get(name, [])
        if numbers is None:  # text is refused elsewhere
            continue
        wrong = np.isin(numbers, [end for end in ends if end is not None])
        if wrong.any():
            row, count = int(np.argmax(wrong)), int(wrong.sum())
            others = f" and {count - 1:,} other rows" if count > 1 else ""
            received = f"{numbers[row]:.15g} in {table.place(int(rows[row]))}{others}"
            faults.append(Fault(name, f"expected values within the bounds, received {received}"))
    return faults


def units_and_faults(
    data: "Dataset", settings: TableData, tails: Tails
) -> tuple[dict[str, list[ColumnMap]], list[Fault]]:
    """Units of each column, or faults of columns that flows cannot model.

    Fitted to training rows, resampled by their weights.
    """
    train, weights = data.train, data.weights.train
    if weights is not None:
        rng = stream(settings.split_seed, "weights")
        train = train[rng.choice(len(train), len(train), p=weights / weights.sum())]
    if faults := [*_too_few(data), *_without_spread(train, data, settings)]:
        return {}, faults
    units = {
        name: fit_units(values, Bounds(*settings.bounds.get(name, ())), tails)
        for name, values in zip(data.columns, train.T)
    }
    inside, some = ColumnUnits(list(units.values())), train[:CHUNK]
    faults = [*_far(data, inside, settings)]
    # Columns may be dependent in the user's units, as a total and its parts, or in these.
    for z in (some, inside.inside(some)):
        faults = faults or [*_dependent(z, data, settings)]
    return ({}, faults) if faults else (units, [])


def _too_few(data: "Dataset") -> Iterator[Fault]:
    n, width = data.train.shape
    if n <= width:
        received = f"received {n:,} rows of {width:,}"
        yield Fault("", f"expected more training rows than columns, {received}")
    for part in ("validation", "test"):
        rows, weights = getattr(data, part), getattr(data.weights, part)
        count = len(rows) if weights is None else int((weights > 0).sum())
        if count < 2:
            of = "" if weights is None else f" with weights above 0, of {len(rows):,}"
            yield Fault("", f"expected two {part} rows or more, received {count}{of}")


def _without_spread(train: np.ndarray, data: "Dataset", settings: TableData) -> Iterator[Fault]:
    for name, values in zip(data.columns, train.T):
        if problem := no_spread(values):
            yield Fault(name, f"{problem} (in the training rows)", leaving_out(name, settings))


def _far(data: "Dataset", units: ColumnUnits, settings: TableData) -> Iterator[Fault]:
    for rows in (data.train, data.validation, data.test):
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            away = np.abs(units.inside(part))
            for i in np.flatnonzero(~(away < FAR).all(axis=0)):
                name, received = data.columns[i], part[int(np.argmax(away[:, i])), i]
                yield Fault(
                    name,
                    f"expected values within {FAR:.0e} robust standard deviations of the training "
                    f"rows, received {received:.6g}",
                    leaving_out(name, settings),
                )


def _dependent(z: np.ndarray, data: "Dataset", settings: TableData) -> Iterator[Fault]:
    """Faults of modelled columns that depend linearly on others.

    Given columns of ``z`` ``(n, C)``, which may be dependent, are regressed out first.
    """
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    given, z = np.split(z, [len(data.given)], axis=1)
    whats = "on the others"
    if data.given:
        basis = np.linalg.qr(given)[0]
        z = z - basis @ (basis.T @ z)
        spread = z.std(axis=0)
        for name in _where(data.modelled, spread**2 <= LEAST_EIGENVALUE):
            yield Fault(name, "depends linearly on the given columns", leaving_out(name, settings))
        if (spread**2 <= LEAST_EIGENVALUE).any():
            return
        z, whats = z / spread, "on the others and the given columns"
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    if values[0] > LEAST_EIGENVALUE:
        return
    parts = vectors[:, 0] ** 2 > SHARE_OF_SUM * np.max(vectors[:, 0] ** 2)
    together = _where(data.modelled, parts)
    problem = f"each of {listed(together)} depends linearly {whats}"
    yield Fault(together[-1], problem, leaving_out(together[-1], settings))


def _where(names: Sequence[str], chosen: np.ndarray) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen) if is_chosen]
