"""Held-out log-likelihood of a table, and the gain over baselines."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.weighted import effective, weighted_mean


class Mean(Strict):
    """Mean in nats per row with its standard error; None if not finite."""

    mean: float | None
    standard_error: float | None


class Gain(Mean):
    """Mean of ``log q`` minus that of a baseline, paired by row.

    Attributes:
        columns: Gains that sum to the mean.
        n: Rows possible under both.
        n_impossible: Rows impossible under the baseline alone.
    """

    columns: Mapping[str, Mean]
    n: int
    n_impossible: int


class Likelihood(Mean):
    """Mean ``log q`` of the possible held-out rows.

    Attributes:
        n: Number of rows.
        n_effective: Effective sample size ``(Σw)²/Σw²`` of possible rows.
        n_impossible: Rows with ``log q = -inf``.
        n_unknown: Cells left out.
        gains: Over each baseline, by name.
    """

    n: int
    n_effective: float
    n_impossible: int
    n_unknown: int
    gains: Mapping[str, Gain]


def likelihood(
    log_q: np.ndarray,
    columns: Sequence[str],
    baselines: Mapping[str, np.ndarray],
    weights: np.ndarray | None = None,
) -> Likelihood:
    """Held-out log-likelihood, ``log q(row) = Σ_j log q(cell_j | before)``.

    Means are ``Σ w v / Σw`` and their standard errors ``√(n/(n - 1) Σ w² (v - m)²) / Σw``
    (:func:`~nflow_cli.evaluation.weighted.weighted_mean`).

    Args:
        log_q: ``(n, D)`` in nats, of each cell; -inf if impossible, NaN if unknown and left out of
            the sum.
        columns: D names.
        baselines: The same of other densities, by name, with the same unknown cells.
        weights: Of the rows ``(n,)``.
    """
    w = np.ones(len(log_q)) if weights is None else weights.astype(np.float64)
    unknown = np.isnan(log_q)
    for name, cells in baselines.items():
        if cells.shape != log_q.shape or (np.isnan(cells) != unknown).any():
            raise ValueError(f"{name}: expected the cells of q to be known, and no others")
    known = {name: np.where(unknown, 0.0, cells) for name, cells in baselines.items()}
    cells = np.where(unknown, 0.0, log_q)
    possible = (cells > -math.inf).all(axis=1)
    return Likelihood(
        **_mean(cells[possible].sum(axis=1), w[possible]),
        n=len(cells),
        n_effective=effective(w[possible]),
        n_impossible=int((~possible).sum()),
        n_unknown=int(unknown.sum()),
        gains={
            n: _gain(cells[possible], b[possible], columns, w[possible]) for n, b in known.items()
        },
    )


def _gain(
    log_q: np.ndarray, baseline: np.ndarray, columns: Sequence[str], weights: np.ndarray
) -> Gain:
    possible = (baseline > -math.inf).all(axis=1)
    cells, w = log_q[possible] - baseline[possible], weights[possible]
    return Gain(
        **_mean(cells.sum(axis=1), w),
        columns={name: Mean(**_mean(v, w)) for name, v in zip(columns, cells.T, strict=True)},
        n=len(cells),
        n_impossible=int((~possible).sum()),
    )


def _mean(values: np.ndarray, weights: np.ndarray) -> dict[str, float | None]:
    if not weights.sum() > 0:
        return {"mean": None, "standard_error": None}
    figures = weighted_mean("mean", values, weights)
    names = {"mean": "mean", "standard_error": "mean_standard_error"}
    finite = {name: figures[key] for name, key in names.items() if math.isfinite(figures[key])}
    return {"mean": None, "standard_error": None} | finite
