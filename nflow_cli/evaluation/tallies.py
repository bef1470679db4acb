"""Scores of rows, and their sums, from which a table's scores follow; those of parts add up."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from nflow_cli.config.strict import Count, Error, Figure, Strict
from nflow_cli.evaluation.ranks import Counts, summed
from nflow_cli.evaluation.warnings import LEAST_ROWS

# Means in a tally.
LOG_Q = "log_q"
BASELINE = "baseline"
GAIN = "gain"
Value = TypeVar("Value")


def effective(weights: np.ndarray) -> float:
    """Effective sample size ``(Σw)²/Σw²``; 0 without rows."""
    if not len(weights):
        return 0.0
    scaled = weights / weights.max()
    return float(scaled.sum() ** 2 / (scaled**2).sum())


class Moments(NamedTuple):
    """Weighted mean of values ``v`` with weights ``w``, and the sums of its standard error.

    Attributes:
        n: Number of rows.
        weight: ``W = Σ w``.
        mean: ``m = Σ w v / W``; NaN without rows.
        shares: ``Σ (w/W)²``.
        first: ``Σ (w/W)² (v - m)``, 0 for equal weights.
        second: ``Σ (w/W)² (v - m)²``.
    """

    n: int
    weight: float
    mean: float
    shares: float
    first: float
    second: float

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None = None) -> "Moments":
        """Moments of values ``(n,)``, with weights ``(n,)``."""
        values = np.asarray(values, np.float64)
        w = np.ones(len(values)) if weights is None else weights
        total = float(w.sum())
        if not total > 0:
            return cls(len(values), 0.0, math.nan, 0.0, 0.0, 0.0)
        with np.errstate(invalid="ignore", over="ignore"):  # of infinities, and of their like
            mean = float(np.average(values, weights=w))
            deviations = values - mean
            squares = np.square(w / total)
            first = float((squares * deviations).sum())
            second = float((squares * deviations**2).sum())
        return cls(len(values), total, mean, float(squares.sum()), first, second)

    @classmethod
    def merged(cls, parts: Iterable["Moments"]) -> "Moments":
        """Moments of the rows of all parts."""
        columns = np.array(list(parts), np.float64).reshape(-1, len(cls._fields)).T
        n = int(columns[0].sum())
        _, weight, means, shares, first, second = columns[:, columns[1] > 0]
        if not len(weight):
            return cls(n, 0.0, math.nan, 0.0, 0.0, 0.0)
        total = weight.sum()
        squares = np.square(weight / total)
        with np.errstate(invalid="ignore"):
            mean = float(np.average(means, weights=weight))
            shifts = means - mean
            second = second + 2 * shifts * first + shifts**2 * shares
            first = first + shifts * shares
        return cls(
            n=n,
            weight=float(total),
            mean=mean,
            shares=float((squares * shares).sum()),
            first=float((squares * first).sum()),
            second=float((squares * second).sum()),
        )

    @property
    def value(self) -> float | None:
        """The mean; ``None`` without weight."""
        return self.mean if self.weight > 0 else None

    @property
    def n_effective(self) -> float:
        """Effective sample size ``(Σw)²/Σw²``; 0 without weight."""
        if not self.shares > 0:
            return 0.0
        size = 1 / self.shares
        return float(self.n) if math.isclose(size, self.n, rel_tol=1e-12) else size

    @property
    def standard_error(self) -> float | None:
        """``√(n/(n - 1) Σ w² (v - m)²) / Σ w`` with the effective sample size n; ``None`` below
        n = 1.5, or if not finite.
        """
        n = self.n_effective
        if n < LEAST_ROWS or not math.isfinite(self.second):
            return None
        return math.sqrt(self.second * n / (n - 1))

    def scores(self, name: str) -> dict[str, float | None]:
        """Mean and standard error, by name."""
        return {name: self.mean, f"{name}_standard_error": self.standard_error}


class Tally(NamedTuple):
    """Sums over rows, by name: means, numbers of rows or cells, least values, and counts of the
    log-odds of levels.
    """

    means: Mapping[str, Moments] = {}
    counts: Mapping[str, int] = {}
    least: Mapping[str, float] = {}
    ranks: Mapping[str, Counts] = {}

    @classmethod
    def merged(cls, parts: Sequence["Tally"]) -> "Tally":
        """Tally of the rows of all parts."""
        return cls(
            _merged([part.means for part in parts], Moments.merged),
            _merged([part.counts for part in parts], sum),
            _merged([part.least for part in parts], min),
            _merged([part.ranks for part in parts], summed),
        )

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Tally":
        """Tally of its ``_asdict()`` in JSON."""
        means = {name: Moments(*values) for name, values in record["means"].items()}
        return cls(means, record["counts"], record["least"], record["ranks"])


def _merged(
    parts: Sequence[Mapping[str, Value]], merge: Callable[[list[Value]], Value]
) -> dict[str, Value]:
    """Values of all parts by name, those of each name merged."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: merge([part[name] for part in parts if name in part]) for name in names}


