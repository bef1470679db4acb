"""Marginal of one column: shares of outcomes and a mixture of normals."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals


@dataclass(frozen=True)
class Support:
    """Possible outcomes of a column's cells, and limits of the scales of its normals.

    Attributes:
        count: Number of outcomes.
        number: First outcome that is a number, with an interval; ``None``: none.
        new: A level that no training row has.
        floor: Least scale of a normal, in column units.
        widest: Scale of the broad normal; ``None``: five times the range.
    """

    count: int
    number: int | None = None
    new: int | None = None
    floor: float = 1e-3
    widest: float | None = None

    def are_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are the number, which a column may lack."""
        return codes == (-2 if self.number is None else self.number)

    def have_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are of numbers, atoms among them."""
        return (codes >= 0) & (codes <= (-1 if self.number is None else self.number))


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
