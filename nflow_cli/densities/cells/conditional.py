"""The distribution of one cell given all other cells of its row.

    P(x_j | the others) ∝ P(x_j | before) Π_{k > j} P(x_k | before)

By quadrature over the values of cell j: each level, atom, gap and value of a short grid is a node;
other numbers are cells of the mixture ``P(x_j | before)``, of which those with most probability
are split. The last column has no factors behind it, nor has any without networks: its distribution
is exact. Of unmixed columns the factors are ``q(row) / m(x_j)``, and ``m``, the column's marginal,
is in place of the first.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.arrays import log_softmax, logsumexp
from nflow_cli.backend.blas import one_blas_thread
from nflow_cli.backend.start import cores
from nflow_cli.config.kinds import Lattice
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import IMPOSSIBLE, CellDensity, CellScores
from nflow_cli.densities.cells.distribution import LEAST_MASS, CellDistribution, Lazy

MOST_PASSES = 4  # refinements of the cells
RESOLVED_ERROR = 3e-3  # of the distribution: a smaller one needs no refinement
RESOLVED_SHARE = 0.025  # probability of a cell: a smaller one needs no refinement
UNRESOLVED = 1e-2  # error of a distribution, above which its numbers are unknown
BLOCK_NODES = 2**15  # nodes at a time
FEWEST_ROWS = 12  # of a core: of fewer Python takes as long
ROUNDING = 1e-12  # of a cumulative probability
NEGLIGIBLE = 700.0  # nats: a likelihood so much smaller than the largest is 0
MOST_VALUES = 256  # of a grid, that are nodes each
MOST_DATES = 4_096  # of a calendar, the same
CORE_MASS = 1e-3  # of a normal beyond single values
TAIL_MASS = 1e-13  # of a normal beyond all nodes
FARTHEST = 2.0**53  # steps from an offset: the next has no number
LARGEST_VALUE = 1e300
GROWTH = 1.4  # of the intervals beyond single values
WIDE_ATOMS = 16  # the widest, that are cells of their own
OUTLIER_NODES = 8  # of equal probability
FIRST_CELLS = 127  # of a mixture, before refinements
ADDED_CELLS = 64  # by a refinement
# Probabilities below the inner ends of the outermost cells.
TAIL_LEVELS = np.array([1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3])


class CellPosterior(NamedTuple):
    """Distributions of the cells of a column, in n rows, given the other cells.

    Attributes:
        levels: Probabilities ``(n, L)`` of the levels; none of a column of numbers.
        missing: Probability ``(n,)`` of a missing cell.
        mean: ``(n,)``, of a number, given that it is not missing and no outlier.
        sd: Its standard deviation.
        quantiles: ``(n, k)``, given the same.
        log_prob: Log-probability ``(n,)`` in nats of the row's own value; NaN if unknown.
        below: Probability ``(n,)`` of less than the row's own number, given that it is not missing
            and no outlier; NaN of other cells.
        at: Probability ``(n,)`` of that number itself, given the same: 0 without atom or grid.
        outlier: Probability ``(n,)`` that a number is an outlier, given that it is not missing.
        error: Total variation ``(n,)`` that is left by the quadrature. Where it is above
            the largest allowed, mean, sd, quantiles, below and at are NaN.
    """

    levels: np.ndarray
    missing: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    log_prob: np.ndarray
    below: np.ndarray
    at: np.ndarray
    outlier: np.ndarray
    error: np.ndarray


class Nodes(NamedTuple):
    """Nodes of n rows, NaN where missing.

    Attributes:
        values: ``(n, N)`` or ``(1, N)``.
        low: Least value of a cell, the same shape; the value itself of any other node.
        high: The greatest.
        mass: Probabilities ``(n, N)`` given the cells before.
        inlier_mass: The same, 0 of missing cells, new levels and outliers.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray
    inlier_mass: np.ndarray

    @property
    def by_row(self) -> "Nodes":
        """The same, each array ``(n, N)``."""
        return Nodes(*np.broadcast_arrays(*self))


