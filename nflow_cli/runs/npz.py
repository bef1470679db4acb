"""Arrays of untrusted ``.npz`` files: sizes are checked first, and nothing is unpickled."""

import math
import warnings
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.lib import format as npy

MAX_BYTES = 2 * 2**30  # of a file, uncompressed

Check = Callable[[str, tuple[int, ...], np.dtype], None]


class ArrayError(Exception):
    """Array of another name, type or shape than expected."""


def read_arrays(
    archive: zipfile.ZipFile, keys: Iterable[str], check: Check, most: int | None = None
) -> dict[str, Any]:
    """Read arrays of an ``.npz`` after checking the sizes of all: ``most`` bytes together.

    ``check``, called with an array's key, shape and dtype before its values are read, raises
    :class:`ArrayError` to refuse it. Damaged bytes raise errors of ``zipfile``, ``zlib`` and NumPy.
    """
    members = {key: _member(archive, key) for key in keys}
    size = sum(info.file_size for info in members.values())
    most = MAX_BYTES if most is None else most
    if size > most:
        raise ArrayError(f"expected at most {most:,} bytes uncompressed, received {size:,}")
    return {key: _read_member(archive, key, info, check) for key, info in members.items()}


def _member(archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{key}.npy")
    except KeyError:
        raise ArrayError(f"expected an array {key}") from None


def read_values(
    stream: Any, key: str, shape: tuple[int, ...], dtype: np.dtype, order: Any = "C"
) -> np.ndarray:
    """Read the rest of ``stream`` as a read-only array, of exactly that length."""
    expected = math.prod(shape) * dtype.itemsize
    content = stream.read(expected + 1)
    if len(content) != expected:
        received = "more" if len(content) > expected else f"{len(content):,}"
        raise ArrayError(f"{key} {shape}: expected {expected:,} bytes, received {received}")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order=order)


def _read_member(
    archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo, check: Check
) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArrayError(f"{key}: expected deflated, received method {info.compress_type}")
    with archive.open(info) as member, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's about files written by Python 2
        first = npy.read_magic(member) == (1, 0)
        read_header = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(member)
        if dtype.hasobject:
            raise ArrayError(f"{key} holds pickled Python objects, which are never loaded")
        check(key, shape, dtype)
        return read_values(member, key, shape, dtype, "F" if fortran else "C")
