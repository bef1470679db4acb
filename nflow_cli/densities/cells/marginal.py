"""Marginal of one column: shares of outcomes and a mixture of normals."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.densities.cells.layout import Outcomes
from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals


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
        return Marginal(log_shares, None, Normals(*np.zeros((3, 0))))
    cells = np.flatnonzero((codes == outcomes.number) & (scaled > 0))
    normals = fit_normals(centre[cells], half[cells], scaled[cells], floor, widest)
    return Marginal(log_shares, outcomes.number, normals)


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
