"""Calibration by the probability integral transform (PIT) of held-out cells. No Keras here."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.weighted import effective

SURE = 0.95  # of samples from the density stay within a band
CALIBRATED = 0.99  # of samples from the density are judged as calibrated
TERMS = 100  # of Kolmogorov's series


class ColumnPit(Strict):
    """The PIT of one column beside the uniform distribution.

    Attributes:
        distance: Kolmogorov's ``sup |F_n(u) - u|``; None where no cell is known.
        band: What the distances of all columns stay below, each in this column's number of rows, in
            99 % of samples from the density.
        p_value: The probability of such a distance or a larger one in this column alone.
        n: Number of known cells.
        n_effective: Their effective sample size ``(Σw)²/Σw²``.
    """

    distance: float | None
    band: float | None
    p_value: float | None
    n: int
    n_effective: float

    @property
    def excess(self) -> float:
        """The distance in units of the band; 0 where nothing is known."""
        return self.distance / self.band if self.distance is not None and self.band else 0.0


class Pit(Strict):
    """Calibration of a density in each column."""

    columns: Mapping[str, ColumnPit]

    @property
    def worst_column(self) -> str | None:
        """The column furthest from uniform beside its band; None where no cell is known."""
        known = [name for name, column in self.columns.items() if column.distance is not None]
        return max(known, key=lambda name: self.columns[name].excess, default=None)

    @property
    def p_value(self) -> float | None:
        """The least p-value times the number of columns (Bonferroni), at most 1."""
        values = [c.p_value for c in self.columns.values() if c.p_value is not None]
        return min(1.0, min(values) * len(values)) if values else None

    @property
    def is_calibrated(self) -> bool | None:
        """Whether every column stays within its 99 % band; None where no cell is known."""
        known = [c for c in self.columns.values() if c.distance is not None]
        return all(c.excess <= 1 for c in known) if known else None


def pit(values: np.ndarray, columns: Sequence[str], weights: np.ndarray | None = None) -> Pit:
    """Judge a density by the randomised PIT of held-out cells, which is uniform if they are its.

    A number's PIT is ``F(x | before)``; that of an outcome with mass is uniform between the sums of
    the masses up to it, without and with its own (Smith 1985), so that no draws of the density are
    needed.

    Args:
        values: ``(n, D)`` in [0, 1]; NaN where a cell is unknown.
        columns: The D names.
        weights: ``(n,)``, of the rows.
    """
    w = np.ones(len(values)) if weights is None else weights.astype(np.float64)
    known = np.isfinite(values) & (w > 0)[:, None]
    judged = int(known.any(axis=0).sum())
    parts = zip(columns, values.T, known.T, strict=True)
    return Pit(columns={name: _column(u[at], w[at], judged) for name, u, at in parts})


def _column(u: np.ndarray, weights: np.ndarray, count: int) -> ColumnPit:
    n = effective(weights)
    distance = from_uniform(u, weights)[0] if len(u) else None
    return ColumnPit(
        distance=distance,
        band=band(round(n), count, CALIBRATED) if len(u) else None,
        p_value=None if distance is None else p_value(distance, n),
        n=len(u),
        n_effective=n,
    )


def from_uniform(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return ``sup |F_n(u) - u|`` of weighted values ``(n,)``, the u where it is, and F_n there.

    The weighted form of :func:`~nflow_cli.evaluation.normality.distance`.
    """
    order = np.argsort(values, kind="stable")
    u = np.tile(values[order], 2)
    after = np.cumsum(weights[order]) / weights.sum()
    share = np.concatenate([after, [0.0], after[:-1]])
    at = int(np.argmax(np.abs(share - u)))
    return float(abs(share[at] - u[at])), float(u[at]), float(share[at])


def band(n: int, count: int = 1, sure: float = SURE) -> float:
    """Return what the largest of ``count`` distances stays below in 95 % of samples of n rows.

    The samples are independent of each other and of the density; ``sure`` is another share. For
    one, about ``1.358 / √n``; Kolmogorov's limit ``P(√n d > x) = 2 exp(-2x^2)``, whose further
    terms are below 1e-6 here, with Stephens' correction for few rows (1970), good to 1 % from 5
    rows on.
    """
    exceeded = -math.expm1(math.log(sure) / count)
    return min(1.0, math.sqrt(math.log(2 / exceeded) / 2) / _root(n))


def p_value(distance: float, n: float) -> float:
    """Return the probability that n uniform values have this Kolmogorov distance or a larger one.

    Kolmogorov's limit ``2 Σ (-1)^(k-1) exp(-2 k² x²)``, with Stephens' correction as in
    :func:`band`.
    """
    x, k = distance * _root(n), np.arange(1, TERMS + 1)
    if x < 0.2:  # the series converges slowly, and 1 is right to 1e-12
        return 1.0
    return float(np.clip(2 * np.sum((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)), 0, 1))


def _root(n: float) -> float:
    root = math.sqrt(n)
    return root + 0.12 + 0.11 / root
