"""Points read from a table: in the plane, or of named coordinates."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nflow_cli.data.table_files import open_table
from nflow_cli.data.tables import TableFile, looks_like, shown
from nflow_cli.errors import DataError

MAX_POINTS = 10**7
NAMES = ("z1", "z2")  # in the output of `nflow sample`, before a third column


def read_points(name: str | Path) -> np.ndarray:
    """Points ``(n, 2)`` of a table, float64, finite, at most 10 million.

    Of two numeric columns, with or without a header; else ``z1`` and ``z2``, as of
    ``nflow sample``.
    """
    table = open_table(name)
    return _finite(table, _columns(table))


def read_coordinates(name: str | Path, names: Sequence[str]) -> np.ndarray:
    """Points ``(n, D)`` of a table's columns ``names``, float64, finite, at most 10 million."""
    table = open_table(name)
    table.expect(names)
    return _finite(table, names)


def _finite(table: TableFile, names: Sequence[str]) -> np.ndarray:
    points = table.numbers(names, MAX_POINTS)
    if not len(points):
        raise DataError(f"{table.name}: no points in it; expected {len(names)} columns of numbers")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"{table.name}: {table.place(row)}: expected {len(names)} finite numbers, "
            f"received {points[row].tolist()}"
        )
    return points


def _columns(table: TableFile) -> list[str]:
    names = [column.name for column in table.columns if not column.is_index]
    if len(names) == 2:
        return names
    if all(name in names for name in NAMES):
        return list(NAMES)
    listed = ", ".join(map(shown, names[:3])) + (", …" if len(names) > 3 else "")
    if len(names) == 1:
        raise DataError(
            f"{table.name}: expected two columns of numbers, received one, called {listed}"
            f"{looks_like(names[0])}"
        )
    raise DataError(
        f"{table.name}: expected two columns of numbers, or z1 and z2 among others; received "
        f"{len(names):,}: {listed}"
    )
