"""The distribution of a cell given the cells before it, as one mixture of all networks and the
marginal: NumPy, float64.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Generic, Self, TypeVar

import numpy as np

from nflow_cli.arrays import logsumexp, ndtri
from nflow_cli.tables.cells.cell_columns import UNKNOWN, CellColumn, Cells
from nflow_cli.tables.cells.heads import LogCells, log_parts
from nflow_cli.tables.cells.marginal import REACH, STEPS, Marginal, cdf_at
from nflow_cli.tables.cells.network import Parameters

BLOCK_POINTS = 2**15  # points of normals: more are not in the processor's cache
OFFSETS = np.array([-1.5, 0.0, 1.5])  # scales from a mean: first guesses of quantiles
LEAST_MASS = 1e-12  # probabilities below are rounding errors of a difference
MARGINAL_LEVELS = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])  # of guesses, by a marginal
CONVERGED_ERROR = 1e-12  # of a probability
MOST_ROUNDS = 100  # of false position, to reach it
OF_MARGINAL = np.ones(1)  # shares of a cell without networks

T = TypeVar("T")


class Lazy(Generic[T]):
    """Cached property without a lock: that of functools, before Python 3.12, is one for all
    instances, so blocks of rows were scored one at a time.
    """

    def __init__(self, function: Callable[[Any], T]):
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self.function(instance)
        instance.__dict__[self.function.__name__] = value
        return value


class CellDistribution:
    """Distributions of a column's cell in n rows, given the cells before it.

    Args:
        column: The column.
        marginal: Of the column.
        n: Number of rows.
        networks: Parameters of the cell by each of R networks, as of
            :func:`~nflow_cli.tables.cells.network.of_column`; of independent columns none.
        shares: Of the networks and the marginal in the mixture ``(R + 1,)``.

    Attributes:
        p_outcomes: Probabilities ``(L, n)`` of the outcomes.
        weights: Of the normals of the networks ``(m, n)``, times the probability of a number.
        means: ``(m, n)``, in scores or units.
        scales: The same.
        p_number_by_marginal: Probability ``(n,)`` of a number by the marginal.
    """

    def __init__(
        self,
        column: CellColumn,
        marginal: Marginal,
        n: int,
        networks: Sequence[Parameters] = (),
        shares: np.ndarray = OF_MARGINAL,
    ):
        self.column = column
        self.marginal = marginal
        self.n = n
        components = []
        for parameters in networks:
            # A network knows the outcomes of training rows; the last is new.
            log_shares = parameters.log_shares + marginal.log_p_learnt
            log_shares = np.append(log_shares, np.full((1, n), marginal.log_p_new), axis=0)
            components.append(self._log_cells(log_shares))
        components.append(self._log_cells(np.tile(marginal.log_shares[:, None], n)))
        with np.errstate(divide="ignore"):
            log_parts_of_components, _ = log_parts(list(np.log(shares)), components, np)
        parts = np.exp(log_parts_of_components)
        self.p_outcomes = parts.sum(axis=0)
        if column.has_numbers:
            self.p_number_by_marginal = parts[-1, column.number_code]
            weights = [np.zeros((0, n))]
            for part, parameters in zip(parts, networks):
                weights.append(part[column.number_code] * np.exp(parameters.log_weights))
            self.weights = np.concatenate(weights)
            self.means = np.concatenate([np.zeros((0, n)), *(of.means for of in networks)])
            self.scales = np.concatenate([np.zeros((0, n)), *(of.scales for of in networks)])

    def _log_cells(self, log_shares: np.ndarray) -> LogCells:
        """Log-probabilities ``(L, n)`` of cells by outcome, and of their presence, in nats, by
        log-shares ``(L, n)`` or ``(L, 1)`` of the outcomes.
        """
        presence = np.zeros_like(log_shares)
        gap = self.column.missing_code
        if gap is not None:
            presence[:gap] = logsumexp(log_shares[:gap], 0, np)
            presence[gap] = log_shares[gap]
        return LogCells(log_shares, presence)

    def of_rows(self, indices: np.ndarray) -> Self:
        """The distributions in the rows at indices ``(m,)``."""
        distribution = copy(self)
        distribution.__dict__.pop("_table", None)
        distribution.n = len(indices)
        distribution.p_outcomes = self.p_outcomes[:, indices]
        if self.column.has_numbers:
            distribution.p_number_by_marginal = self.p_number_by_marginal[indices]
            distribution.weights = self.weights[:, indices]
            distribution.means = self.means[:, indices]
            distribution.scales = self.scales[:, indices]
        return distribution

    # Of all outcomes.

    @np.errstate(over="ignore", invalid="ignore")  # of very large numbers
    def below_and_at(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """``P(X < x)`` and ``P(X = x)`` ``(n,)`` of cells; NaN if unknown.

        Levels are in their order; missing is above all levels and numbers, a new level above
        missing. For a number, ``X = x`` is its interval, and outliers are numbers, too.
        """
        at = self.p_outcomes[cells.codes, np.arange(self.n)]
        below = np.cumsum(self.p_outcomes, axis=0)[cells.codes, np.arange(self.n)] - at
        if self.column.has_numbers:
            below, at = self._below_and_at_of_numbers(cells, at)
        unknown = cells.codes == UNKNOWN
        return np.where(unknown, np.nan, below), np.where(unknown, np.nan, at)

    def _below_and_at_of_numbers(
        self, cells: Cells, at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities ``P(X < x)`` and ``P(X = x)`` ``(n,)`` of cells in a column of numbers,
        whose outcomes, by code, are atoms, another number, missing, and an outlier (``new_code``).

        ``at`` ``(n,)``: probabilities of the outcomes of the cells. An interval is ``centre ±
        half``; a ``half`` of ``inf``: all above ``centre``, or ``-inf``: all below; 0 off the grid.
        """
        column = self.column
        codes = cells.codes
        centre, half = cells.interval
        low = np.where(half == np.inf, centre, centre - np.abs(half))
        high = np.where(half == -np.inf, centre, centre + np.abs(half))
        below, through = self.below(np.stack([low, high], axis=1)).T
        mass = np.where(half == 0, 0.0, through - below)
        atoms = np.array(column.coded_values)
        p_atoms = self.p_outcomes[: len(atoms)]
        is_atom = codes < len(atoms)
        atom_of_cell = np.append(atoms, np.nan)[np.where(is_atom, codes, len(atoms))]
        atom_units = column.in_interval_units(atoms)[0][:, None]
        are_below = np.where(is_atom, atoms[:, None] < atom_of_cell, atom_units < centre)
        below = below + (p_atoms * are_below).sum(axis=0)
        mass = np.where(is_atom, at, 0.0) + mass
        p_outlier = self.p_outcomes[column.new_code]
        is_gap = codes == column.missing_code
        # A cell that is new is beyond the bounds: all numbers are on one side of it.
        p_no_outlier = self.p_number + p_atoms.sum(axis=0)
        is_new = codes == column.new_code
        below = np.where(is_new, np.where(cells.p_outlier_below > 0.5, p_no_outlier, 0.0), below)
        mass = np.where(is_new, 0.0, mass)
        if column.has_levels:  # in order: a gap is above all of them, a new one above a gap
            below = np.where(is_gap, p_no_outlier, np.where(is_new, 1 - p_outlier, below))
            return below, np.where(is_gap | is_new, at, mass)
        below = np.where(
            is_gap, p_no_outlier + p_outlier, below + p_outlier * cells.p_outlier_below
        )
        at = np.where(is_gap, at, mass + p_outlier * np.exp(cells.log_p_outlier))
        return below, at

    def weights_of(self, values: np.ndarray) -> np.ndarray:
        """Ratios ``(n,)`` of the probabilities of values ``(n,)`` to those without rules: 1."""
        return np.ones(len(values))

    @property
    def log_p_present(self) -> np.ndarray:
        """Log-probability ``(n,)`` in nats that a cell is present, given that it is not new."""
        gap = self.column.missing_code
        if gap is None:
            return np.zeros(self.n)
        present = self.p_outcomes[:gap].sum(axis=0)
        with np.errstate(divide="ignore"):
            return np.log(present) - np.log(present + self.p_outcomes[gap])

    def draw(
        self,
        rng: np.random.Generator,
        present: np.ndarray | bool = False,
        with_new: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw outcomes ``(n,)`` and, in a column with numbers, numbers ``(n,)`` in scores or
        units: of an outlier a probability below it.

        Cells ``present`` ``(n,)`` are not missing. Without ``with_new`` none is new: no level, and
        no outlier.
        """
        column = self.column
        shares = self.p_outcomes.copy()
        if column.missing_code is not None:
            shares[column.missing_code] *= ~np.asarray(present)
        shares[column.new_code] *= with_new
        codes = drawn_index(shares, rng)
        if not column.has_numbers:
            return codes, np.zeros(self.n)
        weights, means, scales = self._normals()
        component = drawn_index(weights, rng)
        rows = np.arange(self.n)
        units = means[component, rows] + scales[component, rows] * rng.standard_normal(self.n)
        return codes, np.where(codes == column.new_code, rng.random(self.n), units)

    def _normals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and scales ``(m, n)`` of all normals, those of the marginal last; the
        weights sum to the probability of a number that is no atom.
        """
        normals = self.marginal.normals
        marginal_weights = np.exp(normals.log_weights)[:, None] * self.p_number_by_marginal
        weights = np.append(self.weights, marginal_weights, axis=0)
        means = np.append(self.means, np.tile(normals.means[:, None], self.n), axis=0)
        scales = np.append(self.scales, np.tile(normals.scales[:, None], self.n), axis=0)
        return weights, means, scales

    # Of numbers that are no atoms.

    @property
    def p_number(self) -> np.ndarray:
        """Probability ``(n,)`` of a number that is no atom."""
        return self.weights.sum(axis=0) + self.p_number_by_marginal

    def below(self, u: np.ndarray) -> np.ndarray:
        """Probability ``(n, k)`` of a number below units ``(n, k)`` or ``(1, k)``."""
        mass = self.p_number_by_marginal[:, None] * self.marginal.normals.cdf(u)
        n_at_once = max(BLOCK_POINTS // max(mass.size, 1), 1)
        for start in range(0, len(self.means), n_at_once):  # a part of the normals
            normals = slice(start, start + n_at_once)
            distances = u - self.means[normals, :, None]
            distances *= STEPS / self.scales[normals, :, None]
            mass += np.sum(self.weights[normals, :, None] * cdf_at(distances), axis=0)
        return mass

    def masses(self, edges: np.ndarray) -> np.ndarray:
        """Probabilities ``(n, k)`` of a number between edges ``(n, k + 1)`` or ``(1, k + 1)``, all
        below the first and above the last included.
        """
        edges = edges.copy()
        edges[:, 0] = -np.inf
        edges[:, -1] = np.inf
        mass = np.diff(self.below(edges))
        return np.where(mass > LEAST_MASS * self.p_number[:, None], mass, 0.0)

    def reach(self, least: float) -> tuple[float, float]:
        """Ends in units, for all rows, beyond which each normal has a mass below ``least``; 0 if no
        normal has as much.
        """
        weights = self.weights.max(axis=1)
        normals = self.marginal.normals
        shares = self.p_number_by_marginal.max() * np.exp(normals.log_weights)
        networks = zip(weights, self.means, self.scales)
        low_ends = []
        high_ends = []
        for weight, mean, scale in [*networks, *zip(shares, normals.means, normals.scales)]:
            if weight > least:
                distance = np.sqrt(2 * np.log(weight / least)) * scale
                low_ends.append(np.min(mean - distance))
                high_ends.append(np.max(mean + distance))
        return (min(low_ends), max(high_ends)) if low_ends else (0.0, 0.0)

    def quantiles(self, p: np.ndarray) -> np.ndarray:
        """Units ``(n, k)`` below which a number that is no atom lies with probability ``p``
        ``(n, k)``: a root between two guesses, by false position (Illinois).
        """
        x, low, high, below, above = self._guesses(p)
        last_side = np.zeros(p.shape)  # that moved: -1 the lower end, 1 the upper
        for _ in range(MOST_ROUNDS):
            difference = self._cdf(x) - p
            if not (np.abs(difference) > CONVERGED_ERROR).any():
                break
            is_low = difference < 0
            above = np.where(is_low, np.where(last_side < 0, above / 2, above), difference)
            below = np.where(is_low, difference, np.where(last_side > 0, below / 2, below))
            low = np.where(is_low, x, low)
            high = np.where(is_low, high, x)
            last_side = np.where(is_low, -1.0, 1.0)
            x = low - (high - low) * below / np.maximum(above - below, 1e-300)
        return x

    def guessed_quantiles(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` at ``p`` ``(k,)``, as between normals: rough, and in order."""
        return self._guesses(p[None])[0]

    def _cdf(self, u: np.ndarray) -> np.ndarray:
        """Probability ``(n, k)`` that a number that is no atom is below units ``(n, k)``."""
        number = self.p_number[:, None]
        return self.below(u) / np.where(number > 0, number, 1.0)

    @Lazy
    def _table(self) -> np.ndarray:
        """Points in units, in order, the distribution function there, and its normal score
        ``(3, n, K)``.
        """
        normals = self.marginal.normals.cdf
        distances = REACH * self.scales
        low = (self.means - distances).min(axis=0, initial=normals.knots[0])[:, None]
        high = (self.means + distances).max(axis=0, initial=normals.knots[-1])[:, None]
        near_means = (self.means[..., None] + self.scales[..., None] * OFFSETS).swapaxes(0, 1)
        of_marginal = np.interp(MARGINAL_LEVELS, normals.cdf, normals.knots)
        of_marginal = np.tile(of_marginal, (self.n, 1))
        points = np.concatenate([low, near_means.reshape(self.n, -1), of_marginal, high], axis=1)
        points.sort(axis=1)
        cdf = self._cdf(points)
        cdf[:, 0] = 0.0
        cdf[:, -1] = 1.0
        return np.stack([points, cdf, _score(cdf)])

    def _guesses(self, p: np.ndarray) -> list[np.ndarray]:
        """Guess of quantiles at ``p`` ``(n, k)``, and the two points of the table beside each with
        ``F - p`` there: five arrays ``(n, k)``.
        """
        cdf = self._table[1]
        place = np.stack([(cdf[:, 1:-1] < level[:, None]).sum(axis=1) for level in p.T], axis=1)
        low, below, score_below = np.take_along_axis(self._table, place[None], 2)
        high, above, score_above = np.take_along_axis(self._table, place[None] + 1, 2)
        width = np.maximum(score_above - score_below, 1e-300)
        part = np.clip((_score(p) - score_below) / width, 0.0, 1.0)
        return [low + part * (high - low), low, high, below - p, above - p]


def _score(p: np.ndarray) -> np.ndarray:
    """Normal score ``Φ⁻¹(p)``, finite."""
    return ndtri(np.clip(p, LEAST_MASS, 1 - LEAST_MASS), np)


def drawn_index(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Index ``(n,)`` drawn in each column of weights ``(m, n)``, in proportion to them."""
    cumulative = np.cumsum(weights, axis=0)
    is_passed = cumulative <= rng.random(weights.shape[1]) * cumulative[-1]
    return np.minimum(is_passed.sum(axis=0), len(cumulative) - 1)
