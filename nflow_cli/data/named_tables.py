"""Tables by name: a file, standard input, or a built-in point set."""

import os

import numpy as np

from nflow_cli.config.table import TableData
from nflow_cli.data.array_tables import RowsTable
from nflow_cli.data.points import SET_SIZE
from nflow_cli.data.table_files import STDIN, open_table
from nflow_cli.data.tables import TableFile
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, nearest, resolve

IN_PYTHON = "<python>"  # name of a table passed in Python


def table_named(settings: TableData) -> TableFile:
    """Open the table of the settings, or draw the built-in set."""
    return _drawn(settings) if settings.name in POINT_SETS else _opened(settings.name)


def _opened(name: str) -> TableFile:
    if name == IN_PYTHON:
        raise DataError(f"{name}: the table was passed in Python and cannot be read again")
    is_bare = name != STDIN and not os.path.dirname(name) and not os.path.splitext(name)[1]
    if is_bare and not os.path.exists(name):
        hint = nearest(name, list(POINT_SETS))
        raise DataError(
            f"{name}: no such table{hint}; expected a .csv, .tsv, .parquet, .npy or .npz file, - "
            f"for standard input, or {', '.join(POINT_SETS)}"
        )
    return open_table(name)


def names_of_set(points: np.ndarray) -> list[str]:
    """Column names of a built-in set ``(n, D)``: "x1", "x2", …."""
    return [f"x{i + 1}" for i in range(points.shape[1])]


def _drawn(settings: TableData) -> TableFile:
    """By the seed of the split: other seeds of a run have the same rows."""
    points = resolve(POINT_SETS[settings.name])()
    rng = stream(settings.split_seed, f"points/{settings.name}")
    values = points.sample(rng, settings.size or SET_SIZE)
    return RowsTable(settings.name, values, names_of_set(values))
