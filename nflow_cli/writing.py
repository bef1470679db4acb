"""Samples written to a file some at a time, so that memory stays bounded. No Keras here."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from nflow_cli.run_dir import RunDirectory


def write_file(path: Path, fill: Any) -> None:
    """Write ``path`` by ``fill(file)`` under a temporary name, and rename it.

    Raises:
        RunDirectoryError: In one line that names ``path``, if it cannot be written.
    """
    RunDirectory(path.parent).write(path.name, fill)


def write_npy(file: BinaryIO, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write float32 ``parts`` that together have ``shape`` as one ``.npy`` array."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    for part in parts:
        file.write(part.astype("<f4").tobytes())


def write_csv(file: BinaryIO, columns: Iterable[str], parts: Iterator[np.ndarray]) -> None:
    """Write rows of numbers under a header; nine digits give each float32 back exactly."""
    file.write((",".join(columns) + "\n").encode())
    for part in parts:
        np.savetxt(file, part, fmt="%.9g", delimiter=",")
