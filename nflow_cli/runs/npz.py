"""Arrays of untrusted ``.npz`` files: sizes and shapes are checked first, nothing is unpickled."""

import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy

from nflow_cli.constants import MAX_GRID

MAX_BYTES = 2 * 2**30  # of a file, uncompressed

Check = Callable[[str, tuple[int, ...], np.dtype], None]
SHOWN_SAMPLES = 2_000  # of each kind
SHOWN_COLUMNS = 12  # of a table
STRIP_PANELS = 9  # of the deformation, at most
STRIP_GRID = 120  # points a side of each
# By name: a letter for each axis, or its length if it is known. Axes of one letter have the same
# length. A last "?": may be empty; a first one: may be missing.
Shapes = Mapping[str, Sequence[str | int]]
DEFORMATION_ARRAYS: Shapes = {
    "deformation_k": "k",
    "log_deformation": "kji",
    "deformation_axis_1": "i",
    "deformation_axis_2": "j",
    "deformation_samples": ("k", "v", 2),
}
DENSITY_ARRAYS: Shapes = {
    "axis_1": "x",
    "axis_2": "y",
    "log_target": "yx",
    "log_base": "yx",
    "log_q": "yx",
    "base_samples": ("t", 2),
    "target_samples": ("u", 2),
}
ROWS: Shapes = {"test_log_q": "z"}  # log q of each test row that is kept
ROW_WEIGHTS: Shapes = {"test_weights": "z"}
DENSITIES: Shapes = {"axis_1": "x", "log_target": "xx", "log_q": "xx"}  # for `compare`
_WHOLE = ("deformation_k", "latent_axes", "labels", "columns_shown", "groups")  # of whole numbers
_AXES = ("axis_1", "axis_2", "deformation_axis_1", "deformation_axis_2", "manifold_axis")
# Minimum and maximum length of an axis: of a grid, of the strip and its panels, of points,
# of images of up to h x w pixels, of the rows of the manifold.
_LENGTHS = {
    **dict.fromkeys("xy", (2, MAX_GRID)),
    **dict.fromkeys("ij", (2, 400)),
    "k": (1, 16),
    **dict.fromkeys("stuvb", (0, 10_000)),
    **dict.fromkeys("np", (1, 10_000)),
    "c": (1, SHOWN_COLUMNS),
    "z": (1, 10**8),
    "m": (1, 20),
    "d": (1, 400),
    "h": (1, 28),
    "w": (1, 28),
    "r": (2, 40),
}
_MAX_COORDINATE = 1e100


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
        is_version_1 = npy.read_magic(member) == (1, 0)
        read_header = npy.read_array_header_1_0 if is_version_1 else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(member)
        if dtype.hasobject:
            raise ArrayError(f"{key} holds pickled Python objects, which are never loaded")
        check(key, shape, dtype)
        return read_values(member, key, shape, dtype, "F" if is_fortran else "C")


def check_of(shapes: Shapes) -> Check:
    """Check of an array's type and shape before it is read."""
    lengths: dict[str | int, int] = {}

    def check(key: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        kinds = "f"
        numbers = "numbers"
        if key in _WHOLE:
            kinds = "iu"
            numbers = "whole numbers"
        if dtype.kind not in kinds or dtype.itemsize > 8:
            raise ArrayError(f"{key}: expected {numbers}, received dtype {dtype}")
        axes = shapes[key]
        axes = axes[axes[0] == "?" :]
        if axes[-1] == "?":
            axes = axes[:-1] if shape != (0,) else (0,)
        if len(axes) != len(shape):
            raise ArrayError(f"{key}: expected {len(axes)} axes, received shape {shape}")
        for axis, length in zip(axes, shape):
            least, most = (axis, axis) if isinstance(axis, int) else _LENGTHS[axis]
            if not least <= length <= most:
                sizes = f"{least:,} to {most:,}" if least < most else f"{least:,}"
                raise ArrayError(f"{key}: expected lengths of {sizes}, received shape {shape}")
            if length != lengths.setdefault(axis, length):
                raise ArrayError(
                    f"{key}: expected a length of {lengths[axis]:,}, like the others, received "
                    f"shape {shape}"
                )

    return check


def check_axes(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse coordinates that are not finite and do not rise."""
    for name in arrays.keys() & set(_AXES):
        axis = arrays[name].astype(float)
        if not (np.all(np.abs(axis) < _MAX_COORDINATE) and np.all(np.diff(axis) > 0)):
            raise ArrayError(f"{name}: expected finite, increasing coordinates")
