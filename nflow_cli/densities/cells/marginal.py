"""The marginal of one column: shares of its outcomes and a mixture of normals. No Keras here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals

ROUNDS = 100  # of expectation and maximisation, for the shares of lattices
LEAST_PART = 1e-9  # of a cell, that an outcome has
Intervals = Sequence[tuple[np.ndarray, np.ndarray]]
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a column's cells, by number.

    Attributes:
        count: How many there are.
        number: Which one is a number, with an interval; ``None`` where there is none.
        new: Which one is a level that the training rows do not have.
        floor: The least scale of a normal, in the column's units.
        widest: The scale of a broad one; ``None``: five times the range of the numbers.
        lattices: R, on which a number may be: outcomes ``number`` to ``number + R - 1``.
    """

    count: int
    number: int | None = None
    new: int | None = None
    floor: float = 1e-3
    widest: float | None = None
    lattices: int = 1

    def are_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Return which outcomes are numbers, on any lattice."""
        if self.number is None:
            return np.zeros(len(codes), bool)
        return (codes >= self.number) & (codes < self.number + self.lattices)


@dataclass(frozen=True, eq=False)
class Marginal:
    """The marginal distribution of a column's cells.

    Attributes:
        log_shares: Of the outcomes, ``(L,)``, normalised.
        number: Which outcome is a number, the first of several lattices; or ``None``.
        normals: The distribution of the numbers, in the column's units.
    """

    log_shares: np.ndarray
    number: int | None
    normals: Normals

    def log_prob(
        self, codes: np.ndarray, centre: np.ndarray | None = None, half: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the log-probability of cells in nats, ``(n,)``; 0 where a cell is unknown.

        Args:
            codes: Outcomes of the cells ``(n,)``, -1 where unknown.
            centre: The middles of the numbers' intervals ``(n,)``; of a column of numbers.
            half: Their half widths.
        """
        log_p = np.where(codes < 0, 0.0, self.log_shares[codes])
        if self.number is not None and centre is not None and half is not None:
            cells = np.flatnonzero(codes == self.number)
            log_p[cells] += self.normals.log_mass(centre[cells], half[cells])
        return log_p

    def log_parts(self, codes: np.ndarray, intervals: Intervals) -> np.ndarray:
        """Return the log-probabilities in nats ``(n, 1 + R)`` of all that cells may be.

        First is the outcome of that code, unless it is a number; then a number on each lattice that
        the value is on. Their sum is the probability of a cell of a grid, 0 of an unknown one.

        Args:
            codes: Outcomes of the cells ``(n,)``, -1 where unknown.
            intervals: The middles and half widths ``(n,)`` of numbers on each lattice.
        """
        number, lattices = self.number or 0, len(intervals)
        log_p = np.full((len(codes), 1 + lattices), -np.inf)
        is_number = (codes >= number) & (codes < number + lattices)
        is_other = (codes >= 0) & ~is_number
        log_p[is_other, 0] = self.log_shares[codes[is_other]]
        for r, (centre, half) in enumerate(intervals):
            on = np.flatnonzero((codes >= 0) & (codes < number + lattices) & (half != 0))
            log_mass = self.normals.log_mass(centre[on], half[on])
            log_p[on, 1 + r] = self.log_shares[number + r] + log_mass
        return log_p

    def parts(self, codes: np.ndarray, intervals: Intervals) -> Parts:
        """Return the shares that the outcomes have of each cell, as :meth:`log_parts` weighs them.

        Returns:
            Rows, outcomes and shares ``(m,)``, where shares are above 0; of a known row they sum to
            1.
        """
        log_p = self.log_parts(codes, intervals)
        shares = np.exp(log_p - logsumexp(log_p, 1, np)[:, None])
        rows, which = np.nonzero(shares > LEAST_PART)
        of_number = (self.number or 0) + which - 1
        return rows, np.where(which > 0, of_number, codes[rows]), shares[rows, which]


def fit_marginal(
    outcomes: Outcomes,
    codes: np.ndarray,
    centre: np.ndarray | None = None,
    half: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Marginal:
    """Return the marginal of a column, fitted to training rows.

    Args:
        outcomes: What the column's cells can be.
        codes: Outcomes of the cells ``(n,)``, -1 where unknown.
        centre: The middles of the numbers' intervals ``(n,)``; of a column of numbers.
        half: Their half widths.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(outcomes, codes, scaled))
    if outcomes.number is None or centre is None or half is None:
        return Marginal(log_shares, None, Normals(*np.zeros((3, 0))))
    cells = np.flatnonzero((codes == outcomes.number) & (scaled > 0))
    bounds = outcomes.floor, outcomes.widest
    normals = fit_normals(centre[cells], half[cells], scaled[cells], *bounds)
    return Marginal(log_shares, outcomes.number, normals)


def fit_lattices(
    outcomes: Outcomes,
    codes: np.ndarray,
    intervals: Intervals,
    weights: np.ndarray | None = None,
) -> Marginal:
    """Return the marginal of a column whose numbers lie on several lattices.

    ``P(x) = Σ_a π_a [x = a] + Σ_r π_r mass_r(x)``, the normals of all lattices the same. First they
    are fitted as if the mass of a lattice's interval were its width, then the shares to them.

    Args:
        outcomes: What the column's cells can be.
        codes: Outcomes of the cells ``(n,)``, -1 where unknown.
        intervals: The middles and half widths ``(n,)`` of numbers on each lattice, none of them
            infinite; 0 where a value is not on a lattice.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(outcomes, codes, scaled))
    cells = np.flatnonzero(outcomes.are_numbers(codes) & (scaled > 0))
    halves = np.stack([half[cells] for _, half in intervals], axis=1)
    mean = halves @ _by_widths(halves, scaled[cells])
    bounds = outcomes.floor, outcomes.widest
    normals = fit_normals(intervals[0][0][cells], mean, scaled[cells], *bounds)
    return _with_shares(
        Marginal(log_shares, outcomes.number, normals), outcomes, codes, intervals, scaled
    )


