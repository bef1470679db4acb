"""A table to fit a density to: its columns chosen, its rows checked, and split. No Keras here."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config.table_schema import MAX_COLUMNS, TableData, Tails
from nflow_cli.constants import FAR
from nflow_cli.data.fit_units import Bounds, fit_units
from nflow_cli.data.points import LEAST, SET_SIZE, PointData, atoms_of, checksum, no_spread
from nflow_cli.data.split import (
    Parts,
    sampled,
    shuffled,
    split_at_random,
    split_by_column,
    split_by_group,
)
from nflow_cli.data.table_files import STDIN, TableFile, open_table
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, nearest, resolve

MAX_ROWS = 10**7
CHUNK = 100_000  # rows at a time, and as many show that columns depend on each other
IN_PYTHON = "<python>"  # what a table is called that was handed over there
LOG_Q = "log_q"  # the column of log-densities in what is written
LARGEST_ID = 2**64  # every larger float is a whole number
# Least eigenvalue of the correlations of columns none of which follows from the others.
LEAST_EIGENVALUE = 1e-10
SHARE_OF_SUM = 0.05  # of the squares of a combination, of a column that is part of it


@dataclass(frozen=True, eq=False)
class TableRows(PointData):
    """Rows ``(n, D)`` of a table, split.

    Attributes:
        columns: The names of the D columns.
        notes: What is worth a line before training: what was left out.
        tests: The name, the path and the SHA-256 of a file of test rows, if there is one.
    """

    notes: Sequence[str] = ()
    tests: Mapping[str, str] | None = None

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps of the data."""
        tests = {"test": dict(self.tests)} if self.tests else {}
        record = {**super().record(), "columns": list(self.columns), **tests}
        if self.name in (STDIN, IN_PYTHON):
            del record["path"]
        return record


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows ``(n, D)`` of the columns that are modelled, float64, and where each row stands."""

    name: str
    columns: list[str]
    values: np.ndarray
    rows: np.ndarray  # their numbers in the file
    place: Callable[[int], str]
    notes: list[str]

    def at(self, row: int) -> str:
        """Say where one of the rows stands in the file."""
        return self.place(int(self.rows[row]))


def load_table(settings: TableData, tails: Tails, table: TableFile | None = None) -> TableRows:
    """Read or draw a table, choose its columns, check its rows, and split them.

    Args:
        settings: Which table, which columns, and how it is split.
        tails: How the columns' tails are transformed.
        table: In place of the one that ``settings`` names.

    Raises:
        DataError: In one line: there is no such table or column, a value is missing, not finite or
            outside its bounds, or no density can be fitted to the columns.
    """
    if table is None and settings.name in POINT_SETS:
        chosen, parts = _drawn(settings), None
    else:
        table = table or _opened(settings.name)
        chosen, parts = _chosen(table, settings)
    _expect_rows(chosen)
    _expect_inside(chosen, settings)
    parts = parts or split_at_random(len(chosen.values), settings.split_seed, settings.test is None)
    train, validation, test = (chosen.values[rows] for rows in parts)
    _expect_density(chosen, chosen.values)
    _expect_density(chosen, train, " (of the rows to train on)")
    _expect_no_atoms(chosen)
    digest = checksum(chosen.values)
    tests = None
    if settings.test is not None:
        test, tests = _tests(settings, chosen, digest)
    bounds = [Bounds(*settings.bounds.get(name, (None, None))) for name in chosen.columns]
    units = fit_units(train, bounds, tails)
    _expect_within(chosen, units)
    # A total beside its parts follows from them as they are; so may what units made of columns.
    for rows in (train[:CHUNK], units.inside(train[:CHUNK])):
        _expect_independent(chosen, rows)
    parted = (train, validation, test)
    known = (chosen.columns, chosen.notes, tests)
    return TableRows(settings.name, digest, *parted, units, (), *known)


def _opened(name: str) -> TableFile:
    """Open a table; a name that is no file may be meant for a built-in set."""
    if name == IN_PYTHON:
        raise DataError(f"{name}: the table was handed over in Python and cannot be read again")
    if name != STDIN and not os.path.exists(name):
        hint = nearest(name, list(POINT_SETS))
        raise DataError(
            f"{name}: no such table{hint}; expected a .csv, .tsv, .parquet, .npy or .npz file, - "
            f"for standard input, or {', '.join(POINT_SETS)}"
        )
    return open_table(name)


def names_of_set(points: np.ndarray) -> list[str]:
    """Return the names of the columns of a built-in set ``(n, D)``: "x1", "x2" and so on."""
    return [f"x{i + 1}" for i in range(points.shape[1])]


def _drawn(settings: TableData) -> Chosen:
    """Draw a built-in set, by the seed of the split: runs of other seeds have the same rows."""
    points = resolve(POINT_SETS[settings.name])()
    rng = stream(settings.split_seed, f"points/{settings.name}")
    values = points.sample(rng, settings.size or SET_SIZE)
    names = names_of_set(values)
    _expect_known(settings.name, names, settings)
    columns = [n for n in settings.columns or names if n not in settings.exclude]
    _expect_columns(settings.name, columns)
    values = values[:, [names.index(name) for name in columns]]
    rows = np.arange(len(values))
    return Chosen(settings.name, columns, values, rows, lambda row: f"row {row}", [])


def _chosen(table: TableFile, settings: TableData) -> tuple[Chosen, Parts | None]:
    """Return the columns of a file that are modelled, and its parts where a column says them."""
    names = [column.name for column in table.columns]
    _expect_known(table.name, names, settings)
    columns, notes = _numbers(table, settings)
    _expect_columns(table.name, columns)
    if settings.max_rows is None:
        values = table.numbers(columns, MAX_ROWS)
        rows = np.arange(len(values))
    else:
        rng = stream(settings.split_seed, "max-rows")
        values, rows, n = sampled(table, columns, settings.max_rows, rng)
        if n > len(values):
            notes.append(f"{len(values):,} of {n:,} rows, drawn at random by data.max_rows")
    values, present = _without_missing(table, settings, columns, values, notes)
    rows = rows[present]
    if settings.columns is None:
        columns, values = _without_the_useless(columns, values, notes)
    chosen = Chosen(table.name, columns, values, rows, table.place, notes)
    if settings.split is not None:
        text = table.text(settings.split)[rows]
        parts = split_by_column(table.name, settings.split, text, settings.split_seed)
        return chosen, shuffled(parts, settings.split_seed)
    if settings.group is not None:
        text = table.text(settings.group)[rows]
        parts = split_by_group(table.name, settings.group, text, settings)
        return chosen, shuffled(parts, settings.split_seed)
    return chosen, None


def _expect_known(name: str, names: list[str], settings: TableData) -> None:
    """Refuse a column that the table does not have, or that is modelled and something else."""
    asked = {
        "columns": settings.columns or [],
        "exclude": settings.exclude,
        "bounds": list(settings.bounds),
        **{key: [value] for key in ("split", "group") if (value := getattr(settings, key))},
    }
    for key, columns in asked.items():
        for column in columns:
            if column not in names:
                known = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
                raise DataError(
                    f"{name}: data.{key}: no column {column!r}{nearest(column, names)}; it has "
                    f"{known}"
                )
    for key in ("exclude", "split", "group"):
        for column in set(asked.get(key, ())) & set(asked["columns"]):
            raise DataError(f"{name}: column {column!r} is in data.columns and in data.{key}")


def _numbers(table: TableFile, settings: TableData) -> tuple[list[str], list[str]]:
    """Return the columns of numbers that may be modelled, and notes of those that are not."""
    if settings.columns is not None:  # one of text is refused, by its line, when it is read
        columns = list(settings.columns)
    else:
        aside = {*settings.exclude, settings.split, settings.group}
        columns = [c.name for c in table.columns if c.is_number and c.name not in aside]
    text = [c.name for c in table.columns if not c.is_number]
    text = [name for name in text if name not in (settings.split, settings.group)]
    left_out = [name for name in text if name not in settings.exclude]
    notes = []
    if left_out and settings.columns is None:
        notes.append(f"left out, as they are not numbers: {_listed(left_out)}")
    return columns, notes


def _expect_columns(name: str, columns: Sequence[str]) -> None:
    if not columns:
        raise DataError(f"{name}: expected a column of numbers, received none")
    if len(columns) > MAX_COLUMNS:
        raise DataError(
            f"{name}: expected at most {MAX_COLUMNS:,} columns, received {len(columns):,}"
        )
    if LOG_Q in columns:
        raise DataError(
            f"{name}: expected no column {LOG_Q!r}, as log-densities are written in one; "
            "--exclude leaves it out"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10:,} others"


def _without_missing(
    table: TableFile,
    settings: TableData,
    columns: list[str],
    values: np.ndarray,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows without a missing value, and which they are."""
    missing = np.isnan(values)
    present = np.logical_not(missing.any(axis=1))
    if present.all():
        return values, present
    counts = dict(zip(columns, missing.sum(axis=0).tolist()))
    text = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if settings.missing == "refuse":
        raise DataError(
            f"{table.name}: {(~present).sum():,} of {len(values):,} rows lack a value ({text}); "
            "--missing drop leaves such rows out, --exclude such a column"
        )
    notes.append(f"left out: {(~present).sum():,} of {len(values):,} rows lack a value ({text})")
    return values[present], present


