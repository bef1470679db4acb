"""Columns that targets are predicted from: all others that do not give them away."""

from collections.abc import Sequence

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.presets import is_key
from nflow_cli.data.files.columns import Column
from nflow_cli.data.kinds.asked import AskedColumns
from nflow_cli.data.kinds.found_kinds import kind_left_out
from nflow_cli.data.kinds.relations import relations_of

MOST_LETTERS = 400  # of a relation in a note


def may_be_given(columns: AskedColumns, targets: Sequence[str]) -> list[str]:
    """Names of the columns that are no target and not left out."""
    return [
        name
        for name, column in columns.items()
        if name not in targets and kind_left_out(column) is None
    ]


def given_away(columns: AskedColumns, targets: Sequence[str]) -> dict[str, ColumnKind]:
    """Kinds of the columns that give a target away, by name: left out.

    They are computed from a target, or a target is computed from them. Of several, the one that
    the target is most correlated with is left out.
    """
    predicted = [columns[name].column for name in targets]
    others = {name: columns[name].column for name in may_be_given(columns, targets)}
    kinds = dict[str, ColumnKind]()
    while others:
        relation = _relation_of(targets, [*predicted, *others.values()])
        if relation is None:
            break
        target, related, text = relation
        name = _nearest(columns[target].column, [others[name] for name in related])
        why = f"gives {target} away ({text[:MOST_LETTERS]})"
        kinds[name] = ColumnKind(kind="left out", why=why)
        del others[name]
    return kinds


def _relation_of(
    targets: Sequence[str], columns: Sequence[Column]
) -> tuple[str, list[str], str] | None:
    """A target, the other columns of a relation of it, and the relation as text."""
    usable = [column for column in columns if column.is_collected and is_key(column.name)]
    for name, relation in relations_of(usable, set()).items():
        related = [name, *relation.columns]
        others = [name for name in related if name not in targets]
        for target in targets:
            if target in related and others:
                return target, others, f"{name} = {relation.text}"
    return None


def _nearest(target: Column, others: Sequence[Column]) -> str:
    """Name of the column of numbers that is most correlated with a target; of one, its own."""
    if len(others) == 1:
        return others[0].name
    cells = np.stack([column.cells for column in (target, *others)])
    complete = cells[:, np.isfinite(cells).all(axis=0)]
    correlations = np.corrcoef(complete)[0, 1:]
    return others[int(np.argmax(np.abs(correlations)))].name
