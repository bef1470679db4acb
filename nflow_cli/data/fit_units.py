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
STEPS = 50  # of Fisher scoring, at most,
HALVINGS = 20  # and of a step
MIN_STEP_GAIN = 1e-3  # total nats: a step that gains less is the last
# Search range of an asinh: of the arsinh of its centre, and of its log scale,
SEARCHED = np.array([3.0, 4.0])  # to each side of 0, in robust units
LEAST_SCALE = 0.05
GRID = 7  # places a side
ZOOMS = 8
QUANTILES = 2_000  # for its fit
LEAST_SKEWED = 30  # rows
# Nats a row, and in all, that an asinh must add to a scale: mixtures of normals in the user's units
# are not normal in others.
SKEW_GAIN = 0.2
SKEW_GAIN_ALL = 4.0
NODES = 60  # of a quadrature over N(0, 1)


class Bounds(NamedTuple):
    """Open bounds of a column; ``None``: unbounded."""

    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Bounds, infinite for ``None``."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low, high


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
        chain = _fit_scale(u[:ROWS], robust, tails)
        if skewed and len(x) >= LEAST_SKEWED:
            asinh = _fit_asinh(u, robust)
            gain = asinh.log_likelihood - chain.log_likelihood
            if gain > max(SKEW_GAIN, SKEW_GAIN_ALL / min(len(x), ROWS)):
                chain = asinh
        maps = [first, *chain.maps] if first else chain.maps
        chains.append(_Chain(chain.log_likelihood + log_det[:ROWS].mean(), maps))
    return max(chains, key=lambda chain: chain.log_likelihood).maps


def _bounded(x: np.ndarray, bounds: Bounds, skewed: bool) -> list[ColumnMap | None]:
    """Maps that may be the first of a column, by its bounds; None: without bounds."""
    low, high = bounds
    above, below = bounds.ends
    if not above < x.min() <= x.max() < below:
        raise DataError(
            f"expected values above {above} and below {below}. Received: {x.min()} to {x.max()}"
        )
    if low is None and high is None:
        return [None]
    if low is None:
        return _one_sided(x, below, "below", skewed)
    if high is None:
        return _one_sided(x, above, "above", skewed)
    return [Logit(low, high)]


def _one_sided(x: np.ndarray, bound: float, side: Side, skewed: bool) -> list[ColumnMap | None]:
    softplus = Softplus(bound, side, float(np.median(np.abs(x - bound))))
    return [softplus] if skewed else [Log(bound, side), softplus]


def _fit_scale(u: np.ndarray, robust: Scale, tails: Tails) -> _Chain:
    """Scale, and heavy tails if they add more than 2 nats in all, of values in robust units."""
    normal = -0.5 * (LOG_2PI + 1 + math.log(max(u.var(), np.finfo(np.float64).tiny)))
    away = -math.log(robust.scale)
    if tails == "tukey-h":
        (centre, log_scale, h), log_likelihood = _fit_tail(u)
        if log_likelihood > len(u) * normal + MIN_TAIL_GAIN:
            scale = Scale(robust.centre + robust.scale * centre, robust.scale * math.exp(log_scale))
            return _Chain(log_likelihood / len(u) + away, [scale, TukeyH(h)])
    return _Chain(normal + away, [robust])


def _fit_asinh(u: np.ndarray, robust: Scale) -> _Chain:
    """Fit Johnson's S_U to values in R, in robust units.

    Its ends are the extreme values; centre and scale are searched on grids, each around the last
    best and half as wide; mean and scale after the asinh are the rows'.
    """
    rows = u[:ROWS]
    ranks = np.linspace(0, len(rows) - 1, min(len(rows), QUANTILES)).round().astype(int)
    quantiles = np.sort(rows)[ranks]
    best = -math.inf
    point = np.zeros(2)
    grid = 2 * np.array(list(np.ndindex(GRID, GRID))) / (GRID - 1) - 1
    for zoom in range(ZOOMS):
        points = point + SEARCHED / 2**zoom * grid
        log_likelihoods = _likelihood_of_asinh(quantiles, *_asinh(points)).log_likelihood
        if log_likelihoods.max() > best:
            best = log_likelihoods.max()
            point = points[log_likelihoods.argmax()]
    centres, scales = _asinh(point[None])
    fit = _likelihood_of_asinh(rows, centres, scales)
    centre = float(centres[0, 0])
    scale = float(scales[0, 0])
    ends = np.arcsinh((u - centre) / scale)
    asinh = Asinh(
        robust.centre + robust.scale * centre,
        robust.scale * scale,
        float(ends.min()),
        float(ends.max()),
    )
    log_likelihood = float(fit.log_likelihood[0]) - math.log(robust.scale)
    return _Chain(log_likelihood, [asinh, Scale(float(fit.mean[0]), float(fit.deviation[0]))])


