"""The distribution of one cell given all other cells of its row.

    P(x_j | the others) ∝ P(x_j | before) Π_{k > j} P(x_k | before)

By quadrature over the values of cell j: each level, atom, gap and value of a short grid is a node;
other numbers are in bins, intervals of the mixture ``P(x_j | before)``, of which those with most
probability are split. The last column has no factors behind it, nor has any without networks: its
distribution is exact. Of unmixed columns the factors are ``q(row) / m(x_j)``, and ``m``, the
column's marginal, is in place of the first.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.backend.blas import one_blas_thread
from nflow_cli.backend.start import cores
from nflow_cli.config.column_kinds import Lattice
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_distribution import LEAST_MASS, CellDistribution, Lazy
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores

MOST_PASSES = 4  # refinements of the bins
RESOLVED_ERROR = 3e-3  # of the distribution: a smaller one needs no refinement
RESOLVED_SHARE = 0.025  # probability of a bin: a smaller one needs no refinement
UNRESOLVED = 1e-2  # error of a distribution, above which its numbers are unknown
BLOCK_NODES = 2**15  # nodes at a time
FEWEST_ROWS_PER_CORE = 12  # of fewer Python takes as long
ROUNDING = 1e-12  # of a cumulative probability
NEGLIGIBLE = 700.0  # nats: a likelihood so much smaller than the largest is 0
MOST_VALUES = 256  # of a grid, that are nodes each
MOST_DATES = 4_096  # of a calendar, the same
CORE_MASS = 1e-3  # of a normal beyond single values
TAIL_MASS = 1e-13  # of a normal beyond all nodes
FARTHEST_STEP = 2.0**53  # from an offset: the next has no number
LARGEST_VALUE = 1e300
GROWTH = 1.4  # factor from an interval beyond single values to the next
WIDE_ATOMS = 16  # the widest, that are bins of their own
OUTLIER_NODES = 8  # of equal probability
FIRST_BINS = 127  # of a mixture, before refinements
ADDED_BINS = 64  # by a refinement
# Probabilities below the inner ends of the outermost bins.
TAIL_LEVELS = np.array([1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3])


class CellPosterior(NamedTuple):
    """Distributions of the cells of a column, in n rows, given the other cells.

    Attributes:
        levels: Probabilities ``(n, L)`` of the levels; none of a column of numbers.
        missing: Probability ``(n,)`` of a missing cell.
        mean: ``(n,)``, of a number, or of the place of a level in order, given that it is not
            missing and no outlier.
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
    """N nodes of the quadrature in n rows.

    Attributes:
        values: ``(n, N)`` or ``(1, N)``, in table units or indices of levels; NaN if missing.
        low: Least value of a bin, the same shape; the value itself of any other node.
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
    """Return the distributions of cell ``j``, a modelled column, given the rest of each row.

    Computed columns of the rows ``(n, C)`` are ignored; other cells that no row can have are
    expected to be NaN. Quantiles are at probabilities ``p`` ``(k,)`` or ``(n, k)``; numbers are NaN
    in rows with an error above ``largest_error``.
    ``advance`` is called with the number of rows of each block that is done.
    """
    column = density.row_columns[j]
    suffix = density if density.unmixing else density.suffix(j)
    n_nodes = 128 if column.has_numbers else column.outcomes.n_outcomes  # before refinements
    rows_per_core = max(-(-len(rows) // cores()), FEWEST_ROWS_PER_CORE)  # few rows are shared, too
    block_rows = max(min(density.block_rows, BLOCK_NODES // n_nodes, rows_per_core), 1)

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
        arrays = density.by_blocks(of_block, rows, p, block_rows=block_rows, advance=advance)
    return CellPosterior(*(array[:n] for array in arrays))


class _Cell:
    """Cell ``j`` of the n rows of a block, with its quadrature.

    Attributes:
        suffix: Density of the cell and those behind it, given the cells before.
        place: Index of the cell among the modelled columns.
        prior: Distributions of the cell given the cells before; of unmixed columns its marginal.
        is_exact: No cell behind depends on it: its distribution is the prior.
        grid: Nodes of the values of a short grid, else ``None``.
        has_bins: Numbers that are no atoms are in bins.
    """

    def __init__(self, block: CellScores, suffix: CellDensity, j: int):
        self.block = block
        self.density = block.density
        self.suffix = suffix
        self.j = j
        self.place = j - self.density.n_given
        if marginals := self.density.independent:  # of columns that are unmixed
            block = CellScores(marginals, block.rows)
        self.prior = block.distribution(self.place)
        self.column = self.prior.column
        is_last = not self.density.unmixing and j == len(self.density.columns) - 1
        self.is_exact = is_last or not self.density.networks
        self.allowed = None  # by rules, given all other cells
        if self.density.rules.involve(j):
            self.allowed = self.density.rules.allowed(j, block.rows, given_all=True)
        self.grid = grid_nodes(self.prior)
        self.has_bins = self.column.has_numbers and self.grid is None

    def posterior(self, p: np.ndarray, largest_error: float) -> CellPosterior:
        """The distributions, with quantiles at ``p`` ``(n, k)``; of numbers whose quadrature has a
        larger error, the statistics are NaN.
        """
        nodes, weights, log_total, error = self._weighted_nodes()
        missing = np.where(np.isnan(nodes.values), weights, 0.0).sum(axis=1)
        present = 1 - missing
        # Nodes without inliers are missing cells and outliers.
        outlier = np.where(nodes.inlier_mass > 0, 0.0, weights).sum(axis=1) - missing
        outlier = np.clip(outlier / np.where(present > 0, present, 1.0), 0.0, 1.0)
        log_p = self._log_prob(log_total)
        if self.column.has_numbers:
            statistics = self._statistics(nodes, weights, p)
            statistics[:, ~(error <= largest_error)] = np.nan
        else:
            statistics = np.full((4 + p.shape[1], len(missing)), np.nan)
        mean, sd, below, at = statistics[:4]
        if self._half_step:  # a bin has many values: P(number), less P(outlier and number)
            log_outlier = self.column.encode(self.block.rows[:, self.j]).log_p_outlier
            inlier = np.exp(log_p) / present - outlier * np.exp(log_outlier)
            at = np.where(np.isnan(at), at, np.maximum(inlier, 0.0) / (1 - outlier))
        return CellPosterior(
            self._levels(nodes, weights),
            missing,
            mean,
            sd,
            statistics[4:].T,
            log_p,
            below,
            at,
            outlier,
            error,
        )

    def _levels(self, nodes: Nodes, weights: np.ndarray) -> np.ndarray:
        """Probabilities ``(n, L)`` of the levels, by the weights ``(n, N)`` of the nodes; none of a
        column of numbers.
        """
        if not self.column.has_numbers:
            return weights[:, : len(self.column.levels)]
        levels = np.zeros((len(weights), len(self.column.levels)))
        for level in range(levels.shape[1]):
            levels[:, level] = (weights * (nodes.values == level)).sum(axis=1)
        return levels

    def _log_prob(self, log_total: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of the row's own cell, NaN if unknown: of the cell and
        those behind it, or of an unmixed row, less the log-total ``(n,)`` over all values.
        """
        first = 0 if self.density.unmixing else self.place
        last = self.place + 1 if self.is_exact else len(self.density.modelled_columns)
        log_row = self.block.log_q[:, first:last].sum(axis=1)
        known = self.density.are_known(self.block.rows)[:, self.place]
        return np.where(known & np.isfinite(log_total), log_row - log_total, np.nan)

    def _statistics(self, nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Statistics ``(4 + k, n)`` of a number that is no outlier: mean, standard deviation,
        probabilities of less than the row's own value and of this value, and quantiles at ``p``
        ``(n, k)``.

        ``weights`` ``(n, N)`` are the probabilities of the nodes given all other cells;
        ``nodes.mass`` ``(n, N)`` those given the cells before, of which ``inlier_mass`` is no
        outlier. ``inliers`` ``(n, N)`` sum to the probability of no outlier. Moments and quantiles
        are of the values that rules allow.
        """
        inliers = weights * np.where(nodes.mass > 0, nodes.inlier_mass / nodes.mass, 0.0)
        kept, least, greatest = self._kept(nodes, inliers)
        if self.is_exact and self.has_bins:  # no cells behind: the mixture is inverted
            quantiles = self._exact_quantiles(p)
        else:
            quantiles = self._quantiles(nodes, kept, p)
        if self.has_bins:
            quantiles = self.column.nearest(quantiles)  # values that the column may have
        quantiles = np.clip(quantiles, least, greatest)
        moments = _moments(nodes.values, kept)
        return np.stack([*moments, *self._below_and_at(nodes, inliers), *quantiles.T])

    def _kept(
        self, nodes: Nodes, inliers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | float, np.ndarray | float]:
        """Weights ``(n, N)`` of the nodes without values that rules exclude given all other cells,
        the least and the greatest number ``(n, 1)``; all values where these keep less than half.
        """
        if self.allowed is None:
            return inliers, -np.inf, np.inf
        values = np.broadcast_to(nodes.values, inliers.shape)
        kept = np.where(self.allowed.has(values), inliers, 0.0)
        is_kept = kept.sum(axis=1, keepdims=True) > inliers.sum(axis=1, keepdims=True) / 2
        least = np.where(is_kept, self.allowed.low[:, None], -np.inf)
        greatest = np.where(is_kept, self.allowed.high[:, None], np.inf)
        return np.where(is_kept, kept, inliers), least, greatest

    def _below_and_at(self, nodes: Nodes, inliers: np.ndarray) -> list[np.ndarray]:
        """Probabilities ``(n,)`` of less than the row's own number, and of it, by the weights
        ``inliers`` ``(n, N)`` of the nodes; NaN of rows without a number.
        """
        numbers = self.block.rows[:, self.j]
        if np.isnan(numbers).all():
            return [numbers, numbers]
        values, low, high, _, _ = nodes.by_row
        weights = _normalised(inliers)
        is_bin = high > low
        lowest = np.where(is_bin, low, np.inf).min(axis=1)[:, None]
        highest = np.where(is_bin, high, -np.inf).max(axis=1)[:, None]
        # The outermost bins have no end.
        low = np.where(is_bin, np.where(low == lowest, -np.inf, low), values)
        high = np.where(is_bin, np.where(high == highest, np.inf, high), values)
        nodes = Nodes(values, low, high, weights, weights)
        below = self._mass_below(nodes, numbers - self._half_step)
        through = self._mass_below(nodes, numbers + self._half_step)
        at = through - below + (weights * (~is_bin & (values == numbers[:, None]))).sum(axis=1)
        return [np.where(np.isnan(numbers), np.nan, p) for p in (below, at)]

    def _mass_below(self, nodes: Nodes, x: np.ndarray) -> np.ndarray:
        """Mass ``(n,)`` of nodes below ``x`` ``(n,)``: of the bin around it the part that the prior
        has below it.
        """
        _, low, high, mass, _ = nodes
        point = x[:, None]
        is_bin = high > low
        is_below = np.where(is_bin, high <= point, high < point)
        is_around = is_bin & (low < point) & (point < high)
        bin_index = is_around.argmax(axis=1)[:, None]
        low = np.take_along_axis(low, bin_index, 1)
        high = np.take_along_axis(high, bin_index, 1)
        ends = np.concatenate([low, high, point], axis=1)
        units = self.column.in_interval_units(ends.ravel())[0].reshape(ends.shape)
        units = np.where(np.isinf(ends), ends, units)
        units = np.where(np.isnan(units), 0.0, units)
        below_low, below_high, below_x = self.prior.below(units).T
        least = np.maximum(LEAST_MASS * self.prior.p_number, 1e-300)
        part = np.clip((below_x - below_low) / np.maximum(below_high - below_low, least), 0.0, 1.0)
        mass_in_bin = part * np.take_along_axis(mass, bin_index, 1)[:, 0]
        return (mass * is_below).sum(axis=1) + np.where(is_around.any(axis=1), mass_in_bin, 0.0)

    @property
    def _half_step(self) -> float:
        """Half the step of a long grid, whose values are in bins; 0 of other columns."""
        is_grid = self.has_bins and self.column.kind.is_grid
        return self.column.step / 2 if is_grid else 0.0

    def _weighted_nodes(self) -> tuple[Nodes, np.ndarray, np.ndarray, np.ndarray]:
        """Nodes, their probabilities ``(n, N)`` given the rest of the row, the log-total ``(n,)``
        in nats by which these are normalised, and the error ``(n,)`` of the quadrature.
        """
        nodes = point_nodes(self.prior)
        if self.grid is not None:
            nodes = join_nodes(nodes, self.grid)
        log_behind = self._log_behind(nodes)
        error = np.zeros(len(nodes.mass))
        if self.has_bins:
            nodes, log_behind, error = self._with_bins(nodes, log_behind)
        peak = _peak(log_behind[0])
        weights = nodes.mass * np.exp(log_behind[0] - peak)
        total = weights.sum(axis=1, keepdims=True)
        return nodes, weights / total, (np.log(total) + peak)[:, 0], error

    def _with_bins(
        self, points: Nodes, log_behind_points: np.ndarray
    ) -> tuple[Nodes, np.ndarray, np.ndarray]:
        """Nodes of the points and of bins of numbers, with their :meth:`_log_behind`, and the error
        ``(n,)`` of the distribution. Bins are split until it and their probabilities are small.
        """
        edges = first_edges(self.prior, self._jumps)
        bins = bin_nodes(self.prior, edges)
        log_behind_bins = self._log_behind(bins)
        passes = 0
        while True:
            nodes = join_nodes(points, bins)
            log_behind = np.concatenate([log_behind_points, log_behind_bins], axis=2)
            if self.is_exact:
                return nodes, log_behind, np.zeros(len(edges))
            numbers = bins.values.ravel()
            units = self.column.in_interval_units(numbers)[0].reshape(bins.values.shape)
            codes = self.column.codes(numbers).reshape(units.shape)
            is_smooth = codes == self.column.number_code  # the cells behind may depend on an atom
            errors = [_error(nodes, log_p, units, is_smooth) for log_p in log_behind]
            peak = _peak(log_behind_bins)
            shares = _normalised(bins.mass * np.exp(log_behind_bins - peak)).sum(axis=0)
            are_small = shares.max(axis=1) <= 2 * RESOLVED_SHARE  # shares of two distributions
            is_done = (np.maximum(*errors) <= RESOLVED_ERROR) & are_small
            if passes == MOST_PASSES or is_done.all():
                return nodes, log_behind, errors[0]
            passes += 1
            shares = np.where(is_done[:, None], 0.0, shares)  # such a row is not split
            edges, parents, is_new = split_bins(edges, shares)
            bins = bin_nodes(self.prior, edges)
            known = np.take_along_axis(log_behind_bins, parents[None], 2)
            log_behind_bins = self._log_behind(bins, is_new, known)

    @property
    def _jumps(self) -> np.ndarray:
        """Edges ``(n, k)`` in scores or units at which the density has jumps, by rules."""
        if self.allowed is None:
            return np.zeros((self.prior.n, 0))
        return self.allowed.edges(self.column)

    def _log_behind(
        self, nodes: Nodes, is_new: np.ndarray | bool = True, known: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Log-probability ``(2, n, N)`` in nats of the cells behind, if cell j has the value of a
        node: by the mixture; and by its networks without marginals, whose slope leads to a narrow
        peak from afar. Of nodes that are not ``is_new`` it is ``known``.
        """
        shape = nodes.mass.shape
        if self.is_exact:
            return np.zeros((2, *shape))
        log_p = np.where(nodes.mass > 0, known, np.full((2, *shape), -np.inf))
        row, node = np.nonzero((nodes.mass > 0) & is_new)
        values = np.broadcast_to(nodes.values, shape)[row, node]
        size = self.suffix.block_rows // 2  # whose parameters stay in the processor's cache
        for start in range(0, len(row), size):
            part = slice(start, start + size)
            log_p[:, row[part], node[part]] = self._log_factors(row[part], values[part])
        return log_p

    def _log_factors(self, row_indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Log-probability ``(2, m)`` in nats as of :meth:`_log_behind`: of the block's rows with
        ``row_indices`` ``(m,)``, if their cell j has other ``values`` ``(m,)``.

        Of unmixed columns it is that of the row, over that of the cell by its marginal.
        """
        scores = self._suffix_scores.with_values(row_indices, self.j, values)
        log_cells = np.stack([scores.log_q, scores.by_networks])
        if self.density.unmixing:
            gaps = np.isnan(scores.rows).any(axis=1)
            log_factors = log_cells.sum(axis=2) - scores.by_marginals[:, self.place]
            return np.where(gaps, -np.inf, log_factors)
        return log_cells[:, :, 1:].sum(axis=2)  # of the cells behind

    @Lazy
    def _suffix_scores(self) -> CellScores:
        """Scores of the block's rows by the suffix."""
        if self.suffix is self.density:
            return self.block
        return CellScores(self.suffix, self.block.rows, self.block.all_cells)

    def _quantiles(self, nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of nodes with ``weights`` ``(n, N)``; within a bin linear, in normal
        scores if the column has them, as there values repeat.
        """
        column = self.column
        low, high, part = _quantile_bins(nodes, weights, p)
        quantiles = low + part * (high - low)
        is_bin = high > low
        if column.normal_scores and is_bin.any():
            low = low[is_bin]
            high = high[is_bin]
            first = column.in_interval_units(low)[0]
            last = column.in_interval_units(high)[0]
            between = column.values_at(first + part[is_bin] * (last - first))
            quantiles[is_bin] = np.clip(between, low, high)
        return quantiles

    def _exact_quantiles(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of an inlying number by the prior: the atom whose step of the
        distribution function reaches ``p`` ``(n, k)``, else by inversion between atoms.
        """
        atoms = point_nodes(self.prior)
        values = np.broadcast_to(atoms.values, atoms.mass.shape)[0]
        order = np.argsort(values)[: np.sum(~np.isnan(values))]  # NaN, missing, is last
        values = values[order]
        mass = atoms.inlier_mass[:, order]
        total = self.prior.p_number + mass.sum(axis=1)
        below = self.prior.below(self._units(values)[None]) + np.cumsum(mass, axis=1) - mass
        target = p * total[:, None]
        is_passed = (below + mass)[:, :, None] < target[:, None]
        beyond_atoms = target - (mass[:, :, None] * is_passed).sum(axis=1)
        p_of_number = np.clip(
            beyond_atoms / self.prior.p_number[:, None], LEAST_MASS, 1 - LEAST_MASS
        )
        units = self.prior.quantiles(p_of_number)
        numbers = self.column.values_at(units.ravel()).reshape(units.shape)
        is_atom = ~is_passed & (below[:, :, None] < target[:, None])
        next_atom = np.append(values, np.nan)[is_passed.sum(axis=1)]
        return np.where(is_atom.any(axis=1), next_atom, numbers)

    def _units(self, values: np.ndarray) -> np.ndarray:
        """Atoms ``(A,)`` in scores or units; those beyond the bounds are infinite."""
        low, high = np.array(self.column.bounds, float)  # NaN without one
        units = self.column.in_interval_units(np.fmin(np.fmax(values, low), high))[0]
        return np.where(values < low, -np.inf, np.where(values > high, np.inf, units))


def _peak(log_likelihood: np.ndarray) -> np.ndarray:
    """Largest finite value along the last axis, which is kept with length 1; else 0."""
    peak = log_likelihood.max(axis=-1, keepdims=True)
    return np.where(np.isfinite(peak), peak, 0.0)


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Weights divided by their sum along the last axis; all 0 if they are."""
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def _error(
    nodes: Nodes, log_behind: np.ndarray, units: np.ndarray, is_smooth: np.ndarray
) -> np.ndarray:
    """Error ``(n,)`` of a quadrature: total variation between the distribution by all nodes and one
    by every second bin, where the likelihood of the bins between is log-linear in their ``units``
    ``(n, S)``, if they are smooth ``(n, S)``. The larger of leaving out odd and even ones.

    ``log_behind`` ``(n, N)`` is the log-likelihood of the nodes, the S bins last; NaN if no node is
    possible.
    """
    n_points = log_behind.shape[1] - is_smooth.shape[1]  # the first nodes
    log_likelihood = np.maximum(log_behind - _peak(log_behind), -NEGLIGIBLE)
    between = _interpolated(log_likelihood[:, n_points:], is_smooth, units)
    shares = _normalised(nodes.mass * np.exp(log_likelihood))
    errors = []
    for start in (1, 2):
        thinned = log_likelihood.copy()
        thinned[:, n_points + start : -1 : 2] = between[:, start - 1 :: 2]  # not at the ends
        thinned_shares = _normalised(nodes.mass * np.exp(thinned))
        errors.append(np.abs(thinned_shares - shares).sum(axis=1) / 2)
    return np.where(np.isfinite(log_behind).any(axis=1), np.maximum(*errors), np.nan)


def _interpolated(values: np.ndarray, is_smooth: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Values ``(n, S)`` without the outer two: smooth ones by linear interpolation between the
    nearest smooth ones before and behind, at ``units`` ``(n, S)``; others, and those without such
    neighbours, as they are.
    """
    last = values.shape[-1] - 1
    index = np.arange(last + 1)
    before = np.maximum.accumulate(np.where(is_smooth, index, -1), axis=-1)[..., :-2]
    behind = np.where(is_smooth, index, last + 1)[..., ::-1]
    behind = np.minimum.accumulate(behind, axis=-1)[..., ::-1][..., 2:]
    is_inner = (before >= 0) & (behind <= last) & is_smooth[..., 1:-1]
    before, behind = np.clip([before, behind], 0, last)
    x0 = np.take_along_axis(units, before, -1)
    x1 = np.take_along_axis(units, behind, -1)
    part = (units[..., 1:-1] - x0) / np.where(x1 > x0, x1 - x0, 1.0)
    y0 = np.take_along_axis(values, before, -1)
    y1 = np.take_along_axis(values, behind, -1)
    return np.where(is_inner, (1 - part) * y0 + part * y1, values[..., 1:-1])


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(n,)`` of values with weights ``(n, N)``."""
    values = np.where(weights > 0, values, 0.0)
    shares = weights / weights.sum(axis=1, keepdims=True)
    mean = (shares * values).sum(axis=1)
    return mean, np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))


def _quantile_bins(
    nodes: Nodes, weights: np.ndarray, p: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of quantiles at ``p`` ``(n, k)``: the first nodes whose cumulative weight, missing cells
    left out, reaches ``p``. Their least and greatest values, and the part of each bin below the
    quantile, all ``(n, k)``.
    """
    values, low, high, _, _ = nodes.by_row
    order = np.argsort(values, axis=1, kind="stable")
    weights = np.where(np.isnan(values), 0.0, weights)
    weights = np.take_along_axis(weights, order, 1)
    total = np.cumsum(weights, axis=1)
    target = total[:, -1:] * p
    # Level by level: all comparisons at once need k times the memory.
    n_below = [(total < level[:, None]).sum(axis=1) for level in (target * (1 - ROUNDING)).T]
    place = np.minimum(np.stack(n_below, axis=1), total.shape[1] - 1)
    weight = np.take_along_axis(weights, place, 1)
    weight_above = np.take_along_axis(total, place, 1) - target
    part = np.clip(1 - weight_above / np.where(weight > 0, weight, 1.0), 0.0, 1.0)
    node = np.take_along_axis(order, place, 1)
    return np.take_along_axis(low, node, 1), np.take_along_axis(high, node, 1), part


def join_nodes(first: Nodes, second: Nodes) -> Nodes:
    """Nodes of two sets in one, side by side."""
    pairs = zip(first.by_row, second.by_row)
    return Nodes(*(np.concatenate(pair, axis=1) for pair in pairs))


def point_nodes(prior: CellDistribution) -> Nodes:
    """Nodes of the outcomes that are no numbers of a mixture: levels or atoms, missing, new."""
    column = prior.column
    n_new = 1 if column.has_levels else OUTLIER_NODES
    n_outcomes = column.outcomes.n_outcomes
    learnt = [
        code for code in range(n_outcomes) if code not in (column.number_code, column.new_code)
    ]
    codes = np.append(np.array(learnt, int), np.repeat(column.new_code, n_new))
    # Probabilities below the outliers; any of the other outcomes.
    p = np.append(np.full(len(learnt), 0.5), (np.arange(n_new) + 0.5) / n_new)
    is_new = codes == column.new_code
    mass = prior.p_outcomes[codes].T * np.where(is_new, 1 / n_new, 1.0)
    inlier_mass = mass * ~(is_new | (codes == column.missing_code))
    values = column.decode(codes, p)[None]
    return Nodes(values, values, values, mass, inlier_mass)


def grid_nodes(prior: CellDistribution) -> Nodes | None:
    """Nodes of the numbers of a short grid, else ``None``: each likely value, and the middles of
    intervals beyond those.
    """
    if not prior.column.kind.is_grid or (intervals := _grid_intervals(prior)) is None:
        return None
    first, middle = intervals
    values = middle[None]
    mass = prior.masses(_edges(prior.column, first)[None])
    return Nodes(values, values, values, mass, mass)


def _grid_intervals(prior: CellDistribution) -> tuple[np.ndarray, np.ndarray] | None:
    """First and middle values, ``(K,)`` each, of the nodes of a short grid; ``None`` of a long one.

    Each value within the core of the prior is a node, beyond it intervals of growing width.
    """
    column = prior.column
    lattice = cast(Lattice, column.kind.lattice)

    def reach(mass: float) -> tuple[int, int]:
        """Steps from the offset beyond which each normal of the prior has less than a mass."""
        ends = column.values_at(np.array(prior.reach(mass)))
        low, high = np.clip(
            np.rint((ends - lattice.offset) / lattice.step), -FARTHEST_STEP, FARTHEST_STEP
        )
        return int(low), int(high)

    low, high = reach(CORE_MASS)
    count = MOST_DATES if column.n_cycles else MOST_VALUES  # neighbours may be Sunday and Monday
    if high - low >= count:
        return None
    least, most = reach(TAIL_MASS)
    if most - least < count:
        low, high = least, most
    # In steps: the first of each node, single values between the intervals.
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
    """Edges ``(K + 1,)`` in scores or units of intervals that begin at the values ``first``
    ``(K,)`` of a grid; the outermost are infinite.
    """
    centre, half = column.encode(first).interval
    ends = np.where(np.isinf(half), centre, centre - np.abs(half))
    return np.concatenate([[-np.inf], ends[1:], [np.inf]])


def first_edges(prior: CellDistribution, jumps: np.ndarray) -> np.ndarray:
    """Edges ``(n, S + 1)``, in scores or units, of bins of about equal probability by the prior,
    narrower in the tails; the widest atoms are bins, and ``jumps`` ``(n, k)`` are edges.
    """
    count = FIRST_BINS + 2 - 2 * len(TAIL_LEVELS)  # with as many edges as levels
    even = np.arange(1, count) / count
    levels = np.concatenate([TAIL_LEVELS, even, 1 - TAIL_LEVELS[::-1]])
    edges = prior.guessed_quantiles(levels)
    centre, half = prior.column.encode(np.array(prior.column.kind.atoms, float)).interval
    widest = np.argsort(-half, kind="stable")[:WIDE_ATOMS]
    half = np.where(np.isinf(half), 0.0, half)[widest]
    centre = centre[widest]
    atoms = np.concatenate([centre - half, centre + half])
    jumps = np.clip(jumps, edges[:, :1], edges[:, -1:])
    atoms = np.tile(atoms, (len(edges), 1))
    return np.sort(np.concatenate([edges, atoms, jumps], axis=1), axis=1)


def bin_nodes(prior: CellDistribution, edges: np.ndarray) -> Nodes:
    """Nodes of bins between edges ``(n, S + 1)``, in scores or units: the values at the middles."""

    def values_at(units: np.ndarray) -> np.ndarray:
        """Values at units, of the same shape, to few digits."""
        values = prior.column.values_at(units.ravel(), exact=False).reshape(units.shape)
        return np.clip(values, -LARGEST_VALUE, LARGEST_VALUE)

    ends = values_at(edges)
    values = values_at((edges[:, 1:] + edges[:, :-1]) / 2)
    masses = prior.masses(edges)
    return Nodes(values, ends[:, :-1], ends[:, 1:], masses, masses)


def split_bins(edges: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split bins with weights ``(n, S)`` into ``ADDED_BINS`` more, the heaviest into most parts.

    Half of a weight counts for the two bins beside it, of which a narrow peak may be a part.
    In a row without weights none is split, and the new bins are empty.

    Returns:
        The new edges; of each new bin ``(n, S + ADDED_BINS)`` the old one, and whether that was
        split.
    """
    n, n_bins = weights.shape
    beside = np.pad(weights, ((0, 0), (1, 1)), "edge")
    total = np.cumsum(2 * weights + beside[:, 2:] + beside[:, :-2], axis=1)
    is_without_weight = total[:, -1:] == 0
    divisor = np.where(is_without_weight, 1.0, total[:, -1:])
    added = np.floor(ADDED_BINS * total / divisor + 0.5)  # up to each bin
    added[:, -1] = ADDED_BINS
    n_parts = 1 + np.diff(added, axis=1, prepend=0.0).astype(int)
    n_new = n_bins + ADDED_BINS
    parents = np.repeat(np.tile(np.arange(n_bins), n), n_parts.ravel()).reshape(n, n_new)
    first = np.take_along_axis(np.cumsum(n_parts, axis=1) - n_parts, parents, 1)
    n_siblings = np.take_along_axis(n_parts, parents, 1)
    part = (np.arange(n_new) - first) / np.where(is_without_weight, 1, n_siblings)
    part = np.minimum(part, 1.0)
    low = np.take_along_axis(edges[:, :-1], parents, 1)
    high = np.take_along_axis(edges[:, 1:], parents, 1)
    edges = np.append(low + (high - low) * part, edges[:, -1:], axis=1)
    return edges, parents, (n_siblings > 1) & ~is_without_weight
