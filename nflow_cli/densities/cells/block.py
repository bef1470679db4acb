"""Scores of a block of rows by a density of cells: NumPy, float64."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from nflow_cli.arrays import log_softmax, logsumexp
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.distribution import below_and_at
from nflow_cli.densities.cells.gaps import LogCells, with_presence
from nflow_cli.densities.cells.heads import log_cells_by_masses, log_masses
from nflow_cli.densities.cells.mixing import log_mixture, log_mixture_of_cells
from nflow_cli.densities.cells.network import Parameters

if TYPE_CHECKING:
    from nflow_cli.densities.cells.density import CellDensity, Member


T = TypeVar("T")
MOST = 700.0  # nats, whose exponential is finite
IMPOSSIBLE = -1e300  # nats, of a product of cells, one of which no row can have


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


class Encoded(NamedTuple):
    """Encoded rows as a network takes them: bank by bank, rows last.

    Attributes:
        codes: Outcomes ``(C, n)``.
        units: Middles of intervals in units ``(K, n)``, of columns with numbers.
        centre: In scores or units.
        half: Half widths.
    """

    codes: np.ndarray
    units: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class Conditionals(NamedTuple):
    """Distributions of cells: parameters, per row or one for all, and log-masses in nats
    ``(N, n)`` of numbers' intervals.
    """

    parameters: Parameters
    log_masses: np.ndarray


class Block:
    """Rows ``(n, C)`` and distributions of their cells, each computed once."""

    def __init__(self, density: "CellDensity", rows: np.ndarray):
        self.density, self.layout, self.rows = density, density.layout, rows
        self.encoded = density.encode(rows)

    # Distributions.

    @Lazy
    def networks(self) -> list[Conditionals]:
        """Distributions by each network."""
        return [self.by_network(member) for member in self.density.networks]

    @Lazy
    def marginals(self) -> Conditionals:
        """Distributions by the marginals."""
        return self._conditionals(self.density.marginal)

    def by_network(self, member: "Member") -> Conditionals:
        """Distributions by one network."""
        x = network.inputs(self.layout, self.encoded.codes, self.encoded.units, np)
        limits = self.density.limits
        found = network.parameters(self.layout, member.weights, limits, x, np)
        found = found._replace(log_shares=self._with_new(found.log_shares))
        return self._conditionals(found)

    def _conditionals(self, parameters: Parameters) -> Conditionals:
        places, (*_, centre, half) = self.layout.intervals, self.encoded
        # Values on no grid have mass 0; of very large ones the square overflows.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            masses = log_masses(self.layout, parameters, centre[places], half[places], np)
        return Conditionals(parameters, masses)

    def _with_new(self, log_shares: list[np.ndarray | None]) -> list[np.ndarray | None]:
        banks, start = [], 0
        marginals = self.density.marginal.log_shares
        for bank, shares, marginal in zip(self.layout.banks, log_shares, marginals):
            end = start + len(bank.modelled)
            last = np.array([self.layout.outcomes[i].learnt for i in bank.modelled])
            is_new = (np.arange(bank.size) == last[:, None])[:, :, None]
            if shares is not None and marginal is not None and is_new.any():
                others = self.density.log_learnt[start:end, None, None]
                shares = np.where(is_new, marginal, shares + others)
            banks.append(shares)
            start = end
        return banks

    # Log-probabilities, in nats.

    @Lazy
    def by_members(self) -> np.ndarray:
        """Log-probabilities ``(R, n, D + K)`` of cells by each member."""
        pairs = zip(self.density.networks, self._of_networks)
        return np.stack([self._by_member(member, cells) for member, cells in pairs])

    def by_member(self, member: "Member") -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by one member."""
        return self._by_member(member, self.log_cells(self.by_network(member)))

    def _by_member(self, member: "Member", cells: LogCells) -> np.ndarray:
        kept = log_mixture_of_cells(member.shares[:, None], cells, self._of_marginals)
        last = [one.log_prob(self.rows) for one in self.density.computed]
        return np.column_stack([self._as_densities(kept), *last])

    @Lazy
    def by_mixture(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells, given those before, by the mixture of
        members.
        """
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
        if self.density.alone:
            return Block(self.density.alone, self.rows).by_marginals
        last = [one.alone.log_prob(self.rows) for one in self.density.computed]
        return np.column_stack([self._as_densities(self._of_marginals.masses), *last])

    @Lazy
    def _of_networks(self) -> list[LogCells]:
        return [self.log_cells(found) for found in self.networks]

    @Lazy
    def _of_marginals(self) -> LogCells:
        return self.log_cells(self.marginals)

    def log_cells(self, conditionals: Conditionals) -> LogCells:
        """Log-masses ``(D, n)`` of cells, and of their presence, bank by bank."""
        (log_shares, *_), masses = conditionals
        of_cells = self.layout, log_shares, self.encoded.codes
        # Of a value that is on no grid.
        with np.errstate(invalid="ignore"):
            found = log_cells_by_masses(*of_cells, masses, np)
        return with_presence(*of_cells, found, np)

    @property
    def codes(self) -> np.ndarray:
        """Outcomes ``(D, n)`` of the modelled cells, bank by bank; below 0 if unknown."""
        return self.encoded.codes[[self.layout.columns.index(i) for i in self.layout.modelled]]

    def _as_densities(self, masses: np.ndarray) -> np.ndarray:
        return masses[self.density.order].T - self._log_measures

    @Lazy
    def _log_measures(self) -> np.ndarray:
        """Log-width ``(n, D)`` by which a mass becomes a density; 0 for cells with a mass.

        Of a value beyond found bounds, less its log-probability among those beyond.
        """
        first, columns = self.density.n_given, self.density.modelled
        measures = np.zeros((len(self.rows), len(columns)))
        for j, column in enumerate(columns):
            code = self.encoded.codes[self.layout.columns.index(first + j)]
            measures[:, j] = np.where(code == column.number, column.log_measure, 0.0)
            if column.has_numbers and column.new is not None:
                beyond = column.log_measure - column.log_beyond(self.rows[:, first + j])
                measures[:, j] = np.where(code == column.new, beyond, measures[:, j])
        unmixing = self.density.unmixing
        return measures - unmixing.log_slopes(self.rows) if unmixing else measures

    # Distribution functions.

    def pit(self, noise: np.ndarray) -> np.ndarray:
        """Randomised probability integral transforms ``(n, D + K)``."""
        density = self.density
        noise, last = np.split(noise, [len(density.modelled)], axis=1)
        computed = [one.pit(self.rows, v) for one, v in zip(density.computed, last.T)]
        marginal = self._uniforms(self.marginals, noise)
        total = np.zeros_like(noise)
        weights = np.exp(self.log_weights_before)
        for r, (found, weight) in enumerate(zip(self.networks, weights)):
            of_network, of_marginal = self._factors(r)
            total += weight * (of_network * self._uniforms(found, noise) + of_marginal * marginal)
        return np.clip(np.column_stack([total, *computed]), 0.0, 1.0)

    def _factors(self, r: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights ``(n, D)`` or ``(D,)`` of a network and of the marginals in each cell."""
        order, shares = self.density.order, self.density.networks[r].shares
        first, second = self._of_networks[r].presence, self._of_marginals.presence
        if first is None:
            return shares[order], 1 - shares[order]
        gaps = np.array([self.layout.outcomes[i].missing for i in self.layout.modelled], float)
        is_gap, weights = self.codes == gaps[:, None], shares[:, None]
        total = log_mixture(weights, first, second)
        of_network, of_marginal = (
            (share * np.exp(np.where(is_gap, 0.0, np.minimum(total - one, MOST))))[order].T
            for share, one in ((weights, first), (1 - weights, second))
        )
        return of_network, of_marginal

    @Lazy
    def log_weights_before(self) -> np.ndarray:
        """Log-weights of members in each cell ``(R, n, D)``: prior times likelihood of the cells
        before.
        """
        shape = self.density.members, len(self.rows), len(self.density.modelled)
        if self.density.members == 1:
            return np.zeros(shape)
        cells = self.by_members[:, :, : len(self.density.modelled)]
        before = np.cumsum(np.pad(cells, ((0, 0), (0, 0), (1, 0)))[:, :, :-1], axis=2)
        before = np.maximum(before, IMPOSSIBLE)
        return log_softmax(before + self.density.log_weights[:, None, None], 0, np)

    def _uniforms(self, conditionals: Conditionals, noise: np.ndarray) -> np.ndarray:
        parts = self.density.cells, conditionals.parameters, self.encoded
        below, at = below_and_at(self.layout, *parts, conditionals.log_masses)
        order = self.density.order
        return below[order].T + noise * at[order].T