def _asinh(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and scales ``(g, 1)`` of points ``(g, 2)`` of the search."""
    return np.sinh(points[:, :1]), np.maximum(np.exp(points[:, 1:]), LEAST_SCALE)


class _AsinhFits(NamedTuple):
    """Mean log-likelihoods ``(g,)`` in nats, and means and deviations after the asinh."""

    log_likelihood: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def _likelihood_of_asinh(u: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> _AsinhFits:
    """Likelihood of values ``(n,)`` under each centre and scale ``(g, 1)``."""
    y = (u - centre) / scale
    z = np.arcsinh(y)
    log_det = -np.log1p(y * y) / 2 - np.log(scale)
    deviation = np.maximum(z.std(axis=1), np.finfo(float).tiny)
    log_likelihood = log_det.mean(axis=1) - 0.5 * (LOG_2PI + 1) - np.log(deviation)
    return _AsinhFits(log_likelihood, z.mean(axis=1), deviation)


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
    parameters = _start(u)
    log_likelihood, z = _likelihood(u, parameters)
    for _ in range(STEPS):
        slope = _scores(z, parameters).sum(axis=0)
        free = np.where(slope < 0, parameters > LEAST, parameters < MOST)
        information = len(u) * _information(parameters)[np.ix_(free, free)]
        step = np.zeros(3)
        step[free] = np.linalg.solve(information, slope[free])
        previous = log_likelihood
        for halving in range(HALVINGS):
            new = np.clip(parameters + step / 2**halving, LEAST, MOST)
            new_log_likelihood, new_z = _likelihood(u, new)
            if new_log_likelihood > previous:
                parameters = new
                log_likelihood = new_log_likelihood
                z = new_z
                break
        if log_likelihood - previous < MIN_STEP_GAIN:
            break
    return parameters.tolist(), log_likelihood


def _start(u: np.ndarray) -> np.ndarray:
    """Centre, log scale and h by the quartiles of N(0, 1), and the 95 % of ``u``.

    ``log(u/z)`` at the 97.5th and 75th percentile differ by ``h/2`` times the difference of ``z²``.
    """
    spread = np.subtract(*np.quantile(u, [0.975, 0.025])) / (2 * NORMAL_95)
    h = math.log(max(spread, 1.0)) / (0.5 * (NORMAL_95**2 - (NORMAL_IQR / 2) ** 2))
    h = min(max(h, LEAST_START), MOST[2])
    return np.array([0.0, -h * (NORMAL_IQR / 2) ** 2 / 2, h])


def _likelihood(u: np.ndarray, parameters: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-likelihood of values ``(n,)`` under centre, log scale and h, and their z ``(n,)``."""
    centre, log_scale, h = parameters.tolist()
    z, log_det = TukeyH(h).inside((u - centre) / math.exp(log_scale))
    return float((-0.5 * (z * z + LOG_2PI) + log_det - log_scale).sum()), z


def _scores(z: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Derivatives ``(n, 3)`` of each row's log-likelihood by c, log s and h.

    With ``w = h z²`` it is ``-z²/2 - w/2 - log(1 + w) - log s``, and the slopes of ``z`` by c, log
    s and h are ``-exp(-w/2) / (s (1 + w))``, ``-z / (1 + w)`` and ``-z³ / (2 (1 + w))``.
    """
    _, log_scale, h = parameters.tolist()
    w = h * z * z
    by_z = -z * (1 + h + 2 * h / (1 + w))
    by_centre = -by_z * np.exp(-w / 2 - log_scale) / (1 + w)
    by_log_scale = -by_z * z / (1 + w) - 1
    by_h = -z * z * (0.5 + 1 / (1 + w)) - by_z * z**3 / (2 * (1 + w))
    return np.stack([by_centre, by_log_scale, by_h], axis=1)


def _information(parameters: np.ndarray) -> np.ndarray:
    """Fisher information ``(3, 3)`` of one row, by Gauss-Hermite quadrature."""
    nodes, weights = hermegauss(NODES)
    scores = _scores(nodes, parameters)
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
    bounds = Bounds(
        low=None if low is None else low - half,
        high=None if high is None else high + half,
    )
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
    """Values ``(n,)``, those equal at equal distances over an interval of a step ``(n,)``."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(first, counts) + 0.5
    shift = np.empty(len(values))
    shift[order] = place / np.repeat(counts, counts) - 0.5
    return values + steps * shift
