"""Independent component analysis of columns of numbers.

    v = A u,    log q(u) = log q(v) + log|det A|

u are the numbers in column units. A is found by FastICA (Hyvärinen 1999): the least normal
components of whitened numbers. For linear mixtures of nearly independent sources, as of sensors and
colours, a component given those before is simpler than a column. A training may start at it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.marginal import fit_normals
from nflow_cli.densities.cells.outliers import fit_outliers
from nflow_cli.densities.cells.start import fit_ridge

ROWS = 20_000  # most rows in the fit
ROUNDS = 200  # fixed-point iterations
CONVERGED = 1e-5  # largest change of a cosine in an iteration
LEAST_VARIANCE = 1e-10  # smallest eigenvalue over the largest; below it A has no accurate digits
RESOLUTION, FLOOR = 1e-6, 1e-5  # of components (numbers near 1), and least scale of a normal
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
        each = np.linalg.slogdet(self.matrix)[1] / len(self.matrix)
        slopes = [column.inside(values)[1] for column, values in zip(self.columns, rows.T)]
        return np.stack(slopes, axis=1) + each

    def rows(self, components: np.ndarray) -> np.ndarray:
        """Rows ``(n, D)`` of components, as written."""
        units = np.linalg.solve(self.matrix, components.T)
        return np.stack([c.values_at(u) for c, u in zip(self.columns, units)], axis=1)

    def fitted(self, rows: np.ndarray) -> tuple[list[CellColumn], np.ndarray]:
        """Components as columns, and those of training rows ``(n, D)``.

        Least scales are those of the columns, in a component's direction.
        """
        found = self.components(rows)
        floors = np.sqrt(np.square(self.matrix) @ np.square([c.floor for c in self.columns]))
        limits = np.stack([floors, found.min(axis=0), found.max(axis=0)], axis=1).tolist()
        columns = [component(place, *each) for place, each in enumerate(limits)]
        outliers = [fit_outliers(values, RESOLUTION) for values in found.T]
        return [replace(c, outliers=each) for c, each in zip(columns, outliers)], found


def component(place: int, floor: float, low: float, high: float) -> CellColumn:
    """Component as a column, with its least scale and ends."""
    kind = ColumnKind(kind="number", resolution=RESOLUTION)
    return CellColumn(f"component {place + 1}", kind, (), floor, low, high)


def units_of(columns: Sequence[CellColumn], rows: np.ndarray) -> np.ndarray:
    """Rows ``(n, D)`` in column units."""
    return np.stack([c.inside(values)[0] for c, values in zip(columns, rows.T)], axis=1)


def fit_unmixing(columns: Sequence[CellColumn], data: Dataset) -> Unmixing | None:
    """Unmixing by training rows; ``None`` if columns are linearly dependent."""
    matrix = unmixing(units_of(columns, _thinned(data.train)))
    return None if matrix is None else Unmixing(columns, matrix)


def _thinned(rows: np.ndarray) -> np.ndarray:
    return rows[:: 1 + len(rows) // ROWS]


def unmixing(units: np.ndarray) -> np.ndarray | None:
    """Unmixing matrix A ``(D, D)`` of units ``(n, D)``; ``None`` if linearly dependent.

    Components have variance 1. The iteration starts at the symmetric whitening ``Σ^(-1/2)``: each
    component stays near its column.
    """
    x = units - units.mean(axis=0)
    variances, vectors = np.linalg.eigh(x.T @ x / len(x))
    if not variances[0] > LEAST_VARIANCE * variances[-1]:
        return None
    white = vectors / np.sqrt(variances) @ vectors.T
    z, directions = x @ white.T, np.eye(len(white))
    for _ in range(ROUNDS):
        at = np.tanh(z @ directions.T)  # the slope of log cosh
        new = at.T @ z / len(z) - (1 - at * at).mean(axis=0)[:, None] * directions
        left, _, right = np.linalg.svd(new)
        new = left @ right
        cosines = np.abs((new * directions).sum(axis=1))
        directions = new
        if (1 - cosines).max() < CONVERGED:
            break
    matrix = directions @ white
    signs = np.where(np.diag(matrix) < 0, -1.0, 1.0)
    return signs[:, None] * matrix


def are_better(found: Unmixing, data: Dataset) -> bool:
    """Whether columns depend linearly, and independent components are likelier than linear
    regressions.

    By validation rows and marginals of training rows. Without linear dependence a network needs no
    components.
    """
    parts = [units_of(found.columns, _thinned(rows)) for rows in (data.train, data.validation)]
    columns = np.zeros(len(parts[1]))
    linear, components = columns.copy(), columns + np.linalg.slogdet(found.matrix)[1]
    for j, direction in enumerate(found.matrix):
        ridge = fit_ridge(parts[0][:, :j], parts[0][:, j])
        residuals = [x[:, j] - ridge.intercept - x[:, :j] @ ridge.coefficients for x in parts]
        columns += _log_marginal(*(x[:, j] for x in parts))
        linear += _log_marginal(*residuals)
        components += _log_marginal(*(x @ direction for x in parts))
    dependence = (linear - columns).mean() / len(found.matrix)
    return bool(dependence > DEPENDENT and is_clear(components - linear, LEAST_ERRORS))


def is_clear(gains: np.ndarray, errors: float) -> bool:
    """Whether the mean of gains ``(n,)`` of rows exceeds 0 by some standard errors."""
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > errors * error)


def _log_marginal(train: np.ndarray, values: np.ndarray) -> np.ndarray:
    half = RESOLUTION / 2
    normals = fit_normals(train, np.full(len(train), half), np.ones(len(train)), FLOOR, None)
    return normals.log_mass(values, np.full(len(values), half)) - np.log(RESOLUTION)
