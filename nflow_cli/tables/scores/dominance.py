"""Rows by which the log-likelihood of a table is decided."""

import numpy as np

from nflow_cli.config.strict import Count, Strict, Text
from nflow_cli.evaluation.tallies import Moments, RowScores, effective

SHARE = 0.5  # of the excess of all rows, above which one decides the mean
CHANCE = 1e-3  # that an exact density has such a row, if its tails are exponential in nats


class DominantRow(Strict):
    """Row that makes more than half of the excess of all rows, and its likely cause.

    The excess ``e = max(median(log q) - log q, 0)`` of a row is independent of units.

    Attributes:
        row: Number of the row, from 1.
        share: ``w e / Σ w e``.
        nats: ``e``.
        column: Column whose cell is furthest below the median of its column; ``None`` if rows
            have one cell, as of flows.
        column_nats: By how many nats.
        others_log_likelihood: Mean ``log q`` of all other rows.
    """

    row: Count
    share: float
    nats: float
    column: Text | None
    column_nats: float
    others_log_likelihood: float


def dominant_row(scores: RowScores, weights: np.ndarray | None = None) -> DominantRow | None:
    """Row by which the mean log q is decided, beyond chance, with weights ``(n,)``; else ``None``.

    Rows are compared, not cells, which make up for one another in a row; by excesses, not squares,
    of which one row has half in every fifth sample of 30 normal numbers. If ``P(e > t)`` falls
    exponentially, as of power laws, one of m excesses has a share above g ≥ 1/2 with probability
    ``m (1 - g)^(m - 1)`` (Fisher 1929), which must be below 0.001. Where one row is odd among
    equal ones, as by a rare level, m is 1, and no share is beyond chance.
    """
    log_q = scores.log_density
    w = np.ones(len(log_q)) if weights is None else weights.astype(np.float64)
    counted = np.isfinite(log_q) & (w > 0)
    if not counted.any():
        return None
    excess = np.zeros(len(log_q))
    excess[counted] = np.maximum(np.median(log_q[counted]) - log_q[counted], 0.0)
    costs = w * excess
    m = effective(w[costs > 0])
    if not m > 1:
        return None
    row = int(costs.argmax())
    share = float(costs[row] / costs.sum())
    if not (share > SHARE and m * (1 - share) ** (m - 1) < CHANCE):
        return None
    known = np.flatnonzero(~np.isnan(scores.log_q[row]))
    cells = scores.log_q[:, known]
    below = np.nanmedian(cells[counted], axis=0) - cells[row]
    column = int(below.argmax())
    counted[row] = False
    return DominantRow(
        row=row + 1,
        share=share,
        nats=excess[row],
        column=scores.pit_columns[int(known[column])] if scores.log_q.shape[1] > 1 else None,
        column_nats=below[column],
        others_log_likelihood=Moments.of(log_q[counted], w[counted]).mean,
    )
