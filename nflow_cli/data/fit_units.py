"""Maximum-likelihood maps of columns to about N(0, 1), by training rows."""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.table import Tails
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.column_maps import (
    Asinh,
    ColumnMap,
    Log,
    Logit,
    Scale,
    Side,
    Softplus,
    TukeyH,
)
from nflow_cli.errors import DataError

ROWS = 20_000  # for the fit of a tail, at most
NORMAL_IQR = 1.3489795003921634  # of N(0, 1)
NORMAL_95 = 1.959963984540054  # the 97.5 % quantile of N(0, 1)
NORMAL_MAD = 1.482602218505602  # 1 over the median of |z|, z ~ N(0, 1)
STRAIGHT = 0.01  # quantile of numbers from which on units that end at 0 are straight,
STRAIGHT_SCALES = 8.0  # from the end to that quantile, in scales: slope 1 to 0.03 %
MAX_VALUE = 1e150  # larger ones are clipped: their squares overflow
MIN_TAIL_GAIN = 2.0  # total nats that heavy tails must add

# Limits of a tail's centre and log scale, in robust units, and of h. If many rows are equal the
# likelihood has no maximum: a scale of 0 is infinitely likely.
LEAST = np.array([-2.0, -math.log(4), 0.0])
MOST = np.array([2.0, math.log(4), 2.0])
LEAST_START = 0.02  # of h: at 0 an outlier would outweigh all other rows
STEPS, HALVINGS = 50, 20  # of Fisher scoring, and of a step, at most
MIN_STEP_GAIN = 1e-3  # total nats: a step that gains less is the last
# Search range of an asinh: of the arsinh of its centre, and of its log scale,
SEARCHED = np.array([3.0, 4.0])  # to each side of 0, in robust units
LEAST_SCALE = 0.05
GRID, ZOOMS = 7, 8
QUANTILES = 2_000  # for its fit
LEAST_SKEWED = 30  # rows
# Nats a row, and in all, that an asinh must add to a scale: mixtures of normals in the user's units
# are not normal in others.
SKEW_GAIN, SKEW_GAIN_ALL = 0.2, 4.0
NODES = 60  # of a quadrature over N(0, 1)


class Bounds(NamedTuple):
    """Open bounds of a column; ``None``: unbounded."""

    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """With infinities for ``None``."""
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )


class _Chain(NamedTuple):
    """Maps of a column, and its mean log-likelihood in nats, if known."""

    log_likelihood: float
    maps: list[ColumnMap]


def fit_units(
    x: np.ndarray,
    bounds: Bounds | None = None,
    tails: Tails = "tukey-h",
    skewed: bool = False,
) -> list[ColumnMap]:
    """Maps of a column of training rows to about N(0, 1).

    Bounds go first: a logit between two; of one, the likelier of logarithm and softplus. Then a
    robust centre and scale, and Tukey's h if it adds more than 2 nats in all.

    Args:
        x: ``(n,)``, float64, finite, in random order: a tail is fitted to the first 20,000.
        bounds: Open; a row on one or outside is refused.
        tails: "tukey-h", or "none".
        skewed: Asinh in place of scale and tails if it adds more than 0.2 nats a row. One bound
            then has the softplus alone: the inverse of a logarithm is unbounded.
    """
    chains: list[_Chain] = []
    for first in _bounded(x, bounds or Bounds(), skewed):
        y, log_det = first.inside(x) if first else (x, np.zeros_like(x))
        if y.min() == y.max():
            raise DataError(f"expected values that differ. Received: {x[0]} alone")
        robust = _robust(y)
        u = np.clip(robust.inside(y)[0], -MAX_VALUE, MAX_VALUE)
        rest = _fit_rest(u[:ROWS], robust, tails)
        if skewed and len(x) >= LEAST_SKEWED:
            other = _fit_asinh(u, robust)
            gain = other.log_likelihood - rest.log_likelihood
            is_worth = gain > max(SKEW_GAIN, SKEW_GAIN_ALL / min(len(x), ROWS))
            rest = other if is_worth else rest
        maps = [first, *rest.maps] if first else rest.maps
        chains.append(_Chain(rest.log_likelihood + log_det[:ROWS].mean(), maps))
    return max(chains, key=lambda chain: chain.log_likelihood).maps


