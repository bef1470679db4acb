"""Columns that targets are predicted from: all others that do not give them away."""

from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.presets import is_key
from nflow_cli.config.table import TableData
from nflow_cli.data.columns import Column
from nflow_cli.data.kinds import kind_left_out
from nflow_cli.data.relations import relations_of

MOST_LETTERS = 400  # of a relation in a note


def may_be_given(columns: Mapping[str, Column], settings: TableData) -> list[str]:
    """Names of the columns that are no target and not left out."""
    return [
        name
        for name, column in columns.items()
        if name not in settings.target and kind_left_out(column, settings) is None
    ]


def given_away(columns: Mapping[str, Column], settings: TableData) -> dict[str, ColumnKind]:
    """Kinds of the columns that give a target away, by name: left out.

    They are computed from a target, or a target is computed from them. Of several, the one that
    the target is most correlated with is left out.
    """
    targets = [columns[name] for name in settings.target]
    others = {name: columns[name] for name in may_be_given(columns, settings)}
    kinds = dict[str, ColumnKind]()
    while others:
        relation = _relation_of(settings.target, [*targets, *others.values()])
        if relation is None:
            break
        target, related, text = relation
        name = _nearest(columns[target], [others[name] for name in related])
        why = f"gives {target} away ({text[:MOST_LETTERS]})"
        kinds[name] = ColumnKind(kind="left out", why=why)
        del others[name]
    return kinds


def _relation_of(
    targets: Sequence[str], columns: Sequence[Column]
) -> tuple[str, list[str], str] | None:
    """A target, the other columns of a relation of it, and the relation as text."""
    read = [column for column in columns if column.numbers is not None or column.codes is not None]
    named = [column for column in read if is_key(column.name)]
    for name, relation in relations_of(named, set()).items():
        names = [name, *relation.columns]
        related = [one for one in names if one not in targets]
        for target in targets:
            if target in names and related:
                return target, related, f"{name} = {relation.text}"
    return None


def _nearest(target: Column, others: Sequence[Column]) -> str:
    """Name of the column of numbers that is most correlated with a target; of one, its own."""
    if len(others) == 1:
        return others[0].name
    cells = np.stack([column.cells for column in (target, *others)])
    complete = cells[:, np.isfinite(cells).all(axis=0)]
    correlations = np.corrcoef(complete)[0, 1:]
    return others[int(np.argmax(np.abs(correlations)))].name
