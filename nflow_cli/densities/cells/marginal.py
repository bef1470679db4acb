"""Marginal of one column: shares of outcomes and a mixture of normals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals

ROUNDS = 100  # EM iterations for the shares of lattices
LEAST_PART = 1e-9  # smaller posterior shares of a cell are dropped
Intervals = Sequence[tuple[np.ndarray, np.ndarray]]
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Support:
    """Possible outcomes of a column's cells, and limits of the scales of its normals.

    Attributes:
        count: Number of outcomes.
        number: First outcome that is a number, with an interval; ``None``: none.
        new: A level that no training row has.
        floor: Least scale of a normal, in column units.
        widest: Scale of the broad normal; ``None``: five times the range.
        lattices: R, the number of outcomes that are numbers.
    """

    count: int
    number: int | None = None
    new: int | None = None
    floor: float = 1e-3
    widest: float | None = None
    lattices: int = 1

    def are_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are numbers, on any lattice."""
        if self.number is None:
            return np.zeros(len(codes), bool)
        return (codes >= self.number) & (codes < self.number + self.lattices)


@dataclass(frozen=True, eq=False)
class Marginal:
    """Marginal of a column's cells: normalised log-shares ``(L,)`` of outcomes, the first outcome
    that is a number (or ``None``), and the distribution of numbers in column units.
    """

    log_shares: np.ndarray
    number: int | None
    normals: Normals

    def log_prob(
        self, codes: np.ndarray, centre: np.ndarray | None = None, half: np.ndarray | None = None
    ) -> np.ndarray:
        """Log-probability ``(n,)`` of cells in nats, by codes and intervals; 0 for code -1
        (unknown).
        """
        log_p = np.where(codes < 0, 0.0, self.log_shares[codes])
        if self.number is not None and centre is not None and half is not None:
            cells = np.flatnonzero(codes == self.number)
            log_p[cells] += self.normals.log_mass(centre[cells], half[cells])
        return log_p

    def log_parts(self, codes: np.ndarray, intervals: Intervals) -> np.ndarray:
        """Log-probabilities in nats ``(n, 1 + R)`` of the outcomes that cells may have.

        First that of the code, unless it is a number; then a number on each of the value's
        lattices. They sum to the probability of a cell on a grid, 0 for code -1. ``intervals``:
        middles and half widths ``(n,)`` by lattice.
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
        """Posterior shares of the outcomes of each cell, by :meth:`log_parts`.

        Returns:
            Rows, outcomes and shares ``(m,)`` above 0, of sum 1 in a known row.
        """
        log_p = self.log_parts(codes, intervals)
        shares = np.exp(log_p - logsumexp(log_p, 1, np)[:, None])
        rows, which = np.nonzero(shares > LEAST_PART)
        of_number = (self.number or 0) + which - 1
        return rows, np.where(which > 0, of_number, codes[rows]), shares[rows, which]


def fit_marginal(
    support: Support,
    codes: np.ndarray,
    centre: np.ndarray | None = None,
    half: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Marginal:
    """Fit the marginal of a column to training rows.

    ``codes``: outcomes ``(n,)``, -1 if unknown; ``centre`` and ``half``: middles and half widths
    ``(n,)`` of numbers' intervals; ``weights`` of the rows ``(n,)``.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(support, codes, scaled))
    if support.number is None or centre is None or half is None:
        return Marginal(log_shares, None, Normals(*np.zeros((3, 0))))
    cells = np.flatnonzero((codes == support.number) & (scaled > 0))
    bounds = support.floor, support.widest
    normals = fit_normals(centre[cells], half[cells], scaled[cells], *bounds)
    return Marginal(log_shares, support.number, normals)