class RowScores(NamedTuple):
    """Scores of n rows, each a product of D cells: of a density of cells its columns, of flows one.

    Attributes:
        log_q: Log-probability in nats of each cell ``(n, D)``; -inf if impossible, NaN if unknown.
        members: Log-density in nats by each member ``(n, R)``.
        baseline: Log-probability of the same cells by a baseline; ``None`` without.
        columns: Names of the columns whose gains are reported.
        pit: Probability integral transforms ``(n, P)``; ``None`` without.
        pit_columns: Their names.
        n_new_levels: Cells with a level of no training row.
    """

    log_q: np.ndarray
    members: np.ndarray
    baseline: np.ndarray | None = None
    columns: Sequence[str] = ()
    pit: np.ndarray | None = None
    pit_columns: Sequence[str] = ()
    n_new_levels: int = 0

    @property
    def are_unknown(self) -> np.ndarray:
        """Rows ``(n,)`` without a known cell."""
        return np.asarray(np.isnan(self.log_q).all(axis=1))

    @property
    def log_density(self) -> np.ndarray:
        """``log q`` ``(n,)`` in nats of the known cells; NaN if there are none."""
        return np.where(self.are_unknown, np.nan, np.nansum(self.log_q, axis=1))


def tallied(scores: RowScores, weights: np.ndarray | None = None) -> Tally:
    """Sums over rows of ``log q(row) = Σ_j log q(cell_j | before)``, of the baseline, and of the
    gain, paired by row.

    Unknown cells are left out of a row, and rows without a known cell or weight ``(n,)`` of all.
    """
    w = np.ones(len(scores.log_q)) if weights is None else weights.astype(np.float64)
    unknown = np.isnan(scores.log_q)
    counted = ~scores.are_unknown & (w > 0)
    w = w[counted]
    log_q = np.where(unknown, 0.0, scores.log_q)[counted]
    possible = (log_q > -math.inf).all(axis=1)
    means = {LOG_Q: Moments.of(log_q[possible].sum(axis=1), w[possible])}
    if scores.baseline is not None:
        if not np.array_equal(np.isnan(scores.baseline), unknown):
            raise ValueError("baseline: expected the cells of q to be known, and no others")
        baseline = np.where(unknown, 0.0, scores.baseline)[counted]
        has_baseline = (baseline > -math.inf).all(axis=1)
        means[BASELINE] = Moments.of(baseline[has_baseline].sum(axis=1), w[has_baseline])
        paired = possible & has_baseline
        gains = log_q[paired] - baseline[paired]
        means[GAIN] = Moments.of(gains.sum(axis=1), w[paired])
        for name, column_gains in zip(scores.columns, gains.T):
            means[f"{GAIN}: {name}"] = Moments.of(column_gains, w[paired])
    counts = {
        "n": len(log_q),
        "n_impossible": int((~possible).sum()),
        "n_unknown": int(unknown.sum()),
        "n_new_levels": scores.n_new_levels,
    }
    return Tally(means, counts)


