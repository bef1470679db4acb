"""Samples written to ``.npy`` and CSV in chunks, in bounded memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from nflow_cli.runs.directory import RunDirectory


def write_file(path: Path, fill: Any) -> None:
    """Write ``path`` atomically by ``fill(file)``."""
    RunDirectory(path.parent).write(path.name, fill)


def write_npy(
    file: BinaryIO, shape: tuple[int, ...], parts: Iterable[np.ndarray], dtype: Any = np.float32
) -> None:
    """Write ``parts``, together of a ``shape``, as one ``.npy`` array."""
    number = np.dtype(dtype).newbyteorder("<")
    npy.write_array_header_1_0(file, {"descr": number.str, "fortran_order": False, "shape": shape})
    for part in parts:
        file.write(part.astype(number).tobytes())


def write_rows(
    path: Path, columns: Sequence[str], n: int, parts: Iterable[np.ndarray], dtype: Any
) -> list[Path]:
    """Write ``n`` rows as ``.npy``, or as CSV with a header and all digits; return the path."""

    def as_csv(file: BinaryIO) -> None:
        file.write((",".join(columns) + "\n").encode())
        for part in parts:
            fmt = "%.9g" if part.dtype == np.float32 else "%.17g"
            np.savetxt(file, part, fmt=fmt, delimiter=",")

    def as_array(file: BinaryIO) -> None:
        write_npy(file, (n, len(columns)), parts, dtype)

    write_file(path, as_csv if path.suffix.lower() == ".csv" else as_array)
    return [path]