def _without_the_useless(
    columns: list[str], values: np.ndarray, notes: list[str]
) -> tuple[list[str], np.ndarray]:
    """Leave out columns that no density is fitted to unless they are named: constants and ids."""
    if len(values) < LEAST:
        return columns, values
    constant = [n for n, column in zip(columns, values.T) if (column == column[0]).all()]
    if len(constant) == len(columns):  # which is refused
        return columns, values
    ids = [n for n, column in zip(columns, values.T) if n not in constant and _are_ids(column)]
    if len(constant) + len(ids) == len(columns):  # nothing else is there to fit
        ids = []
    if constant:
        notes.append(f"left out, as they are constant: {_listed(constant)}")
    if ids:
        notes.append(f"left out, as they number the rows: {_listed(ids)} (--columns takes them)")
    aside = {*constant, *ids}
    if not aside:
        return columns, values
    modelled = [i for i, name in enumerate(columns) if name not in aside]
    return [columns[i] for i in modelled], values[:, modelled]


def _are_ids(column: np.ndarray) -> bool:
    """Return whether values are whole numbers, no two of them equal."""
    whole = bool(((column == np.floor(column)) & (np.abs(column) < LARGEST_ID)).all())
    return whole and len(np.unique(column)) == len(column)


def _expect_rows(chosen: Chosen) -> None:
    if len(chosen.values) < LEAST:
        raise DataError(
            f"{chosen.name}: expected at least {LEAST} rows, received {len(chosen.values)}"
        )
    finite = np.isfinite(chosen.values)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), len(chosen.columns))
        raise DataError(
            f"{chosen.name}: {chosen.at(row)}: column {chosen.columns[column]!r}: expected a "
            f"finite number, received {chosen.values[row, column]}"
        )