def _bounded(x: np.ndarray, bounds: Bounds, skewed: bool) -> list[ColumnMap | None]:
    (low, high), (above, below) = bounds, bounds.ends
    least, most = x.min(), x.max()
    if not above < least <= most < below:
        raise DataError(
            f"expected values above {above} and below {below}. Received: {least} to {most}"
        )
    if low is None:
        return [None] if high is None else _one_sided(x, high, "below", skewed)
    return _one_sided(x, low, "above", skewed) if high is None else [Logit(low, high)]


def _one_sided(x: np.ndarray, bound: float, side: Side, skewed: bool) -> list[ColumnMap | None]:
    softplus = Softplus(bound, side, float(np.median(np.abs(x - bound))))
    return [softplus] if skewed else [Log(bound, side), softplus]


def _fit_rest(u: np.ndarray, robust: Scale, tails: Tails) -> _Chain:
    normal = -0.5 * (LOG_2PI + 1 + math.log(max(u.var(), np.finfo(np.float64).tiny)))
    away = -math.log(robust.scale)
    if tails == "tukey-h":
        (centre, log_scale, h), log_likelihood = _fit_tail(u)
        if log_likelihood > len(u) * normal + MIN_TAIL_GAIN:
            scale = Scale(robust.centre + robust.scale * centre, robust.scale * math.exp(log_scale))
            return _Chain(log_likelihood / len(u) + away, [scale, TukeyH(h)])
    return _Chain(normal + away, [robust])


def _fit_asinh(whole: np.ndarray, robust: Scale) -> _Chain:
    """Fit Johnson's S_U to values in R, in robust units.

    Its ends are the extreme values; centre and scale are searched on grids, each around the last
    best and half as wide; mean and scale after the asinh are the rows'.
    """
    u = whole[:ROWS]
    some = np.sort(u)[np.linspace(0, len(u) - 1, min(len(u), QUANTILES)).round().astype(int)]
    best, at = -math.inf, np.zeros(2)
    places = 2 * np.array(list(np.ndindex(GRID, GRID))) / (GRID - 1) - 1
    for zoom in range(ZOOMS):
        there = at + SEARCHED / 2**zoom * places
        found = _likelihood_of_asinh(some, *_asinh(there))[0]
        if found.max() > best:
            best, at = found.max(), there[found.argmax()]
    one = Scale(*np.ravel(_asinh(at[None])).tolist())
    log_likelihood, mean, scale = (
        float(value[0]) for value in _likelihood_of_asinh(u, *_asinh(at[None]))
    )
    centre, stretch = robust.centre + robust.scale * one.centre, robust.scale * one.scale
    ends = np.arcsinh((whole - one.centre) / one.scale)
    asinh = Asinh(centre, stretch, float(ends.min()), float(ends.max()))
    return _Chain(log_likelihood - math.log(robust.scale), [asinh, Scale(mean, scale)])