def fit_lattices(
    support: Support,
    codes: np.ndarray,
    intervals: Intervals,
    weights: np.ndarray | None = None,
) -> Marginal:
    """Fit the marginal of a column whose numbers lie on several lattices.

    ``P(x) = Σ_a π_a [x = a] + Σ_r π_r mass_r(x)``, the same normals for all lattices: fitted first
    as if an interval's mass were its width, then the shares given them. Arguments as of
    :func:`fit_marginal`; ``intervals``: middles and finite half widths ``(n,)`` by lattice, 0 off
    the lattice.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(support, codes, scaled))
    cells = np.flatnonzero(support.are_numbers(codes) & (scaled > 0))
    halves = np.stack([half[cells] for _, half in intervals], axis=1)
    mean = halves @ _by_widths(halves, scaled[cells])
    bounds = support.floor, support.widest
    normals = fit_normals(intervals[0][0][cells], mean, scaled[cells], *bounds)
    return _with_shares(
        Marginal(log_shares, support.number, normals), support, codes, intervals, scaled
    )


def parts_by_widths(
    support: Support, codes: np.ndarray, intervals: Intervals, weights: np.ndarray | None = None
) -> Parts:
    """Posterior shares of lattices, as if an interval's mass were its width.

    Arguments as of :func:`fit_lattices`, result as of :meth:`Marginal.parts`.
    """
    scaled = scaled_weights(len(codes), weights)
    is_number = support.are_numbers(codes)
    cells, others = np.flatnonzero(is_number), np.flatnonzero((codes >= 0) & ~is_number)
    halves = np.stack([half[cells] for _, half in intervals], axis=1)
    parts = halves * _by_widths(halves, scaled[cells])
    rows, lattices = np.nonzero(parts)
    shares = (parts / parts.sum(axis=1, keepdims=True))[rows, lattices]
    of_numbers = cells[rows], lattices + (support.number or 0), shares
    of_others = others, codes[others], np.ones(len(others))
    rows, found, shares = (np.concatenate(pair) for pair in zip(of_numbers, of_others))
    return rows, found, shares


def _by_widths(halves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    shares = np.full(halves.shape[1], 1 / halves.shape[1])
    for _ in range(ROUNDS):
        parts = shares * halves
        total = weights @ (parts / parts.sum(axis=1, keepdims=True)) + 0.5
        shares = total / total.sum()
    return shares


def _with_shares(
    marginal: Marginal,
    support: Support,
    codes: np.ndarray,
    intervals: Intervals,
    weights: np.ndarray,
) -> Marginal:
    is_free = np.arange(support.count) != support.new
    rows = np.flatnonzero((codes >= 0) & is_free[codes])
    _, first, inverse = np.unique(
        codes[rows] + 1j * intervals[0][0][rows], return_index=True, return_inverse=True
    )
    counts, one = np.bincount(inverse, weights[rows]), rows[first]
    codes, intervals = codes[one], [(centre[one], half[one]) for centre, half in intervals]
    free = np.exp(marginal.log_shares[is_free]).sum()
    for _ in range(ROUNDS):
        of, outcome, shares = marginal.parts(codes, intervals)
        total = np.bincount(outcome, counts[of] * shares, support.count)[is_free] + 0.5
        log_shares = marginal.log_shares.copy()
        log_shares[is_free] = np.log(free * total / total.sum())
        marginal = replace(marginal, log_shares=log_shares)
    return marginal


def outcome_shares(support: Support, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares ``(L,)`` of a column's outcomes, positive, of sum 1.

    Each counts half a row more (Krichevsky & Trofimov 1981). A new level has the share of rows
    whose level occurs once (Good 1953), at least ``1/(n + 1)``. ``weights`` ``(n,)`` sum to n, the
    effective sample size.
    """
    known = codes >= 0
    counts = np.bincount(codes[known], weights[known], support.count)
    n = counts.sum()
    smoothed = counts + 0.5
    if support.new is None:
        return smoothed / smoothed.sum()
    rows = np.bincount(codes[known & (weights > 0)], minlength=support.count)
    rows[support.new] = 0
    once = counts[rows == 1].sum()
    new = np.clip(once + counts[support.new], n / (n + 1), n * n / (n + 1)) / n if n > 0 else 0.5
    smoothed[support.new] = 0.0
    shares = smoothed * ((1 - new) / max(smoothed.sum(), 1.0))
    shares[support.new] = new
    return shares / shares.sum()
