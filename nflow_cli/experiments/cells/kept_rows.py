"""Test rows that a run keeps, checked: they may be a stranger's."""

from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.config.kinds import ColumnKind, row_names

LARGEST = 1e150  # of tables 1e100; pictures of larger numbers overflow


def wrong_cells(kinds: Mapping[str, ColumnKind], given: Sequence[str], *tables: np.ndarray) -> str:
    """First column of rows ``(n, C)`` with a cell that is none of its kind, or ""."""
    names = [name for group in row_names(kinds, given) for name in group]
    for rows in tables:
        for name, cells in zip(names, rows.T):
            if not are_cells(kinds[name], cells[~np.isnan(cells)]).all():
                return f"expected values or level indices in column {name!r}"
    return ""


def are_cells(kind: ColumnKind, cells: np.ndarray) -> np.ndarray:
    """Whether known cells ``(n,)`` are numbers to 1e150 or level indices, -1 for a new level."""
    if kind.levels is None:
        return np.abs(cells) <= LARGEST
    return np.isin(cells, np.arange(-1, len(kind.levels)))
