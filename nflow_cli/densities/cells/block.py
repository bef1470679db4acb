"""Scores of a block of rows by a density of cells: NumPy, float64."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from nflow_cli.arrays import log_softmax, logsumexp
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.distribution import below_and_at
from nflow_cli.densities.cells.heads import log_cells_by_masses, log_masses
from nflow_cli.densities.cells.mixing import log_mixture
from nflow_cli.densities.cells.network import Parameters

if TYPE_CHECKING:
    from nflow_cli.densities.cells.density import CellDensity, Member


T = TypeVar("T")
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
        centre: Middles of intervals ``(K + X, n)``: columns with numbers, then coarse lattices.
        half: Half widths.
    """

    codes: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class Conditionals(NamedTuple):
    """Distributions of cells: parameters, per row or one for all, and log-masses in nats
    ``(N + X, n)`` of numbers' intervals.
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
        x = network.inputs(self.layout, self.encoded.codes, self.encoded.centre, np)
        limits = self.density.limits
        found = network.parameters(self.layout, member.weights, limits, x, np)
        found = found._replace(log_shares=self._with_new(found.log_shares))
        return self._conditionals(found)

    def _conditionals(self, parameters: Parameters) -> Conditionals:
        places, (_, centre, half) = self.layout.intervals, self.encoded
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
        return np.stack([self._by_member(member, masses) for member, masses in pairs])

    def by_member(self, member: "Member") -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by one member."""
        return self._by_member(member, self.masses(self.by_network(member)))

    def _by_member(self, member: "Member", masses: np.ndarray) -> np.ndarray:
        kept = log_mixture(member.shares, masses.T, self._of_marginals.T).T
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
        cells = np.stack([self._as_densities(masses) for masses in self._of_networks])
        return logsumexp(self.density.log_weights[:, None, None] + cells, 0, np)

    @Lazy
    def by_marginals(self) -> np.ndarray:
        """Log-probabilities ``(n, D + K)`` of cells by independent columns."""
        if self.density.alone:
            return Block(self.density.alone, self.rows).by_marginals
        last = [one.alone.log_prob(self.rows) for one in self.density.computed]
        return np.column_stack([self._as_densities(self._of_marginals), *last])

    @Lazy
    def _of_networks(self) -> list[np.ndarray]:
        return [self.masses(found) for found in self.networks]

    @Lazy
    def _of_marginals(self) -> np.ndarray:
        return self.masses(self.marginals)

    def masses(self, conditionals: Conditionals) -> np.ndarray:
        """Log-masses ``(D, n)`` of cells, bank by bank."""
        (log_shares, *_), masses = conditionals
        # Of a value that is on no grid.
        with np.errstate(invalid="ignore"):
            return log_cells_by_masses(self.layout, log_shares, self.encoded.codes, masses, np)

    @property
    def is_known(self) -> np.ndarray:
        """Known cells ``(D, n)``, bank by bank."""
        places = [self.layout.columns.index(i) for i in self.layout.modelled]
        return self.encoded.codes[places] >= 0

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
        for member, found, weight in zip(density.networks, self.networks, weights):
            shares = member.shares[density.order]
            of_network = self._uniforms(found, noise)
            total += weight * (shares * of_network + (1 - shares) * marginal)
        return np.clip(np.column_stack([total, *computed]), 0.0, 1.0)

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
