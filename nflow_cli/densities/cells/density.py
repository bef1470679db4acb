"""Density of a row, as a product over its cells: NumPy, float64.

    log q(row | given) = Σ_j log P(cell_j | given, the cells before it)

A number of a continuous column has a density, in 1/unit; every other cell a mass. Each network is
mixed with the column's marginal, ``w_j network + (1 - w_j) marginal``. An ensemble is a mixture of
such products.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np

from nflow_cli.arrays import log_softmax, logsumexp
from nflow_cli.backend.start import cores
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn, Cells
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.distribution import CellDistribution, Lazy, OfNetwork
from nflow_cli.densities.cells.heads import (
    LogCells,
    log_cells,
    log_masses,
    log_pair,
    mixed,
    with_presence,
)
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.marginal import Marginal
from nflow_cli.densities.cells.network import ColumnByColumn, Parameters
from nflow_cli.densities.cells.unmixing import Unmixing

ROWS_DRAWN = 1_024  # rows drawn at a time
# Rows scored at a time: marginals are shared by equal values, mixture parameters fill memory.
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS, MAX_BLOCK_PARAMETERS = 256, 16_384, 2**18
IMPOSSIBLE = -1e300  # nats, of a product of cells, one of which no row can have


class Member(NamedTuple):
    """Network of an ensemble: masked weights in float64, mixing weights ``(D,)`` against the
    marginals, and its own in the mixture of members.
    """

    weights: network.Weights
    shares: np.ndarray
    weight: float = 1.0


class Scored(NamedTuple):
    """Scores of n rows: log-probability in nats of each cell ``(n, D + K)``, given those before and
    by marginals; randomised PIT; log-density by member ``(n, R)``.
    """

    log_q: np.ndarray
    log_independent: np.ndarray
    pit: np.ndarray
    members: np.ndarray


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
        members: The networks.
        computed: K computed columns, last in a row.
        unmixing: Map of rows to components, if ``columns`` are components; none is then given or
            computed.
        independent: With unmixing: marginals of the original columns.
    """

    def __init__(
        self,
        columns: Sequence[CellColumn],
        layout: Layout,
        marginals: Sequence[Marginal],
        members: Sequence[Member],
        computed: Sequence[Computed] = (),
        unmixing: Unmixing | None = None,
        independent: "CellDensity | None" = None,
    ):
        self.cells, self.layout, self.marginals = list(columns), layout, list(marginals)
        self.n_given, self.networks = layout.n_given, list(members)
        self.computed, self.unmixing, self.independent = list(computed), unmixing, independent
        self.limits = limits_of(columns, layout)

    @property
    def modelled(self) -> list[CellColumn]:
        """The D modelled columns, in row order."""
        return self.cells[self.n_given :]

    @property
    def row(self) -> list[CellColumn]:
        """All columns of a row."""
        own = self.unmixing.columns if self.unmixing else self.cells
        return [*own, *(one.column for one in self.computed)]

    @property
    def scored(self) -> list[CellColumn]:
        """The D + K columns with a probability, in row order."""
        return self.row[self.n_given :]

    @property
    def cell_names(self) -> list[str]:
        """Names of the D + K cells: columns, or components."""
        return [c.name for c in [*self.modelled, *(one.column for one in self.computed)]]

    @property
    def members(self) -> int:
        """Number of ensemble members."""
        return len(self.networks)

    @property
    def alone(self) -> "CellDensity":
        """The same of independent columns, each by its marginal."""
        return self.independent or self.with_networks([])

    def with_networks(self, networks: Iterable[Member]) -> Self:
        """The same with other networks."""
        found = copy(self)
        found.networks = list(networks)
        return found

    def encode(self, rows: np.ndarray) -> list[Cells]:
        """Cells of rows ``(n, C)``, of each column that networks have."""
        rows = self.unmixing.components(rows) if self.unmixing else rows
        return [column.encode(values) for column, values in zip(self.cells, rows.T)]

    def are_known(self, rows: np.ndarray) -> np.ndarray:
        """Which cells ``(n, D + K)`` count: not gaps of columns that had none."""
        gaps = np.isnan(rows[:, self.n_given :])
        return ~gaps | np.array([column.missing is not None for column in self.scored])

    # Scores of rows ``(n, C)``.

    def scored_rows(
        self,
        rows: np.ndarray,
        rng: np.random.Generator,
        advance: Callable[[int], None] | None = None,
    ) -> Scored:
        """All scores, in one pass; ``rng`` as of :meth:`pit`, ``advance`` of :meth:`by_blocks`."""
        return Scored(
            *self.by_blocks(
                lambda block, noise: (
                    block.by_mixture,
                    block.by_marginals,
                    block.pit(noise),
                    block.by_members.sum(axis=2).T,
                ),
                rows,
                rng.random((len(rows), len(self.scored))),
                advance=advance,
            )
        )

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats; -inf for an impossible row."""
        return self.cell_log_probs(rows).sum(axis=1)

    def member_log_probs(self, rows: np.ndarray) -> np.ndarray:
        """Log-density ``(R, n)`` in nats by each member."""
        (found,) = self.by_blocks(lambda block: (block.by_members.sum(axis=2).T,), rows)
        return found.T

    def cell_log_probs(self, rows: np.ndarray) -> np.ndarray:
        """Log-probability ``(n, D + K)`` in nats of each cell given those before, computed cells
        last.

        Of the mixture of members: the cells of a row sum to its log-density.
        """
        (found,) = self.by_blocks(lambda block: (block.by_mixture,), rows)
        return found

    def outlier_shares(self, rows: np.ndarray) -> np.ndarray:
        """Share ``(n, D + K)`` of a cell's probability that it is new: a new level, or an outlier;
        a mean over members.
        """

        def of_block(block: "CellScores") -> tuple[np.ndarray]:
            cells, new = block.by_members, block.log_new
            with np.errstate(invalid="ignore"):  # of a cell that no row can have
                shares = np.exp(new - cells)
            weights = [member.weight for member in self.networks]
            return (np.tensordot(weights, shares, 1),)

        (shares,) = self.by_blocks(of_block, rows)
        return shares

    def cells_by(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probability ``(n, D + K)`` in nats of each cell by one member."""

        def of_block(block: "CellScores") -> tuple[np.ndarray]:
            return (block.by_member(member, block.log_cells(block.by_network(member))),)

        (found,) = self.by_blocks(of_block, rows)
        return found

    def network_log_cells(self, member: Member, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by a network or of outliers; NaN if unknown."""
        return self._log_cells(lambda block: block.log_cells(block.by_network(member)), rows)

    def marginal_log_cells(self, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by marginals or of outliers; NaN if unknown."""
        return self._log_cells(lambda block: block.of_marginals, rows)

    def _log_cells(
        self, log_cells: Callable[["CellScores"], LogCells], rows: np.ndarray
    ) -> LogCells:
        def of_block(block: "CellScores") -> tuple[np.ndarray, ...]:
            masses, presence = log_cells(block)
            # w N + (1 - w) M + O = w (N + O) + (1 - w) (M + O): outliers do not change w.
            masses = np.logaddexp(masses, block.outliers)
            return np.where(block.codes >= 0, masses, np.nan).T, presence.T

        return LogCells(*self.by_blocks(of_block, rows))

    def pit(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Probability integral transforms ``(n, D + K)``, randomised for masses; NaN if unknown.

        ``u_j = P(X_j < x_j | before) + v P(X_j = x_j | before)`` with ``v`` uniform is uniform and
        independent for rows of the density (Czado, Gneiting & Held 2009). Missing is above all
        numbers and levels, a new level above missing.
        """
        noise = rng.random((len(rows), len(self.scored)))
        (found,) = self.by_blocks(lambda block, noise: (block.pit(noise),), rows, noise)
        return found

    def by_blocks(
        self,
        scores: Callable[..., tuple[np.ndarray, ...]],
        rows: np.ndarray,
        *others: np.ndarray,
        at_a_time: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> list[np.ndarray]:
        """Return arrays of scores of blocks of rows, and of the same rows of other arrays.

        ``advance`` is called with the number of rows of each block.
        """

        def scored(places: slice) -> tuple[np.ndarray, ...]:
            return scores(CellScores(self, rows[places]), *(array[places] for array in others))

        with ThreadPoolExecutor(cores()) as pool:
            blocks = []
            for block in pool.map(scored, _places(len(rows), at_a_time or self.at_a_time)):
                blocks.append(block)
                if advance:
                    advance(len(block[0]))
        return [np.concatenate(arrays) for arrays in zip(*blocks)]

    @property
    def at_a_time(self) -> int:
        """Number of rows scored at a time."""
        count = len(self.layout.mixed) * self.layout.components * self.members
        return min(max(MIN_BLOCK_ROWS, MAX_BLOCK_PARAMETERS // max(count, 1)), MAX_BLOCK_ROWS)

    @property
    def log_weights(self) -> np.ndarray:
        """Log-weights of the members ``(R,)``."""
        with np.errstate(divide="ignore"):
            return np.log([member.weight for member in self.networks])

    @property
    def log_learnt(self) -> np.ndarray:
        """Log-probabilities ``(D,)`` that a cell is not new."""
        return np.array([marginal.log_learnt for marginal in self.marginals])

    # Draws.

    def draw(
        self, given: np.ndarray, rng: np.random.Generator, with_new: bool = False
    ) -> np.ndarray:
        """Draw rows ``(n, C)``, one for the given columns of each row of ``given``.

        With ``with_new`` a level may be new (-1) and a computed cell broken; else neither is.
        """
        rows, weights = given.astype(float), [member.weight for member in self.networks]
        chosen, unknown = rng.choice(self.members, len(rows), p=weights), np.ones(rows.shape, bool)
        for r, member in enumerate(self.networks):
            of_member = np.flatnonzero(chosen == r)
            for places in _places(len(of_member), ROWS_DRAWN):
                at = of_member[places]
                rows[at], _ = self.completed(member, rows[at], unknown[at], rng, with_new=with_new)
        rows = self.unmixing.rows(rows) if self.unmixing else rows
        for one in self.computed:
            rows[:, one.place] = one.draw(rows, rng, with_new)
        return rows

    def completed(
        self,
        member: Member,
        rows: np.ndarray,
        unknown: np.ndarray,
        rng: np.random.Generator,
        *,
        present: bool = False,
        with_new: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``(n, C)`` with ``unknown`` cells of modelled columns drawn by one member.

        Each is drawn given the cells before it, those behind it ignored; with ``present`` also
        given that it is not missing. Returns also the log-probability ``(n,)`` in nats, at the
        draws before, that the drawn cells are present; without ``present`` it is 0.
        """
        rows, log_present, n = rows.copy(), np.zeros(len(rows)), len(rows)
        walk = ColumnByColumn(self.layout, member.weights, self.limits, n)
        for j, column in enumerate(self.cells):
            if j >= self.n_given and (at := unknown[:, j]).any():
                place = j - self.n_given
                network = OfNetwork(1.0, member.shares[place], walk.parameters(j))
                cell = CellDistribution(column, self.marginals[place], [network], n)
                drawn = column.decode(*cell.draw(rng, at & present, with_new))
                rows[at, j] = drawn[at]
                if present:
                    log_present += np.where(at, cell.log_present, 0.0)
            cells = column.encode(rows[:, j])
            walk.see(j, cells.codes, np.vstack([cells.units, cells.calendar]))
        return rows, log_present

    def suffix(self, j: int) -> "CellDensity":
        """Density of the columns from ``j`` on, given all before: the same, of fewer cells.

        Without computed columns, and not unmixed. Members have their weights in the whole density.
        """
        layout, first = self.layout, j - self.n_given
        mixed = np.array(layout.mixed, int)
        kept = {
            "logits": layout.logits >= j,
            "mixtures": np.repeat(mixed, 3 * layout.components) >= j,
            "means": mixed >= j,
        }
        members = [
            member._replace(
                weights={
                    name: array[kept[name.split("_")[0]]] if name.split("_")[0] in kept else array
                    for name, array in member.weights.items()
                },
                shares=member.shares[first:],
            )
            for member in self.networks
        ]
        return CellDensity(self.cells, replace(layout, n_given=j), self.marginals[first:], members)


def limits_of(columns: Sequence[CellColumn], layout: Layout) -> np.ndarray:
    """Least scales of normals, and the ends of their means ``(3, N, 1, 1)``."""
    limits = [(columns[i].floor, columns[i].low, columns[i].high) for i in layout.mixed]
    return np.array(limits).reshape(-1, 3).T[..., None, None]


def _places(n: int, rows: int) -> Iterator[slice]:
    yield from (slice(start, start + rows) for start in range(0, max(n, 1), rows))


class CellScores:
    """Rows ``(n, C)`` and distributions of their cells, each computed once.

    Args:
        density: The density.
        rows: The rows.
        cells: Their cells, where they are encoded.
        marginal_masses: Log-masses ``(D, n)`` of cells by marginals, where they are known.
    """

    def __init__(
        self,
        density: CellDensity,
        rows: np.ndarray,
        cells: list[Cells] | None = None,
        marginal_masses: np.ndarray | None = None,
    ):
        self.density, self.layout, self.rows = density, density.layout, rows
        self.all_cells = every = density.encode(rows) if cells is None else cells
        self._known_masses = marginal_masses
        self.cells, codes = every[density.n_given :], np.array([one.codes for one in every], float)
        numbers = [(every[i].units, *every[i].interval) for i in self.layout.with_numbers]
        parts = np.array(numbers).reshape(len(numbers), 3, len(rows)).swapaxes(0, 1)
        units = np.concatenate([parts[0], *(one.calendar for one in every)])
        self.encoded = Encoded(codes, units, *parts[1:])

    def with_values(self, which: np.ndarray, j: int, values: np.ndarray) -> "CellScores":
        """Scores of some of the rows, by their places ``(m,)``, with other values ``(m,)`` of the
        modelled column ``j``.

        The cells of other columns are neither encoded nor scored by their marginals again.
        """
        density = self.density
        rows = self.rows[which]
        rows[:, j] = values
        if density.unmixing:  # each component depends on every column
            return CellScores(density, rows)
        place = j - density.n_given
        cells = [cell.of_rows(which) for cell in self.all_cells]
        cells[j] = density.cells[j].encode(values)
        masses = self._marginal_masses[:, which]
        masses[place] = density.marginals[place].log_usual(cells[j].codes, *cells[j].interval)
        return CellScores(density, rows, cells, masses)

    # Distributions by each network.

    @Lazy
    def networks(self) -> list[Parameters]:
        """Parameters of all networks."""
        return [self.by_network(member) for member in self.density.networks]

    def by_network(self, member: Member) -> Parameters:
        """Parameters of one network."""
        x = network.inputs(self.layout, self.encoded.codes, self.encoded.units, np)
        return network.parameters(self.layout, member.weights, self.density.limits, x, np)

    # Log-probabilities, in nats.

    @Lazy
    def outliers(self) -> np.ndarray:
        """Log-masses ``(D, n)`` of cells that are new: new levels and outliers."""
        each = zip(self.density.marginals, self.cells)
        return np.array([marginal.log_new + cells.log_outlier for marginal, cells in each])

    @property
    def log_new(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells that are new: levels and outliers; of computed
        ones -inf.
        """
        computed = np.full((len(self.rows), len(self.density.computed)), -np.inf)
        return np.column_stack([self._as_densities(self.outliers), computed])

    @Lazy
    def by_members(self) -> np.ndarray:
        """Log-probabilities ``(R, n, D + K)`` of cells by each member."""
        pairs = zip(self.density.networks, self._of_networks)
        return np.stack([self.by_member(member, cells) for member, cells in pairs])

    def by_member(self, member: Member, cells: LogCells) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by one member, given those by its network."""
        first, second, _ = mixed(log_pair(member.shares[:, None]), cells, self.of_marginals, np)
        kept = np.logaddexp(np.logaddexp(first, second), self.outliers)
        last = [one.log_prob(self.rows) for one in self.density.computed]
        return np.column_stack([self._as_densities(kept), *last])

    @Lazy
    def by_mixture(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells, given those before, by the mixture of
        members; without any by independent columns.
        """
        if not self.density.networks:
            return self.by_marginals
        cells = self.by_members
        if len(cells) == 1:
            return cells[0]
        log_weights = self.density.log_weights[:, None, None]
        before = logsumexp(log_weights + np.cumsum(cells, axis=2), 0, np)
        with np.errstate(invalid="ignore"):  # of cells behind one that no row can have
            differences = np.diff(before, axis=1, prepend=0.0)
        return np.nan_to_num(differences, nan=0.0, neginf=-np.inf)

    @property
    def by_networks(self) -> np.ndarray:
        """Log-probabilities ``(n, D)`` of cells by the networks, without marginals."""
        cells = np.stack([self._as_densities(one.masses) for one in self._of_networks])
        return logsumexp(self.density.log_weights[:, None, None] + cells, 0, np)

    @Lazy
    def by_marginals(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by independent columns."""
        if self.density.independent:
            return CellScores(self.density.independent, self.rows).by_marginals
        last = [one.by_marginal.log_prob(self.rows) for one in self.density.computed]
        cells = np.logaddexp(self.of_marginals.masses, self.outliers)
        return np.column_stack([self._as_densities(cells), *last])

    @Lazy
    def _of_networks(self) -> list[LogCells]:
        return [self.log_cells(found) for found in self.networks]

    @Lazy
    def of_marginals(self) -> LogCells:
        """Log-masses ``(D, n)`` of cells that are not new, and of their presence, by the
        marginals.
        """
        log_present = np.array([[one.log_present] for one in self.density.marginals])
        return with_presence(self.layout, self.codes, self._marginal_masses, log_present, np)

    @Lazy
    def _marginal_masses(self) -> np.ndarray:
        if self._known_masses is not None:
            return self._known_masses
        both = zip(self.density.marginals, self.cells)
        return np.array([one.log_usual(cells.codes, *cells.interval) for one, cells in both])

    # Values on no grid have mass 0; of very large ones the square overflows.
    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def log_cells(self, found: Parameters) -> LogCells:
        """Log-masses ``(D, n)`` of cells that are not new, and of their presence, by the parameters
        of a network.
        """
        layout, density = self.layout, self.density
        log_shares = [
            part + density.log_learnt[np.array(bank.columns) - layout.n_given, None, None]
            for bank, part in zip(layout.banks, found.log_shares)
        ]
        found = found._replace(log_shares=log_shares)
        first = len(layout.with_numbers) - len(layout.mixed)
        centre, half = (part[first:] for part in self.encoded[2:])
        masses = log_masses(layout, found, centre, half, np)
        cells = log_cells(layout, found, self.codes, masses, np)
        is_new = self.codes == layout.of_modelled("new")
        return cells._replace(masses=np.where(is_new, -np.inf, cells.masses))

    @property
    def codes(self) -> np.ndarray:
        """Outcomes ``(D, n)`` of the modelled cells; below 0 if unknown."""
        return self.encoded.codes[self.density.n_given :]

    def _as_densities(self, masses: np.ndarray) -> np.ndarray:
        return masses.T - self._log_measures

    @Lazy
    def _log_measures(self) -> np.ndarray:
        """Log-width ``(n, D)`` by which a mass becomes a density; 0 for cells with a mass."""
        measures = np.zeros((len(self.rows), len(self.density.modelled)))
        for j, (column, code) in enumerate(zip(self.density.modelled, self.codes)):
            if column.log_measure:
                has_density = (code == column.number) | (code == column.new)
                measures[:, j] = np.where(has_density, column.log_measure, 0.0)
        unmixing = self.density.unmixing
        return measures - unmixing.log_slopes(self.rows) if unmixing else measures

    # Distribution functions.

    # The distributions of cells given the cells before.

    def pit(self, noise: np.ndarray) -> np.ndarray:
        """Randomised probability integral transforms ``(n, D + K)``."""
        ends = [self.distribution(j).ends(cells) for j, cells in enumerate(self.cells)]
        ends += [one.ends(self.rows) for one in self.density.computed]
        below, at = (np.stack(part, axis=1) for part in zip(*ends))
        return np.clip(below + noise * at, 0.0, 1.0)

    def distribution(self, j: int) -> CellDistribution:
        """The distributions of the modelled cell ``j``, from 0, given the cells before it."""
        density, weights = self.density, np.exp(self.log_weights_before[:, :, j])
        place = density.n_given + j
        networks = [
            OfNetwork(weight, member.shares[j], network.of_column(self.layout, found, place))
            for weight, member, found in zip(weights, density.networks, self.networks)
        ]
        marginal, n = density.marginals[j], len(self.rows)
        return CellDistribution(density.cells[place], marginal, networks, n)

    @Lazy
    def log_weights_before(self) -> np.ndarray:
        """Log-weights of members in each cell ``(R, n, D)``: prior times likelihood of the cells
        before.
        """
        shape = self.density.members, len(self.rows), len(self.density.modelled)
        if self.density.members <= 1:
            return np.zeros(shape)
        cells = self.by_members[:, :, : len(self.density.modelled)]
        before = np.cumsum(np.pad(cells, ((0, 0), (0, 0), (1, 0)))[:, :, :-1], axis=2)
        before = np.maximum(before, IMPOSSIBLE)
        return log_softmax(before + self.density.log_weights[:, None, None], 0, np)
