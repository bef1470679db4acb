"""Parts, weights, checksum and spread of rows."""

import hashlib
from typing import NamedTuple

import numpy as np

SET_SIZE = 50_000  # rows of a built-in set
LEAST_ROWS = 10  # rows that can be split
# A column with less spread relative to its values is constant but for rounding.
LEAST_SPREAD = 1e-14
SPREADS = (1e-100, 1e100)  # with densities in the range of a double


class Weights(NamedTuple):
    """Weights ``(n,)`` of the rows of each part; ``None``: equal."""

    train: np.ndarray | None = None
    validation: np.ndarray | None = None
    test: np.ndarray | None = None


ALIKE = Weights()


def checksum(points: np.ndarray) -> str:
    """SHA-256 of points in order, as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(points, "<f8").data).hexdigest()


def no_spread(values: np.ndarray) -> str:
    """Reason why a column has no spread, or ""."""
    largest = float(np.abs(values).max())
    if (values == values[0]).all():
        return f"is constant, {values[0]:.6g}"
    deviation = float(largest * (values / largest).std())  # without underflow or overflow
    low, high = SPREADS
    if not low <= deviation <= high:
        return f"has the standard deviation {deviation:.3g}, outside {low:g} to {high:g}"
    if deviation <= LEAST_SPREAD * largest:
        return (
            f"has the standard deviation {deviation:.3g} beside values as large as {largest:.6g}, "
            f"less than {LEAST_SPREAD:g} of them: too little for double precision"
        )
    return ""


class Parts(NamedTuple):
    """Row numbers of each part."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
