"""Density of a row, as a product over its cells: NumPy, float64.

    log q(row | given) = Σ_j log P(cell_j | given, the cells before it)

A number of a continuous column has a density, in 1/unit; every other cell a mass. Each cell is a
mixture of R networks and the column's marginal, of shares that are the column's own:
``P(cell_j | …) = Σ_r v_rj network_r + v_0j marginal``.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.backend.start import cores
from nflow_cli.config.declared_rules import Rule
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cell_columns import CellColumn, Cells
from nflow_cli.tables.cells.cell_distribution import CellDistribution, Lazy
from nflow_cli.tables.cells.cell_rules import CellRules, CutDistribution
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.cells.heads import (
    LogCells,
    log_cells,
    log_masses,
    log_mixture,
    with_presence,
)
from nflow_cli.tables.cells.layout import Layout
from nflow_cli.tables.cells.marginal import Marginal
from nflow_cli.tables.cells.network import ColumnByColumn, Parameters
from nflow_cli.tables.cells.unmixing import Unmixing

ROWS_DRAWN = 1_024  # rows drawn at a time
MOST_REDRAWS = 20  # of a row that breaks a rule
# Rows scored at a time: marginals are shared by equal values, mixture parameters fill memory.
MIN_BLOCK_ROWS = 256
MAX_BLOCK_ROWS = 16_384
MAX_BLOCK_PARAMETERS = 2**18
LEAST_SHARE = 1e-300  # of a network in a mixture of networks alone, so that it has one


class Scored(NamedTuple):
    """Scores of n rows: log-probability in nats of each cell ``(n, D + K)``, given those before and
    by marginals; randomised PIT; log-density by each network and the marginals ``(n, R)``.
    """

    log_q: np.ndarray
    log_independent: np.ndarray
    pit: np.ndarray
    log_q_by_member: np.ndarray


class Encoded(NamedTuple):
    """Encoded rows as a network takes them, rows last.

    Attributes:
        codes: Outcomes ``(C, n)``.
        units: Numeric inputs: middles of intervals in units ``(K, n)``, of columns with numbers,
            then the harmonics of dates.
        centre: In scores or units.
        half: Half widths.
    """

    codes: np.ndarray
    units: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class CellDensity:
    """Density of rows of a table.

    Args:
        columns: Of a row; the first ``n_given`` are given.
        layout: Of each network.
        marginals: Of the D modelled columns.
        networks: Masked weights in float64 of each of R networks.
        shares: Of the networks and the marginal, the last, in each cell ``(R + 1, D)``; by default
            the marginal's alone.
        computed: K computed columns, last in a row.
        unmixing: Map of rows to components, if ``columns`` are components; none is then given or
            computed.
        independent: With unmixing: marginals of the original columns.
        rules: Rules between two columns; without unmixing.
    """

    def __init__(
        self,
        columns: Sequence[CellColumn],
        layout: Layout,
        marginals: Sequence[Marginal],
        networks: Sequence[network.Weights] = (),
        shares: np.ndarray | None = None,
        computed: Sequence[Computed] = (),
        unmixing: Unmixing | None = None,
        independent: "CellDensity | None" = None,
        rules: Sequence[Rule] = (),
    ):
        self.columns = list(columns)
        self.layout = layout
        self.n_given = layout.n_given
        self.marginals = list(marginals)
        self.networks = list(networks)
        self.shares = np.ones((1, len(self.marginals))) if shares is None else shares
        self.computed_columns = list(computed)
        self.unmixing = unmixing
        self.independent = independent
        self.mixture_limits = limits_of(columns, layout)
        self.rules = CellRules(rules, self.columns)

    @property
    def modelled_columns(self) -> list[CellColumn]:
        """The D modelled columns, in row order."""
        return self.columns[self.n_given :]

    @property
    def row_columns(self) -> list[CellColumn]:
        """All columns of a row."""
        columns = self.unmixing.columns if self.unmixing else self.columns
        return [*columns, *(computed.column for computed in self.computed_columns)]

    @property
    def scored_columns(self) -> list[CellColumn]:
        """The D + K columns with a probability, in row order."""
        return self.row_columns[self.n_given :]

    @property
    def cell_names(self) -> list[str]:
        """Names of the D + K cells: columns, or components."""
        columns = [*self.modelled_columns, *(computed.column for computed in self.computed_columns)]
        return [column.name for column in columns]

    @property
    def n_members(self) -> int:
        """Number of networks R."""
        return len(self.networks)

    @property
    def marginal_density(self) -> "CellDensity":
        """Density of independent columns, each by its marginal."""
        return self.independent or self.with_networks([], np.ones((1, len(self.marginals)))).ruled()

    def with_networks(self, networks: Iterable[network.Weights], shares: np.ndarray) -> Self:
        """Density with other networks, of shares ``(R + 1, D)`` with the marginals, else the
        same.
        """
        density = copy(self)
        density.networks = list(networks)
        density.shares = shares
        return density

    def with_one(self, weights: network.Weights) -> Self:
        """Density of one network alone, without the marginals."""
        shares = np.zeros((2, len(self.marginals)))
        shares[0] = 1.0
        return self.with_networks([weights], shares)

    def ruled(self, rules: Sequence[Rule] = ()) -> Self:
        """Density with other rules, by default none, else the same."""
        density = copy(self)
        density.rules = CellRules(rules, self.columns)
        return density

    @property
    def log_shares(self) -> np.ndarray:
        """Log-shares ``(R + 1, D, 1)`` of the networks and the marginals in each cell."""
        with np.errstate(divide="ignore"):
            return np.log(self.shares)[..., None]

    def encode(self, rows: np.ndarray) -> list[Cells]:
        """Cells of rows ``(n, C)``, of each column that networks have."""
        rows = self.unmixing.components(rows) if self.unmixing else rows
        return [column.encode(values) for column, values in zip(self.columns, rows.T)]

    def are_known(self, rows: np.ndarray) -> np.ndarray:
        """Which cells ``(n, D + K)`` count: not gaps of columns that had none."""
        gaps = np.isnan(rows[:, self.n_given :])
        return ~gaps | np.array([column.missing_code is not None for column in self.scored_columns])

    # Scores of rows ``(n, C)``.

    def scored_rows(
        self,
        rows: np.ndarray,
        rng: np.random.Generator,
        advance: Callable[[int], None] | None = None,
    ) -> Scored:
        """Scores of rows ``(n, C)``, all in one pass.

        ``rng`` as of :meth:`pit`, ``advance`` of :meth:`by_blocks`.
        """

        def of_block(block: "CellScores", noise: np.ndarray) -> Scored:
            pit = block.pit(noise)
            members = block.by_members.sum(axis=2).T
            return Scored(block.log_q, block.by_marginals, pit, members)

        noise = rng.random((len(rows), len(self.scored_columns)))
        return Scored(*self.by_blocks(of_block, rows, noise, advance=advance))

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats; -inf for an impossible row."""
        return self.cell_log_probs(rows).sum(axis=1)

    def cell_log_probs(self, rows: np.ndarray) -> np.ndarray:
        """Log-probability ``(n, D + K)`` in nats of each cell given those before, computed cells
        last: the cells of a row sum to its log-density.
        """
        (log_q,) = self.by_blocks(lambda block: (block.log_q,), rows)
        return log_q

    def outlier_shares(self, rows: np.ndarray) -> np.ndarray:
        """Share ``(n, D + K)`` of a cell's probability that it is new: a new level, or an
        outlier.
        """

        def of_block(block: "CellScores") -> tuple[np.ndarray]:
            with np.errstate(invalid="ignore"):  # of a cell that no row can have
                return (np.exp(block.log_p_new - block.log_q),)

        (shares,) = self.by_blocks(of_block, rows)
        return shares

    def network_log_cells(self, weights: network.Weights, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by a network or of outliers; NaN if unknown."""
        return self._log_cells(lambda block: block.log_cells(block.parameters_of(weights)), rows)

    def marginal_log_cells(self, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by marginals or of outliers; NaN if unknown."""
        return self._log_cells(lambda block: block.marginal_cells, rows)

    def _log_cells(
        self, log_cells: Callable[["CellScores"], LogCells], rows: np.ndarray
    ) -> LogCells:
        """Log-masses of cells, NaN if unknown, and log-probabilities that they are present, both
        ``(n, D)``; ``log_cells`` returns them for a block of rows, without outliers.
        """

        def of_block(block: "CellScores") -> tuple[np.ndarray, ...]:
            masses, presence = log_cells(block)
            # Σ v_r N_r + O = Σ v_r (N_r + O): outliers do not change the shares.
            masses = np.logaddexp(masses, block.log_outliers)
            is_known = block.codes >= 0
            return np.where(is_known, masses, np.nan).T, presence.T

        return LogCells(*self.by_blocks(of_block, rows))

    def pit(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Probability integral transforms ``(n, D + K)``, randomised for masses; NaN if unknown.

        ``u_j = P(X_j < x_j | before) + v P(X_j = x_j | before)`` with ``v`` uniform is uniform and
        independent for rows of the density (Czado, Gneiting & Held 2009). Missing is above all
        numbers and levels, a new level above missing.
        """
        noise = rng.random((len(rows), len(self.scored_columns)))
        (pit,) = self.by_blocks(lambda block, noise: (block.pit(noise),), rows, noise)
        return pit

    def by_blocks(
        self,
        scores: Callable[..., tuple[np.ndarray, ...]],
        rows: np.ndarray,
        *arrays: np.ndarray,
        block_rows: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> list[np.ndarray]:
        """Return arrays of scores of rows ``(n, C)``, computed in threads, a block of rows at a
        time.

        ``scores`` gets the scores of a block and its rows of each of ``arrays``, and returns arrays
        with one entry per row. ``advance`` is called with the number of rows of each block.
        """

        def scores_of(block: slice) -> tuple[np.ndarray, ...]:
            return scores(CellScores(self, rows[block]), *(array[block] for array in arrays))

        with ThreadPoolExecutor(cores()) as pool:
            parts = []
            for part in pool.map(scores_of, blocks_of(len(rows), block_rows or self.block_rows)):
                parts.append(part)
                if advance:
                    advance(len(part[0]))
        return [np.concatenate(blocks) for blocks in zip(*parts)]

    @property
    def block_rows(self) -> int:
        """Number of rows scored at a time."""
        count = len(self.layout.mixed) * self.layout.components * self.n_members
        return min(max(MIN_BLOCK_ROWS, MAX_BLOCK_PARAMETERS // max(count, 1)), MAX_BLOCK_ROWS)

    @property
    def log_p_learnt(self) -> np.ndarray:
        """Log-probabilities ``(D,)`` that a cell is not new."""
        return np.array([marginal.log_p_learnt for marginal in self.marginals])

    # Draws.

    def draw(
        self,
        given: np.ndarray,
        rng: np.random.Generator,
        with_new: bool = False,
        redrawn: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Draw rows ``(n, C)``, one for the given columns of each row of ``given``.

        With ``with_new`` a level may be new (-1), a rule or a computed cell broken; else none is.
        ``redrawn`` is called with the numbers of rows that are drawn again, as no value that the
        rules allow is left for one of their cells.
        """
        rows = given.astype(float)
        for block in blocks_of(len(rows), ROWS_DRAWN):
            rows[block] = self._drawn_rows(rows[block], rng, with_new, redrawn)
        if self.unmixing:
            rows = self.unmixing.rows(rows)
        for computed in self.computed_columns:
            rows[:, computed.place] = computed.draw(rows, rng, with_new)
        return rows

    def _drawn_rows(
        self,
        given: np.ndarray,
        rng: np.random.Generator,
        with_new: bool,
        redrawn: Callable[[int], None] | None,
    ) -> np.ndarray:
        """Rows ``(n, C)`` with all modelled cells drawn, for the given columns of ``given``; those
        that no allowed value was left for are drawn again, unless ``with_new``.
        """
        rows, _ = self.draw_cells(given, np.ones(given.shape, bool), rng, with_new=with_new)
        for _ in range(0 if with_new else MOST_REDRAWS):
            again = np.flatnonzero(self.rules.are_broken(rows).any(axis=1))
            if not len(again):
                break
            if redrawn:
                redrawn(len(again))
            unknown = np.ones((len(again), rows.shape[1]), bool)
            rows[again], _ = self.draw_cells(given[again], unknown, rng)
        return rows

    def draw_cells(
        self,
        rows: np.ndarray,
        unknown: np.ndarray,
        rng: np.random.Generator,
        *,
        present: bool = False,
        with_new: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``(n, C)`` with ``unknown`` cells of modelled columns drawn.

        Each is drawn given the cells before it, those behind it ignored; with ``present`` also
        given that it is not missing. Returns also the log-probability ``(n,)`` in nats, at the
        draws before, that the drawn cells are present; without ``present`` it is 0.
        """
        log_present = np.zeros(len(rows))

        def drawn(place: int, distribution: CellDistribution) -> np.ndarray:
            column = distribution.column
            is_drawn = unknown[:, self.n_given + place]
            if present:
                log_present[is_drawn] += distribution.log_p_present[is_drawn]
            return column.decode(*distribution.draw(rng, is_drawn & present, with_new))

        return self.column_by_column(rows, unknown, drawn), log_present

    def column_by_column(
        self,
        rows: np.ndarray,
        unknown: np.ndarray,
        values_of: Callable[[int, CellDistribution], np.ndarray],
    ) -> np.ndarray:
        """Rows ``(n, C)`` whose ``unknown`` cells of modelled columns have the values ``(n,)`` that
        ``values_of`` returns for a place among them, by the distributions given the cells before.
        """
        n = len(rows)
        rows = rows.copy()
        passes = [
            ColumnByColumn(self.layout, weights, self.mixture_limits, n)
            for weights in self.networks
        ]
        for j, column in enumerate(self.columns):
            is_unknown = unknown[:, j]
            if j >= self.n_given and is_unknown.any():
                place = j - self.n_given
                distribution = CellDistribution(
                    column,
                    self.marginals[place],
                    n,
                    [network_pass.parameters(j) for network_pass in passes],
                    self.shares[:, place],
                )
                if self.rules.has(j):
                    distribution = CutDistribution(distribution, self.rules.allowed(j, rows))
                rows[is_unknown, j] = values_of(place, distribution)[is_unknown]
            cells = column.encode(rows[:, j])
            for network_pass in passes:
                network_pass.add_column(j, cells.codes, np.vstack([cells.units, cells.harmonics]))
        return rows

    def suffix(self, j: int) -> "CellDensity":
        """Density of the columns from ``j`` on, given all before: the same, of fewer cells.

        Without computed columns, and not unmixed.
        """
        mixed = np.array(self.layout.mixed, int)
        kept = {  # rows of the weights of each output
            "logits": self.layout.logits >= j,
            "mixtures": np.repeat(mixed, 3 * self.layout.components) >= j,
            "means": mixed >= j,
        }
        first = j - self.n_given
        networks = []
        for weights in self.networks:
            of_suffix = dict(weights)
            for name, array in weights.items():
                output = name.split("_")[0]
                if output in kept:
                    of_suffix[name] = array[kept[output]]
            networks.append(of_suffix)
        layout = replace(self.layout, n_given=j)
        shares = self.shares[:, first:]
        return CellDensity(
            self.columns,
            layout,
            self.marginals[first:],
            networks,
            shares,
            rules=self.rules.rules,
        )


def limits_of(columns: Sequence[CellColumn], layout: Layout) -> np.ndarray:
    """Least scales of normals, and the ends of their means ``(3, N, 1, 1)``."""
    limits = [(columns[i].least_scale, columns[i].low, columns[i].high) for i in layout.mixed]
    return np.array(limits).reshape(-1, 3).T[..., None, None]


def blocks_of(n: int, size: int) -> list[slice]:
    """Blocks of n rows; one if there are none."""
    return [slice(start, start + size) for start in range(0, max(n, 1), size)]


def _encoded(layout: Layout, cells: Sequence[Cells], n: int) -> Encoded:
    """Arrays of n rows as a network takes them, of the cells of each column."""
    codes = np.array([column.codes for column in cells], float)
    # Of each column with numbers: units, centres and half widths.
    numbers = [(cells[i].units, *cells[i].interval) for i in layout.with_numbers]
    units, centre, half = np.array(numbers).reshape(len(numbers), 3, n).swapaxes(0, 1)
    units = np.concatenate([units, *(column.harmonics for column in cells)])
    return Encoded(codes, units, centre, half)


class CellScores:
    """Rows ``(n, C)`` and distributions of their cells, each computed once.

    Args:
        density: The density.
        rows: The rows.
        cells: Their cells, where they are encoded.
        marginal_masses: Log-masses ``(D, n)`` of cells by marginals, where they are known.

    Attributes:
        all_cells: Cells of each given and modelled column.
        cells: Cells of each modelled column.
        encoded: Arrays of all cells.
    """

    def __init__(
        self,
        density: CellDensity,
        rows: np.ndarray,
        cells: list[Cells] | None = None,
        marginal_masses: np.ndarray | None = None,
    ):
        self.density = density
        self.layout = density.layout
        self.rows = rows
        self.all_cells = density.encode(rows) if cells is None else cells
        self.cells = self.all_cells[density.n_given :]
        self.encoded = _encoded(self.layout, self.all_cells, len(rows))
        self._known_masses = marginal_masses

    def with_values(self, row_indices: np.ndarray, j: int, values: np.ndarray) -> "CellScores":
        """Scores of the rows at indices ``(m,)``, with other values ``(m,)`` of the modelled column
        ``j``.

        The cells of other columns are neither encoded nor scored by their marginals again.
        """
        density = self.density
        rows = self.rows[row_indices]
        rows[:, j] = values
        if density.unmixing:  # each component depends on every column
            return CellScores(density, rows)
        place = j - density.n_given
        cells = [column.of_rows(row_indices) for column in self.all_cells]
        cells[j] = density.columns[j].encode(values)
        masses = self._marginal_masses[:, row_indices]
        masses[place] = density.marginals[place].log_masses(cells[j].codes, *cells[j].interval)
        return CellScores(density, rows, cells, masses)

    # Distributions by each network.

    @Lazy
    def parameters(self) -> list[Parameters]:
        """Parameters of all networks."""
        return [self.parameters_of(weights) for weights in self.density.networks]

    def parameters_of(self, weights: network.Weights) -> Parameters:
        """Parameters of one network."""
        x = network.inputs(self.layout, self.encoded.codes, self.encoded.units, np)
        return network.parameters(self.layout, weights, self.density.mixture_limits, x, np)

    # Log-probabilities, in nats.

    @Lazy
    def log_outliers(self) -> np.ndarray:
        """Log-masses ``(D, n)`` of cells that are new: new levels and outliers."""
        columns = zip(self.density.marginals, self.cells)
        return np.array([marginal.log_p_new + cells.log_p_outlier for marginal, cells in columns])

    @property
    def log_p_new(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells that are new: levels and outliers; of computed
        ones -inf.
        """
        computed = np.full((len(self.rows), len(self.density.computed_columns)), -np.inf)
        return np.column_stack([self._as_densities(self.log_outliers), computed])

    @Lazy
    def by_members(self) -> np.ndarray:
        """Log-probabilities ``(R, n, D + K)`` of cells by each network in place of all, and the
        marginals.
        """
        shares = self.density.shares
        with np.errstate(divide="ignore"):
            pair = np.log([shares[:-1].sum(axis=0), shares[-1]])[..., None]
        return np.stack(
            [self._mixed(pair, [cells, self.marginal_cells]) for cells in self._network_cells]
        )

    @Lazy
    def log_q(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells, given those before; without networks by
        independent columns.
        """
        if not self.density.networks:
            return self.by_marginals
        components = [*self._network_cells, self.marginal_cells]
        return self._mixed(self.density.log_shares, components)

    def _mixed(self, log_shares: np.ndarray, components: Sequence[LogCells]) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by m components of ``log_shares``
        ``(m, D, 1)``.
        """
        masses = np.logaddexp(log_mixture(list(log_shares), components, np), self.log_outliers)
        masses = np.where(self.codes < 0, 0.0, masses)  # exactly: unknown cells are left out
        of_computed = [computed.log_prob(self.rows) for computed in self.density.computed_columns]
        log_p = self._as_densities(masses)
        for place, log_weights in self._log_weights.items():
            log_p[:, place] += log_weights
        return np.column_stack([log_p, *of_computed])

    @Lazy
    def _log_weights(self) -> dict[int, np.ndarray]:
        """Log-ratios ``(n,)`` of the probabilities of cells to those without rules, by place."""
        log_weights = {}
        for place, cells in enumerate(self.cells):
            if self.density.rules.has(self.density.n_given + place):
                distribution = self.distribution(place)
                weights = np.log(distribution.weights_of(cells.values))
                log_weights[place] = np.where(cells.codes < 0, 0.0, weights)
        return log_weights

    @property
    def by_networks(self) -> np.ndarray:
        """Log-probabilities ``(n, D)`` of cells by the mixture of networks, without marginals."""
        shares = np.maximum(self.density.shares[:-1], LEAST_SHARE)
        log_shares = np.log(shares / shares.sum(axis=0))[:, None]
        log_q = np.stack([self._as_densities(cells.masses) for cells in self._network_cells])
        log_p = logsumexp(log_shares + log_q, 0, np)
        for place, log_weights in self._log_weights.items():
            log_p[:, place] += log_weights
        return log_p

    @Lazy
    def by_marginals(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by independent columns."""
        if self.density.independent:
            return CellScores(self.density.independent, self.rows).by_marginals
        of_computed = [
            computed.by_marginal.log_prob(self.rows) for computed in self.density.computed_columns
        ]
        masses = np.logaddexp(self.marginal_cells.masses, self.log_outliers)
        return np.column_stack([self._as_densities(masses), *of_computed])

    @Lazy
    def _network_cells(self) -> list[LogCells]:
        """Log-masses and presences ``(D, n)`` of cells by each network."""
        return [self.log_cells(parameters) for parameters in self.parameters]

    @Lazy
    def marginal_cells(self) -> LogCells:
        """Log-masses ``(D, n)`` of cells that are not new, and of their presence, by the
        marginals.
        """
        log_present = np.array([[marginal.log_p_present] for marginal in self.density.marginals])
        return with_presence(self.layout, self.codes, self._marginal_masses, log_present, np)

    @Lazy
    def _marginal_masses(self) -> np.ndarray:
        """Log-masses ``(D, n)`` of cells that are not new, by the marginals; 0 if unknown."""
        if self._known_masses is not None:
            return self._known_masses
        columns = zip(self.density.marginals, self.cells)
        return np.array(
            [marginal.log_masses(cells.codes, *cells.interval) for marginal, cells in columns]
        )

    # Values on no grid have mass 0; of very large ones the square overflows.
    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def log_cells(self, parameters: Parameters) -> LogCells:
        """Log-masses ``(D, n)`` of cells that are not new, -inf of those that are, and of their
        presence, by the parameters of a network.
        """
        layout = self.layout
        log_learnt = self.density.log_p_learnt
        log_shares = [
            log_share + log_learnt[np.array(bank.columns) - layout.n_given, None, None]
            for bank, log_share in zip(layout.banks, parameters.log_shares)
        ]
        parameters = parameters._replace(log_shares=log_shares)
        n_given_numbers = len(layout.with_numbers) - len(layout.mixed)
        centre = self.encoded.centre[n_given_numbers:]
        half = self.encoded.half[n_given_numbers:]
        masses = log_masses(layout, parameters, centre, half, np)
        cells = log_cells(layout, parameters, self.codes, masses, np)
        is_new = self.codes == layout.of_modelled("new_code")
        return cells._replace(masses=np.where(is_new, -np.inf, cells.masses))

    @property
    def codes(self) -> np.ndarray:
        """Outcomes ``(D, n)`` of the modelled cells; below 0 if unknown."""
        return self.encoded.codes[self.density.n_given :]

    def _as_densities(self, masses: np.ndarray) -> np.ndarray:
        """Log-probabilities ``(n, D)`` in nats by log-masses ``(D, n)``: of numbers a
        log-density.
        """
        return masses.T - self._log_widths

    @Lazy
    def _log_widths(self) -> np.ndarray:
        """Log-width ``(n, D)`` of a cell's interval, by which its mass becomes a density; 0 of a
        level, an atom or a missing cell, which have a mass.

        If the modelled columns are components, unmixed from those of the table, less the log-slopes
        of the components: the density is one of the table's rows.
        """
        log_widths = np.zeros((len(self.rows), len(self.density.modelled_columns)))
        for j, (column, codes) in enumerate(zip(self.density.modelled_columns, self.codes)):
            if column.log_width:
                is_number = (codes == column.number_code) | (codes == column.new_code)  # an outlier
                log_widths[:, j] = np.where(is_number, column.log_width, 0.0)
        unmixing = self.density.unmixing
        return log_widths - unmixing.log_slopes(self.rows) if unmixing else log_widths

    # The distributions of cells given the cells before.

    def pit(self, noise: np.ndarray) -> np.ndarray:
        """Randomised probability integral transforms ``(n, D + K)``, by uniform noise of that
        shape.
        """
        pairs = [self.distribution(j).below_and_at(cells) for j, cells in enumerate(self.cells)]
        pairs += [computed.below_and_at(self.rows) for computed in self.density.computed_columns]
        below, at = np.stack(pairs, axis=-1)
        return np.clip(below + noise * at, 0.0, 1.0)

    def distribution(self, place: int) -> CellDistribution:
        """Distributions of the cell at a place among the modelled ones, given the cells before
        it.
        """
        density = self.density
        j = density.n_given + place
        distribution = CellDistribution(
            density.columns[j],
            density.marginals[place],
            len(self.rows),
            [network.of_column(self.layout, parameters, j) for parameters in self.parameters],
            density.shares[:, place],
        )
        if not density.rules.has(j):
            return distribution
        return CutDistribution(distribution, density.rules.allowed(j, self.rows))
