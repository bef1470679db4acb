"""Which columns of a table a density is fitted to, and its rows without gaps. No Keras here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.roles import Roles
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.categories import UNKNOWN, Reader
from nflow_cli.data.points import LEAST
from nflow_cli.data.split import Parts, sampled, shuffled, split_by_column, split_by_group
from nflow_cli.data.tables import Column, TableFile, shown
from nflow_cli.errors import ColumnError, DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import nearest

MAX_ROWS = 10**7
LOG_Q = "log_q"  # the column of log-densities in what is written
LARGEST_ID = 2**64  # every larger float is a whole number


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows ``(n, C)`` of the columns that are used, float64, and where each row stands.

    Attributes:
        name: Of the table.
        columns: The modelled columns, numbers and categories, in the table's order.
        roles: What the C columns are. Levels are numbered as they appear until they are settled.
        values: The rows.
        weights: How much each row counts ``(n,)``, if a column says so: that of ``weighted``.
        rows: Their numbers in the file.
        place: Says where in the file the row of a number stands.
        notes: What was left out.
    """

    name: str
    columns: Sequence[str]
    roles: Roles
    values: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray
    place: Callable[[int], str]
    notes: list[str]
    weighted: str | None

    def at(self, row: int) -> str:
        """Say where one of the rows stands in the file."""
        return self.place(int(self.rows[row]))

    def column(self, name: str) -> np.ndarray:
        """Return a column ``(n,)`` of the rows."""
        return self.values[:, self.roles.columns.index(name)]

    def numbers(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the modelled and the given numbers, ``(n, D)`` and ``(n, G)``, of such rows."""
        given = self.roles.places(self.roles.given_numbers)
        return values[:, : self.roles.dim], values[:, given]

    def of(self, rows: np.ndarray) -> "Chosen":
        """Return some of the rows, by their numbers among these, in that order."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, values=self.values[rows], weights=weights, rows=self.rows[rows])


def choose(table: TableFile, settings: TableData) -> tuple[Chosen, Parts | None]:
    """Read the columns that settings use, and the parts of the rows where a column says them.

    Raises:
        DataError: In one line: a column is not there, or a value is missing or of another type.
    """
    _expect_known(table.name, [column.name for column in table.columns], settings)
    columns, notes = _modelled(table, settings)
    used = _roles(settings, columns)
    _expect_columns(table.name, used)
    names = [*used.columns, settings.weights] if settings.weights else used.columns
    reader = Reader(table, settings.categorical)
    if settings.max_rows is None:
        values = table.numbers(names, MAX_ROWS, reader.floats)
        rows = np.arange(len(values))
    else:
        rng = stream(settings.split_seed, "max-rows")
        values, rows, n = sampled(table, names, settings.max_rows, rng, reader.floats)
        if n > len(values):
            notes.append(f"{len(values):,} of {n:,} rows, drawn at random by data.max_rows")
    values, present = _without_missing(table, settings, names, values, notes)
    rows = rows[present]
    weights = None
    if settings.weights:
        values, weights = values[:, :-1], values[:, -1]
    if settings.columns is None:
        aside = _useless(used, values, notes)
        if aside:
            values = values[:, [name not in aside for name in used.columns]]
            columns = [name for name in columns if name not in aside]
    levels = {name: reader.levels(name) for name in settings.categorical}
    roles = settings.settled(columns, levels).roles
    chosen = Chosen(
        table.name, columns, roles, values, weights, rows, table.place, notes, settings.weights
    )
    return chosen, _said_parts(table, settings, rows)


def _roles(settings: TableData, columns: Sequence[str]) -> Roles:
    """Return the roles of columns, whose levels are not known yet."""
    return settings.model_copy(update={"columns": columns}).roles


def _said_parts(table: TableFile, settings: TableData, rows: np.ndarray) -> Parts | None:
    """Return which rows are of which part where a column of the table decides that."""
    if settings.split is not None:
        text = table.text(settings.split)[rows]
        parts = split_by_column(table.name, settings.split, text, settings.split_seed)
    elif settings.group is not None:
        text = table.text(settings.group)[rows]
        parts = split_by_group(table.name, settings.group, text, settings)
    else:
        return None
    return shuffled(parts, settings.split_seed)


def settle_levels(chosen: Chosen, settings: TableData, train: np.ndarray) -> Chosen:
    """Number levels as the texts of the training rows are sorted, but those that settings say.

    What no training row has is -1.
    """
    categories, given = dict(chosen.roles.categories), dict(chosen.roles.given_categories)
    for name, texts in chosen.roles.levels.items():
        if settings.categorical[name] is not None:
            continue
        column = chosen.column(name)
        levels = sorted(texts[int(number)] for number in np.unique(column[train]))
        numbers = {text: number for number, text in enumerate(levels)}
        column[:] = np.array([numbers.get(text, UNKNOWN) for text in texts])[column.astype(int)]
        (categories if name in categories else given)[name] = tuple(levels)
    roles = replace(chosen.roles, categories=categories, given_categories=given)
    return replace(chosen, roles=roles)


def _expect_known(name: str, names: list[str], settings: TableData) -> None:
    """Refuse a column that the table does not have."""
    one = {
        key: [value] for key in ("split", "group", "weights") if (value := getattr(settings, key))
    }
    asked = {
        "columns": settings.columns or [],
        "exclude": settings.exclude,
        "bounds": list(settings.bounds),
        "given": settings.given,
        "categorical": list(settings.categorical),
        "discrete": list(settings.discrete),
        **one,
    }
    for key, columns in asked.items():
        for column in columns:
            if column not in names:
                known = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
                raise DataError(
                    f"{name}: data.{key}: no column {column!r}{nearest(column, names)}; it has "
                    f"{known}"
                )


def _modelled(table: TableFile, settings: TableData) -> tuple[list[str], list[str]]:
    """Return the columns that may be modelled, and notes of those that are not."""
    modelled, left_out = _numbers_or_named(table, settings)
    notes = [*table.notes, *left_out]
    aside = [name for name in settings.bounds if name not in modelled]
    if aside:
        notes.append(f"bounded, but not modelled: {listed(aside)}")
    return modelled, notes


def _numbers_or_named(table: TableFile, settings: TableData) -> tuple[list[str], list[str]]:
    if settings.columns is not None:  # one of text is refused, by its line, when it is read
        return list(settings.columns), []
    aside = {*settings.exclude, settings.split, settings.group, settings.weights, *settings.given}
    named = {*settings.categorical, *settings.discrete}
    others = [column for column in table.columns if column.name not in aside]
    index = [c.name for c in others if c.is_index and c.name not in named]
    columns = [column for column in others if column.name not in index]
    modelled = [c.name for c in columns if c.is_number or c.name in named]
    left_out = [column for column in columns if column.name not in modelled]
    _expect_one_mark(table, [column for column in left_out if column.other_mark])
    text = [f"{c.name} ({shown(c.stray)} among numbers)" if c.stray else c.name for c in left_out]
    notes = [f"left out, as they are not numbers: {listed(text)}"] if text else []
    if index:
        notes.append(f"left out, as the index of a DataFrame: {listed(index)} (--columns takes it)")
    return modelled, notes


def _expect_one_mark(table: TableFile, columns: Sequence[Column]) -> None:
    """Refuse columns that would be left out, and are numbers by another decimal mark."""
    if columns:
        mark = "commas" if table.decimal == "," else "points"
        names = [column.name for column in columns]
        raise DataError(
            f"{table.name}: expected one decimal mark in all columns. Received: decimal {mark}, "
            f"and {shown(columns[0].other_mark)} in column {shown(names[0])}; write all numbers by "
            f"one mark, or --exclude {','.join(names)} leaves such columns out"
        )


def _expect_columns(name: str, roles: Roles) -> None:
    columns = roles.columns
    if not roles.dim:
        raise DataError(f"{name}: expected a column of numbers to model, received none")
    if len(columns) > MAX_COLUMNS:
        raise DataError(
            f"{name}: expected at most {MAX_COLUMNS:,} columns, received {len(columns):,}"
        )
    if LOG_Q in columns:
        raise ColumnError(
            f"{name}: expected no column {LOG_Q!r}, as log-densities are written in one; "
            "--exclude leaves it out",
            LOG_Q,
        )


def listed(names: Sequence[str]) -> str:
    """Return names with commas between them, at most ten."""
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10:,} others"


def _without_missing(
    table: TableFile,
    settings: TableData,
    columns: Sequence[str],
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


def _useless(roles: Roles, values: np.ndarray, notes: list[str]) -> set[str]:
    """Return the columns that no density is fitted to unless named: constants and ids."""
    columns = [name for name in roles.numbers if name not in roles.steps]
    if len(values) < LEAST:
        return set()
    by_name = {name: values[:, place] for name, place in zip(columns, roles.places(columns))}
    constant = [name for name, column in by_name.items() if (column == column[0]).all()]
    if len(constant) == roles.dim:  # which is refused
        return set()
    ids = [n for n, column in by_name.items() if n not in constant and _are_ids(column)]
    if len(constant) + len(ids) == roles.dim:  # nothing else is there to fit
        ids = []
    if constant:
        notes.append(f"left out, as they are constant: {listed(constant)}")
    if ids:
        notes.append(f"left out, as they number the rows: {listed(ids)} (--columns takes them)")
    return {*constant, *ids}


def _are_ids(column: np.ndarray) -> bool:
    """Return whether values are whole numbers, no two of them equal."""
    whole = bool(((column == np.floor(column)) & (np.abs(column) < LARGEST_ID)).all())
    return whole and len(np.unique(column)) == len(column)
