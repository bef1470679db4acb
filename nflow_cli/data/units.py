"""Units of a density: from the user's coordinates to the flow's, and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nflow_cli.data.column_maps import ColumnMap


class Units(ABC):
    """Coordinates ``z`` of points ``x`` in the user's units.

    ``log p(x) = log p(z) + log|det dz/dx|`` in nats. On a bound or outside, where the density is 0,
    ``log|det dz/dx| = -inf`` and ``z`` is finite; NaN stays NaN.

    Attributes:
        dtype: Least precise type of points in the user's units.
    """

    dtype: ClassVar[type[np.floating]]

    @abstractmethod
    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``z`` ``(..., D)`` of points ``x`` and ``log|det dz/dx|`` ``(...)`` in nats."""

    @abstractmethod
    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``x`` ``(..., D)`` of points ``z`` and ``log|det dx/dz|`` ``(...)`` in nats."""

    def inside(self, x: np.ndarray) -> np.ndarray:
        """``z`` ``(..., D)`` of points ``x``."""
        return self.inside_and_log_det(x)[0]

    def outside(self, z: np.ndarray) -> np.ndarray:
        """``x`` ``(..., D)`` of points ``z``."""
        return self.outside_and_log_det(z)[0]


class Identity(Units):
    """The flow's own coordinates, unchanged."""

    dtype = np.float32

    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, np.zeros(x.shape[:-1], self.dtype)

    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.inside_and_log_det(z)


class ColumnUnits(Units):
    """Chain of maps, possibly empty, for each column, from the user's side on.

    Points in the user's units are finite and within bounds.
    """

    dtype = np.float64

    def __init__(self, columns: Sequence[Sequence[ColumnMap]]):
        self.columns = tuple(map(tuple, columns))

    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z, log_det = x.astype(self.dtype), np.zeros(x.shape[:-1])
        for column, chain in enumerate(self.columns):
            for column_map in chain:
                z[..., column], log_slope = column_map.inside(z[..., column])
                log_det += log_slope
        return z, log_det

    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        most = np.finfo(self.dtype).max
        x, log_det = np.clip(z.astype(self.dtype), -most, most), np.zeros(z.shape[:-1])
        for column, chain in enumerate(self.columns):
            for column_map in reversed(chain):
                x[..., column], log_slope = column_map.outside(x[..., column])
                log_det += log_slope
        return x, log_det


IDENTITY = Identity()
