"""Density of a row, as a product over its cells: NumPy, float64.

    log q(row | given) = Σ_j log P(cell_j | given, the cells before it)

A number of a continuous column has a density, in 1/unit; every other cell a mass. Each network is
mixed with the column's marginal, ``w_j network + (1 - w_j) marginal``. An ensemble is a mixture of
such products.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.backend.start import cores
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.block import Block, Encoded
from nflow_cli.densities.cells.columns import CellColumn, Cells
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.drawing import Drawing
from nflow_cli.densities.cells.gaps import LogCells
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.network import PADDING, Parameters
from nflow_cli.densities.cells.unmixing import Unmixing

DRAWN = 1_024  # rows drawn at a time
# Rows scored at a time: marginals are shared by equal values, mixture parameters fill memory.
FEWEST, MOST, PARAMETERS = 256, 16_384, 2**18


class Member(NamedTuple):
    """Network of an ensemble: masked weights in float64, mixing weights ``(D,)`` against the
    marginals, bank by bank, and its own in the mixture of members.
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


class CellDensity:
    """Density of rows of a table.

    Args:
        columns: Of a row; the first ``n_given`` are given.
        layout: Of each network.
        marginal: Of all columns, as parameters of one row.
        members: The networks.
        computed: K computed columns, last in a row.
        unmixing: Map of rows to components, if ``columns`` are components; none is then given or
            computed.
        alone: With unmixing: marginals of the original columns.

    Attributes:
        order: Positions ``(D,)`` of the modelled columns among the banks.
    """

    def __init__(
        self,
        columns: Sequence[CellColumn],
        layout: Layout,
        marginal: Parameters,
        members: Sequence[Member],
        computed: Sequence[Computed] = (),
        unmixing: Unmixing | None = None,
        alone: "CellDensity | None" = None,
    ):
        self.cells, self.layout, self.marginal = list(columns), layout, marginal
        self.n_given, self.networks = layout.n_given, list(members)
        self.computed, self.unmixing, self.alone = list(computed), unmixing, alone
        self.limits = limits_of(columns, layout)
        self.order = np.argsort(layout.modelled)

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

    def encode(self, rows: np.ndarray) -> Encoded:
        """Rows ``(n, C)`` as the networks take them."""
        rows = self.unmixing.components(rows) if self.unmixing else rows
        return encode(self.cells, self.layout, rows)

    def are_known(self, rows: np.ndarray) -> np.ndarray:
        """Which cells ``(n, D + K)`` count: not gaps of columns that had none."""
        gaps = np.isnan(rows[:, self.n_given :])
        return ~gaps | np.array([column.missing is not None for column in self.scored])

    def are_impossible(self, rows: np.ndarray) -> np.ndarray:
        """Which modelled or computed cells ``(n, C)`` no row can have: off their grid, far away."""
        (alone,) = self.by_blocks(lambda block: (block.by_marginals,), rows)
        return np.pad(np.isneginf(alone), ((0, 0), (self.n_given, 0)))

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

    def cells_by(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probability ``(n, D + K)`` in nats of each cell by one member."""
        (found,) = self.by_blocks(lambda block: (block.by_member(member),), rows)
        return found

    def network_log_cells(self, member: Member, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by a network, bank by bank; NaN if unknown."""
        return self._log_cells(lambda block: block.log_cells(block.by_network(member)), rows)

    def marginal_log_cells(self, rows: np.ndarray) -> LogCells:
        """Log-masses ``(n, D)`` by marginals, bank by bank; NaN if unknown."""
        return self._log_cells(lambda block: block.log_cells(block.marginals), rows)

    def _log_cells(self, log_cells: Callable[[Block], LogCells], rows: np.ndarray) -> LogCells:
        def of_block(block: Block) -> tuple[np.ndarray, ...]:
            masses, presence = log_cells(block)
            masses = np.where(block.codes >= 0, masses, np.nan)
            return (masses.T,) if presence is None else (masses.T, presence.T)

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
            return scores(Block(self, rows[places]), *(array[places] for array in others))

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
        return min(max(FEWEST, PARAMETERS // max(count, 1)), MOST)

    @property
    def log_weights(self) -> np.ndarray:
        """Log-weights of the members ``(R,)``."""
        with np.errstate(divide="ignore"):
            return np.log([member.weight for member in self.networks])

    @cached_property
    def log_learnt(self) -> np.ndarray:
        """Log-probabilities ``(D,)`` that a cell is not new, bank by bank."""
        found = []
        for bank, marginal in zip(self.layout.banks, self.marginal.log_shares):
            for shares, i in zip(marginal if marginal is not None else [], bank.modelled):
                outcomes = self.layout.outcomes[i]
                log_new = shares[outcomes.learnt, 0] if outcomes.has_new else PADDING
                found.append(np.log1p(-np.exp(log_new)))
            found += [] if marginal is not None else [0.0] * len(bank.modelled)
        return np.array(found)

    # Draws.

    def draw(
        self, given: np.ndarray, rng: np.random.Generator, with_new: bool = False
    ) -> np.ndarray:
        """Draw rows ``(n, C)``, one for the given columns of each row of ``given``.

        With ``with_new`` a level may be new (-1) and a computed cell broken; else neither is.
        """
        rows = given.astype(float)
        weights = [member.weight for member in self.networks]
        member = rng.choice(self.members, len(rows), p=weights)
        for r, of_member in enumerate(self.networks):
            chosen = np.flatnonzero(member == r)
            for places in _places(len(chosen), DRAWN):
                at = chosen[places]
                rows[at] = Drawing(self, of_member, rows[at], with_new).drawn(rng)
        rows = self.unmixing.rows(rows) if self.unmixing else rows
        for one in self.computed:
            rows[:, one.place] = one.draw(rows, rng, with_new)
        return rows


def limits_of(columns: Sequence[CellColumn], layout: Layout) -> np.ndarray:
    """Least scales of normals, and the ends of their means ``(3, N, 1, 1)``."""
    limits = [(columns[i].floor, columns[i].low, columns[i].high) for i in layout.mixed]
    return np.array(limits).reshape(-1, 3).T[..., None, None]


def encode(columns: Sequence[CellColumn], layout: Layout, rows: np.ndarray) -> Encoded:
    """Encode rows ``(n, C)`` for the networks of a layout."""
    cells: list[Cells] = [column.encode(values) for column, values in zip(columns, rows.T)]
    codes = np.array([cells[i].codes for i in layout.columns], float)
    numbers = [(cells[i].units, *cells[i].interval) for i in layout.with_numbers]
    if not numbers:
        return Encoded(codes, *np.zeros((3, 0, len(rows))))
    return Encoded(codes, *(np.array(parts) for parts in zip(*numbers)))


def _places(n: int, rows: int) -> Iterator[slice]:
    yield from (slice(start, start + rows) for start in range(0, max(n, 1), rows))