class Mean(Strict):
    """Mean in nats a row with its standard error; None if not finite."""

    mean: Figure
    standard_error: Error


class Likelihood(Strict):
    """Held-out log-likelihood of rows, in nats a row; ``None`` where not finite.

    Attributes:
        n: Rows with a known cell.
        log_likelihood: Mean ``log q`` of rows of positive probability.
        n_effective: Effective sample size ``(Σw)²/Σw²`` of those rows.
        n_impossible: Rows of probability 0.
        n_unknown: Cells left out: missing ones of columns without missing cells in training.
        n_new_levels: Cells with a level of no training row.
        baseline_log_likelihood: Mean by the baseline, if there is one.
        gain: Mean difference from the baseline, paired by row.
        computed_gain: Part of it by computed columns; ``None`` without any.
        column_gains: Gain of each column's cells; their sum is ``gain``.
    """

    n: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error
    n_effective: Figure
    n_impossible: Count
    n_unknown: Count
    n_new_levels: Count
    baseline_log_likelihood: Figure = None
    baseline_log_likelihood_standard_error: Error = None
    gain: Figure = None
    gain_standard_error: Error = None
    computed_gain: Figure = None
    column_gains: Mapping[str, Mean] = {}


def likelihood(tally: Tally, computed: Sequence[str] = ()) -> Likelihood:
    """Held-out log-likelihood by its :func:`tallied` sums; ``computed``: names of computed columns.

    Means are ``Σ w v / Σw`` and their standard errors ``√(n/(n - 1) Σ w² (v - m)²) / Σw``
    (:class:`Moments`).
    """
    log_q = tally.means[LOG_Q]
    figures: dict[str, Any] = log_q.scores("log_likelihood")
    if BASELINE in tally.means:
        figures |= tally.means[BASELINE].scores("baseline_log_likelihood")
        figures |= tally.means[GAIN].scores("gain")
    prefix = f"{GAIN}: "
    gains: dict[str, Mean] = {}
    for key, moments in tally.means.items():
        if key.startswith(prefix):
            gain = Mean(mean=moments.mean, standard_error=moments.standard_error)
            gains[key.removeprefix(prefix)] = gain
    if gains:
        computed_gains = [gains[name].mean or 0.0 for name in computed]
        figures["computed_gain"] = sum(computed_gains) if computed else None
        figures["column_gains"] = gains
    counts = {key: tally.counts[key] for key in ("n", "n_impossible", "n_unknown", "n_new_levels")}
    return Likelihood(**counts, **figures, n_effective=log_q.n_effective)


def of_members(
    log_q: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float | list[float]]:
    """Mean log-likelihood in nats of each member, by ``log_q`` ``(n, R)``, and the mean standard
    deviation over members; empty for one member.
    """
    if log_q.shape[1] == 1:
        return {}
    spread = log_q.std(axis=1, ddof=1)
    return {
        "member_log_likelihoods": np.average(log_q, axis=0, weights=weights).tolist(),
        "member_spread": float(np.average(spread, weights=weights)),
    }


def likelihood_of_points(log_q: np.ndarray) -> dict[str, float | None]:
    """Likelihood scores of new points by their log-density ``(n,)`` in nats.

    Returns:
        ``log_likelihood``: mean, ``-inf`` if ``q`` is 0 at a point; ``log_likelihood_inside``: mean
            where ``q > 0``, with its standard error (``None`` below 1.5 effective points) and
            ``n_effective``, effective sample size; ``n`` points, ``outside`` of which ``q`` is 0,
            and ``n_missing`` others without a log-density.
    """
    known = log_q[~np.isnan(log_q)].astype(np.float64)
    inside = Moments.of(known[known > -math.inf])
    outside = len(known) - inside.n
    mean = -math.inf if outside else inside.value
    return {
        "log_likelihood": mean,
        "log_likelihood_inside": inside.value,
        "log_likelihood_standard_error": inside.standard_error,
        "n_effective": inside.n,
        "n": len(known),
        "outside": outside,
        "n_missing": len(log_q) - len(known),
    }
