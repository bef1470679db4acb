"""The density of a row, as a product of cells: NumPy, float64. No Keras here.

    log q(row | given) = Σ_j log P(cell_j | given, the cells before it)

A cell that is a number of a continuous column has a density, in 1/unit; every other cell has a
mass. What a network says of a cell is mixed with the marginal of its column,
``w_j network + (1 - w_j) marginal``. An ensemble is a mixture of
such products.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn, Cells
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.distribution import below_and_at
from nflow_cli.densities.cells.drawing import Drawing
from nflow_cli.densities.cells.heads import log_cells
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.mixing import log_mixture
from nflow_cli.densities.cells.network import PADDING, Parameters

ROWS = 2_048  # at a time: the parameters of their mixtures are the largest array


class Encoded(NamedTuple):
    """Rows as a network takes them, bank by bank, rows last.

    Attributes:
        codes: Which outcome each cell is ``(C, n)``.
        centre: The middle of intervals ``(K + X, n)``, of the columns that have numbers, then of
            coarse lattices.
        half: Half their width ``(K + X, n)``.
    """

    codes: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class Member(NamedTuple):
    """A network of an ensemble.

    Attributes:
        weights: As :func:`~nflow_cli.densities.cells.network.masked` returns them, float64.
        shares: The weights ``w`` ``(D,)`` of the network beside the marginals, bank by bank.
        weight: Of the member in the mixture of all.
    """

    weights: network.Weights
    shares: np.ndarray
    weight: float = 1.0


class CellDensity:
    """The density of rows of a table.

    Args:
        columns: The columns of a row; the first ``n_given`` are given.
        layout: Of each network.
        marginal: The marginals of all columns, as parameters of one row.
        members: The networks.
        computed: The K columns of a row that follow from those, which come last.

    Attributes:
        order: The places ``(D,)`` of the modelled columns, in a row's order, among the banks.
    """

    def __init__(
        self,
        columns: Sequence[CellColumn],
        layout: Layout,
        marginal: Parameters,
        members: Sequence[Member],
        computed: Sequence[Computed] = (),
    ):
        self.cells, self.layout, self.marginal = list(columns), layout, marginal
        self.n_given, self.networks = layout.n_given, list(members)
        self.computed = list(computed)
        self.limits = limits_of(columns, layout)
        self.order = np.argsort(layout.modelled)

    @property
    def modelled(self) -> list[CellColumn]:
        """The D columns that are modelled, in the order of a row."""
        return self.cells[self.n_given :]

    @property
    def row(self) -> list[CellColumn]:
        """All columns of a row, in its order."""
        return [*self.cells, *(one.column for one in self.computed)]

    @property
    def scored(self) -> list[CellColumn]:
        """The D + K columns whose cells have a probability, in the order of a row."""
        return self.row[self.n_given :]

    @property
    def members(self) -> int:
        """Of how many networks the density is a mixture."""
        return len(self.networks)

    def encode(self, rows: np.ndarray) -> Encoded:
        """Return rows ``(n, C)`` as the networks take them."""
        return encode(self.cells, self.layout, rows)

    def are_known(self, rows: np.ndarray) -> np.ndarray:
        """Return which cells ``(n, D + K)`` count: not gaps of columns that had none."""
        gaps = np.isnan(rows[:, self.n_given :])
        return ~gaps | np.array([column.missing is not None for column in self.scored])

    # Log-probabilities.

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Return ``log q`` ``(n,)`` in nats of rows ``(n, C)``; -inf where no row can be so."""
        return self.cell_log_probs(rows).sum(axis=1)

    def member_log_probs(self, rows: np.ndarray) -> np.ndarray:
        """Return ``log q`` ``(R, n)`` in nats of rows by each member."""
        return np.concatenate([p.sum(axis=2) for p in self._by_members(rows)], axis=1)

    def cell_log_probs(self, rows: np.ndarray) -> np.ndarray:
        """Return the log-probability ``(n, D + K)`` in nats of each cell given those before.

        Computed cells are last. Of an ensemble it is that of the mixture: the cells of a row sum to
        its log-density.
        """
        log_weights = self._log_weights
        return np.concatenate([_of_mixture(part, log_weights) for part in self._by_members(rows)])

    @property
    def _log_weights(self) -> np.ndarray:
        """Those of the members ``(R,)``."""
        with np.errstate(divide="ignore"):
            return np.log([member.weight for member in self.networks])

    def _by_members(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the log-probabilities ``(R, m, D + K)`` of cells by each member, in parts."""
        for places in _places(len(rows)):
            encoded = self.encode(rows[places])
            measures = self._log_measures(rows[places], encoded.codes)
            marginal = self._log_cells(self.marginal, encoded)
            kept = [self._kept(member, marginal, encoded) for member in self.networks]
            last = [one.log_prob(rows[places]) for one in self.computed]
            yield np.stack(
                [np.column_stack([cells[self.order].T - measures, *last]) for cells in kept]
            )

    def _kept(self, member: Member, marginal: np.ndarray, encoded: Encoded) -> np.ndarray:
        of_network = self._log_cells(self._parameters(member, encoded), encoded)
        return log_mixture(member.shares, of_network.T, marginal.T).T

    def network_log_cells(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Return the log-masses ``(n, D)`` of cells by a network, bank by bank; NaN of unknown."""
        return self._masses(lambda encoded: self._parameters(member, encoded), rows)

    def marginal_log_cells(self, rows: np.ndarray) -> np.ndarray:
        """Return the log-masses ``(n, D)`` of cells by marginals, bank by bank; NaN of unknown."""
        return self._masses(lambda _: self.marginal, rows)

    def _masses(self, parameters: Callable[[Encoded], Parameters], rows: np.ndarray) -> np.ndarray:
        parts = []
        for places in _places(len(rows)):
            encoded = self.encode(rows[places])
            known = encoded.codes[self._modelled_codes] >= 0
            masses = self._log_cells(parameters(encoded), encoded)
            parts.append(np.where(known, masses, np.nan).T)
        return np.concatenate(parts)

    @property
    def _modelled_codes(self) -> list[int]:
        return [self.layout.columns.index(i) for i in self.layout.modelled]

    def _parameters(self, member: Member, encoded: Encoded) -> Parameters:
        x = network.inputs(self.layout, encoded.codes, encoded.centre, np)
        found = network.parameters(self.layout, member.weights, self.limits, x, np)
        return found._replace(log_shares=self._with_new(found.log_shares))

    def _with_new(self, log_shares: list[np.ndarray | None]) -> list[np.ndarray | None]:
        """Return shares by a network with those of what no training row is, as the marginals'."""
        banks, start = [], 0
        for bank, shares, marginal in zip(self.layout.banks, log_shares, self.marginal.log_shares):
            end = start + len(bank.modelled)
            last = np.array([self.layout.outcomes[i].learnt for i in bank.modelled])
            is_new = (np.arange(bank.size) == last[:, None])[:, :, None]
            if shares is not None and marginal is not None and is_new.any():
                others = self.log_learnt[start:end, None, None]
                shares = np.where(is_new, marginal, shares + others)
            banks.append(shares)
            start = end
        return banks

    @cached_property
    def log_learnt(self) -> np.ndarray:
        """The log-probabilities ``(D,)`` of what training rows are, bank by bank."""
        found = []
        for bank, marginal in zip(self.layout.banks, self.marginal.log_shares):
            for shares, i in zip(marginal if marginal is not None else [], bank.modelled):
                outcomes = self.layout.outcomes[i]
                log_new = shares[outcomes.learnt, 0] if outcomes.has_new else PADDING
                found.append(np.log1p(-np.exp(log_new)))
            found += [] if marginal is not None else [0.0] * len(bank.modelled)
        return np.array(found)

    def _log_cells(self, parameters: Parameters, encoded: Encoded) -> np.ndarray:
        places = self.layout.intervals
        mixed = encoded.centre[places], encoded.half[places]
        # Of a value that is on no grid, and of one so far out that its square is infinite.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return log_cells(self.layout, parameters, encoded.codes, *mixed, xp=np)

    def _log_measures(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return what the log-probability of each cell ``(n, D)`` is lowered by.

        A number's is of an interval, and lowered to be a density; one beyond found bounds is
        lowered by that of the value among those beyond.
        """
        measures = np.zeros((codes.shape[1], len(self.modelled)))
        for j, column in enumerate(self.modelled):
            place = self.n_given + j
            code = codes[self.layout.columns.index(place)]
            measures[:, j] = np.where(code == column.number, column.log_measure, 0.0)
            if column.has_numbers and column.new is not None:
                beyond = column.log_measure - column.log_beyond(rows[:, place])
                measures[:, j] = np.where(code == column.new, beyond, measures[:, j])
        return measures

    # Distribution functions and draws.

    def pit(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the probability integral transforms ``(n, D + K)``, randomised where mass is.

        ``u_j = P(X_j < x_j | before) + v P(X_j = x_j | before)``, ``v`` uniform: uniform and
        independent where rows are of the density (Czado, Gneiting & Held 2009). A gap is above all
        numbers and levels, a new level above a gap. A cell that is unknown has NaN.
        """
        noise = rng.random((len(rows), len(self.scored)))
        parts = [self._pit(rows[places], noise[places]) for places in _places(len(rows))]
        return np.concatenate(parts)

    def _pit(self, rows: np.ndarray, noise: np.ndarray) -> np.ndarray:
        encoded = self.encode(rows)
        noise, last = np.split(noise, [len(self.modelled)], axis=1)
        computed = [one.pit(rows, v) for one, v in zip(self.computed, last.T)]
        marginal = self._uniforms(self.marginal, encoded, noise)
        total, before = np.zeros_like(noise), np.zeros((len(rows), 1))
        weights = [np.ones_like(noise)]
        if self.members > 1:  # given the cells before, members count by their likelihood
            (cells,) = list(self._by_members(rows)) or [np.zeros((self.members, 0, 0))]
            cells = cells[:, :, : len(self.modelled)]
            before = np.cumsum(np.pad(cells, ((0, 0), (0, 0), (1, 0)))[:, :, :-1], axis=2)
            before = np.maximum(before, -1e300)  # behind a cell that no row can have
            before = before + self._log_weights[:, None, None]
            weights = np.exp(before - logsumexp(before, 0, np))
        for member, weight in zip(self.networks, weights):
            shares = member.shares[self.order]
            parameters = self._parameters(member, encoded)
            of_network = self._uniforms(parameters, encoded, noise)
            total += weight * (shares * of_network + (1 - shares) * marginal)
        return np.clip(np.column_stack([total, *computed]), 0.0, 1.0)

    def _uniforms(self, parameters: Parameters, encoded: Encoded, noise: np.ndarray) -> np.ndarray:
        below, at = below_and_at(self.layout, self.cells, parameters, encoded)
        return below[self.order].T + noise * at[self.order].T

    def draw(
        self, given: np.ndarray, rng: np.random.Generator, with_new: bool = False
    ) -> np.ndarray:
        """Draw a row for each of the rows ``(n, C)``, of which only the given columns are used.

        Args:
            given: The rows.
            rng: Of the draws.
            with_new: Whether a level may be -1, one that no training row has, and a computed cell
                broken; else each cell is drawn given that it is none.
        """
        rows = given.astype(float)
        weights = [member.weight for member in self.networks]
        member = rng.choice(self.members, len(rows), p=weights)
        for r, of_member in enumerate(self.networks):
            chosen = np.flatnonzero(member == r)
            for places in _places(len(chosen)):
                at = chosen[places]
                rows[at] = Drawing(self, of_member, rows[at], with_new).drawn(rng)
        for one in self.computed:
            rows[:, one.place] = one.draw(rows, rng, with_new)
        return rows


def limits_of(columns: Sequence[CellColumn], layout: Layout) -> np.ndarray:
    """Return the least scale of normals, and the ends of their means ``(3, N, 1, 1)``."""
    limits = [(columns[i].floor, columns[i].low, columns[i].high) for i in layout.mixed]
    return np.array(limits).reshape(-1, 3).T[..., None, None]


def encode(columns: Sequence[CellColumn], layout: Layout, rows: np.ndarray) -> Encoded:
    """Return rows ``(n, C)`` of columns as networks of a layout take them."""
    cells: list[Cells] = [column.encode(values) for column, values in zip(columns, rows.T)]
    intervals = [cells[i].fine for i in layout.with_numbers]
    intervals += [interval for i in layout.mixed for interval in cells[i].coarse]
    codes = np.array([cells[i].codes for i in layout.columns], float)
    if not intervals:
        return Encoded(codes, *np.zeros((2, 0, len(rows))))
    return Encoded(codes, *(np.array(parts) for parts in zip(*intervals)))


def _of_mixture(cells: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """Return the log-probabilities ``(n, D)`` of cells by a mixture of members ``(R, n, D)``."""
    if len(cells) == 1:
        return cells[0]
    before = logsumexp(log_weights[:, None, None] + np.cumsum(cells, axis=2), 0, np)
    with np.errstate(invalid="ignore"):  # of cells behind one that no row can have
        return np.nan_to_num(np.diff(before, axis=1, prepend=0.0), nan=0.0, neginf=-np.inf)


def in_parts(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return a function of rows, called on some at a time."""
    return np.concatenate([function(rows[places]) for places in _places(len(rows))])


def _places(n: int) -> Iterator[slice]:
    yield from (slice(start, start + ROWS) for start in range(0, max(n, 1), ROWS))
