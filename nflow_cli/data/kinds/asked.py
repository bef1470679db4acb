"""Requests for columns: what the settings of a table ask of each column as read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.config.column_kinds import MAX_ORDERED, ColumnKind
from nflow_cli.config.table import TableData
from nflow_cli.data.files.columns import Column
from nflow_cli.data.kinds.mends import LOSING, Mend

NAMING = ("columns", "given", "target", "categorical", "discrete", "ordered", "date")
# keys of used columns


@dataclass(frozen=True, eq=False)
class AskedColumn:
    """Request for a column: the column as read, its role, bounds, step and format.

    What a column is found to be, modelled, computed or left out, is its kind.

    Attributes:
        column: As read; its caches are shared.
        exclusion: Mend that leaves it out of the table.
        role: Of a column beside the rows: why it is left out; "" of any other.
        is_excluded: By name, or as others are chosen by name.
        is_named: Used as it is, unless constant or too large.
        is_given: Conditioned on.
        is_weight: Of the rows.
        is_categorical: Its values are levels.
        bounds: Open ends of its numbers, ``None`` each; ``None`` if it has no say.
        step: Its numbers are multiples of it.
        order: Its levels, lowest first, if they are in order.
        date_format: Its dates or times in text, of strptime.
        known_kind: Its kind, of a run whose table is read again.
    """

    column: Column
    exclusion: Mend
    role: str = ""
    is_excluded: bool = False
    is_named: bool = False
    is_given: bool = False
    is_weight: bool = False
    is_categorical: bool = False
    bounds: Sequence[float | None] | None = None
    step: float | None = None
    order: Sequence[str] = ()
    date_format: str | None = None
    known_kind: ColumnKind | None = None

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column.name

    @property
    def has_chosen_kind(self) -> bool:
        """Whether its kind is chosen: levels, in order or not, or multiples of a step."""
        return self.is_categorical or self.step is not None or bool(self.order)

    def at(self, rows: np.ndarray) -> "AskedColumn":
        """Some rows, by their numbers in ascending order."""
        return replace(self, column=self.column.at(rows))


AskedColumns = dict[str, AskedColumn]  # by name


def asked_columns(columns: Iterable[Column], settings: TableData) -> AskedColumns:
    """Requests for columns by the settings of their table, by name."""
    names_by_key = settings.columns_named()
    used = {name for key in NAMING for name in names_by_key[key]}
    kinds = settings.kinds or {}
    roles = {
        settings.split: "says which part a row is in",
        settings.group: "groups rows",
        settings.weights: "weights rows",
    }

    def request(column: Column) -> AskedColumn:
        name = column.name
        is_given = name in settings.given
        is_chosen = settings.columns is None or name in used
        return AskedColumn(
            column,
            leaving_out(name, settings),
            role="" if is_given else roles.get(name, ""),
            is_excluded=name in settings.exclude or not is_chosen,
            is_named=name in used or name in settings.bounds,
            is_given=is_given,
            is_weight=name == settings.weights,
            is_categorical=name in settings.categorical,
            bounds=settings.bounds.get(name),
            step=settings.discrete.get(name),
            order=order_of(column, settings),
            date_format=settings.date.get(name),
            known_kind=kinds.get(name),
        )

    return {column.name: request(column) for column in columns}


def order_of(column: Column, settings: TableData) -> Sequence[str]:
    """Levels of a column in order: of the settings, or those of an ordered category."""
    if column.name in settings.ordered:
        return settings.ordered[column.name]
    is_other = column.name in settings.categorical or not 2 <= len(column.order) <= MAX_ORDERED
    return () if is_other else column.order


def given_to(columns: Mapping[str, AskedColumn], names: Sequence[str]) -> AskedColumns:
    """Columns of which those of some names are given, and no others."""
    return {name: replace(column, is_given=name in names) for name, column in columns.items()}


def leaving_out(name: str, settings: TableData) -> Mend:
    """What leaves out a column."""
    for key in LOSING:
        if not settings.target and name in (getattr(settings, key) or ()):
            return Mend(key, name)
    return Mend("exclude", name)


def given_names(columns: Mapping[str, AskedColumn]) -> list[str]:
    """Names of the given columns."""
    return [name for name, column in columns.items() if column.is_given]