def _expect_inside(chosen: Chosen, settings: TableData) -> None:
    """Refuse values outside the bounds of their column, or on one."""
    for column, name in enumerate(chosen.columns):
        low, high = settings.interval(name)
        values = chosen.values[:, column]
        for where, wrong in (
            ("outside", (values < low) | (values > high)),
            ("on", (values == low) | (values == high)),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                count = int(wrong.sum())
                raise DataError(
                    f"{chosen.name}: {chosen.at(row)}: column {name!r}: expected values between "
                    f"{low:.15g} and {high:.15g}, received {values[row]:.15g} ({count:,} "
                    f"{'row is' if count == 1 else 'rows are'} {where} a bound)"
                )


def _expect_density(chosen: Chosen, rows: np.ndarray, where: str = "") -> None:
    """Refuse columns that are constant, or have a spread that no density has."""
    for name, values in zip(chosen.columns, rows.T):
        if problem := no_spread(values):
            raise DataError(
                f"{chosen.name}: column {name!r} {problem}{where}; --exclude leaves it out"
            )


def _expect_no_atoms(chosen: Chosen) -> None:
    """Refuse columns whose values repeat."""
    for atom in atoms_of(chosen.values):
        name = chosen.columns[atom["column"] - 1]
        if "value" in atom:
            text = f"is {atom['value']:g} in {atom['share']:.1%} of the rows"
        else:
            text = f"goes in steps of {atom['step']:g}, {atom['repeated']:.0%} of its rows repeat"
        raise DataError(
            f"{chosen.name}: column {name!r} {text}: the likelihood of a density rises without "
            "bound there; --exclude leaves it out"
        )


def _expect_within(chosen: Chosen, units: ColumnUnits) -> None:
    """Refuse a row so far from the others that float32 does not hold it."""
    for start in range(0, len(chosen.values), CHUNK):
        part = chosen.values[start : start + CHUNK]
        away = np.abs(units.inside(part)).max(axis=1)
        row = int(np.argmax(away))
        if not away[row] < FAR:
            raise DataError(
                f"{chosen.name}: {chosen.at(start + row)}: expected values within {FAR:.0e} robust "
                f"standard deviations of the training rows; received {part[row].tolist()}"
            )


def _expect_independent(chosen: Chosen, rows: np.ndarray) -> None:
    """Refuse columns one of which follows from the others, such as a total beside its parts."""
    if len(rows) <= len(chosen.columns):
        raise DataError(
            f"{chosen.name}: expected more rows to train on than columns, received {len(rows):,} "
            f"rows of {len(chosen.columns):,}"
        )
    z = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    if values[0] > LEAST_EIGENVALUE:
        return
    parts = vectors[:, 0] ** 2 > SHARE_OF_SUM * np.max(vectors[:, 0] ** 2)
    names = [name for name, part in zip(chosen.columns, parts) if part]
    raise DataError(
        f"{chosen.name}: each of these columns follows from the others: {_listed(names)}; "
        "the likelihood of a density rises without bound there; --exclude leaves one out"
    )


def _tests(settings: TableData, fitted: Chosen, digest: str) -> tuple[np.ndarray, dict[str, str]]:
    """Read the test rows of a file of their own, in random order."""
    path = settings.test or ""
    plain = {"name": path, "columns": fitted.columns, "test": None, "split": None, "group": None}
    bounds = {name: ends for name, ends in settings.bounds.items() if name in fitted.columns}
    plain |= {"size": None, "exclude": [], "max_rows": None, "bounds": bounds}
    chosen, _ = _chosen(_opened(path), settings.model_copy(update=plain))
    _expect_rows(chosen)
    _expect_inside(chosen, settings)
    sha256 = checksum(chosen.values)
    if sha256 == digest:
        raise DataError(f"{path}: expected other rows for the test than those to train on")
    fitted.notes.extend(f"{path}: {note}" for note in chosen.notes)
    rows = stream(settings.split_seed, "order").permutation(chosen.values)
    return rows, {"name": path, "path": os.path.abspath(path), "sha256": sha256}
