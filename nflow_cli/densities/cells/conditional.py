"""The distribution of one cell given all other cells of its row.

    P(x_j | the others) ∝ P(x_j | before) Π_{k > j} P(x_k | before)

By quadrature over the values of cell j: each level, atom, gap and value of a short grid is a node;
other numbers are cells of the mixture ``P(x_j | before)``, of which those with most probability
are split. The last column has no factors behind it, nor has any without networks: its distribution
is exact. Of unmixed columns the factors are ``q(row) / m(x_j)``, and ``m``, the column's marginal,
is in place of the first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.arrays import log_softmax, logsumexp
from nflow_cli.backend.blas import one_blas_thread
from nflow_cli.backend.start import cores
from nflow_cli.config.kinds import Lattice
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import IMPOSSIBLE, CellDensity, CellScores
from nflow_cli.densities.cells.distribution import LEAST_MASS, CellDistribution, Lazy

PASSES = 4  # most refinements of the cells
RESOLVED, LARGEST = 3e-3, 0.025  # error, and probability of a cell, that need none
UNRESOLVED = 1e-2  # error of a distribution, above which its numbers are unknown
NODES = 2**15  # nodes at a time
FEWEST = 12  # rows of a core: of fewer Python takes as long
ROUNDING = 1e-12  # of a cumulative probability
FAR = 700.0  # nats: a likelihood so much smaller than the largest is 0
VALUES, DATES = 256, 4_096  # most values of a grid, and dates of a calendar, that are nodes each
CORE, TAIL = 1e-3, 1e-13  # mass of a normal beyond single values, and beyond all nodes
FARTHEST = 2.0**53  # steps from an offset: the next has no number
LARGE = 1e300  # largest value
GROWTH = 1.4  # of the intervals beyond single values
WIDEST = 16  # atoms that are cells of their own
OUTLIERS = 8  # nodes of outliers, of equal probability
CELLS, MORE = 127, 64  # cells of a mixture at first, and added in a refinement
# Probabilities below the inner ends of the outermost cells.
TAILS = np.array([1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3])


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
        usual: The same, 0 of missing cells, new levels and outliers.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray
    usual: np.ndarray


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
    behind = density if density.unmixing else density.suffix(j)
    nodes = 128 if column.has_numbers else column.outcomes.count
    each = max(-(-len(rows) // cores()), FEWEST)  # a core has a part of few rows too
    at_a_time = max(min(density.at_a_time, NODES // nodes, each), 1)

    # Of rows that no value makes possible, and of values far beyond the table's.
    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def of_block(block: CellScores, p: np.ndarray) -> CellPosterior:
        return _Cell(block, behind, j).conditional(p, largest_error)

    n, k = len(rows), np.shape(p)[-1]
    if not n:  # as of one row, of which nothing is kept
        rows, p = np.full((1, rows.shape[1]), np.nan), np.full(k, 0.5)
    p = np.broadcast_to(p, (len(rows), k))
    with one_blas_thread():
        found = density.by_blocks(of_block, rows, p, at_a_time=at_a_time, advance=advance)
    return CellPosterior(*(array[:n] for array in found))


class _Cell:
    """Cell ``j`` of the rows of a block; ``behind``: density of it and the cells behind."""

    def __init__(self, block: CellScores, behind: CellDensity, j: int):
        self.block, self.density, self.behind = block, block.density, behind
        self.j, self.place = j, j - self.density.n_given
        if columns := self.density.independent:  # of columns that are unmixed
            block = CellScores(columns, block.rows)
        self.prior = block.distribution(self.place)
        self.column = self.prior.column
        is_last = not self.density.unmixing and j == len(self.density.cells) - 1
        self.is_exact = is_last or not self.density.networks
        self.grid = grid_nodes(self.prior)
        self.has_cells = self.column.has_numbers and self.grid is None

    def conditional(self, p: np.ndarray, largest_error: float) -> CellPosterior:
        """The distributions, with quantiles at ``p`` ``(n, k)``."""
        nodes, log_total, weights, error = self._posterior()
        missing = np.where(np.isnan(nodes.values), weights, 0.0).sum(axis=1)
        levels, numbers = len(self.column.first), np.full((4 + p.shape[1], len(missing)), np.nan)
        if self.column.has_numbers:
            levels = 0
            usual = weights * np.where(nodes.mass > 0, nodes.usual / nodes.mass, 0.0)
            numbers[:2] = _moments(nodes.values, usual)
            numbers[2:4] = self._ends(nodes, usual)
            by_inversion = self.is_exact and self.has_cells
            quantiles = self._exact(p) if by_inversion else self._quantiles(nodes, usual, p)
            quantiles = self.column.nearest(quantiles) if self.has_cells else quantiles
            numbers[4:] = quantiles.T
            numbers[:, ~(error <= largest_error)] = np.nan
        first = 0 if self.density.unmixing else self.place
        last = self.place + 1 if self.is_exact else len(self.density.modelled)
        own = self.block.by_mixture[:, first:last].sum(axis=1)
        known = self.density.are_known(self.block.rows)[:, self.place]
        log_p = np.where(known & np.isfinite(log_total), own - log_total, np.nan)
        mean, sd, below, at = numbers[:4]
        present = 1 - missing
        outlier = np.where(nodes.usual > 0, 0.0, weights).sum(axis=1) - missing
        outlier = np.clip(outlier / np.where(present > 0, present, 1.0), 0.0, 1.0)
        if self._half:
            log_outlier = self.column.encode(self.block.rows[:, self.j]).log_outlier
            among = np.exp(log_p) / present - outlier * np.exp(log_outlier)
            at = np.where(np.isnan(at), at, np.maximum(among, 0.0) / (1 - outlier))
        return CellPosterior(
            weights[:, :levels], missing, mean, sd, numbers[4:].T, log_p, below, at, outlier, error
        )

    def _ends(self, nodes: Nodes, usual: np.ndarray) -> list[np.ndarray]:
        """Probabilities ``(n,)`` of less than the own number, and of it, among usual ones."""
        own, half = self.block.rows[:, self.j], self._half
        if np.isnan(own).all():
            return [own, own]
        at, low, high = (np.broadcast_to(a, usual.shape) for a in nodes[:3])
        weights, is_cell = _normalised(usual), high > low
        low = np.where(low == np.where(is_cell, low, np.inf).min(axis=1)[:, None], -np.inf, low)
        high = np.where(high == np.where(is_cell, high, -np.inf).max(axis=1)[:, None], np.inf, high)
        below, through = (
            self._below(np.where(is_cell, high, at), low, is_cell, weights, own + d)
            for d in (-half, half)
        )
        on = through - below + (weights * (~is_cell & (at == own[:, None]))).sum(axis=1)
        return [np.where(np.isnan(own), np.nan, found) for found in (below, on)]

    def _below(
        self,
        high: np.ndarray,
        low: np.ndarray,
        is_cell: np.ndarray,
        weights: np.ndarray,
        x: np.ndarray,
    ) -> np.ndarray:
        """Weight ``(n,)`` below ``x`` ``(n,)``, within a cell in proportion to the prior."""
        at = x[:, None]
        whole = np.where(is_cell, high <= at, high < at)
        around = is_cell & (low < at) & (at < high)
        place = around.argmax(axis=1)[:, None]
        ends = np.stack([np.take_along_axis(a, place, 1)[:, 0] for a in (low, high)] + [x], axis=1)
        with np.errstate(invalid="ignore"):
            units = self.column.inside(ends.ravel())[0].reshape(ends.shape)
        units = np.where(np.isinf(ends), ends, units)
        first, last, here = self.prior.below(np.where(np.isnan(units), 0.0, units)).T
        least = np.maximum(LEAST_MASS * self.prior.number, 1e-300)
        part = np.clip((here - first) / np.maximum(last - first, least), 0.0, 1.0)
        part = part * np.take_along_axis(weights, place, 1)[:, 0]
        return (weights * whole).sum(axis=1) + np.where(around.any(axis=1), part, 0.0)

    @property
    def _half(self) -> float:
        """Half the width of a number's interval of a long grid; 0 of others."""
        is_grid = self.has_cells and self.column.kind.kind == "grid"
        return self.column.step / 2 if is_grid else 0.0

    def _posterior(self) -> tuple[Nodes, np.ndarray, np.ndarray, np.ndarray]:
        """Nodes, the logarithm ``(n,)`` of their total, their probabilities and the error."""
        nodes = points(self.prior)
        if self.grid is not None:
            nodes = joined([nodes, self.grid])
        behind, error = self._behind(nodes), np.zeros(len(nodes.mass))
        if self.has_cells:
            nodes, behind, error = self._with_cells(nodes, behind)
        peak = _peak(behind[0])
        weights = nodes.mass * np.exp(behind[0] - peak)
        total = weights.sum(axis=1, keepdims=True)
        return nodes, (np.log(total) + peak)[:, 0], weights / total, error

    def _with_cells(
        self, others: Nodes, of_others: np.ndarray
    ) -> tuple[Nodes, np.ndarray, np.ndarray]:
        """Other nodes and those of cells, refined, with :meth:`_behind`, and the error ``(n,)``."""
        edges = first_edges(self.prior)
        cells = cell_nodes(self.prior, edges)
        behind, left = self._behind(cells), PASSES
        while True:
            nodes, every = joined([others, cells]), np.concatenate([of_others, behind], axis=2)
            if self.is_exact:
                return nodes, every, np.zeros(len(edges))
            places = self.column.inside(cells.values.ravel())[0].reshape(cells.values.shape)
            usual = self.column.codes(cells.values.ravel()).reshape(places.shape)
            usual = usual == self.column.number  # cells behind may depend on an atom
            errors = [_error(nodes, each, places, usual) for each in every]
            shares = _normalised(cells.mass * np.exp(behind - _peak(behind))).sum(axis=0)
            is_done = (np.maximum(*errors) <= RESOLVED) & (shares.max(axis=1) <= 2 * LARGEST)
            if not left or is_done.all():
                return nodes, every, errors[0]
            left -= 1
            shares = np.where(is_done[:, None], 0.0, shares)
            edges, which, is_new = split(edges, shares)
            cells = cell_nodes(self.prior, edges)
            behind = self._behind(cells, is_new, np.take_along_axis(behind, which[None], 2))

    def _behind(
        self, nodes: Nodes, some: np.ndarray | bool = True, known: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Log-probability ``(2, n, N)`` of the cells behind at each of some nodes, else as known;
        and that by the networks without marginals, whose slope leads to a narrow peak from afar.
        """
        shape = nodes.mass.shape
        if self.is_exact:
            return np.zeros((2, *shape))
        found = np.where(nodes.mass > 0, known, np.full((2, *shape), -np.inf))
        row, node = np.nonzero((nodes.mass > 0) & some)
        values = np.broadcast_to(nodes.values, shape)[row, node]
        size = self.behind.at_a_time // 2  # cache size: their parameters stay in the processor's
        for start in range(0, len(row), size):
            part = slice(start, start + size)
            found[:, row[part], node[part]] = self._factors(row[part], values[part])
        return found

    def _factors(self, which: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Log-density ``(2, m)`` of some rows, of other values of the cell, relative to that of the
        cell by the prior.
        """
        block = self._scores_behind.with_values(which, self.j, values)
        if self.density.unmixing:
            every = np.stack([block.by_mixture, block.by_networks]).sum(axis=2)
            gaps = np.isnan(block.rows).any(axis=1)
            return np.where(gaps, -np.inf, every - block.by_marginals[:, self.place])
        cells = block.by_members
        weights = self.block.log_weights_before[:, :, self.place][:, which] + cells[:, :, 0]
        weights = log_softmax(np.maximum(weights, IMPOSSIBLE), 0, np)
        by_mixture = logsumexp(weights + cells[:, :, 1:].sum(axis=2), 0, np)
        return np.stack([by_mixture, block.by_networks[:, 1:].sum(axis=1)])

    @Lazy
    def _scores_behind(self) -> CellScores:
        if self.behind is self.density:
            return self.block
        return CellScores(self.behind, self.block.rows, self.block.all_cells)

    def _quantiles(self, nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of nodes, linear within a cell: in scores, so that values repeat."""
        low, high, part = _quantile_cells(nodes, weights, p)
        found, column = low + part * (high - low), self.column
        if column.scores and (inside := high > low).any():
            first, last = (column.inside(ends[inside])[0] for ends in (low, high))
            between = column.values_at(first + part[inside] * (last - first))
            found[inside] = np.clip(between, low[inside], high[inside])
        return found

    def _exact(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` of numbers given the cells before, and given not missing: atoms, or
        by inversion.
        """
        column, atoms = self.column, points(self.prior)
        values = np.broadcast_to(atoms.values, atoms.mass.shape)[0]
        order = np.argsort(values)[: np.sum(~np.isnan(values))]
        values, mass = values[order], atoms.usual[:, order]
        total = self.prior.number + mass.sum(axis=1)
        below = self.prior.below(self._units(values)[None]) + np.cumsum(mass, axis=1) - mass
        target = p * total[:, None]
        passed = (below + mass)[:, :, None] < target[:, None]
        left = target - (mass[:, :, None] * passed).sum(axis=1)
        share = np.clip(left / self.prior.number[:, None], LEAST_MASS, 1 - LEAST_MASS)
        units = self.prior.quantiles(share)
        found = column.values_at(units.ravel()).reshape(units.shape)
        is_atom = ~passed & (below[:, :, None] < target[:, None])
        return np.where(is_atom.any(axis=1), np.append(values, np.nan)[passed.sum(axis=1)], found)

    def _units(self, values: np.ndarray) -> np.ndarray:
        """Atoms in units, and values beyond bounds at infinity."""
        low, high = (np.nan if end is None else end for end in self.column.bounds)
        units = self.column.inside(np.fmin(np.fmax(values, low), high))[0]
        return np.where(values < low, -np.inf, np.where(values > high, np.inf, units))


def _peak(log_likelihood: np.ndarray) -> np.ndarray:
    peak = log_likelihood.max(axis=-1, keepdims=True)
    return np.where(np.isfinite(peak), peak, 0.0)


def _normalised(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def _error(nodes: Nodes, rest: np.ndarray, places: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Total variation ``(n,)`` between the distributions by all nodes, and by those of every second
    cell with the likelihood log-linear between ``usual`` ones ``(n, S)`` at ``places``;
    the larger of the odd and the even.
    """
    first = rest.shape[1] - usual.shape[1]
    every = np.maximum(rest - _peak(rest), -FAR)
    between = _between(every[:, first:], usual, places)
    shares, found = _normalised(nodes.mass * np.exp(every)), []
    for start in (1, 2):
        few = every[:, first:].copy()
        few[:, start:-1:2] = between[:, start - 1 :: 2]
        both = np.concatenate([every[:, :first], few], axis=1)
        found.append(np.abs(_normalised(nodes.mass * np.exp(both)) - shares).sum(axis=1) / 2)
    return np.where(np.isfinite(rest).any(axis=1), np.maximum(*found), np.nan)


def _between(values: np.ndarray, some: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Inner values ``(…, S - 2)``; of ``some`` by linear interpolation between the nearest two."""
    count, last = np.arange(values.shape[-1]), values.shape[-1] - 1
    low = np.maximum.accumulate(np.where(some, count, -1), axis=-1)[..., :-2]
    high = np.where(some, count, last + 1)[..., ::-1]
    high = np.minimum.accumulate(high, axis=-1)[..., ::-1][..., 2:]
    is_inner = (low >= 0) & (high <= last) & some[..., 1:-1]
    ends = np.clip([low, high], 0, last)
    (y0, y1), (x0, x1) = ([np.take_along_axis(a, k, -1) for k in ends] for a in (values, places))
    part = (places[..., 1:-1] - x0) / np.where(x1 > x0, x1 - x0, 1.0)
    return np.where(is_inner, (1 - part) * y0 + part * y1, values[..., 1:-1])


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(n,)`` of values with weights ``(n, N)``."""
    values = np.where(weights > 0, values, 0.0)
    shares = weights / weights.sum(axis=1, keepdims=True)
    mean = (shares * values).sum(axis=1)
    return mean, np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))


def _quantile_cells(nodes: Nodes, weights: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Cells of quantiles ``(n, k)`` of nodes given not missing, the first whose cumulative
    probability reaches ``p``: their ends, and the part of them that is below ``(3, n, k)``.
    """
    values, low, high = (np.broadcast_to(a, weights.shape) for a in nodes[:3])
    weights = np.where(np.isnan(values), 0.0, weights)
    order = np.argsort(values, axis=1, kind="stable")
    low, high, weights = (np.take_along_axis(a, order, 1) for a in (low, high, weights))
    total = np.cumsum(weights, axis=1)
    found = []
    for target in (total[:, -1:] * p).T[:, :, None]:
        at = (total < target * (1 - ROUNDING)).sum(axis=1, keepdims=True)
        at = np.minimum(at, total.shape[1] - 1)
        first, last, weight, end = (
            np.take_along_axis(a, at, 1) for a in (low, high, weights, total)
        )
        part = np.clip(1 - (end - target) / np.where(weight > 0, weight, 1.0), 0.0, 1.0)
        found.append([first, last, part])
    return np.concatenate(found, axis=2)


def joined(parts: Sequence[Nodes]) -> Nodes:
    """Nodes side by side."""
    n = max(len(part.values) for part in parts)
    every = [
        [np.broadcast_to(a, (max(n, len(a)), a.shape[1])) for a in arrays] for arrays in zip(*parts)
    ]
    return Nodes(*(np.concatenate(arrays, axis=1) for arrays in every))


def points(prior: CellDistribution) -> Nodes:
    """Nodes of the outcomes that are no usual numbers: levels or atoms, missing, new."""
    column = prior.column
    n_new = OUTLIERS if column.has_numbers else 1
    others = [c for c in range(column.outcomes.count) if c not in (column.number, column.new)]
    codes = np.append(np.array(others, int), np.repeat(column.new, n_new))
    p = np.append(np.full(len(others), 0.5), (np.arange(n_new) + 0.5) / n_new)
    is_new = codes == column.new
    mass = prior.outcomes[codes].T * np.where(is_new, 1 / n_new, 1.0)
    values = column.decode(codes, p)[None]
    return Nodes(values, values, values, mass, mass * ~(is_new | (codes == column.missing)))


def grid_nodes(prior: CellDistribution) -> Nodes | None:
    """Nodes of the numbers of a grid: each value, and few beyond those; ``None`` of a long grid."""
    if prior.column.kind.kind != "grid" or (values := _values(prior)) is None:
        return None
    first, middle = values
    at = middle[None]
    mass = prior.masses(_edges(prior.column, first)[None])
    return Nodes(at, at, at, mass, mass)


def _values(prior: CellDistribution) -> tuple[np.ndarray, np.ndarray] | None:
    """The first value of each node, and its middle one."""
    column, lattice = prior.column, cast(Lattice, prior.column.kind.lattice)
    step, offset = lattice.step, lattice.offset

    def places(least: float) -> tuple[int, int]:
        ends = column.values_at(np.array(prior.reach(least)))
        low, high = np.clip(np.rint((ends - offset) / step), -FARTHEST, FARTHEST)
        return int(low), int(high)

    low, high = places(CORE)
    count = DATES if column.n_cycles else VALUES  # neighbours may be Sunday and Monday
    if high - low >= count:
        return None
    least, most = places(TAIL)
    if most - least < count:
        low, high = least, most
    steps = np.unique(np.rint(GROWTH ** np.arange(200.0)))
    below, above = low - steps[::-1], high + steps
    first = [below[below > least], np.arange(low, high + 1), above[above <= most]]
    first = np.concatenate([[least] if least < low else [], *first])
    last = np.append(first[1:] - 1, max(first[-1], most))
    middle = np.floor((first + last) / 2)
    decimals = column.kind.decimals
    values = [offset + step * at for at in (first, middle)]
    values = values if decimals is None else [np.round(at, decimals) for at in values]
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
    count = CELLS + 2 - 2 * len(TAILS)
    even = np.arange(1, count) / count
    edges = prior.guessed_quantiles(np.concatenate([TAILS, even, 1 - TAILS[::-1]]))
    column = prior.column
    centre, half = column.encode(np.array(column.kind.atoms, float)).interval
    widest = np.argsort(-half, kind="stable")[:WIDEST]
    centre, half = centre[widest], np.where(np.isinf(half), 0.0, half)[widest]
    atoms = np.concatenate([centre - half, centre + half])
    return np.sort(np.append(edges, np.tile(atoms, (len(edges), 1)), axis=1), axis=1)


def cell_nodes(prior: CellDistribution, edges: np.ndarray) -> Nodes:
    """Nodes of numbers: the values at the middles of cells with these ends."""
    column, masses = prior.column, prior.masses(edges)

    def values_at(units: np.ndarray) -> np.ndarray:
        values = column.values_at(units.ravel(), exact=False).reshape(units.shape)
        return np.clip(values, -LARGE, LARGE)

    ends = values_at(edges)
    values = values_at((edges[:, 1:] + edges[:, :-1]) / 2)
    return Nodes(values, ends[:, :-1], ends[:, 1:], masses, masses)


def split(edges: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split cells with weights ``(n, S)`` into ``MORE`` more, most of those that weigh most.

    Half of a weight counts for the two cells beside it, of which a narrow peak may be a part.
    Without weights the new cells of a row are empty.

    Returns:
        The new ends; of each new cell ``(n, S + MORE)`` the old one, and whether that was split.
    """
    n, count = weights.shape
    beside = np.pad(weights, ((0, 0), (1, 1)), "edge")
    total = np.cumsum(2 * weights + beside[:, 2:] + beside[:, :-2], axis=1)
    is_whole = total[:, -1:] == 0
    known = np.where(is_whole, 1.0, total[:, -1:])
    places = np.floor(MORE * total / known + 0.5)
    places[:, -1] = MORE
    parts = 1 + np.diff(places, axis=1, prepend=0.0).astype(int)
    which = np.repeat(np.tile(np.arange(count), n), parts.ravel()).reshape(n, count + MORE)
    first = np.take_along_axis(np.cumsum(parts, axis=1) - parts, which, 1)
    parts = np.take_along_axis(parts, which, 1)
    part = (np.arange(count + MORE) - first) / np.where(is_whole, 1, parts)
    part = np.minimum(part, 1.0)
    low, high = (np.take_along_axis(ends, which, 1) for ends in (edges[:, :-1], edges[:, 1:]))
    edges = np.append(low + (high - low) * part, edges[:, -1:], axis=1)
    return edges, which, (parts > 1) & ~is_whole
