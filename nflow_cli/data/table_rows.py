"""A table to fit a density to: its columns chosen, its rows checked, and split. No Keras here."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.config.table_schema import TableData, Tails
from nflow_cli.data import row_checks
from nflow_cli.data.array_tables import RowsTable
from nflow_cli.data.categories import UNKNOWN
from nflow_cli.data.chosen_rows import LOG_Q, MAX_ROWS, Chosen, choose, settle_levels
from nflow_cli.data.dequantisation import WITHIN
from nflow_cli.data.fit_units import Bounds, fit_units
from nflow_cli.data.points import ALIKE, SET_SIZE, Weights, checksum
from nflow_cli.data.split import Parts, split_at_random
from nflow_cli.data.table_files import STDIN, TableFile, open_table
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, nearest, resolve

__all__ = [
    "IN_PYTHON",
    "LOG_Q",
    "MAX_ROWS",
    "STDIN",
    "TableRows",
    "load_table",
    "names_of_set",
    "table_named",
]

IN_PYTHON = "<python>"  # what a table is called that was handed over there
REPEATED = 0.01  # of test rows that may stand among those to train on, untold


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows ``(n, C)`` of a table in the user's units, float64, split.

    Attributes:
        name: Of the table.
        sha256: Of all rows in their order, before they were split.
        train: The rows to train on.
        validation: Those that choose the weights.
        test: Those that judge.
        units: Of the D modelled numbers, by the rows to train on.
        columns: The names of the D modelled numbers.
        roles: What each of the C columns is.
        given_units: The units of the given numbers.
        modelled: The names of modelled numbers and categories, in the table's order.
        weights: Of the rows of each part.
        notes: What is worth a line before training: what was left out.
        tests: The name, the path and the SHA-256 of a file of test rows, if there is one.
    """

    name: str
    sha256: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    units: ColumnUnits
    columns: Sequence[str]
    roles: Roles
    given_units: ColumnUnits
    modelled: Sequence[str] = ()
    weights: Weights = ALIKE
    notes: Sequence[str] = ()
    tests: Mapping[str, str] | None = None

    @property
    def dim(self) -> int:
        """D."""
        return self.roles.dim

    @property
    def sizes(self) -> dict[str, int]:
        """How many rows each part has."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {f"n_{name}": len(rows) for name, rows in parts.items()}

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps of the data."""
        is_file = self.name not in (*POINT_SETS, STDIN, IN_PYTHON)
        path = {"path": os.path.abspath(self.name)} if is_file else {}
        record = {"name": self.name, **path, "sha256": self.sha256, **self.units.record()}
        record["columns"] = list(self.columns)
        if self.roles.given_numbers:
            record["given_units"] = self.given_units.record()["units"]
        weights = [part for part in self.weights if part is not None]
        if weights:
            record["weights_sha256"] = checksum(np.concatenate(weights))
        if self.tests:
            record["test"] = dict(self.tests)
        return record


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
    table = table or table_named(settings)
    chosen, parts = choose(table, settings)
    _expect_values(chosen, settings)
    n = len(chosen.values)
    parts = parts or split_at_random(n, settings.split_seed, settings.test is None)
    chosen = settle_levels(chosen, settings, parts.train)
    drawn = _expect_a_density(chosen, settings, parts)
    units, given_units = _fitted_units(chosen, settings, tails, drawn)
    digest, tests = checksum(chosen.values), None
    train, validation, test = (chosen.of(rows) for rows in parts)
    if settings.test is not None:
        test, tests = _tests(settings, chosen, digest)
    for part, rows in (("validation", validation), ("test", test)):
        row_checks.expect_judges(part, rows)
    notes = _notes(train, validation, test)
    validation = validation.of(np.flatnonzero(chosen.roles.are_known(validation.values)))
    return TableRows(
        settings.name,
        digest,
        *(train.values, validation.values, test.values),
        units,
        columns=chosen.roles.numbers,
        roles=chosen.roles,
        given_units=given_units,
        modelled=chosen.columns,
        weights=Weights(*(_scaled(part.weights) for part in (train, validation, test))),
        notes=notes,
        tests=tests,
    )


def table_named(settings: TableData) -> TableFile:
    """Open the table that settings name, or draw the built-in set.

    Raises:
        DataError: In one line: there is no such table.
    """
    return _drawn(settings) if settings.name in POINT_SETS else _opened(settings.name)


def _opened(name: str) -> TableFile:
    """Open a table; a bare name that is no file may be meant for a built-in set."""
    if name == IN_PYTHON:
        raise DataError(f"{name}: the table was handed over in Python and cannot be read again")
    is_bare = name != STDIN and not os.path.dirname(name) and not os.path.splitext(name)[1]
    if is_bare and not os.path.exists(name):
        hint = nearest(name, list(POINT_SETS))
        raise DataError(
            f"{name}: no such table{hint}; expected a .csv, .tsv, .parquet, .npy or .npz file, - "
            f"for standard input, or {', '.join(POINT_SETS)}"
        )
    return open_table(name)


def names_of_set(points: np.ndarray) -> list[str]:
    """Return the names of the columns of a built-in set ``(n, D)``: "x1", "x2" and so on."""
    return [f"x{i + 1}" for i in range(points.shape[1])]


def _drawn(settings: TableData) -> TableFile:
    """Draw a built-in set, by the seed of the split: runs of other seeds have the same rows."""
    points = resolve(POINT_SETS[settings.name])()
    rng = stream(settings.split_seed, f"points/{settings.name}")
    values = points.sample(rng, settings.size or SET_SIZE)
    return RowsTable(settings.name, values, names_of_set(values))


