"""The rows of a whole table: the kinds of its columns, its cells as numbers, its parts.

A row is a line of an array ``(n, C)``, float64: first what is given, then what is modelled, then
what is computed from these, each in the table's order. A cell holds the number of its level, -1 for
one that no training row has; or a number; NaN where it is missing. No Keras here.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config.column_schema import MAX_LEVELS
from nflow_cli.config.kinds_schema import ColumnKind, RowNames, row_names
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.cell_values import numbers_in
from nflow_cli.data.column_maps import ColumnMap
from nflow_cli.data.dates import dated
from nflow_cli.data.kinds import kinds_of
from nflow_cli.data.number_units import units_of_numbers
from nflow_cli.data.points import ALIKE, LEAST, Weights, checksum
from nflow_cli.data.raw_columns import RawColumn, read_columns
from nflow_cli.data.split import Parts, shuffled, split_at_random, split_by_column, split_by_group
from nflow_cli.data.table_rows import IN_PYTHON, STDIN, table_named
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.errors import DataError
from nflow_cli.registry import POINT_SETS

NEW = -1.0  # a level that no training row has


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table to fit a density of cells to.

    Attributes:
        name: Of the table.
        sha256: Of its rows in their order, before they are split.
        kinds: Of all columns, also those that are left out; levels are those of training rows.
        given: The names of the columns that the density is conditional on.
        modelled: The names of the modelled columns.
        computed: The names of the columns that follow from these.
        train: Rows ``(n, C)``.
        validation: The same.
        test: The same.
        units: The maps of each column of numbers that take its values to about N(0, 1).
        weights: Of the rows of each part.
        notes: Lines to print before training.
    """

    name: str
    sha256: str
    kinds: Mapping[str, ColumnKind]
    given: Sequence[str]
    modelled: Sequence[str]
    computed: Sequence[str]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    units: Mapping[str, Sequence[ColumnMap]]
    weights: Weights = ALIKE
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """The names of the C columns of a row."""
        return [*self.given, *self.scored]

    @property
    def scored(self) -> list[str]:
        """The names of the columns whose cells have a probability: the modelled and computed."""
        return [*self.modelled, *self.computed]

    @property
    def sizes(self) -> dict[str, int]:
        """How many rows each part has."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {f"n_{name}": len(rows) for name, rows in parts.items()}

    @property
    def measure(self) -> str:
        """The SHA-256 of the base measure of a row: log-densities compare only where it is equal.

        That is, of each modelled column, its kind, the width that a density is in, and its atoms;
        of a computed column the width that its masses are of.
        """
        kinds = {name: self.kinds[name] for name in sorted(self.scored)}
        has_width = {name: "number" in (kind.kind, kind.own) for name, kind in kinds.items()}
        parts = [
            [name, kind.kind, kind.resolution if has_width[name] else None, kind.atoms]
            for name, kind in kinds.items()
        ]
        text = json.dumps([sorted(self.given), parts])
        return hashlib.sha256(text.encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps of the data."""
        units = {"units": {name: [m.record() for m in maps] for name, maps in self.units.items()}}
        is_file = self.name not in (*POINT_SETS, STDIN, IN_PYTHON)
        path = {"path": os.path.abspath(self.name)} if is_file else {}
        return {"name": self.name, **path, "sha256": self.sha256, "columns": self.columns, **units}


def load_dataset(settings: TableData, table: TableFile | None = None) -> Dataset:
    """Read a table, find the kinds of its columns, and split its rows.

    Args:
        settings: Which table, which columns, and how it is split. Kinds that it has stay.
        table: In place of the one that ``settings`` names.

    Raises:
        DataError: In one line: there is no such table, or nothing in it to model.
    """
    table = table or table_named(settings)
    raw, numbers = read_columns(table, settings.max_rows, settings.split_seed)
    columns = {column.name: column for column in raw}
    aside = {settings.weights, settings.split, settings.group}
    kinds = dict(settings.kinds or kinds_of([c for c in raw if c.name not in aside], settings))
    if len(numbers) < LEAST:
        raise DataError(f"{table.name}: expected at least {LEAST} rows, received {len(numbers)}")
    groups = row_names(kinds, settings.given)
    if not groups.modelled:
        raise DataError(f"{table.name}: expected a column to model, received {_reasons(kinds)}")
    parts = _parts(table, settings, numbers)
    weights = _weights(table, columns, settings.weights)
    kinds = _with_levels(kinds, columns, parts.train)
    names = [name for group in groups for name in group]
    rows = np.column_stack([values_of(columns[c], kinds[c].alone, table) for c in names])
    split = [rows[part] for part in parts]
    of_parts = [None if weights is None else weights[part] / weights[part].mean() for part in parts]
    return Dataset(
        settings.name,
        checksum(rows),
        kinds,
        *groups,
        *split,
        units=_units(kinds, names, split[0]),
        weights=Weights(*of_parts),
        notes=_notes(kinds, groups),
    )


def _reasons(kinds: Mapping[str, ColumnKind]) -> str:
    reasons = Counter(kind.why for kind in kinds.values())
    return ", ".join(f"{count:,} left out ({why})" for why, count in reasons.items())


def _notes(kinds: Mapping[str, ColumnKind], groups: RowNames) -> list[str]:
    left_out: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if not any(name in group for group in groups):
            left_out.setdefault(kind.why, []).append(name)
    notes = [f"left out, {why}: {', '.join(names)}" for why, names in left_out.items()]
    computed = [f"{name} {kinds[name].why}" for name in groups.computed]
    return [*notes, *([f"computed: {', '.join(computed)}"] if computed else [])]


