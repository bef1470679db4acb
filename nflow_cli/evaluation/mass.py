"""The mass of a density in the plane, by cells that follow its samples. No Keras here."""

from collections.abc import Callable

import numpy as np

FEW, SHARE = 16, 300  # samples in a cell at most, at first, or this part of all of them
CLUSTER = 4  # this few samples can lie together in a part of a cell
DEPTH = 50  # how often a cell is divided where samples are equal
TOLERANCE = 2.5e-5  # error that is left in the cells that are not divided once more
MOST = 1_000_000  # points at which the density is computed
QUARTERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) / 2
_nodes, _weights = np.polynomial.legendre.leggauss(3)
NODES = np.stack(np.meshgrid(_nodes, _nodes, indexing="ij"), axis=-1).reshape(9, 2) / 2 + 0.5
WEIGHTS = np.outer(_weights, _weights).ravel() / 4


def mass(log_prob: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> tuple[float, float]:
    """Integrate a density over the parallelogram that covers its ``samples``, and some more.

    Adaptive cubature, in coordinates in which the samples are uncorrelated: Gauss-Legendre rules of
    3 x 3 points in cells, at first of few samples each. Where the rules of a cell and of its
    quarters differ, the quarters are divided again.

    Args:
        log_prob: Returns the log-density in nats ``(n,)`` at points ``(n, 2)``.
        samples: Of the density, ``(m, 2)``, finite.

    Returns:
        ``∫q``, and its error: the sum of the differences that are left, which bounds that of the
        rules unless all the points of a cell miss what it holds, and ``4/m``, the mass that lies
        beyond the outermost samples, about ``1/m`` at each side.
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
    """Return the mean ``(2,)`` and a lower triangle ``(2, 2)`` that maps to the covariance."""
    mean = samples.mean(axis=0)
    reach = np.ptp(samples, axis=0)
    scale = np.where(reach > 0, reach, 1)
    (a, b), (_, c) = np.cov(((samples - mean) / scale).T)
    first, slope = max(np.sqrt(a), 1e-9), b / max(a, 1e-18)
    second = max(np.sqrt(max(c - slope * b, 0)), 1e-9)
    return mean, scale[:, None] * np.array([[first, 0], [slope * first, second]])


def cells(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide the rectangle that covers ``samples`` in four until no cell holds many of them.

    A cell that holds more than a few is divided as well where they lie in a part of it.

    Returns:
        The lower corners and the sides of the cells, both ``(n, 2)``.
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
    """Return how far the samples in each of ``n`` cells reach ``(n, 2)``."""
    low, high = np.full((n, 2), np.inf), np.full((n, 2), -np.inf)
    np.minimum.at(low, holder, unit)
    np.maximum.at(high, holder, unit)
    return high - low


def _quarters(corners: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (corners[:, None] + QUARTERS * sides[:, None]).reshape(-1, 2), np.repeat(sides / 2, 4, 0)


def _rules(
    density: Callable[[np.ndarray], np.ndarray], corners: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """Return the integral over each cell by its rule."""
    points = corners[:, None] + NODES * sides[:, None]
    values = density(points.reshape(-1, 2)).reshape(-1, len(NODES))
    return values @ WEIGHTS * sides.prod(axis=1)


def _negligible(differences: np.ndarray) -> float:
    """Return the greatest difference of those that are too small to matter, even together."""
    ordered = np.sort(differences)
    count = np.searchsorted(np.cumsum(ordered), TOLERANCE)
    return ordered[count - 1] if count else -1.0
