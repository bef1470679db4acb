"""Sums over the rows of a table, from which its scores follow; those of its parts add up."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.evaluation.warnings import LEAST_ROWS


def effective(weights: np.ndarray) -> float:
    """Effective sample size ``(Σw)²/Σw²``; 0 without rows."""
    scaled = weights / weights.max() if len(weights) else weights
    return float(scaled.sum() ** 2 / (scaled**2).sum()) if len(weights) else 0.0


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
        if not (total := float(w.sum())) > 0:
            return cls(len(values), 0.0, math.nan, 0.0, 0.0, 0.0)
        with np.errstate(invalid="ignore"):  # of infinities
            mean = float(np.average(values, weights=w))
            away, squares = values - mean, np.square(w / total)
            sums = (squares, squares * away, squares * away**2)
        return cls(len(values), total, mean, *(float(terms.sum()) for terms in sums))

    @classmethod
    def merged(cls, parts: Iterable["Moments"]) -> "Moments":
        """Moments of the rows of all parts."""
        every = np.array([*parts], np.float64).reshape(-1, len(cls._fields)).T
        n, some = int(every[0].sum()), every[1] > 0
        _, weight, means, shares, first, second = every[:, some]
        if not some.any():
            return cls(n, 0.0, math.nan, 0.0, 0.0, 0.0)
        total, squares = weight.sum(), np.square(weight / weight.sum())
        with np.errstate(invalid="ignore"):
            mean = float(np.average(means, weights=weight))
            away = means - mean
            firsts = first + away * shares
            seconds = second + 2 * away * first + away**2 * shares
        sums = (float((squares * terms).sum()) for terms in (shares, firsts, seconds))
        return cls(n, float(total), mean, *sums)

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
    """Sums over rows, by name: means, numbers of rows or cells, and least values."""

    means: Mapping[str, Moments] = {}
    counts: Mapping[str, int] = {}
    least: Mapping[str, float] = {}

    @classmethod
    def merged(cls, parts: Sequence["Tally"]) -> "Tally":
        """Tally of the rows of all parts."""
        return cls(
            _merged([part.means for part in parts], Moments.merged),
            _merged([part.counts for part in parts], sum),
            _merged([part.least for part in parts], min),
        )

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Tally":
        """Tally of its ``_asdict()`` in JSON."""
        means = {name: Moments(*values) for name, values in record["means"].items()}
        return cls(means, record["counts"], record["least"])


def _merged(parts: Sequence[Mapping[str, Any]], merge: Any) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: merge([part[name] for part in parts if name in part]) for name in names}