def parts_by_widths(
    outcomes: Outcomes, codes: np.ndarray, intervals: Intervals, weights: np.ndarray | None = None
) -> Parts:
    """Return the shares that lattices have of numbers, as if an interval's mass were its width.

    Args:
        outcomes: What the column's cells can be.
        codes: Outcomes of the cells ``(n,)``, -1 where unknown.
        intervals: As of :func:`fit_lattices`.
        weights: Of the rows ``(n,)``; equal ones for ``None``.

    Returns:
        Rows, outcomes and shares ``(m,)``, where shares are above 0; of a known row they sum to 1.
    """
    scaled = scaled_weights(len(codes), weights)
    is_number = outcomes.are_numbers(codes)
    cells, others = np.flatnonzero(is_number), np.flatnonzero((codes >= 0) & ~is_number)
    halves = np.stack([half[cells] for _, half in intervals], axis=1)
    parts = halves * _by_widths(halves, scaled[cells])
    rows, lattices = np.nonzero(parts)
    shares = (parts / parts.sum(axis=1, keepdims=True))[rows, lattices]
    of_numbers = cells[rows], lattices + (outcomes.number or 0), shares
    of_others = others, codes[others], np.ones(len(others))
    rows, found, shares = (np.concatenate(pair) for pair in zip(of_numbers, of_others))
    return rows, found, shares


def _by_widths(halves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the likeliest shares ``(R,)`` of lattices of intervals ``(n, R)``, by EM."""
    shares = np.full(halves.shape[1], 1 / halves.shape[1])
    for _ in range(ROUNDS):
        parts = shares * halves
        total = weights @ (parts / parts.sum(axis=1, keepdims=True)) + 0.5
        shares = total / total.sum()
    return shares


def _with_shares(
    marginal: Marginal,
    outcomes: Outcomes,
    codes: np.ndarray,
    intervals: Intervals,
    weights: np.ndarray,
) -> Marginal:
    """Return a marginal with the shares of outcomes that make cells likeliest, by EM.

    That of what no training row is stays.
    """
    is_free = np.arange(outcomes.count) != outcomes.new
    rows = np.flatnonzero((codes >= 0) & is_free[codes])
    _, first, inverse = np.unique(
        codes[rows] + 1j * intervals[0][0][rows], return_index=True, return_inverse=True
    )
    counts, one = np.bincount(inverse, weights[rows]), rows[first]
    codes, intervals = codes[one], [(centre[one], half[one]) for centre, half in intervals]
    free = np.exp(marginal.log_shares[is_free]).sum()
    for _ in range(ROUNDS):
        of, outcome, shares = marginal.parts(codes, intervals)
        total = np.bincount(outcome, counts[of] * shares, outcomes.count)[is_free] + 0.5
        log_shares = marginal.log_shares.copy()
        log_shares[is_free] = np.log(free * total / total.sum())
        marginal = replace(marginal, log_shares=log_shares)
    return marginal


def outcome_shares(outcomes: Outcomes, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the shares ``(L,)`` of a column's outcomes, all positive, of sum 1.

    Each is counted half a row more (Krichevsky & Trofimov 1981). A new level has the share of rows
    whose level no other row has (Good 1953), and at least that of one row more, ``1/(n + 1)``.

    Args:
        outcomes: What the column's cells can be.
        codes: Outcomes of the cells ``(n,)``, -1 where unknown.
        weights: Of the rows ``(n,)``; their sum is the effective sample size.
    """
    known = codes >= 0
    counts = np.bincount(codes[known], weights[known], outcomes.count)
    n = counts.sum()
    smoothed = counts + 0.5
    if outcomes.new is None:
        return smoothed / smoothed.sum()
    rows = np.bincount(codes[known & (weights > 0)], minlength=outcomes.count)
    rows[outcomes.new] = 0
    once = counts[rows == 1].sum()
    new = np.clip(once + counts[outcomes.new], n / (n + 1), n * n / (n + 1)) / n if n > 0 else 0.5
    smoothed[outcomes.new] = 0.0
    shares = smoothed * ((1 - new) / max(smoothed.sum(), 1.0))
    shares[outcomes.new] = new
    return shares / shares.sum()
