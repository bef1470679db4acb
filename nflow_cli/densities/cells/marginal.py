"""The marginal of one column: shares of its outcomes and a mixture of normals. No Keras here."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.densities.cells.mixing import scaled_weights
from nflow_cli.densities.cells.normals import Normals, fit_normals


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a column's cells, by number.

    Attributes:
        count: How many there are.
        number: Which one is a number, with an interval; ``None`` where there is none.
        new: Which one is a level that the training rows do not have.
        floor: The least scale of a normal, in the column's units.
        widest: The scale of a broad one; ``None``: five times the range of the numbers.
    """

    count: int
    number: int | None = None
    new: int | None = None
    floor: float = 1e-3
    widest: float | None = None


@dataclass(frozen=True, eq=False)
class Marginal:
    """The marginal distribution of a column's cells.

    Attributes:
        log_shares: Of the outcomes, ``(L,)``, normalised.
        number: Which outcome is a number, or ``None``.
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