def _parts(table: TableFile, settings: TableData, numbers: np.ndarray) -> Parts:
    seed = settings.split_seed
    if settings.split is not None:
        texts = table.text(settings.split)[numbers]
        return shuffled(split_by_column(table.name, settings.split, texts, seed), seed)
    if settings.group is not None:
        texts = table.text(settings.group)[numbers]
        return shuffled(split_by_group(table.name, settings.group, texts, settings), seed)
    return split_at_random(len(numbers), seed)


def _weights(
    table: TableFile, columns: Mapping[str, RawColumn], name: str | None
) -> np.ndarray | None:
    if name is None:
        return None
    table.expect([name])
    weights = columns[name].numbers
    if weights is None or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise DataError(f"{table.name}: column {name!r}: expected finite weights of 0 or more")
    return weights


def _units(
    kinds: Mapping[str, ColumnKind], names: Sequence[str], train: np.ndarray
) -> dict[str, list[ColumnMap]]:
    """Return the units of the columns of numbers, by the training rows that are at no atom."""
    numbers = [i for i, name in enumerate(names) if kinds[name].alone.kind in ("grid", "number")]
    units = {}
    for i in numbers:
        kind, values = kinds[names[i]], train[:, i]
        values = values[~np.isnan(values) & ~np.isin(values, kind.atoms)]
        units[names[i]] = units_of_numbers(values, kind)
    return units


def _with_levels(
    kinds: Mapping[str, ColumnKind], columns: Mapping[str, RawColumn], train: np.ndarray
) -> dict[str, ColumnKind]:
    """Return the kinds with the levels of training rows, the most frequent of too many.

    A computed column has those of all rows, as its map does.
    """
    settled = {}
    for name, kind in kinds.items():
        if kind.alone.kind == "levels" and kind.levels is None:
            texts, codes = level_texts(columns[name], kind)
            codes = codes if kind.kind == "computed" else codes[train]
            found, counts = np.unique(codes, return_counts=True)
            frequent = found[np.argsort(-counts, kind="stable")]
            kept = [int(code) for code in frequent if code >= 0][:MAX_LEVELS]
            kind = kind.model_copy(update={"levels": _sorted([texts[i] for i in kept], kind)})
        settled[name] = kind
    return settled


def _sorted(levels: Sequence[str], kind: ColumnKind) -> list[str]:
    return sorted(levels) if kind.type in ("text", "truth") else sorted(levels, key=float)


def level_texts(column: RawColumn, kind: ColumnKind) -> tuple[list[str], np.ndarray]:
    """Return the distinct values of a column as texts, and which each cell is; -1 is missing."""
    if column.codes is not None:
        return column.texts, column.codes
    assert column.numbers is not None  # noqa: S101
    values, codes = np.unique(column.numbers, return_inverse=True)
    known = values[~np.isnan(values)]
    texts = {number_text(value, kind.decimals): None for value in known}  # some of one text
    places = {text: i for i, text in enumerate(texts)}
    of_values = [places[number_text(value, kind.decimals)] for value in known]
    return list(texts), np.array([*of_values, -1])[codes]


def number_text(value: float, decimals: int | None) -> str:
    """Return a number as a level, with the decimals of its column."""
    if decimals is None:
        return repr(float(value))
    return f"{value + 0.0:.{decimals}f}"


def values_of(column: RawColumn, kind: ColumnKind, table: TableFile) -> np.ndarray:
    """Return the cells ``(n,)`` of a column as a row holds them.

    Raises:
        DataError: In one line: text, where the column holds numbers.
    """
    if column.numbers is not None and np.isinf(column.numbers).any():
        row = int(np.argmax(np.isinf(column.numbers)))
        raise DataError(
            f"{table.name}: {table.place(row)}: column {shown(column.name)}: expected a finite "
            f"number, received {column.numbers[row]}"
        )
    if kind.kind != "levels" and column.codes is not None and not column.texts:
        return np.full(len(column.codes), np.nan)  # all are missing
    if kind.type in ("date", "time") and kind.form is None:
        column, _ = dated(column)  # of text in a table whose columns have types
    try:
        return _levels_in(column, kind) if kind.kind == "levels" else numbers_in(column, kind)
    except ValueError:
        received = shown(column.texts[0]) if column.texts else "text"
        expected = "numbers" if kind.form is None else f"dates or times as {kind.form}"
        raise DataError(
            f"{table.name}: column {shown(column.name)}: expected {expected}, received {received}"
        ) from None


def _levels_in(column: RawColumn, kind: ColumnKind) -> np.ndarray:
    texts, codes = level_texts(column, kind)
    numbers = {text: float(i) for i, text in enumerate(kind.levels or ())}
    return np.array([*(numbers.get(text, NEW) for text in texts), np.nan])[codes]


def rows_of(table: TableFile, kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> np.ndarray:
    """Return rows ``(n, C)`` of another table that has columns of these names and kinds.

    Raises:
        DataError: In one line: a column is missing, or holds text in place of numbers; or there are
            no rows.
    """
    texts = [name for name in names if kinds[name].type in ("text", "truth")]
    columns, rows = read_columns(table, names=names, texts=texts)
    if not len(rows):
        raise DataError(f"{table.name}: expected rows, received none")
    values = [values_of(column, kinds[column.name], table) for column in columns]
    return np.column_stack(values)