def conditional(
    density: CellDensity,
    rows: np.ndarray,
    j: int,
    p: np.ndarray,
    advance: Callable[[int], None] | None = None,
    largest_error: float = UNRESOLVED,
) -> CellPosterior:
    """Return the distributions of cell ``j``, a modelled column, of rows ``(n, C)``.

    Computed columns are ignored; other cells that no row can have are expected to be NaN. Quantiles
    are at probabilities ``p`` ``(k,)`` or ``(n, k)``.
    ``advance`` is called with the number of rows of each block that is done.
    """
    column = density.row[j]
    suffix = density if density.unmixing else density.suffix(j)
    n_nodes = 128 if column.has_numbers else column.outcomes.count
    rows_per_core = max(-(-len(rows) // cores()), FEWEST_ROWS)  # each has a part of few rows too
    block_rows = max(min(density.at_a_time, BLOCK_NODES // n_nodes, rows_per_core), 1)

    # Of rows that no value makes possible, and of values far beyond the table's.
    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def of_block(block: CellScores, p: np.ndarray) -> CellPosterior:
        return _Cell(block, suffix, j).posterior(p, largest_error)

    n = len(rows)
    if not n:  # as of one row, of which nothing is kept
        rows = np.full((1, rows.shape[1]), np.nan)
        p = np.full(np.shape(p)[-1], 0.5)
    p = np.broadcast_to(p, (len(rows), np.shape(p)[-1]))
    with one_blas_thread():
        arrays = density.by_blocks(of_block, rows, p, at_a_time=block_rows, advance=advance)
    return CellPosterior(*(array[:n] for array in arrays))


class _Cell:
    """Cell ``j`` of the rows of a block; ``suffix``: density of it and the cells behind."""

    def __init__(self, block: CellScores, suffix: CellDensity, j: int):
        self.block = block
        self.density = block.density
        self.suffix = suffix
        self.j = j
        self.place = j - self.density.n_given  # among the modelled columns
        if columns := self.density.independent:  # of columns that are unmixed
            block = CellScores(columns, block.rows)
        self.prior = block.distribution(self.place)
        self.column = self.prior.column
        is_last = not self.density.unmixing and j == len(self.density.cells) - 1
        self.is_exact = is_last or not self.density.networks
        self.grid = grid_nodes(self.prior)
        self.has_cells = self.column.has_numbers and self.grid is None

    def posterior(self, p: np.ndarray, largest_error: float) -> CellPosterior:
        """The distributions, with quantiles at ``p`` ``(n, k)``."""
        nodes, weights, log_total, error = self._weighted_nodes()
        missing = np.where(np.isnan(nodes.values), weights, 0.0).sum(axis=1)
        present = 1 - missing
        outlier = np.where(nodes.inlier_mass > 0, 0.0, weights).sum(axis=1) - missing
        outlier = np.clip(outlier / np.where(present > 0, present, 1.0), 0.0, 1.0)
        log_p = self._log_prob(log_total)
        if self.column.has_numbers:
            n_levels = 0
            numbers = self._numbers(nodes, weights, p)
            numbers[:, ~(error <= largest_error)] = np.nan
        else:
            n_levels = len(self.column.first)
            numbers = np.full((4 + p.shape[1], len(missing)), np.nan)
        mean, sd, below, at = numbers[:4]
        if self._half_step:
            log_outlier = self.column.encode(self.block.rows[:, self.j]).log_outlier
            inlier = np.exp(log_p) / present - outlier * np.exp(log_outlier)
            at = np.where(np.isnan(at), at, np.maximum(inlier, 0.0) / (1 - outlier))
        levels = weights[:, :n_levels]
        return CellPosterior(
            levels, missing, mean, sd, numbers[4:].T, log_p, below, at, outlier, error
        )

    def _log_prob(self, log_total: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` of the row's own cell, NaN if unknown: of the cell and those
        behind it, or of an unmixed row, less the log-total over all values.
        """
        first = 0 if self.density.unmixing else self.place
        last = self.place + 1 if self.is_exact else len(self.density.modelled)
        log_row = self.block.by_mixture[:, first:last].sum(axis=1)
        known = self.density.are_known(self.block.rows)[:, self.place]
        return np.where(known & np.isfinite(log_total), log_row - log_total, np.nan)

    def _numbers(self, nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Mean, standard deviation, probabilities of :meth:`_below_and_at`, and quantiles
        ``(4 + k, n)`` of a number that is no outlier.
        """
        inliers = weights * np.where(nodes.mass > 0, nodes.inlier_mass / nodes.mass, 0.0)
        if self.is_exact and self.has_cells:
            quantiles = self._exact_quantiles(p)
        else:
            quantiles = self._quantiles(nodes, inliers, p)
        if self.has_cells:
            quantiles = self.column.nearest(quantiles)
        moments = _moments(nodes.values, inliers)
        return np.stack([*moments, *self._below_and_at(nodes, inliers), *quantiles.T])

    def _below_and_at(self, nodes: Nodes, inliers: np.ndarray) -> list[np.ndarray]:
        """Probabilities ``(n,)`` of less than the row's own number, and of it, among inliers."""
        numbers = self.block.rows[:, self.j]
        if np.isnan(numbers).all():
            return [numbers, numbers]
        values, low, high, _, _ = nodes.by_row
        weights = _normalised(inliers)
        is_cell = high > low
        lowest = np.where(is_cell, low, np.inf).min(axis=1)[:, None]
        highest = np.where(is_cell, high, -np.inf).max(axis=1)[:, None]
        # The outermost cells have no end.
        low = np.where(is_cell, np.where(low == lowest, -np.inf, low), values)
        high = np.where(is_cell, np.where(high == highest, np.inf, high), values)
        nodes = Nodes(values, low, high, weights, weights)
        below = self._mass_below(nodes, numbers - self._half_step)
        through = self._mass_below(nodes, numbers + self._half_step)
        at = through - below + (weights * (~is_cell & (values == numbers[:, None]))).sum(axis=1)
        return [np.where(np.isnan(numbers), np.nan, p) for p in (below, at)]

    def _mass_below(self, nodes: Nodes, x: np.ndarray) -> np.ndarray:
        """Mass ``(n,)`` of nodes below ``x`` ``(n,)``, within a cell in proportion to the prior."""
        _, low, high, mass, _ = nodes
        at = x[:, None]
        is_cell = high > low
        is_below = np.where(is_cell, high <= at, high < at)
        is_around = is_cell & (low < at) & (at < high)
        place = is_around.argmax(axis=1)[:, None]
        low = np.take_along_axis(low, place, 1)
        high = np.take_along_axis(high, place, 1)
        ends = np.concatenate([low, high, at], axis=1)
        units = self.column.inside(ends.ravel())[0].reshape(ends.shape)
        units = np.where(np.isinf(ends), ends, units)
        units = np.where(np.isnan(units), 0.0, units)
        below_low, below_high, below_x = self.prior.below(units).T
        least = np.maximum(LEAST_MASS * self.prior.number, 1e-300)
        part = np.clip((below_x - below_low) / np.maximum(below_high - below_low, least), 0.0, 1.0)
        part = part * np.take_along_axis(mass, place, 1)[:, 0]
        return (mass * is_below).sum(axis=1) + np.where(is_around.any(axis=1), part, 0.0)

    @property
    def _half_step(self) -> float:
        """Half the width of a number's interval of a long grid; 0 of others."""
        is_grid = self.has_cells and self.column.kind.kind == "grid"
        return self.column.step / 2 if is_grid else 0.0

    def _weighted_nodes(self) -> tuple[Nodes, np.ndarray, np.ndarray, np.ndarray]:
        """Nodes, their probabilities, the logarithm ``(n,)`` of their total, and the error."""
        nodes = point_nodes(self.prior)
        if self.grid is not None:
            nodes = joined(nodes, self.grid)
        log_behind = self._log_behind(nodes)
        error = np.zeros(len(nodes.mass))
        if self.has_cells:
            nodes, log_behind, error = self._with_cells(nodes, log_behind)
        peak = _peak(log_behind[0])
        weights = nodes.mass * np.exp(log_behind[0] - peak)
        total = weights.sum(axis=1, keepdims=True)
        return nodes, weights / total, (np.log(total) + peak)[:, 0], error

    def _with_cells(
        self, points: Nodes, log_behind_points: np.ndarray
    ) -> tuple[Nodes, np.ndarray, np.ndarray]:
        """Points and cells, refined, as nodes, with :meth:`_log_behind`, and the error ``(n,)``."""
        edges = first_edges(self.prior)
        cells = cell_nodes(self.prior, edges)
        log_behind_cells = self._log_behind(cells)
        passes = 0
        while True:
            nodes = joined(points, cells)
            log_behind = np.concatenate([log_behind_points, log_behind_cells], axis=2)
            if self.is_exact:
                return nodes, log_behind, np.zeros(len(edges))
            numbers = cells.values.ravel()
            places = self.column.inside(numbers)[0].reshape(cells.values.shape)
            codes = self.column.codes(numbers).reshape(places.shape)
            is_smooth = codes == self.column.number  # cells behind may depend on an atom
            errors = [_error(nodes, log_p, places, is_smooth) for log_p in log_behind]
            peak = _peak(log_behind_cells)
            shares = _normalised(cells.mass * np.exp(log_behind_cells - peak)).sum(axis=0)
            are_small = shares.max(axis=1) <= 2 * RESOLVED_SHARE  # of two distributions
            is_done = (np.maximum(*errors) <= RESOLVED_ERROR) & are_small
            if passes == MOST_PASSES or is_done.all():
                return nodes, log_behind, errors[0]
            passes += 1
            shares = np.where(is_done[:, None], 0.0, shares)
            edges, parents, is_new = split(edges, shares)
            cells = cell_nodes(self.prior, edges)
            known = np.take_along_axis(log_behind_cells, parents[None], 2)
            log_behind_cells = self._log_behind(cells, is_new, known)

    def _log_behind(
        self, nodes: Nodes, is_new: np.ndarray | bool = True, known: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Log-probability ``(2, n, N)`` of the cells behind at each new node, else as known; and
        that by the networks without marginals, whose slope leads to a narrow peak from afar.
        """
        shape = nodes.mass.shape
        if self.is_exact:
            return np.zeros((2, *shape))
        log_p = np.where(nodes.mass > 0, known, np.full((2, *shape), -np.inf))
        row, node = np.nonzero((nodes.mass > 0) & is_new)
        values = np.broadcast_to(nodes.values, shape)[row, node]
        size = self.suffix.at_a_time // 2  # cache size: their parameters stay in the processor's
        for start in range(0, len(row), size):
            part = slice(start, start + size)
            log_p[:, row[part], node[part]] = self._log_factors(row[part], values[part])
        return log_p

    def _log_factors(self, which: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Log-density ``(2, m)`` of some rows, of other values of the cell, relative to that of the
        cell by the prior.
        """
        block = self._suffix_scores.with_values(which, self.j, values)
        if self.density.unmixing:
            log_q = np.stack([block.by_mixture, block.by_networks]).sum(axis=2)
            gaps = np.isnan(block.rows).any(axis=1)
            return np.where(gaps, -np.inf, log_q - block.by_marginals[:, self.place])
        log_cells = block.by_members
        log_weights = self.block.log_weights_before[:, :, self.place][:, which]
        log_weights = np.maximum(log_weights + log_cells[:, :, 0], IMPOSSIBLE)
        log_weights = log_softmax(log_weights, 0, np)
        by_mixture = logsumexp(log_weights + log_cells[:, :, 1:].sum(axis=2), 0, np)
        return np.stack([by_mixture, block.by_networks[:, 1:].sum(axis=1)])

    @Lazy
    def _suffix_scores(self) -> CellScores:
        if self.suffix is self.density:
            return self.block
        return CellScores(self.suffix, self.block.rows, self.block.all_cells)

    def _quantiles(self, nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of nodes, linear within a cell: in scores, so that values repeat."""
        column = self.column
        low, high, part = _quantile_cells(nodes, weights, p)
        quantiles = low + part * (high - low)
        is_cell = high > low
        if column.scores and is_cell.any():
            low = low[is_cell]
            high = high[is_cell]
            first = column.inside(low)[0]
            last = column.inside(high)[0]
            between = column.values_at(first + part[is_cell] * (last - first))
            quantiles[is_cell] = np.clip(between, low, high)
        return quantiles

    def _exact_quantiles(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of numbers given the cells before, and given not missing: atoms, or
        by inversion.
        """
        atoms = point_nodes(self.prior)
        values = np.broadcast_to(atoms.values, atoms.mass.shape)[0]
        order = np.argsort(values)[: np.sum(~np.isnan(values))]
        values = values[order]
        mass = atoms.inlier_mass[:, order]
        total = self.prior.number + mass.sum(axis=1)
        below = self.prior.below(self._units(values)[None]) + np.cumsum(mass, axis=1) - mass
        target = p * total[:, None]
        passed = (below + mass)[:, :, None] < target[:, None]
        rest = target - (mass[:, :, None] * passed).sum(axis=1)
        share = np.clip(rest / self.prior.number[:, None], LEAST_MASS, 1 - LEAST_MASS)
        units = self.prior.quantiles(share)
        numbers = self.column.values_at(units.ravel()).reshape(units.shape)
        is_atom = ~passed & (below[:, :, None] < target[:, None])
        next_atom = np.append(values, np.nan)[passed.sum(axis=1)]
        return np.where(is_atom.any(axis=1), next_atom, numbers)

    def _units(self, values: np.ndarray) -> np.ndarray:
        """Atoms in units, and values beyond bounds at infinity."""
        low, high = np.array(self.column.bounds, float)  # NaN without one
        units = self.column.inside(np.fmin(np.fmax(values, low), high))[0]
        return np.where(values < low, -np.inf, np.where(values > high, np.inf, units))


def _peak(log_likelihood: np.ndarray) -> np.ndarray:
    peak = log_likelihood.max(axis=-1, keepdims=True)
    return np.where(np.isfinite(peak), peak, 0.0)


def _normalised(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def _error(
    nodes: Nodes, log_behind: np.ndarray, places: np.ndarray, is_smooth: np.ndarray
) -> np.ndarray:
    """Total variation ``(n,)`` between the distributions by all nodes, and by those of every second
    cell with the likelihood log-linear between smooth ones ``(n, S)`` at ``places``;
    the larger of the odd and the even.
    """
    n_points = log_behind.shape[1] - is_smooth.shape[1]  # the first nodes
    log_likelihood = np.maximum(log_behind - _peak(log_behind), -NEGLIGIBLE)
    between = _interpolated(log_likelihood[:, n_points:], is_smooth, places)
    shares = _normalised(nodes.mass * np.exp(log_likelihood))
    errors = []
    for start in (1, 2):
        thinned = log_likelihood.copy()
        thinned[:, n_points + start : -1 : 2] = between[:, start - 1 :: 2]
        thinned_shares = _normalised(nodes.mass * np.exp(thinned))
        errors.append(np.abs(thinned_shares - shares).sum(axis=1) / 2)
    return np.where(np.isfinite(log_behind).any(axis=1), np.maximum(*errors), np.nan)


def _interpolated(values: np.ndarray, is_smooth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Inner values ``(…, S - 2)``; smooth ones by linear interpolation between the nearest two."""
    last = values.shape[-1] - 1
    index = np.arange(last + 1)
    low = np.maximum.accumulate(np.where(is_smooth, index, -1), axis=-1)[..., :-2]
    high = np.where(is_smooth, index, last + 1)[..., ::-1]
    high = np.minimum.accumulate(high, axis=-1)[..., ::-1][..., 2:]
    is_inner = (low >= 0) & (high <= last) & is_smooth[..., 1:-1]
    low, high = np.clip([low, high], 0, last)
    x0 = np.take_along_axis(places, low, -1)
    x1 = np.take_along_axis(places, high, -1)
    part = (places[..., 1:-1] - x0) / np.where(x1 > x0, x1 - x0, 1.0)
    y0 = np.take_along_axis(values, low, -1)
    y1 = np.take_along_axis(values, high, -1)
    return np.where(is_inner, (1 - part) * y0 + part * y1, values[..., 1:-1])


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(n,)`` of values with weights ``(n, N)``."""
    values = np.where(weights > 0, values, 0.0)
    shares = weights / weights.sum(axis=1, keepdims=True)
    mean = (shares * values).sum(axis=1)
    return mean, np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))


def _quantile_cells(
    nodes: Nodes, weights: np.ndarray, p: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of quantiles ``(n, k)`` of nodes given not missing, the first whose cumulative
    probability reaches ``p``: their least and greatest value, and the part of them that is below.
    """
    values, low, high, _, _ = nodes.by_row
    order = np.argsort(values, axis=1, kind="stable")
    weights = np.where(np.isnan(values), 0.0, weights)
    weights = np.take_along_axis(weights, order, 1)
    total = np.cumsum(weights, axis=1)
    target = total[:, -1:] * p
    # Level by level: all comparisons at once need k times the memory.
    reached = [(total < level[:, None]).sum(axis=1) for level in (target * (1 - ROUNDING)).T]
    place = np.minimum(np.stack(reached, axis=1), total.shape[1] - 1)
    weight = np.take_along_axis(weights, place, 1)
    left = np.take_along_axis(total, place, 1) - target
    part = np.clip(1 - left / np.where(weight > 0, weight, 1.0), 0.0, 1.0)
    place = np.take_along_axis(order, place, 1)
    return np.take_along_axis(low, place, 1), np.take_along_axis(high, place, 1), part


def joined(first: Nodes, second: Nodes) -> Nodes:
    """Nodes side by side."""
    pairs = zip(first.by_row, second.by_row)
    return Nodes(*(np.concatenate(pair, axis=1) for pair in pairs))


def point_nodes(prior: CellDistribution) -> Nodes:
    """Nodes of the outcomes that are no numbers of a mixture: levels or atoms, missing, new."""
    column = prior.column
    n_new = OUTLIER_NODES if column.has_numbers else 1
    n_outcomes = column.outcomes.count
    learnt = [code for code in range(n_outcomes) if code not in (column.number, column.new)]
    codes = np.append(np.array(learnt, int), np.repeat(column.new, n_new))
    p = np.append(np.full(len(learnt), 0.5), (np.arange(n_new) + 0.5) / n_new)
    is_new = codes == column.new
    mass = prior.outcomes[codes].T * np.where(is_new, 1 / n_new, 1.0)
    inlier_mass = mass * ~(is_new | (codes == column.missing))
    values = column.decode(codes, p)[None]
    return Nodes(values, values, values, mass, inlier_mass)


def grid_nodes(prior: CellDistribution) -> Nodes | None:
    """Nodes of the numbers of a grid: each value, and few beyond those; ``None`` of a long grid."""
    if prior.column.kind.kind != "grid" or (intervals := _grid_intervals(prior)) is None:
        return None
    first, middle = intervals
    values = middle[None]
    mass = prior.masses(_edges(prior.column, first)[None])
    return Nodes(values, values, values, mass, mass)


def _grid_intervals(prior: CellDistribution) -> tuple[np.ndarray, np.ndarray] | None:
    """The first value of each node of a grid, and its middle one; ``None`` of a long grid."""
    column = prior.column
    lattice = cast(Lattice, column.kind.lattice)

    def reach(mass: float) -> tuple[int, int]:
        ends = column.values_at(np.array(prior.reach(mass)))
        low, high = np.clip(np.rint((ends - lattice.offset) / lattice.step), -FARTHEST, FARTHEST)
        return int(low), int(high)

    low, high = reach(CORE_MASS)
    count = MOST_DATES if column.n_cycles else MOST_VALUES  # neighbours may be Sunday and Monday
    if high - low >= count:
        return None
    least, most = reach(TAIL_MASS)
    if most - least < count:
        low, high = least, most
    away = np.unique(np.rint(GROWTH ** np.arange(200.0)))
    below = low - away[::-1]
    above = high + away
    parts = [below[below > least], np.arange(low, high + 1), above[above <= most]]
    if least < low:
        parts.insert(0, np.array([least]))
    first = np.concatenate(parts)
    last = np.append(first[1:] - 1, max(first[-1], most))
    middle = np.floor((first + last) / 2)
    values = lattice.offset + lattice.step * np.stack([first, middle])
    if column.kind.decimals is not None:
        values = np.round(values, column.kind.decimals)
    return values[0], values[1]


def _edges(column: CellColumn, first: np.ndarray) -> np.ndarray:
    """Ends between intervals that begin at these values; the outermost are infinite."""
    centre, half = column.encode(first).interval
    ends = np.where(np.isinf(half), centre, centre - np.abs(half))
    return np.concatenate([[-np.inf], ends[1:], [np.inf]])


def first_edges(prior: CellDistribution) -> np.ndarray:
    """Ends ``(n, S + 1)`` in units of cells of about equal probability, narrower in the tails.

    A wide atom is a cell.
    """
    count = FIRST_CELLS + 2 - 2 * len(TAIL_LEVELS)
    even = np.arange(1, count) / count
    levels = np.concatenate([TAIL_LEVELS, even, 1 - TAIL_LEVELS[::-1]])
    edges = prior.guessed_quantiles(levels)
    centre, half = prior.column.encode(np.array(prior.column.kind.atoms, float)).interval
    widest = np.argsort(-half, kind="stable")[:WIDE_ATOMS]
    half = np.where(np.isinf(half), 0.0, half)[widest]
    centre = centre[widest]
    atoms = np.concatenate([centre - half, centre + half])
    return np.sort(np.append(edges, np.tile(atoms, (len(edges), 1)), axis=1), axis=1)


def cell_nodes(prior: CellDistribution, edges: np.ndarray) -> Nodes:
    """Nodes of numbers: the values at the middles of cells with these ends."""

    def values_at(units: np.ndarray) -> np.ndarray:
        values = prior.column.values_at(units.ravel(), exact=False).reshape(units.shape)
        return np.clip(values, -LARGEST_VALUE, LARGEST_VALUE)

    ends = values_at(edges)
    values = values_at((edges[:, 1:] + edges[:, :-1]) / 2)
    masses = prior.masses(edges)
    return Nodes(values, ends[:, :-1], ends[:, 1:], masses, masses)


def split(edges: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split cells with weights ``(n, S)`` into ``ADDED_CELLS`` more, most of those that weigh most.

    Half of a weight counts for the two cells beside it, of which a narrow peak may be a part.
    Without weights the new cells of a row are empty.

    Returns:
        The new ends; of each new cell ``(n, S + ADDED_CELLS)`` the old one, and whether that was
        split.
    """
    n, n_cells = weights.shape
    beside = np.pad(weights, ((0, 0), (1, 1)), "edge")
    total = np.cumsum(2 * weights + beside[:, 2:] + beside[:, :-2], axis=1)
    is_kept = total[:, -1:] == 0
    divisor = np.where(is_kept, 1.0, total[:, -1:])
    added = np.floor(ADDED_CELLS * total / divisor + 0.5)  # up to each cell
    added[:, -1] = ADDED_CELLS
    parts = 1 + np.diff(added, axis=1, prepend=0.0).astype(int)
    n_split = n_cells + ADDED_CELLS
    parents = np.repeat(np.tile(np.arange(n_cells), n), parts.ravel()).reshape(n, n_split)
    first = np.take_along_axis(np.cumsum(parts, axis=1) - parts, parents, 1)
    parts = np.take_along_axis(parts, parents, 1)
    part = (np.arange(n_split) - first) / np.where(is_kept, 1, parts)
    part = np.minimum(part, 1.0)
    low = np.take_along_axis(edges[:, :-1], parents, 1)
    high = np.take_along_axis(edges[:, 1:], parents, 1)
    edges = np.append(low + (high - low) * part, edges[:, -1:], axis=1)
    return edges, parents, (parts > 1) & ~is_kept
