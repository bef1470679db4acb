"""Weights, atoms, checksum and spread of rows."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

SET_SIZE = 50_000  # rows of a built-in set
LEAST = 10  # rows that can be split
# A column with less spread relative to its values is constant but for rounding.
LEAST_SPREAD = 1e-14
SPREADS = (1e-100, 1e100)  # with densities in the range of a double
# A column has atoms if one value has more than this share and number of its rows; or if
# its step, relative to its interquartile range, and its share of repeated rows exceed these.
ATOM_SHARE, ATOM_ROWS = 0.005, 20
ATOM_STEP, ATOM_REPEATED = 0.01, 0.5


class Weights(NamedTuple):
    """Weights ``(n,)`` of the rows of each part; ``None``: equal."""

    train: np.ndarray | None = None
    validation: np.ndarray | None = None
    test: np.ndarray | None = None


ALIKE = Weights()


def atoms_of(points: np.ndarray) -> list[dict[str, Any]]:
    """Columns of rows ``(n, D)`` with atoms, where the likelihood of a density rises without bound.

    Values rounded to a small part of their spread are harmless.

    Returns:
        For each such column its number, from 1, and the most frequent ``value`` and its ``share``
        of the rows, or the ``step`` between values and the share ``repeated``.
    """
    atoms: list[dict[str, Any]] = []
    for number, column in enumerate(points.T, start=1):
        values, counts = np.unique(column, return_counts=True)
        most = int(counts.argmax())
        share, repeated = counts[most] / len(column), 1 - np.sum(counts == 1) / len(column)
        low, high = np.quantile(column, [0.25, 0.75])
        if counts[most] > max(ATOM_SHARE * len(column), ATOM_ROWS):
            atoms.append({"column": number, "value": float(values[most]), "share": float(share)})
        elif repeated > ATOM_REPEATED:
            step = float(np.median(np.diff(values)))
            if step > ATOM_STEP * (high - low):
                atoms.append({"column": number, "step": step, "repeated": float(repeated)})
    return atoms


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
