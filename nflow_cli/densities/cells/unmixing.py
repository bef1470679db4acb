"""A linear map of columns of numbers to components that depend less on each other. No Keras here.

    v = A u,    log q(u) = log q(v) + log|det A|

u are the numbers in the units of their columns. A is found by independent component analysis
(FastICA; Hyvärinen 1999): the components of whitened numbers whose distributions are least normal.
Where columns are linear mixtures of quantities that hardly depend on each other, as sensors and
colours are, no column follows from those before it in a simple way, but a component does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.normals import fit_normals
from nflow_cli.densities.cells.start import fit_ridge

ROWS = 20_000  # that components are found by, at most
ROUNDS = 200  # of the fixed-point iteration
STILL = 1e-5  # of a direction's cosine in a round, at most: it has been found
LEAST_VARIANCE = 1e-10  # of a direction of the units beside the largest: below it A has no digits
RESOLUTION, FLOOR = 1e-6, 1e-5  # of a component, whose numbers are near 1, and of its scales
DEPENDENT = 0.5  # nats that a column gains by those before, linearly: six tenths of a variance
WORTH = 3.0  # standard errors that components are better by


@dataclass(frozen=True, eq=False)
class Unmixing:
    """The map of rows to components and back.

    Args:
        columns: The D columns, in the order of a row.
        matrix: A ``(D, D)``.
    """

    columns: Sequence[CellColumn]
    matrix: np.ndarray

    def components(self, rows: np.ndarray) -> np.ndarray:
        """Return the components ``(n, D)`` of rows ``(n, D)``."""
        return units_of(self.columns, rows) @ self.matrix.T

    def log_slopes(self, rows: np.ndarray) -> np.ndarray:
        """Return ``log|dv/dx|`` of rows as parts ``(n, D)``, a column each: they sum to it."""
        each = np.linalg.slogdet(self.matrix)[1] / len(self.matrix)
        slopes = [column.inside(values)[1] for column, values in zip(self.columns, rows.T)]
        return np.stack(slopes, axis=1) + each

    def rows(self, components: np.ndarray) -> np.ndarray:
        """Return the rows ``(n, D)`` of components, written as their columns are."""
        units = np.linalg.solve(self.matrix, components.T)
        return np.stack([c.values_at(u) for c, u in zip(self.columns, units)], axis=1)

    def fitted(self, rows: np.ndarray) -> tuple[list[CellColumn], np.ndarray]:
        """Return the components as columns, and those of training rows ``(n, D)``.

        A normal is no narrower than the intervals that stand for numbers are in its direction.
        """
        found = self.components(rows)
        floors = np.sqrt(np.square(self.matrix) @ np.square([c.floor for c in self.columns]))
        limits = np.stack([floors, found.min(axis=0), found.max(axis=0)], axis=1).tolist()
        return [component(place, *each) for place, each in enumerate(limits)], found


def component(place: int, *limits: float) -> CellColumn:
    """Return a component as a column: its least scale, and the ends of its numbers."""
    kind = ColumnKind(kind="number", resolution=RESOLUTION)
    return CellColumn(f"component {place + 1}", kind, (), *limits)


def units_of(columns: Sequence[CellColumn], rows: np.ndarray) -> np.ndarray:
    """Return rows ``(n, D)`` in the units of their columns."""
    return np.stack([c.inside(values)[0] for c, values in zip(columns, rows.T)], axis=1)


def can_be_unmixed(data: Dataset) -> bool:
    """Return whether all columns of a table are plain numbers, and none is given.

    Of a level, a gap, an end at a bound or a weight there is no component.
    """
    kinds = [data.kinds[name] for name in data.columns]
    are_plain = all(
        kind.kind == "number" and not (kind.bounds or kind.atoms or kind.missing) for kind in kinds
    )
    return are_plain and len(kinds) > 1 and not data.given and data.weights.train is None


def found_unmixing(columns: Sequence[CellColumn], data: Dataset) -> Unmixing | None:
    """Return the map of the columns of plain numbers of a table, by its training rows.

    ``None`` where they depend linearly.
    """
    matrix = unmixing(units_of(columns, few_of(data.train)))
    return None if matrix is None else Unmixing(columns, matrix)


def few_of(rows: np.ndarray) -> np.ndarray:
    """Return rows, every other one or fewer where there are many."""
    return rows[:: 1 + len(rows) // ROWS]


def unmixing(units: np.ndarray) -> np.ndarray | None:
    """Return the map A ``(D, D)`` of units ``(n, D)``; ``None`` where they depend linearly.

    The rows of A are scaled to components of variance 1. The iteration begins at the symmetric
    whitening ``Σ^(-1/2)``, so that components keep near to the columns in whose place they are.
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
        if (1 - cosines).max() < STILL:
            break
    matrix = directions @ white
    signs = np.where(np.diag(matrix) < 0, -1.0, 1.0)
    return signs[:, None] * matrix


def are_better(found: Unmixing, data: Dataset) -> bool:
    """Return whether columns depend linearly, and independent components are likelier than that.

    Validation rows judge independent columns, columns each linear in those before, and independent
    components, each by marginals of training rows. Where columns hardly depend linearly, a network
    has no use for components: what they gain at the start it learns by itself.
    """
    parts = [units_of(found.columns, few_of(rows)) for rows in (data.train, data.validation)]
    columns = np.zeros(len(parts[1]))
    linear, components = columns.copy(), columns + np.linalg.slogdet(found.matrix)[1]
    for j, direction in enumerate(found.matrix):
        ridge = fit_ridge(parts[0][:, :j], parts[0][:, j])
        residuals = [x[:, j] - ridge.intercept - x[:, :j] @ ridge.coefficients for x in parts]
        columns += _log_marginal(*(x[:, j] for x in parts))
        linear += _log_marginal(*residuals)
        components += _log_marginal(*(x @ direction for x in parts))
    gain = components - linear
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    dependence = (linear - columns).mean() / len(found.matrix)
    return bool(dependence > DEPENDENT and gain.mean() > WORTH * error)


def _log_marginal(train: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the log-density ``(m,)`` in nats of numbers by the marginal of others."""
    half = RESOLUTION / 2
    normals = fit_normals(train, np.full(len(train), half), np.ones(len(train)), FLOOR, None)
    return normals.log_mass(values, np.full(len(values), half)) - np.log(RESOLUTION)
