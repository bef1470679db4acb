"""Marginal of one column: shares of outcomes and a mixture of normals."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.arrays import logsumexp
from nflow_cli.densities.cells.layout import Outcomes
from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals


@dataclass(frozen=True, eq=False)
class Marginal:
    """Marginal of a column's cells: normalised log-shares ``(L,)`` of its outcomes, and the
    distribution of its numbers in column units, of no normals if it has none.
    """

    outcomes: Outcomes
    log_shares: np.ndarray
    normals: Normals

    def log_prob(self, codes: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` of cells in nats, by codes and intervals; 0 if unknown."""
        number, log_p = self.outcomes.number, np.where(codes < 0, 0.0, self.log_shares[codes])
        some = np.flatnonzero(self.outcomes.have_numbers(codes))
        if number is None or not len(some):
            return log_p
        # Values on no grid have mass 0; of very large ones the square overflows.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            smooth = self.log_shares[number] + self.normals.log_mass(centre[some], half[some])
        both = np.logaddexp(log_p[some], smooth)
        log_p[some] = np.where(codes[some] == number, smooth, both)
        return log_p

    @property
    def log_new(self) -> float:
        """Log-probability of a cell that no training row has."""
        return float(self.log_shares[-1]) if self.outcomes.has_new else -np.inf

    @property
    def log_learnt(self) -> float:
        """Log-probability of any other cell."""
        return float(np.log1p(-np.exp(self.log_new)))

    @property
    def log_present(self) -> float:
        """Log-probability of a cell that is neither missing nor new."""
        gaps = int(self.outcomes.has_gaps)
        return float(logsumexp(self.log_shares[: self.outcomes.learnt - gaps], 0, np))


def fit_marginal(
    outcomes: Outcomes,
    codes: np.ndarray,
    centre: np.ndarray | None = None,
    half: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    floor: float = 1e-3,
    widest: float | None = None,
) -> Marginal:
    """Fit the marginal of a column to training rows.

    ``codes``: outcomes ``(n,)``, -1 if unknown; ``centre`` and ``half``: middles and half widths
    ``(n,)`` of numbers' intervals; ``weights`` of the rows ``(n,)``; ``floor`` and ``widest`` as
    of :func:`~nflow_cli.densities.cells.normals.fit_normals`.
    """
    scaled = scaled_weights(len(codes), weights)
    log_shares = np.log(outcome_shares(outcomes, codes, scaled))
    if outcomes.number is None or centre is None or half is None:
        return Marginal(outcomes, log_shares, Normals(*np.zeros((3, 0))))
    cells = np.flatnonzero((codes == outcomes.number) & (scaled > 0))
    normals = fit_normals(centre[cells], half[cells], scaled[cells], floor, widest)
    return Marginal(outcomes, log_shares, normals)


def outcome_shares(outcomes: Outcomes, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares ``(L,)`` of a column's outcomes, positive, of sum 1.

    Each counts half a row more (Krichevsky & Trofimov 1981). A new level has the share of rows
    whose level occurs once (Good 1953), at least ``1/(n + 1)``. ``weights`` ``(n,)`` sum to n, the
    effective sample size.
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
