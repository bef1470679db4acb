"""Shapes and size limits of the arrays of ``evaluation.npz``."""

from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.config.fit_2d import MAX_GRID
from nflow_cli.runs import npz

SHOWN_SAMPLES = 2_000  # of each kind
SHOWN_COLUMNS = 12  # of a table
STRIP_PANELS, STRIP_GRID = 9, 120  # of the deformation: panels at most, points a side

# By name: a letter for each axis, or its length if it is known. Axes of one letter have the same
# length. "?": may be empty.
Shapes = Mapping[str, Sequence[str | int]]

STRIP: Shapes = {
    **{"deformation_k": "k", "log_deformation": "kji"},
    **{"deformation_axis_1": "i", "deformation_axis_2": "j", "deformation_samples": ("k", "v", 2)},
}
ROWS: Shapes = {"test_log_q": "z"}  # log q of each test row that is kept
ROW_WEIGHTS: Shapes = {"test_weights": "z"}
DENSITIES: Shapes = {"axis_1": "x", "log_target": "xx", "log_q": "xx"}  # for `compare`
_WHOLE = ("deformation_k", "latent_axes", "labels", "columns_shown")  # of whole numbers
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
    **{"m": (1, 20), "d": (1, 400), "h": (1, 28), "w": (1, 28), "r": (2, 40)},
}
_MAX_COORDINATE = 1e100


def check_of(shapes: Shapes) -> npz.Check:
    """Check of an array's type and shape before it is read."""
    lengths: dict[str | int, int] = {}

    def check(key: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        axes, numbers = shapes[key], "whole numbers" if key in _WHOLE else "numbers"
        if dtype.kind not in ("iu" if key in _WHOLE else "f") or dtype.itemsize > 8:
            raise npz.ArrayError(f"{key}: expected {numbers}, received dtype {dtype}")
        if axes[-1] == "?":
            axes = axes[:-1] if shape != (0,) else (0,)
        if len(axes) != len(shape):
            raise npz.ArrayError(f"{key}: expected {len(axes)} axes, received shape {shape}")
        for axis, length in zip(axes, shape):
            least, most = (axis, axis) if isinstance(axis, int) else _LENGTHS[axis]
            if not least <= length <= most:
                sizes = f"{least:,} to {most:,}" if least < most else f"{least:,}"
                raise npz.ArrayError(f"{key}: expected lengths of {sizes}, received shape {shape}")
            if length != lengths.setdefault(axis, length):
                raise npz.ArrayError(
                    f"{key}: expected a length of {lengths[axis]:,}, like the others, received "
                    f"shape {shape}"
                )

    return check


def check_axes(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse coordinates that are not finite and do not rise."""
    for name in arrays.keys() & set(_AXES):
        axis = arrays[name].astype(float)
        if not (np.all(np.abs(axis) < _MAX_COORDINATE) and np.all(np.diff(axis) > 0)):
            raise npz.ArrayError(f"{name}: expected finite, increasing coordinates")
