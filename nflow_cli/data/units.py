"""The units of a density: a flow's own coordinates, or those of columns. No Keras here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nflow_cli.data.column_maps import ColumnMap, recorded_map

MOST_MAPS = 8  # of a column


class Units(ABC):
    """Coordinates ``z`` of points ``x`` in the user's units.

    ``log p(x) = log p(z) + log|det dz/dx|`` in nats. A point that has no density, since it lies on
    a bound or outside it, has ``log|det dz/dx| = -inf`` and some finite ``z``; NaN stays NaN.

    Attributes:
        dtype: The least precise type of points in the user's units.
    """

    dtype: ClassVar[type[np.floating]]

    @abstractmethod
    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``z`` ``(..., D)`` of points ``x`` and ``log|det dz/dx|`` ``(...)`` in nats."""

    @abstractmethod
    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``x`` ``(..., D)`` of points ``z`` and ``log|det dx/dz|`` ``(...)`` in nats."""

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` in the coordinates ``z``."""
        return self.inside_and_log_det(x)[0]

    def outside(self, z: np.ndarray) -> np.ndarray:
        """Return points ``(..., D)`` in the user's units."""
        return self.outside_and_log_det(z)[0]


class Identity(Units):
    """The coordinates of the flow itself: nothing is converted."""

    dtype = np.float32

    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points ``(..., D)`` as they are, and zeros ``(...)``."""
        return x, np.zeros(x.shape[:-1], self.dtype)

    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points ``(..., D)`` as they are, and zeros ``(...)``."""
        return self.inside_and_log_det(z)


class ColumnUnits(Units):
    """Each column through a chain of maps of its own, the first of them on the user's side.

    Args:
        columns: The chains, one a column; an empty one leaves it as it is.
    """

    dtype = np.float64

    def __init__(self, columns: Sequence[Sequence[ColumnMap]]):
        self.columns = tuple(map(tuple, columns))

    def inside_and_log_det(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points ``(..., D)`` in the coordinates of the chains, and ``log|det dz/dx|``."""
        z, log_det = x.astype(self.dtype), np.zeros(x.shape[:-1])
        for column, chain in enumerate(self.columns):
            for column_map in chain:
                z[..., column], log_slope = column_map.inside(z[..., column])
                log_det += log_slope
        return z, log_det

    def outside_and_log_det(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points ``(..., D)`` in the user's units, and ``log|det dx/dz|``.

        They are finite and within their bounds, however far ``z`` is.
        """
        most = np.finfo(self.dtype).max
        x, log_det = np.clip(z.astype(self.dtype), -most, most), np.zeros(z.shape[:-1])
        for column, chain in enumerate(self.columns):
            for column_map in reversed(chain):
                x[..., column], log_slope = column_map.outside(x[..., column])
                log_det += log_slope
        return x, log_det

    def record(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {"units": [[one.record() for one in chain] for chain in self.columns]}

    @classmethod
    def recorded(cls, record: Mapping[str, Any], dim: int, key: str = "units") -> "ColumnUnits":
        """Return the units of ``dim`` columns that :meth:`record` wrote down, under a ``key``.

        Raises:
            TypeError: If ``record`` holds no numbers.
            ValueError: If it holds no units of ``dim`` columns.
        """
        columns: Any = record.get(key)
        if not _is_list_of_lists(columns) or len(columns) != dim:
            raise ValueError(f"expected the maps of {dim} columns")
        if any(len(chain) > MOST_MAPS for chain in columns):
            raise ValueError(f"expected at most {MOST_MAPS} maps of a column")
        return cls([[recorded_map(one) for one in chain] for chain in columns])


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) for item in value)


def recorded_given_units(record: Mapping[str, Any], count: int) -> ColumnUnits:
    """Return the units of so many given numbers that a record of data holds.

    Raises:
        TypeError: If ``record`` holds no numbers.
        ValueError: If it holds no units of ``count`` columns.
    """
    return ColumnUnits.recorded(record, count, "given_units") if count else ColumnUnits([])


IDENTITY = Identity()
