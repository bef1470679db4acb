"""The arrays of ``evaluation.npz``: which there are, of what shapes and sizes. No Keras here."""

import math
from collections.abc import Mapping

import numpy as np

from nflow_cli import npz
from nflow_cli.schema import MAX_GRID

# By name: a letter for each axis, a digit where its length is fixed. Axes with one letter have one
# length. "?": it may also be empty.
Shapes = Mapping[str, str]

_STRIP = {"deformation_k": "k", "log_deformation": "kji"}
_STRIP |= {"deformation_axis_1": "i", "deformation_axis_2": "j"}
DENSITIES: Shapes = {"axis_1": "x", "log_target": "xx", "log_q": "xx"}  # what `compare` draws
ARRAYS: Mapping[str, Shapes] = {
    "fit-2d": {
        **{"axis_1": "x", "axis_2": "y", "log_target": "yx", "log_base": "yx", "log_q": "yx"},
        **{"samples": "s2", "base_samples": "t2", "target_samples": "u2", **_STRIP},
    },
    "points": {
        **{"axis_1": "x", "axis_2": "y", "log_q": "yx", "samples": "s2", "test_points": "t2"},
        **_STRIP,
    },
    "train-vae": {
        **{"base_latents": "n2", "latents": "n2", "latent_axes": "2", "labels": "n?"},
        **{"originals": "mhw", "reconstructions": "mhw", "samples": "dhw"},
        **{"manifold": "rrhw", "manifold_axis": "r"},
    },
}
_WHOLE = ("deformation_k", "latent_axes", "labels")  # numbers
_AXES = ("axis_1", "axis_2", "deformation_axis_1", "deformation_axis_2", "manifold_axis")
# The least and the greatest length of an axis: of a grid, of the strip and its panels, of points,
# of images of up to h x w pixels, of the rows of the manifold.
_LENGTHS = {
    **dict.fromkeys("xy", (2, MAX_GRID)),
    **dict.fromkeys("ij", (2, 400)),
    "k": (1, 16),
    **dict.fromkeys("stu", (0, 10_000)),
    "n": (1, 10_000),
    **{"m": (1, 20), "d": (1, 400), "h": (1, 28), "w": (1, 28), "r": (2, 40)},
}
_FURTHEST = 1e100  # an axis may reach


def most_bytes(shapes: Shapes) -> int:
    """Return how large a file of such arrays may be."""
    lengths = (
        [int(axis) if axis.isdigit() else _LENGTHS[axis][1] for axis in axes.rstrip("?")]
        for axes in shapes.values()
    )
    return sum(2**12 + 8 * math.prod(each) for each in lengths)


def check_of(shapes: Shapes) -> npz.Check:
    """Return a function that refuses an array of another type or shape before it is read."""
    lengths: dict[str, int] = {}

    def check(key: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        axes, numbers = shapes[key], "whole numbers" if key in _WHOLE else "numbers"
        if dtype.kind not in ("iu" if key in _WHOLE else "f") or dtype.itemsize > 8:
            raise npz.ArrayError(f"{key}: expected {numbers}, received dtype {dtype}")
        if axes.endswith("?") and shape == (0,):
            return
        axes = axes.rstrip("?")
        if len(axes) != len(shape):
            raise npz.ArrayError(f"{key}: expected {len(axes)} axes, received shape {shape}")
        for axis, length in zip(axes, shape):
            least, most = (int(axis),) * 2 if axis.isdigit() else _LENGTHS[axis]
            if not least <= length <= most:
                sizes = f"{least:,} to {most:,}" if least < most else f"{least}"
                raise npz.ArrayError(f"{key}: expected lengths of {sizes}, received shape {shape}")
            if length != lengths.setdefault(axis, length):
                raise npz.ArrayError(
                    f"{key}: expected a length of {lengths[axis]:,}, as others have, received "
                    f"shape {shape}"
                )

    return check


def check_axes(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse coordinates that are not finite and do not rise."""
    for name in arrays.keys() & set(_AXES):
        axis = arrays[name].astype(float)
        if not (np.all(np.abs(axis) < _FURTHEST) and np.all(np.diff(axis) > 0)):
            raise npz.ArrayError(f"{name}: expected finite coordinates that rise")
