"""Integral of a 2-D density, by adaptive cubature around its samples."""

import math
from collections.abc import Callable

import numpy as np

from nflow_cli.densities.pushforward import PushforwardDensity

FEW_SAMPLES = 16  # in an initial cell at most,
FEWEST_CELLS = 300  # or this part of all samples
CLUSTER = 4  # fewer samples may lie in a part of a cell by chance
DEPTH = 50  # most divisions, for equal samples
TOLERANCE = 2.5e-5  # total error of the cells not divided again
MOST_EVALUATIONS = 1_000_000  # of the density
QUARTERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) / 2
_nodes, _weights = np.polynomial.legendre.leggauss(3)
NODES = np.stack(np.meshgrid(_nodes, _nodes, indexing="ij"), axis=-1).reshape(9, 2) / 2 + 0.5
WEIGHTS = np.outer(_weights, _weights).ravel() / 4
MASS_SAMPLES = 50_000


def mass(log_prob: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> tuple[float, float]:
    """Integral of a density over a parallelogram that covers its ``samples`` ``(m, 2)``, finite.

    Adaptive cubature in coordinates in which the samples are uncorrelated: 3 x 3 Gauss-Legendre
    rules in cells, initially of few samples each; quarters of a cell are divided again where they
    differ from it. ``log_prob`` returns nats ``(n,)`` at points ``(n, 2)``.

    Returns:
        ``∫q``, and its error: the sum of remaining differences, a bound unless all points of a cell
        miss its mass, and ``4/m`` for the mass beyond the samples.
    """
    centre, basis = _coordinates(samples)
    log_det = np.log(np.diag(basis)).sum()

    def density(u: np.ndarray) -> np.ndarray:
        return np.exp(log_prob(centre + u @ basis.T).astype(np.float64) + log_det)

    corners, sides = cells(np.linalg.solve(basis, (samples - centre).T).T)
    integrals = _integrals(density, corners, sides)
    computed = len(corners)
    total = 0.0
    error = 0.0
    while len(corners):
        corners, sides = _quarters(corners, sides)
        parts = _integrals(density, corners, sides)
        computed += len(corners)
        differences = np.abs(parts.reshape(-1, 4).sum(axis=1) - integrals)
        differs = differences > _negligible(differences)
        if len(NODES) * (computed + 16 * np.sum(differs)) > MOST_EVALUATIONS:
            differs[:] = False
        divided = np.repeat(differs, 4)
        total += parts[~divided].sum()
        error += differences[~differs].sum()
        corners = corners[divided]
        sides = sides[divided]
        integrals = parts[divided]
    return float(total), min(1.0, float(error + 4 / len(samples)))


def _coordinates(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of samples, and the lower triangular basis ``(2, 2)`` in which they are uncorrelated."""
    mean = samples.mean(axis=0)
    reach = np.ptp(samples, axis=0)
    scale = np.where(reach > 0, reach, 1)
    (a, b), (_, c) = np.cov(((samples - mean) / scale).T)
    slope = b / max(a, 1e-18)
    first = max(np.sqrt(a), 1e-9)
    second = max(np.sqrt(max(c - slope * b, 0)), 1e-9)
    return mean, scale[:, None] * np.array([[first, 0], [slope * first, second]])


def cells(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide the bounding rectangle of ``samples`` in four until no cell, or part of one, holds
    many.

    Returns:
        Lower corners and sides of the cells, both ``(n, 2)``.
    """
    low = samples.min(axis=0)
    width = samples.max(axis=0) - low
    low = low - 0.02 * width
    width = 1.04 * width
    points = (samples - low) / np.where(width > 0, width, 1)  # in the unit square
    cell = np.zeros(len(samples), int)  # of each point
    corners = np.zeros((1, 2))
    sides = np.ones((1, 2))
    few = max(FEW_SAMPLES, len(samples) // FEWEST_CELLS)
    kept_corners = []
    kept_sides = []
    while len(corners):
        count = np.bincount(cell, minlength=len(corners))
        is_clustered = (_reach(points, cell, len(corners)) < sides / 2).any(axis=1)
        is_full = (count > few) | (count >= CLUSTER) & is_clustered
        is_full &= len(kept_corners) < DEPTH
        kept_corners.append(corners[~is_full])
        kept_sides.append(sides[~is_full])
        is_inside = is_full[cell]
        points = points[is_inside]
        cell = (np.cumsum(is_full) - 1)[cell[is_inside]]
        middles = (corners + sides / 2)[is_full]
        corners, sides = _quarters(corners[is_full], sides[is_full])
        cell = 4 * cell + (points >= middles[cell]) @ [2, 1]
    return low + np.concatenate(kept_corners) * width, np.concatenate(kept_sides) * width


def _reach(points: np.ndarray, cell: np.ndarray, n: int) -> np.ndarray:
    """Extent ``(n, 2)`` of the points of each of n cells; ``-inf`` without any."""
    low = np.full((n, 2), np.inf)
    high = np.full((n, 2), -np.inf)
    np.minimum.at(low, cell, points)
    np.maximum.at(high, cell, points)
    return high - low


def _quarters(corners: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower corners and sides ``(4 n, 2)`` of the quarters of cells."""
    return (corners[:, None] + QUARTERS * sides[:, None]).reshape(-1, 2), np.repeat(sides / 2, 4, 0)


def _integrals(
    density: Callable[[np.ndarray], np.ndarray], corners: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """Integral over each cell ``(n,)``, by the 3 x 3 rule."""
    points = corners[:, None] + NODES * sides[:, None]
    values = density(points.reshape(-1, 2)).reshape(-1, len(NODES))
    return values @ WEIGHTS * sides.prod(axis=1)


def _negligible(differences: np.ndarray) -> float:
    """Largest of the least differences whose sum is within the tolerance; -1 without any."""
    ordered = np.sort(differences)
    count = np.searchsorted(np.cumsum(ordered), TOLERANCE)
    return ordered[count - 1] if count else -1.0


def mass_of(density: PushforwardDensity, seed: int) -> tuple[float, float]:
    """``∫q`` and its error (:func:`~nflow_cli.evaluation.mass.mass`); NaN if a sample is not
    finite.
    """
    samples = density.sample(MASS_SAMPLES, seed)
    if not np.isfinite(samples).all():
        return math.nan, math.nan
    return mass(density.log_prob, samples.astype(np.float64))