def _expect_values(chosen: Chosen, settings: TableData) -> None:
    """Refuse rows one of whose values no density has."""
    row_checks.expect_rows(chosen)
    row_checks.expect_inside(chosen, settings)
    row_checks.expect_multiples(chosen)
    row_checks.expect_weights(chosen)


def _expect_a_density(chosen: Chosen, settings: TableData, parts: Parts) -> np.ndarray:
    """Refuse columns that no density has; return the rows that the units are to suit.

    Those to train on, drawn with replacement, in proportion to their weights, if they have some.
    """
    row_checks.expect_levels(chosen, parts.train)
    row_checks.expect_density(chosen, chosen.values)
    drawn, where = parts.train, "of the rows to train on"
    if chosen.weights is not None:
        row_checks.expect_weighted_parts(chosen, parts)
        rng = stream(settings.split_seed, "weights")
        p = chosen.weights[drawn] / chosen.weights[drawn].max()
        drawn, where = rng.choice(drawn, size=len(drawn), p=p / p.sum()), f"{where}, by weight"
    row_checks.expect_density(chosen, chosen.values[drawn], f" ({where})")
    row_checks.expect_no_atoms(chosen)
    return drawn


def _fitted_units(
    chosen: Chosen, settings: TableData, tails: Tails, train: np.ndarray
) -> tuple[ColumnUnits, ColumnUnits]:
    """Return the units of modelled and of given numbers, which suit the rows to train on.

    Raises:
        DataError: The rows are too few, or one of the columns follows from others.
    """
    values = chosen.values[train]
    rng = stream(settings.split_seed, "dequantised")
    for name, step in chosen.roles.steps.items():
        noise = step * WITHIN * (rng.random(len(values)) - 0.5)
        values[:, chosen.roles.columns.index(name)] += noise
    numbers, given = chosen.numbers(values)
    bounds = [_bounds(settings, name) for name in chosen.roles.numbers]
    units = fit_units(numbers, bounds, tails)
    given_units = fit_units(given, [None] * given.shape[1], tails)
    row_checks.expect_within(chosen, units, given_units)
    row_checks.expect_spread_in_levels(chosen, numbers, values)
    # A total beside its parts follows from them as they are; so may what units made of columns.
    numbers, given = numbers[: row_checks.CHUNK], given[: row_checks.CHUNK]
    row_checks.expect_independent(chosen, numbers, given)
    row_checks.expect_independent(chosen, units.inside(numbers), given_units.inside(given))
    return units, given_units


def _bounds(settings: TableData, name: str) -> Bounds:
    low, high = settings.interval(name)
    return Bounds(None if low == -math.inf else low, None if high == math.inf else high)


def _scaled(weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights whose largest is 1, so that float32 holds them and their sum."""
    return None if weights is None else weights / weights.max()


def _notes(train: Chosen, validation: Chosen, test: Chosen) -> list[str]:
    """Tell what was left out, what weights come to, and which levels are unknown."""
    notes = [*train.notes]
    if train.weights is not None:
        weights = train.weights / train.weights.max()
        effective = weights.sum() ** 2 / (weights * weights).sum()
        notes.append(
            f"weighted by {train.weighted}: the {len(weights):,} rows to train on count as "
            f"{effective:,.1f}, (Σw)²/Σw²"
        )
    if test.notes is not train.notes:
        notes += (f"{test.name}: {note}" for note in test.notes)
    for part, rows, end in (
        ("validation", validation, "they are left out"),
        ("test", test, "their density is 0"),
    ):
        notes += (f"{note}: {end}" for note in _notes_of_levels(part, rows))
    notes += _note_of_repeats(train, test)
    return notes


def _note_of_repeats(train: Chosen, test: Chosen) -> list[str]:
    """Tell how many test rows are trained on too, but for a few, and for categories and steps."""
    if train.roles.categories or train.roles.steps:
        return []
    rng = stream(0, "repeats")
    factors = rng.integers(2**63, size=train.values.shape[1], dtype=np.uint64)
    seen, judged = (
        np.ascontiguousarray(part.values, np.float64).view(np.uint64) @ (2 * factors + 1)
        for part in (train, test)
    )
    ordered, n = np.sort(judged), len(judged)
    places = np.minimum(np.searchsorted(ordered, seen), n - 1)  # the many in the few: faster
    count = int(np.isin(judged, seen[ordered[places] == seen]).sum())
    if count <= REPEATED * n:
        return []
    return [
        f"{count:,} of {n:,} test rows are among those to train on too: their score is too good"
    ]


def _notes_of_levels(part: str, chosen: Chosen) -> list[str]:
    """Tell how many rows are of a level that no training row has."""
    counts = {name: int((chosen.column(name) == UNKNOWN).sum()) for name in chosen.roles.levels}
    return [
        f"{count:,} of {len(chosen.values):,} {part} rows have a level of {name} that no training "
        "row has"
        for name, count in counts.items()
        if count
    ]


def _tests(settings: TableData, fitted: Chosen, digest: str) -> tuple[Chosen, dict[str, str]]:
    """Read the test rows of a file of their own, in random order."""
    path = settings.test or ""
    bounds = {n: ends for n, ends in settings.bounds.items() if n in fitted.roles.numbers}
    plain = {"name": path, "bounds": bounds, "size": None, "exclude": [], "max_rows": None}
    plain |= dict.fromkeys(("test", "split", "group"))
    known = settings.settled(fitted.columns, fitted.roles.levels)
    chosen, _ = choose(_opened(path), known.model_copy(update=plain))
    _expect_values(chosen, settings)
    sha256 = checksum(chosen.values)
    if sha256 == digest:
        raise DataError(f"{path}: expected other rows for the test than those to train on")
    rows = stream(settings.split_seed, "order").permutation(len(chosen.values))
    return chosen.of(rows), {"name": path, "path": os.path.abspath(path), "sha256": sha256}
