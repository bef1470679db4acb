"""Independent component analysis of columns of numbers.

    v = A u,    log q(u) = log q(v) + log|det A|

u are the numbers in column units. A is found by FastICA (Hyvärinen 1999): the least normal
components of whitened numbers. For linear mixtures of nearly independent sources, as of sensors and
colours, a component given those before is simpler than a column. A training may start at it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.marginal import fit_normals
from nflow_cli.tables.cells.network_start import fit_ridge
from nflow_cli.tables.cells.outliers import fit_outliers

ROWS = 20_000  # most rows in the fit
ROUNDS = 200  # fixed-point iterations
CONVERGED = 1e-5  # largest change of a cosine in an iteration
LEAST_VARIANCE = 1e-10  # smallest eigenvalue over the largest; below it A has no accurate digits
RESOLUTION = 1e-6  # of components, which are numbers near 1
FLOOR = 1e-5  # least scale of a normal
DEPENDENT = 0.2  # nats a column gains by linear regression on those before: R² of 0.33
LEAST_ERRORS = 3.0  # standard errors by which components must be better


@dataclass(frozen=True, eq=False)
class Unmixing:
    """Linear map of rows to components and back.

    Args:
        columns: The D columns, in row order.
        matrix: A ``(D, D)``.
    """

    columns: Sequence[CellColumn]
    matrix: np.ndarray

    def components(self, rows: np.ndarray) -> np.ndarray:
        """Components ``(n, D)`` of rows ``(n, D)``."""
        return units_of(self.columns, rows) @ self.matrix.T

    def log_slopes(self, rows: np.ndarray) -> np.ndarray:
        """Terms ``(n, D)``, one per column, with sum ``log|det dv/dx|``."""
        log_slopes = [
            column.in_interval_units(values)[1] for column, values in zip(self.columns, rows.T)
        ]
        share_of_matrix = np.linalg.slogdet(self.matrix)[1] / len(self.matrix)
        return np.stack(log_slopes, axis=1) + share_of_matrix

    def rows(self, components: np.ndarray) -> np.ndarray:
        """Rows ``(n, D)`` of components, as written."""
        units = np.linalg.solve(self.matrix, components.T)
        values = [column.values_at(u) for column, u in zip(self.columns, units)]
        return np.stack(values, axis=1)

    def fitted(self, rows: np.ndarray) -> tuple[list[CellColumn], np.ndarray]:
        """Components as columns, and those of training rows ``(n, D)``.

        Least scales are those of the columns, in a component's direction.
        """
        components = self.components(rows)
        column_floors = [column.least_scale for column in self.columns]
        floors = np.sqrt(np.square(self.matrix) @ np.square(column_floors))
        columns = []
        for place, values in enumerate(components.T):
            floor = float(floors[place])
            column = component(place, floor, float(values.min()), float(values.max()))
            columns.append(replace(column, outliers=fit_outliers(values, RESOLUTION)))
        return columns, components


def component(place: int, least_scale: float, low: float, high: float) -> CellColumn:
    """Component as a column, with its least scale and ends."""
    kind = ColumnKind(kind="number", resolution=RESOLUTION)
    return CellColumn(f"component {place + 1}", kind, (), least_scale, low, high)


def units_of(columns: Sequence[CellColumn], rows: np.ndarray) -> np.ndarray:
    """Rows ``(n, D)`` in column units."""
    return np.stack([column.in_interval_units(x)[0] for column, x in zip(columns, rows.T)], axis=1)


def fit_unmixing(columns: Sequence[CellColumn], data: Dataset) -> Unmixing | None:
    """Unmixing by training rows; ``None`` if columns are linearly dependent."""
    matrix = unmixing_matrix(units_of(columns, _thinned(data.train)))
    return None if matrix is None else Unmixing(columns, matrix)


def _thinned(rows: np.ndarray) -> np.ndarray:
    """At most ``ROWS`` rows, evenly spread."""
    return rows[:: 1 + len(rows) // ROWS]


def unmixing_matrix(units: np.ndarray) -> np.ndarray | None:
    """Unmixing matrix A ``(D, D)`` of units ``(n, D)``; ``None`` if linearly dependent.

    Components have variance 1. The iteration starts at the symmetric whitening ``Σ^(-1/2)``: each
    component stays near its column.
    """
    x = units - units.mean(axis=0)
    variances, vectors = np.linalg.eigh(x.T @ x / len(x))
    if not variances[0] > LEAST_VARIANCE * variances[-1]:
        return None
    white = vectors / np.sqrt(variances) @ vectors.T
    z = x @ white.T
    directions = np.eye(len(white))
    for _ in range(ROUNDS):
        slope = np.tanh(z @ directions.T)  # of log cosh
        curvature = (1 - slope * slope).mean(axis=0)[:, None]
        left, _, right = np.linalg.svd(slope.T @ z / len(z) - curvature * directions)
        new_directions = left @ right
        cosines = np.abs((new_directions * directions).sum(axis=1))
        directions = new_directions
        if (1 - cosines).max() < CONVERGED:
            break
    matrix = directions @ white
    signs = np.where(np.diag(matrix) < 0, -1.0, 1.0)
    return signs[:, None] * matrix


def are_better(unmixing: Unmixing, data: Dataset) -> bool:
    """Whether columns depend linearly, and independent components are likelier than linear
    regressions.

    By validation rows and marginals of training rows. Without linear dependence a network needs no
    components.
    """
    train = units_of(unmixing.columns, _thinned(data.train))
    validation = units_of(unmixing.columns, _thinned(data.validation))
    by_columns = np.zeros(len(validation))
    by_regressions = np.zeros(len(validation))
    by_components = np.full(len(validation), np.linalg.slogdet(unmixing.matrix)[1])
    for j, direction in enumerate(unmixing.matrix):
        ridge = fit_ridge(train[:, :j], train[:, j])
        residuals = ridge.residuals(train[:, :j], train[:, j])
        validation_residuals = ridge.residuals(validation[:, :j], validation[:, j])
        by_columns += _log_marginal(train[:, j], validation[:, j])
        by_regressions += _log_marginal(residuals, validation_residuals)
        by_components += _log_marginal(train @ direction, validation @ direction)
    dependence = (by_regressions - by_columns).mean() / len(unmixing.matrix)
    return bool(dependence > DEPENDENT and is_clear(by_components - by_regressions, LEAST_ERRORS))


def is_clear(gains: np.ndarray, errors: float) -> bool:
    """Whether the mean of gains ``(n,)`` of rows exceeds 0 by some standard errors."""
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > errors * error)


def _log_marginal(train: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Log-density ``(n,)`` in nats of values, by normals fitted to training values."""
    half = RESOLUTION / 2
    normals = fit_normals(train, np.full(len(train), half), np.ones(len(train)), FLOOR, None)
    return normals.log_mass(values, np.full(len(values), half)) - np.log(RESOLUTION)
