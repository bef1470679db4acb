"""Held-out log-likelihood of a table, and the gain over baselines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.tallies import Moments, Tally

LOG_Q = "log_q"  # in a tally


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


def tallied(
    log_q: np.ndarray,
    columns: Sequence[str],
    baselines: Mapping[str, np.ndarray],
    weights: np.ndarray | None = None,
) -> Tally:
    """Sums over rows of the held-out log-likelihood, ``log q(row) = Σ_j log q(cell_j | before)``.

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
    cells = np.where(unknown, 0.0, log_q)
    possible = (cells > -math.inf).all(axis=1)
    means = {LOG_Q: Moments.of(cells[possible].sum(axis=1), w[possible])}
    counts = {"n": len(cells), "n_impossible": int((~possible).sum())}
    counts["n_unknown"] = int(unknown.sum())
    for name, baseline in baselines.items():
        known = np.where(unknown, 0.0, baseline)
        both = possible & (known > -math.inf).all(axis=1)
        gains = cells[both] - known[both]
        means[name] = Moments.of(gains.sum(axis=1), w[both])
        of_cells = zip(columns, gains.T, strict=True)
        means |= {_key(name, column): Moments.of(v, w[both]) for column, v in of_cells}
        counts[_key(name, "n_impossible")] = int((possible & ~both).sum())
    return Tally(means, counts)


def likelihood_of(tally: Tally, baselines: Sequence[str]) -> Likelihood:
    """Held-out log-likelihood by its :func:`tallied` sums.

    Means are ``Σ w v / Σw`` and their standard errors ``√(n/(n - 1) Σ w² (v - m)²) / Σw``
    (:class:`~nflow_cli.evaluation.tallies.Moments`).
    """
    judged = tally.means[LOG_Q]
    return Likelihood(
        **_mean(judged),
        n=tally.counts["n"],
        n_effective=judged.n_effective,
        n_impossible=tally.counts["n_impossible"],
        n_unknown=tally.counts["n_unknown"],
        gains={name: _gain(tally, name) for name in baselines},
    )


def _gain(tally: Tally, name: str) -> Gain:
    start = _key(name, "")
    return Gain(
        **_mean(tally.means[name]),
        columns={
            key.removeprefix(start): Mean(**_mean(moments))
            for key, moments in tally.means.items()
            if key.startswith(start)
        },
        n=tally.means[name].n,
        n_impossible=tally.counts[_key(name, "n_impossible")],
    )


def _key(baseline: str, column: str) -> str:
    return f"{baseline}: {column}"


def _mean(moments: Moments) -> dict[str, float | None]:
    mean = moments.value
    is_finite = mean is not None and math.isfinite(mean)
    return {"mean": mean if is_finite else None, "standard_error": moments.standard_error}


def tallied_points(log_q: np.ndarray, weights: np.ndarray | None = None) -> Tally:
    """Sums of :func:`likelihood_of_points` by the log-density ``(n,)`` in nats."""
    log_q, known = log_q.astype(np.float64), ~np.isnan(log_q)
    counts = known if weights is None else known & (weights > 0)
    inside = counts & (log_q > -math.inf)
    moments = Moments.of(log_q[inside], None if weights is None else weights[inside])
    n, n_inside, n_missing = (int(some.sum()) for some in (counts, inside, ~known))
    return Tally({LOG_Q: moments}, {"n": n, "outside": n - n_inside, "n_missing": n_missing})


def likelihood_of_points(tally: Tally) -> dict[str, Any]:
    """Likelihood scores by sums over new points, weighted.

    Returns:
        ``log_likelihood``: mean, ``-inf`` if ``q`` is 0 at a point; ``log_likelihood_inside``: mean
            where ``q > 0``, with its standard error (``None`` below 1.5 effective points) and
            effective sample size ``n_effective``; ``n`` points with weight, ``outside`` of them
            with ``q = 0``; ``n_missing`` with a NaN.
    """
    inside, counts = tally.means[LOG_Q], tally.counts
    size = inside.n_effective
    return {
        "log_likelihood": -math.inf if counts["outside"] else inside.value,
        "log_likelihood_inside": inside.value,
        "log_likelihood_standard_error": inside.standard_error,
        "n_effective": inside.n if size == inside.n else size,
        **{name: counts[name] for name in ("n", "outside", "n_missing")},
    }
