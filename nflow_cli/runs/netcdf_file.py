"""Draws written as ArviZ's InferenceData: a netCDF-4 file, by h5py.

The layout is that of the netCDF-4 format: dimensions are HDF5 dimension scales with numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nflow_cli.errors import NflowError
from nflow_cli.runs import files
from nflow_cli.text import printable

DIMENSIONS = ("chain", "draw")
POSTERIOR, STATISTICS = "posterior", "sample_stats"


def write_inference(
    path: Path,
    n: int,
    columns: Sequence[str],
    statistics: Sequence[str],
    parts: Iterable[np.ndarray],
    attributes: Mapping[str, Any],
) -> None:
    """Write ``n`` draws of one chain, atomically.

    Args:
        path: Of the file.
        n: Number of draws.
        columns: Variables of ``posterior``, D names.
        statistics: Variables of ``sample_stats``, S names.
        parts: Rows ``(m, D + S)``.
        attributes: Text and numbers, of both groups.
    """
    for name in columns:
        if "/" in name or name in (*DIMENSIONS, "."):
            raise NflowError(
                f"{path}: expected names without / other than {', '.join(DIMENSIONS)} in a netCDF "
                f"file. Received: {printable(name)!r:.60}"
            )
    with files.replaced(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        library = f"h5py={h5py.version.version},hdf5={h5py.version.hdf5_version}"
        file.attrs["_NCProperties"] = np.bytes_(f"version=2,{library}")
        variables = [
            *_variables(file, POSTERIOR, columns, n, attributes, 0),
            *_variables(file, STATISTICS, statistics, n, attributes, len(DIMENSIONS)),
        ]
        start = 0
        for rows in parts:
            for variable, values in zip(variables, rows.T, strict=True):
                variable[0, start : start + len(rows)] = values
            start += len(rows)


def _variables(
    file: h5py.File,
    name: str,
    variables: Sequence[str],
    n: int,
    attributes: Mapping[str, Any],
    first: int,
) -> list[h5py.Dataset]:
    """Empty variables ``(1, n)`` of a group, whose dimensions have the numbers from ``first``."""
    group = file.create_group(name, track_order=True)
    for key, value in attributes.items():
        group.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value
    scales = []
    for dimension, length in zip(DIMENSIONS, (1, n)):
        scale = group.create_dataset(dimension, data=np.arange(length, dtype="<i8"))
        scale.make_scale(dimension)
        scale.attrs["_Netcdf4Dimid"] = np.int32(first + len(scales))
        scales.append(scale)
    made = []
    for variable in variables:
        made.append(group.create_dataset(variable, (1, n), "<f8"))
        for axis, scale in enumerate(scales):
            made[-1].dims[axis].attach_scale(scale)
        made[-1].attrs["_Netcdf4Coordinates"] = np.arange(first, first + 2, dtype=np.int32)
        made[-1].attrs["_Netcdf4Dimid"] = np.int32(first)
    return made
