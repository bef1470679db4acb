"""Points to fit a density to: read or drawn, split and standardised. No Keras here."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.constants import FAR, LOG_2PI
from nflow_cli.data.point_files import read_points
from nflow_cli.data.split import split_at_random
from nflow_cli.data.units import ColumnUnits, Standardisation, Units
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, nearest, resolve

SET_SIZE = 50_000  # points of a built-in set
LEAST = 10  # points that can be split
# A column with less spread than this beside its values is constant but for rounding.
LEAST_SPREAD = 1e-14
SPREADS = (1e-100, 1e100)  # whose densities a double can hold
OUTLYING = 1e4  # times the median distance from the median
# Least eigenvalue of the correlations of points that are not on a line.
LEAST_EIGENVALUE = 1e-12
# A column has atoms where one value holds more of its rows than this, and than so many; or where
# its step, beside its interquartile range, and the rows that are no value's only one exceed these.
ATOM_SHARE, ATOM_ROWS = 0.005, 20
ATOM_STEP, ATOM_REPEATED = 0.01, 0.5


class Weights(NamedTuple):
    """How much each row of the three parts counts ``(n,)``; ``None``: all the same."""

    train: np.ndarray | None = None
    validation: np.ndarray | None = None
    test: np.ndarray | None = None


ALIKE = Weights()


@dataclass(frozen=True, eq=False)
class PointData:
    """Points ``(n, D)`` in the user's units, float64, split at random.

    ``sha256`` is of the bytes of all points in their order, before they were split. The mean and
    the scale (standard deviation) of ``units`` are those of the training points alone. ``atoms``
    tells the columns whose values repeat, as :func:`atoms_of` does; ``columns`` are the names of
    the D columns, where they have some; ``weights`` are of the points.
    """

    name: str
    sha256: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    units: Standardisation | ColumnUnits
    atoms: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[str] = ()
    weights: Weights = ALIKE

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps of the data."""
        path = {} if self.name in POINT_SETS else {"path": os.path.abspath(self.name)}
        return {"name": self.name, **path, "sha256": self.sha256, **self.units.record()}

    @property
    def dim(self) -> int:
        """D."""
        return self.train.shape[1]

    @property
    def sizes(self) -> dict[str, int]:
        """How many points each part has."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {f"n_{name}": len(points) for name, points in parts.items()}


def load_point_data(name: str, seed: int, size: int | None = None) -> PointData:
    """Read or draw points, and split them.

    A tenth of the points each, but at least 2 and at most 50,000, is for validation and for the
    test; the rest is trained on. The seed decides which are which, and what a built-in set holds.

    Args:
        name: A built-in set, of 50,000 points, or the path of a file that
            :func:`~nflow_cli.data.point_files.read_points` reads.
        seed: The seed of the run.
        size: How many points of a built-in set, if another number.

    Raises:
        DataError: In one line: no such points, fewer than 10, or points that no density in the
            plane can be fitted to: constant in a coordinate, or on a line.
    """
    points = _points(name, seed, size or SET_SIZE)
    if len(points) < LEAST:
        raise DataError(f"{name}: expected at least {LEAST} points, received {len(points)}")
    digest = checksum(points)
    train, validation, test = split_at_random(len(points), seed)
    units = _standardisation(name, points[train], train)
    far = int(np.argmax(np.abs(units.inside(points)).max(axis=1)))
    if not (np.abs(units.inside(points[far])) < FAR).all():
        raise DataError(
            f"{name}: expected points within {FAR:.0e} standard deviations of the training points; "
            f"received {points[far].tolist()}, in row {far} counted from 0"
        )
    split = (points[train], points[validation], points[test])
    return PointData(name, digest, *split, units, atoms_of(points))


def atoms_of(points: np.ndarray) -> list[dict[str, Any]]:
    """Return which columns of rows ``(n, D)`` hold atoms: values that no density has.

    A likelihood rises without bound where a density grows a needle on a value that repeats. Values
    that were only rounded, to a small part of their spread, are harmless.

    Returns:
        For each such column its number, from 1, and either the most frequent ``value`` and its
        ``share`` of the rows, or the ``step`` between values and the share that is ``repeated``.
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
    """Return the SHA-256 of the bytes of points in their order, as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(points, "<f8").data).hexdigest()


def _points(name: str, seed: int, size: int) -> np.ndarray:
    if name in POINT_SETS:
        return resolve(POINT_SETS[name])().sample(stream(seed, f"points/{name}"), size)
    try:
        is_file = Path(name).is_file()
    except (OSError, ValueError):  # a name too long, or no name at all: "\0"
        is_file = False
    if not is_file:
        raise DataError(
            f"{name}: no such points{nearest(name, list(POINT_SETS))}; expected "
            f"{', '.join(POINT_SETS)}, or a .csv or .npy file"
        )
    return read_points(name)


def _standardisation(name: str, train: np.ndarray, rows: np.ndarray) -> Standardisation:
    """Return mean and standard deviation of the training points, if they fill the plane."""
    expected = "expected points that fill the plane"
    for column, values in enumerate(train.T, start=1):
        if problem := no_spread(values):
            raise DataError(f"{name}: {expected}; column {column} {problem}")
    units = Standardisation(train.mean(axis=0), train.std(axis=0))
    if _are_on_a_line(units.inside(train)):
        raise DataError(f"{name}: {expected}; {_far_out(train, rows) or 'all are on one line'}")
    return units


def no_spread(values: np.ndarray) -> str:
    """Return why no density has the spread of a column, or ""."""
    largest = float(np.abs(values).max())
    if (values == values[0]).all():
        return f"is constant, {values[0]:.6g}"
    deviation = float(largest * (values / largest).std())  # whose squares are no 0 and no infinity
    low, high = SPREADS
    if not low <= deviation <= high:
        return f"has the standard deviation {deviation:.3g}, not one from {low:g} to {high:g}"
    if deviation <= LEAST_SPREAD * largest:
        return (
            f"has the standard deviation {deviation:.3g} beside values as large as {largest:.6g}, "
            f"less than {LEAST_SPREAD:g} of them: too little for double precision"
        )
    return ""


def _are_on_a_line(z: np.ndarray) -> bool:
    """Return whether standardised points are on a line, but for rounding."""
    return np.linalg.eigvalsh(z.T @ z / len(z))[0] <= LEAST_EIGENVALUE


def _far_out(train: np.ndarray, rows: np.ndarray) -> str:
    """Return which of the rows is so far out that the others seem to be one point, or ""."""
    away = np.abs(train - np.median(train, axis=0))
    far = (away > OUTLYING * np.median(away, axis=0)).any(axis=1)
    if not 0 < far.sum() <= len(train) / 10:
        return ""
    near = train[~far]
    if any(map(no_spread, near.T)) or _are_on_a_line((near - near.mean(0)) / near.std(0)):
        return ""
    farthest = np.argmax(away.max(axis=1))
    return (
        f"row {rows[farthest]} counted from 0, {train[farthest].tolist()}, is so far out that "
        "beside it the others are one point"
    )


def gaussian_log_prob(train: np.ndarray, x: np.ndarray, units: Units) -> np.ndarray:
    """Return the log-density ``(m,)`` in nats at ``x`` of the Gaussian most likely given ``train``.

    Its mean and its full covariance are those of ``train`` ``(n, D)`` (divided by ``n``) in the
    coordinates of ``units``; the density is that in the user's units.
    """
    inside = units.inside(train)
    mean = inside.mean(axis=0)
    inside = inside - mean
    covariance = inside.T @ inside / len(inside)
    z, units_log_det = units.inside_and_log_det(x)
    away = np.linalg.solve(np.linalg.cholesky(covariance), (z - mean).T)
    with np.errstate(over="ignore"):
        squared = np.sum(away * away, axis=0)
    log_det = np.linalg.slogdet(covariance)[1]
    return -0.5 * (squared + log_det) - 0.5 * train.shape[1] * LOG_2PI + units_log_det