def _asinh(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and scales ``(g, 1)`` of places ``(g, 2)`` of the search."""
    return np.sinh(at[:, :1]), np.maximum(np.exp(at[:, 1:]), LEAST_SCALE)


def _likelihood_of_asinh(
    u: np.ndarray, centre: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean log-likelihoods ``(g,)``, and means and deviations after the asinh."""
    y = (u - centre) / scale
    z, log_det = np.arcsinh(y), -np.log1p(y * y) / 2 - np.log(scale)
    mean, deviation = z.mean(axis=1), np.maximum(z.std(axis=1), np.finfo(float).tiny)
    return log_det.mean(axis=1) - 0.5 * (LOG_2PI + 1) - np.log(deviation), mean, deviation


def _robust(y: np.ndarray) -> Scale:
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    if high > low:
        return Scale(centre, (high - low) / NORMAL_IQR)
    return Scale(centre, NORMAL_MAD * np.median(np.abs(y - centre)[y != centre]))


def _fit_tail(u: np.ndarray) -> tuple[list[float], float]:
    """Maximum-likelihood centre, log scale and h, and the log-likelihood.

    ``u = c + s z exp(h z²/2)``, ``z ~ N(0, 1)``, by Fisher scoring: steps of ``I^-1 S'1 / n``,
    ``S`` the scores of the rows and ``I`` the Fisher information, halved until they gain.
    """
    at = _start(u)
    total, z = _likelihood(u, at)
    for _ in range(STEPS):
        slope = _scores(z, at).sum(axis=0)
        free = np.where(slope < 0, at > LEAST, at < MOST)
        information = len(u) * _information(at)[np.ix_(free, free)]
        step = np.zeros(3)
        step[free] = np.linalg.solve(information, slope[free])
        for there in (np.clip(at + step / 2**halving, LEAST, MOST) for halving in range(HALVINGS)):
            new_total, new_z = _likelihood(u, there)
            if new_total > total:
                break
        else:
            break
        gain, at, total, z = new_total - total, there, new_total, new_z
        if gain < MIN_STEP_GAIN:
            break
    return at.tolist(), total


def _start(u: np.ndarray) -> np.ndarray:
    """Centre, log scale and h by the quartiles of N(0, 1), and the 95 % of ``u``.

    ``log(u/z)`` at the 97.5th and 75th percentile differ by ``h/2`` times the difference of ``z²``.
    """
    spread = np.subtract(*np.quantile(u, [0.975, 0.025])) / (2 * NORMAL_95)
    h = math.log(max(spread, 1.0)) / (0.5 * (NORMAL_95**2 - (NORMAL_IQR / 2) ** 2))
    h = min(max(h, LEAST_START), MOST[2])
    return np.array([0.0, -h * (NORMAL_IQR / 2) ** 2 / 2, h])


def _likelihood(u: np.ndarray, at: np.ndarray) -> tuple[float, np.ndarray]:
    centre, log_scale, h = at.tolist()
    z, log_det = TukeyH(h).inside((u - centre) / math.exp(log_scale))
    return float((-0.5 * (z * z + LOG_2PI) + log_det - log_scale).sum()), z


def _scores(z: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Derivatives ``(n, 3)`` of each row's log-likelihood by c, log s and h.

    With ``w = h z²`` it is ``-z²/2 - w/2 - log(1 + w) - log s``, and the slopes of ``z`` by c, log
    s and h are ``-exp(-w/2) / (s (1 + w))``, ``-z / (1 + w)`` and ``-z³ / (2 (1 + w))``.
    """
    _, log_scale, h = at.tolist()
    w = h * z * z
    by_z = -z * (1 + h + 2 * h / (1 + w))
    by_centre = -by_z * np.exp(-w / 2 - log_scale) / (1 + w)
    by_log_scale = -by_z * z / (1 + w) - 1
    by_h = -z * z * (0.5 + 1 / (1 + w)) - by_z * z**3 / (2 * (1 + w))
    return np.stack([by_centre, by_log_scale, by_h], axis=1)


def _information(at: np.ndarray) -> np.ndarray:
    """Fisher information ``(3, 3)`` of one row, by Gauss-Hermite quadrature."""
    nodes, weights = hermegauss(NODES)
    scores = _scores(nodes, at)
    return (weights[:, None] * scores).T @ scores / weights.sum()


def units_of_numbers(
    values: np.ndarray, kind: ColumnKind, may_end_at_0: bool = False
) -> list[ColumnMap]:
    """Maps of values ``(n,)`` of a column to about N(0, 1).

    A bound is half a step beyond the last possible value, at its interval's end. With
    ``may_end_at_0`` units end at 0, too, where no value is below, unless it is farther from the
    least than the greatest is: by a softplus that is straight for nearly all values. Equal values
    are spread over their intervals: otherwise the fitted tail is as heavy as it can be.
    """
    step = kind.step or 1.0
    if not len(values) or values.min() == values.max():
        return [Scale(float(values[0]) if len(values) else 0.0, step)]
    low, high = kind.bounds or (None, None)
    half = step / 2 + 4 * float(np.spacing(np.abs(values).max()))  # more than rounding
    bounds = Bounds(None if low is None else low - half, None if high is None else high + half)
    below, above = bounds.ends
    is_free = low is None and (high is None or kind.is_open) and kind.type in ("whole", "decimal")
    if may_end_at_0 and is_free and 0 <= values.min() <= np.ptp(values):
        below = -half
    steps = np.minimum(step, 2 * np.minimum(values - below, above - values))
    spread = _spread(values, steps)
    if np.isinf(below) or bounds.low is not None:
        return fit_units(spread, bounds, "none", skewed=True)
    scale = max(step, float(np.quantile(values, STRAIGHT)) / STRAIGHT_SCALES)
    first = Softplus(below, "above", scale)
    if bounds.high is not None:
        (end,), _ = first.inside(np.array([above]))
        bounds = Bounds(None, float(end))
    return [first, *fit_units(first.inside(spread)[0], bounds, "none", skewed=True)]


def _spread(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(first, counts) + 0.5
    shift = np.empty(len(values))
    shift[order] = place / np.repeat(counts, counts) - 0.5
    return values + steps * shift
