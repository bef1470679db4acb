"""The distribution of a cell given the cells before it, as one mixture of all networks and the
marginal: NumPy, float64.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from nflow_cli.arrays import logsumexp, ndtri
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn, Cells
from nflow_cli.densities.cells.heads import LogCells, log_pair, mixed
from nflow_cli.densities.cells.marginal import REACH, STEPS, Marginal, cdf_at
from nflow_cli.densities.cells.network import Parameters

AT_ONCE = 2**15  # points of normals: more are not in the processor's cache
AROUND = np.array([-1.5, 0.0, 1.5])  # scales from a mean: first guesses of quantiles
LEAST_MASS = 1e-12  # probabilities below are rounding errors of a difference
SHARED = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])  # the same, of a marginal
CONVERGED, ROUNDS = 1e-12, 100  # error of a probability, and most steps to reach it


T = TypeVar("T")


class Lazy(Generic[T]):
    """Cached property without a lock: that of functools, before Python 3.12, is one for all
    instances, so blocks of rows were scored one at a time.
    """

    def __init__(self, function: Callable[[Any], T]):
        self.function, self.__doc__ = function, function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self.function(instance)
        instance.__dict__[self.function.__name__] = value
        return value


class OfNetwork(NamedTuple):
    """A cell of n rows by one network of an ensemble.

    Attributes:
        weight: Of the network among all, given the cells before ``(n,)``.
        share: w, its weight beside the marginal.
        parameters: Of :func:`~nflow_cli.densities.cells.network.of_column`.
    """

    weight: np.ndarray | float
    share: float
    parameters: Parameters


class CellDistribution:
    """The distributions of a column's cell in n rows, given the cells before it.

    Args:
        column: The column.
        marginal: Its own.
        networks: All of an ensemble; of independent columns none.
        n: Number of rows.

    Attributes:
        outcomes: Probabilities ``(L, n)`` of the outcomes.
        weights: Of the normals of the networks ``(m, n)``, times the probability of a number.
        means: ``(m, n)``, in scores or units.
        scales: The same.
        by_marginal: Probability ``(n,)`` of a number by the marginal.
    """

    def __init__(
        self, column: CellColumn, marginal: Marginal, networks: Sequence[OfNetwork], n: int
    ):
        self.column, self.marginal, self.n = column, marginal, n
        own, normals = self._log_cells(marginal.log_shares[:, None]), [[np.zeros((0, n))] * 3]
        of_networks, of_marginal = np.zeros((2, column.outcomes.count, n))
        for weight, share, parameters in networks:
            # A network knows the outcomes of training rows; the last is new.
            log_shares = parameters.log_shares + marginal.log_learnt
            log_shares = np.append(log_shares, np.full((1, n), marginal.log_new), axis=0)
            parts = mixed(log_pair(share), self._log_cells(log_shares), own, np)
            of_network, beside = (weight * np.exp(part) for part in parts[:2])
            of_networks, of_marginal = of_networks + of_network, of_marginal + beside
            if column.has_numbers:
                _, log_weights, means, scales = parameters
                normals.append([of_network[column.number] * np.exp(log_weights), means, scales])
        if not networks:
            of_marginal += np.exp(own.masses)
        self.outcomes = of_networks + of_marginal
        if column.has_numbers:
            self.weights, self.means, self.scales = map(np.concatenate, zip(*normals))
            self.by_marginal = of_marginal[column.number]

    def _log_cells(self, log_shares: np.ndarray) -> LogCells:
        """All outcomes as cells, by log-shares ``(L, n)`` or ``(L, 1)``."""
        presence, gap = np.zeros_like(log_shares), self.column.missing
        if gap is not None:
            presence[:gap] = logsumexp(log_shares[:gap], 0, np)
            presence[gap] = log_shares[gap]
        return LogCells(log_shares, presence)

    # Of all outcomes.

    @np.errstate(over="ignore", invalid="ignore")  # of very large numbers
    def ends(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """``P(X < x)`` and ``P(X = x)`` ``(n,)`` of cells; NaN if unknown.

        Levels are in their order; missing is above all levels and numbers, a new level above
        missing. For a number, ``X = x`` is its interval, and outliers are numbers, too.
        """
        column, codes, (centre, half) = self.column, cells.codes, cells.interval
        at = self.outcomes[codes, np.arange(self.n)]
        below = np.cumsum(self.outcomes, axis=0)[codes, np.arange(self.n)] - at
        if column.has_numbers:
            low = np.where(half == np.inf, centre, centre - np.abs(half))
            high = np.where(half == -np.inf, centre, centre + np.abs(half))
            under, through = self.below(np.stack([low, high], axis=1)).T
            mass, atoms = np.where(half == 0, 0.0, through - under), np.array(column.first)
            is_atom, is_gap = codes < len(atoms), codes == column.missing
            values = np.append(atoms, np.nan)[np.where(is_atom, codes, len(atoms))]
            inside = column.inside(atoms)[0][:, None]
            are_below = np.where(is_atom, atoms[:, None] < values, inside < centre)
            of_atoms = self.outcomes[: len(atoms)]
            # Beyond the bounds all numbers are on one side.
            is_new, numbers = codes == column.new, self.number + of_atoms.sum(axis=0)
            all_below = np.where(cells.outlier_below > 0.5, numbers, 0.0)
            under = np.where(is_new, all_below, under + (of_atoms * are_below).sum(axis=0))
            mass = np.where(is_new, 0.0, np.where(is_atom, at, 0.0) + mass)
            outliers = self.outcomes[column.new]
            below = np.where(is_gap, numbers + outliers, under + outliers * cells.outlier_below)
            at = np.where(is_gap, at, mass + outliers * np.exp(cells.log_outlier))
        unknown = codes == UNKNOWN
        return np.where(unknown, np.nan, below), np.where(unknown, np.nan, at)

    @property
    def log_present(self) -> np.ndarray:
        """Log-probability ``(n,)`` in nats that a cell is present, given that it is not new."""
        gap = self.column.missing
        if gap is None:
            return np.zeros(self.n)
        present = self.outcomes[:gap].sum(axis=0)
        with np.errstate(divide="ignore"):
            return np.log(present) - np.log(present + self.outcomes[gap])

    def draw(
        self,
        rng: np.random.Generator,
        present: np.ndarray | bool = False,
        with_new: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw outcomes ``(n,)`` and numbers, in scores or units; those ``present`` not missing.

        Without ``with_new`` none is new: no level, and no outlier.
        """
        column, shares, units = self.column, self.outcomes.copy(), np.zeros(self.n)
        if column.missing is not None:
            shares[column.missing] *= ~np.asarray(present)
        shares[column.new] *= with_new
        codes = _drawn(shares, rng)
        if column.has_numbers:
            normals, rows = self.marginal.normals, np.arange(self.n)
            own = np.exp(normals.log_weights)[:, None]
            weights = np.append(self.weights, own * self.by_marginal, axis=0)
            chosen = _drawn(weights, rng)
            means, scales = (
                np.append(a, np.broadcast_to(b[:, None], (len(b), self.n)), axis=0)[chosen, rows]
                for a, b in ((self.means, normals.means), (self.scales, normals.scales))
            )
            units = means + scales * rng.standard_normal(self.n)
            units = np.where(codes == column.new, rng.random(self.n), units)
        return codes, units

    # Of numbers that are no atoms.

    @property
    def number(self) -> np.ndarray:
        """Probability ``(n,)`` of a number that is no atom."""
        return self.weights.sum(axis=0) + self.by_marginal

    def below(self, u: np.ndarray) -> np.ndarray:
        """Probability ``(n, k)`` of a number below units ``(n, k)`` or ``(1, k)``."""
        found = self.by_marginal[:, None] * self.marginal.normals.cdf(u)
        count = max(AT_ONCE // max(found.size, 1), 1)
        for start in range(0, len(self.means), count):
            some = slice(start, start + count)
            away = u - self.means[some, :, None]
            away *= STEPS / self.scales[some, :, None]
            found += np.sum(self.weights[some, :, None] * cdf_at(away), axis=0)
        return found

    def masses(self, edges: np.ndarray) -> np.ndarray:
        """Probabilities ``(n, k)`` of a number between edges ``(n, k + 1)`` or ``(1, k + 1)``, all
        below the first and above the last included.
        """
        edges = edges.copy()
        edges[:, 0], edges[:, -1] = -np.inf, np.inf
        mass = np.diff(self.below(edges))
        return np.where(mass > LEAST_MASS * self.number[:, None], mass, 0.0)

    def reach(self, least: float) -> tuple[float, float]:
        """Ends of the units, of all rows, beyond which each normal has mass below ``least``."""
        weights = self.weights.max(axis=1)
        normals = self.marginal.normals
        of_marginal = self.by_marginal.max() * np.exp(normals.log_weights)
        low, high = [], []
        for weight, mean, scale in [
            *zip(weights, self.means, self.scales),
            *zip(of_marginal, normals.means, normals.scales),
        ]:
            if weight > least:
                away = np.sqrt(2 * np.log(weight / least)) * scale
                low.append(np.min(mean - away))
                high.append(np.max(mean + away))
        return (min(low), max(high)) if low else (0.0, 0.0)

    def quantiles(self, p: np.ndarray) -> np.ndarray:
        """Units ``(n, k)`` below which a number that is no atom lies with probability ``p``
        ``(n, k)``: a root between two guesses, by false position (Illinois).
        """
        x, low, high, below, above = self._guesses(p)
        side = np.zeros(p.shape)
        for _ in range(ROUNDS):
            off = self._cdf(x) - p
            if not (np.abs(off) > CONVERGED).any():
                break
            is_low = off < 0
            above = np.where(is_low, np.where(side < 0, above / 2, above), off)
            below = np.where(is_low, off, np.where(side > 0, below / 2, below))
            low, high = np.where(is_low, x, low), np.where(is_low, high, x)
            side = np.where(is_low, -1.0, 1.0)
            x = low - (high - low) * below / np.maximum(above - below, 1e-300)
        return x

    def guessed_quantiles(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` at ``p`` ``(k,)``, as between normals: rough, and in order."""
        return self._guesses(p[None])[0]

    def _cdf(self, u: np.ndarray) -> np.ndarray:
        number = self.number[:, None]
        return self.below(u) / np.where(number > 0, number, 1.0)

    @Lazy
    def _known(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points ``(n, K)`` in units, in order, the distribution function there, and its score."""
        known, cdf = self.marginal.normals.cdf.knots, self.marginal.normals.cdf.cdf
        away = REACH * self.scales
        low = (self.means - away).min(axis=0, initial=known[0])[:, None]
        high = (self.means + away).max(axis=0, initial=known[-1])[:, None]
        middle = (self.means[..., None] + self.scales[..., None] * AROUND).swapaxes(0, 1)
        shared = np.broadcast_to(np.interp(SHARED, cdf, known), (self.n, len(SHARED)))
        points = np.concatenate([low, middle.reshape(self.n, -1), shared, high], axis=1)
        points.sort(axis=1)
        cdf = self._cdf(points)
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        return points, cdf, _score(cdf)

    def _guesses(self, p: np.ndarray) -> list[np.ndarray]:
        """A quantile, and the ends of an interval about it with ``F - p`` there."""
        _, cdf, _ = self._known
        i = np.stack([(cdf[:, 1:-1] < one[:, None]).sum(axis=1) for one in p.T], axis=1)
        ends = [[np.take_along_axis(a, k, 1) for k in (i, i + 1)] for a in self._known]
        (low, high), (below, above), (left, right) = ends
        part = np.clip((_score(p) - left) / np.maximum(right - left, 1e-300), 0.0, 1.0)
        return [low + part * (high - low), low, high, below - p, above - p]


def _score(p: np.ndarray) -> np.ndarray:
    return ndtri(np.clip(p, LEAST_MASS, 1 - LEAST_MASS), np)


def _drawn(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an index ``(n,)`` by weights ``(m, n)``."""
    below = np.cumsum(weights, axis=0)
    return np.minimum(
        (below <= rng.random(weights.shape[1]) * below[-1]).sum(axis=0), len(below) - 1
    )
