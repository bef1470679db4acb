"""Cells in the table's own types: levels, whole numbers, dates, times."""

from typing import Any

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.dates import texts_of


def as_written(kind: ColumnKind, values: np.ndarray) -> Any:
    """Cells ``(n,)`` of a column in the table's types, as floats or Arrow's.

    A missing cell is null or NaN, a new level null.
    """
    import pyarrow as pa

    if kind.kind != "levels":
        return _numbers(kind, values)
    levels = kind.levels or []
    places = np.where(np.isnan(values) | (values < 0), len(levels), values).astype(int)
    if kind.type in ("text", "truth"):
        return pa.array(np.array([*levels, None], object)[places], pa.string())
    return _numbers(kind, np.array([*map(float, levels), np.nan])[places])


def _numbers(kind: ColumnKind, values: np.ndarray) -> Any:
    import pyarrow as pa

    gaps = np.isnan(values)
    filled = np.where(gaps, 0.0, values)
    if kind.form is not None:
        return pa.array(texts_of(filled, kind.form, kind.decimals or 0), pa.string(), mask=gaps)
    if kind.type == "whole" and not (np.abs(filled) >= 2**53).any():
        return pa.array(filled.astype(np.int64), mask=gaps)
    if kind.type == "date":
        return pa.array(
            np.clip(filled, -(2**31), 2**31 - 1).astype(np.int32), pa.int32(), mask=gaps
        ).cast(pa.date32())
    if kind.type == "time":
        micros = np.rint(np.clip(filled * 1e6, -(2.0**62), 2.0**62)).astype(np.int64)
        return pa.array(micros, pa.timestamp("us"), mask=gaps)
    return values
