"""Units of a density: from the user's coordinates to the flow's, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nflow_cli.data.column_maps import ColumnMap, bound_maps


class ColumnUnits:
    """Chain of maps, possibly empty, for each column, from the user's side on; without columns the
    flow's own coordinates.

    ``log p(x) = log p(z) + log|det dz/dx|`` in nats, of coordinates ``z`` of points ``x`` in the
    user's units. On a bound or outside, where the density is 0, ``log|det dz/dx| = -inf`` and ``z``
    is finite; NaN stays NaN. Points of columns are finite and within bounds.

    Attributes:
        dtype: Least precise type of points in the user's units.
    """

    def __init__(
        self, columns: Sequence[Sequence[ColumnMap]], dtype: type[np.floating] = np.float64
    ):
        self.columns = tuple(map(tuple, columns))
        self.dtype = dtype

    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``z`` ``(..., D)`` of points ``x`` and ``log|det dz/dx|`` ``(...)`` in nats."""
        log_det = np.zeros(x.shape[:-1], self.dtype)
        if not self.columns:
            return x, log_det
        z = x.astype(self.dtype)
        for column, chain in enumerate(self.columns):
            for column_map in chain:
                z[..., column], log_slope = column_map.inside(z[..., column])
                log_det += log_slope
        return z, log_det

    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``x`` ``(..., D)`` of points ``z`` and ``log|det dx/dz|`` ``(...)`` in nats."""
        log_det = np.zeros(z.shape[:-1], self.dtype)
        if not self.columns:
            return z, log_det
        most = np.finfo(self.dtype).max
        x = np.clip(z.astype(self.dtype), -most, most)
        for column, chain in enumerate(self.columns):
            for column_map in reversed(chain):
                x[..., column], log_slope = column_map.outside(x[..., column])
                log_det += log_slope
        return x, log_det

    def inside(self, x: np.ndarray) -> np.ndarray:
        """``z`` ``(..., D)`` of points ``x``."""
        return self.inside_and_log_det(x)[0]

    def outside(self, z: np.ndarray) -> np.ndarray:
        """``x`` ``(..., D)`` of points ``z``."""
        return self.outside_and_log_det(z)[0]


IDENTITY = ColumnUnits([], np.float32)


def units_of(names: Sequence[str], bounds: Any) -> Any:
    """Units of named coordinates: ``Log`` for one bound, ``Logit`` for ``[low, high]``, ``Tangent``
    for ``[low, None, scale]``; those of the flows if ``bounds`` is ``None``.
    """
    if bounds is None:
        return IDENTITY
    return ColumnUnits([bound_maps(*bounds.get(name, (None, None))) for name in names])
