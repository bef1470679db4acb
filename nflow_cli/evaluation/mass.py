"""Integral of a 2-D density, by adaptive cubature around its samples."""

import math
from collections.abc import Callable

import numpy as np

from nflow_cli.densities.pushforward import PushforwardDensity

FEW, SHARE = 16, 300  # most samples in an initial cell: 16, or 1/300 of all
CLUSTER = 4  # fewer samples may lie in a part of a cell by chance
DEPTH = 50  # most divisions, for equal samples
TOLERANCE = 2.5e-5  # total error of the cells not divided again
MOST = 1_000_000  # evaluations of the density
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
    corners, sides = cells(np.linalg.solve(basis, (samples - centre).T).T)

    def density(u: np.ndarray) -> np.ndarray:
        return np.exp(log_prob(centre + u @ basis.T).astype(np.float64) + log_det)

    log_det = np.log(np.diag(basis)).sum()
    values = _rules(density, corners, sides)
    computed, total, error = len(corners), 0.0, 0.0
    while len(corners):
        corners, sides = _quarters(corners, sides)
        parts = _rules(density, corners, sides)
        computed += len(corners)
        differences = np.abs(parts.reshape(-1, 4).sum(axis=1) - values)
        again = differences > _negligible(differences)
        if len(NODES) * (computed + 16 * np.sum(again)) > MOST:
            again[:] = False
        divided = np.repeat(again, 4)
        total += parts[~divided].sum()
        error += differences[~again].sum()
        corners, sides, values = corners[divided], sides[divided], parts[divided]
    return float(total), min(1.0, float(error + 4 / len(samples)))


def _coordinates(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = samples.mean(axis=0)
    reach = np.ptp(samples, axis=0)
    scale = np.where(reach > 0, reach, 1)
    (a, b), (_, c) = np.cov(((samples - mean) / scale).T)
    first, slope = max(np.sqrt(a), 1e-9), b / max(a, 1e-18)
    second = max(np.sqrt(max(c - slope * b, 0)), 1e-9)
    return mean, scale[:, None] * np.array([[first, 0], [slope * first, second]])


def cells(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide the bounding rectangle of ``samples`` in four until no cell, or part of one, holds
    many.

    Returns:
        Lower corners and sides of the cells, both ``(n, 2)``.
    """
    low, high = samples.min(axis=0), samples.max(axis=0)
    low, width = low - 0.02 * (high - low), 1.04 * (high - low)
    unit, holder = (samples - low) / np.where(width > 0, width, 1), np.zeros(len(samples), int)
    corners, sides = np.zeros((1, 2)), np.ones((1, 2))
    few = max(FEW, len(samples) // SHARE)
    done = []
    while len(corners):
        count = np.bincount(holder, minlength=len(corners))
        apart = (_reach(unit, holder, len(corners)) < sides / 2).any(axis=1)
        full = ((count > few) | (count >= CLUSTER) & apart) & (len(done) < DEPTH)
        done.append((corners[~full], sides[~full]))
        stays = full[holder]
        unit, holder = unit[stays], (np.cumsum(full) - 1)[holder[stays]]
        middles = (corners + sides / 2)[full]
        corners, sides = _quarters(corners[full], sides[full])
        holder = 4 * holder + (unit >= middles[holder]) @ [2, 1]
    corners, sides = (np.concatenate(parts) for parts in zip(*done))
    return low + corners * width, sides * width


def _reach(unit: np.ndarray, holder: np.ndarray, n: int) -> np.ndarray:
    low, high = np.full((n, 2), np.inf), np.full((n, 2), -np.inf)
    np.minimum.at(low, holder, unit)
    np.maximum.at(high, holder, unit)
    return high - low


def _quarters(corners: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (corners[:, None] + QUARTERS * sides[:, None]).reshape(-1, 2), np.repeat(sides / 2, 4, 0)


def _rules(
    density: Callable[[np.ndarray], np.ndarray], corners: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    points = corners[:, None] + NODES * sides[:, None]
    values = density(points.reshape(-1, 2)).reshape(-1, len(NODES))
    return values @ WEIGHTS * sides.prod(axis=1)


def _negligible(differences: np.ndarray) -> float:
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
