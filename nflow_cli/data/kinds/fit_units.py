"""Maximum-likelihood maps of columns to about N(0, 1), by training rows."""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from nflow_cli.config.column_kinds import ColumnKind
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

MAX_TAIL_ROWS = 20_000  # for the fit of a tail or an asinh
NORMAL_IQR = 1.3489795003921634  # of N(0, 1)
NORMAL_95 = 1.959963984540054  # the 97.5 % quantile of N(0, 1)
NORMAL_MAD = 1.482602218505602  # 1 over the median of |z|, z ~ N(0, 1)
STRAIGHT_QUANTILE = 0.01  # quantile of numbers from which on units that end at 0 are straight,
STRAIGHT_SCALES = 8.0  # from the end to that quantile, in scales: slope 1 to 0.03 %
MAX_VALUE = 1e150  # larger ones are clipped: their squares overflow
MIN_TAIL_GAIN = 2.0  # total nats that heavy tails must add

# Limits of a tail's centre and log scale, in robust units, and of h. If many rows are equal the
# likelihood has no maximum: a scale of 0 is infinitely likely.
LEAST_TAIL = np.array([-2.0, -math.log(4), 0.0])
MOST_TAIL = np.array([2.0, math.log(4), 2.0])
LEAST_START = 0.02  # of h: at 0 an outlier would outweigh all other rows
SCORING_STEPS = 50  # at most,
HALVINGS = 20  # and of each
MIN_STEP_GAIN = 1e-3  # total nats: a step that gains less is the last
# Search range of an asinh: of the arsinh of its centre, and of its log scale,
SEARCH_RANGE = np.array([3.0, 4.0])  # to each side of 0, in robust units
LEAST_SCALE = 0.05
PLACES_A_SIDE = 7  # of a grid
ZOOMS = 8  # grids, each half as wide as the last
MAX_QUANTILES = 2_000  # that stand for all rows in the search
LEAST_SKEWED_ROWS = 30  # for an asinh
# Nats a row, and in all, that an asinh must add to a scale: mixtures of normals in the user's units
# are not normal in others.
SKEW_GAIN = 0.2
SKEW_GAIN_ALL = 4.0
QUADRATURE_NODES = 60  # of a quadrature over N(0, 1)


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
    """Maps of a column to N(0, 1), and their log-likelihood in nats a row."""

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
    for first in _first_maps(x, bounds or Bounds(), skewed):
        y, log_det = first.inside(x) if first else (x, np.zeros_like(x))
        if y.min() == y.max():
            raise DataError(f"expected values that differ. Received: {x[0]} alone")
        robust = _robust_scale(y)
        u = np.clip(robust.inside(y)[0], -MAX_VALUE, MAX_VALUE)
        chain = _fit_scale_and_tails(u[:MAX_TAIL_ROWS], robust, tails)
        if skewed and len(x) >= LEAST_SKEWED_ROWS:
            asinh = _fit_asinh(u, robust)
            gain = asinh.log_likelihood - chain.log_likelihood
            if gain > max(SKEW_GAIN, SKEW_GAIN_ALL / min(len(x), MAX_TAIL_ROWS)):
                chain = asinh
        maps = [first, *chain.maps] if first else chain.maps
        chains.append(_Chain(chain.log_likelihood + log_det[:MAX_TAIL_ROWS].mean(), maps))
    return max(chains, key=lambda chain: chain.log_likelihood).maps


def _first_maps(x: np.ndarray, bounds: Bounds, skewed: bool) -> list[ColumnMap | None]:
    """Candidates for the first map of a column, by its bounds, of which the likeliest is taken:
    ``[None]`` without bounds. A DataError if a value of ``x`` ``(n,)`` is on a bound or outside.
    """
    low, high = bounds
    above, below = bounds.ends
    if not above < x.min() <= x.max() < below:
        raise DataError(
            f"expected values above {above} and below {below}. Received: {x.min()} to {x.max()}"
        )
    if low is None and high is None:
        return [None]
    if low is None:
        return _first_maps_of_one_bound(x, below, "below", skewed)
    if high is None:
        return _first_maps_of_one_bound(x, above, "above", skewed)
    return [Logit(low, high)]


def _first_maps_of_one_bound(
    x: np.ndarray, bound: float, side: Side, skewed: bool
) -> list[ColumnMap | None]:
    """Candidates for the first map of values ``x`` ``(n,)`` to one ``side`` of a bound."""
    softplus = Softplus(bound, side, float(np.median(np.abs(x - bound))))
    return [softplus] if skewed else [Log(bound, side), softplus]


def _fit_scale_and_tails(u: np.ndarray, robust: Scale, tails: Tails) -> _Chain:
    """Robust scale of values ``u`` ``(n,)`` in its units, alone, or a scale and Tukey's h if the
    tails may be heavy and add more than 2 nats in all.
    """
    # Nats a row: of a normal with the rows' mean and variance, and by the change of units.
    normal = -0.5 * (LOG_2PI + 1 + math.log(max(u.var(), np.finfo(np.float64).tiny)))
    log_slope = -math.log(robust.scale)
    if tails == "tukey-h":
        (centre, log_scale, h), log_likelihood = _fit_tail(u)
        if log_likelihood > len(u) * normal + MIN_TAIL_GAIN:
            scale = Scale(robust.centre + robust.scale * centre, robust.scale * math.exp(log_scale))
            return _Chain(log_likelihood / len(u) + log_slope, [scale, TukeyH(h)])
    return _Chain(normal + log_slope, [robust])


def _fit_asinh(u: np.ndarray, robust: Scale) -> _Chain:
    """Asinh and scale by maximum likelihood (Johnson's S_U distribution), of values ``u`` ``(n,)``
    in robust units, without bounds.

    The asinh's ends are the extreme values; its centre and scale are searched on grids, each around
    the best point so far and half as wide; the scale behind it has the mean and deviation of rows.
    """
    rows = u[:MAX_TAIL_ROWS]
    ranks = np.linspace(0, len(rows) - 1, min(len(rows), MAX_QUANTILES)).round().astype(int)
    quantiles = np.sort(rows)[ranks]
    best_log_likelihood = -math.inf
    point = np.zeros(2)  # arsinh of the centre, log of the scale
    grid = 2 * np.array(list(np.ndindex(PLACES_A_SIDE, PLACES_A_SIDE))) / (PLACES_A_SIDE - 1) - 1
    for zoom in range(ZOOMS):
        points = point + SEARCH_RANGE / 2**zoom * grid
        log_likelihoods = _asinh_fits(quantiles, *_centres_and_scales(points)).log_likelihood
        if log_likelihoods.max() > best_log_likelihood:
            best_log_likelihood = log_likelihoods.max()
            point = points[log_likelihoods.argmax()]
    centres, scales = _centres_and_scales(point[None])
    fit = _asinh_fits(rows, centres, scales)
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


def _centres_and_scales(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and scales ``(g, 1)`` of points ``(g, 2)`` of the search."""
    return np.sinh(points[:, :1]), np.maximum(np.exp(points[:, 1:]), LEAST_SCALE)


class _AsinhFits(NamedTuple):
    """Log-likelihoods ``(g,)`` in nats a row, and means and deviations ``(g,)`` of the rows behind
    each asinh.
    """

    log_likelihood: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def _asinh_fits(u: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> _AsinhFits:
    """Likelihood of values ``u`` ``(n,)`` under an asinh of each centre and scale ``(g, 1)``, and a
    normal behind it.
    """
    y = (u - centre) / scale
    z = np.arcsinh(y)
    log_det = -np.log1p(y * y) / 2 - np.log(scale)
    deviation = np.maximum(z.std(axis=1), np.finfo(float).tiny)
    # Of a normal with the mean and deviation of z the rows have the mean -(log 2π + 1)/2 - log s.
    log_likelihood = log_det.mean(axis=1) - 0.5 * (LOG_2PI + 1) - np.log(deviation)
    return _AsinhFits(log_likelihood, z.mean(axis=1), deviation)


def _robust_scale(y: np.ndarray) -> Scale:
    """Scale by the median and the interquartile range of values ``(n,)``; if that is 0, by the
    median distance of the values that are not the median.
    """
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    if high > low:
        return Scale(centre, (high - low) / NORMAL_IQR)
    return Scale(centre, NORMAL_MAD * np.median(np.abs(y - centre)[y != centre]))


def _fit_tail(u: np.ndarray) -> tuple[list[float], float]:
    """Maximum-likelihood centre, log scale and h of Tukey's h for values ``u`` ``(n,)``, and their
    log-likelihood in nats, in all.

    ``u = c + s z exp(h z²/2)``, ``z ~ N(0, 1)``, by Fisher scoring: steps of ``I^-1 S'1 / n``,
    ``S`` the scores of the rows and ``I`` the Fisher information, halved until they gain.
    """
    parameters = _tail_of_quantiles(u)
    log_likelihood, z = _tail_likelihood(u, parameters)
    for _ in range(SCORING_STEPS):
        slope = _tail_scores(z, parameters).sum(axis=0)
        # A parameter at a limit, beyond which the likelihood rises, is held.
        free = np.where(slope < 0, parameters > LEAST_TAIL, parameters < MOST_TAIL)
        information = len(u) * _fisher_information(parameters)[np.ix_(free, free)]
        step = np.zeros(3)
        step[free] = np.linalg.solve(information, slope[free])
        previous = log_likelihood
        for halving in range(HALVINGS):
            new_parameters = np.clip(parameters + step / 2**halving, LEAST_TAIL, MOST_TAIL)
            new_log_likelihood, new_z = _tail_likelihood(u, new_parameters)
            if new_log_likelihood > previous:
                parameters = new_parameters
                log_likelihood = new_log_likelihood
                z = new_z
                break
        if log_likelihood - previous < MIN_STEP_GAIN:
            break
    return parameters.tolist(), log_likelihood


def _tail_of_quantiles(u: np.ndarray) -> np.ndarray:
    """Centre, log scale and h by quantiles, where the fit begins: those with the quartiles of
    N(0, 1), as ``u`` has in robust units, and the width of the middle 95 % of ``u``.

    ``log(u/z)`` at the 97.5th and 75th percentile differ by ``h/2`` times the difference of ``z²``.
    """
    width_ratio = np.subtract(*np.quantile(u, [0.975, 0.025])) / (2 * NORMAL_95)
    h = math.log(max(width_ratio, 1.0)) / (0.5 * (NORMAL_95**2 - (NORMAL_IQR / 2) ** 2))
    h = min(max(h, LEAST_START), MOST_TAIL[2])
    return np.array([0.0, -h * (NORMAL_IQR / 2) ** 2 / 2, h])


def _tail_likelihood(u: np.ndarray, parameters: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-likelihood in nats, in all, of values ``u`` ``(n,)`` under ``parameters``, centre, log
    scale and h, and the values' z ``(n,)``.
    """
    centre, log_scale, h = parameters.tolist()
    z, log_det = TukeyH(h).inside((u - centre) / math.exp(log_scale))
    return float((-0.5 * (z * z + LOG_2PI) + log_det - log_scale).sum()), z


def _tail_scores(z: np.ndarray, parameters: np.ndarray) -> np.ndarray:
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


def _fisher_information(parameters: np.ndarray) -> np.ndarray:
    """Fisher information ``(3, 3)`` of one row, by Gauss-Hermite quadrature."""
    nodes, weights = hermegauss(QUADRATURE_NODES)
    scores = _tail_scores(nodes, parameters)
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
    may_end = low is None and (high is None or kind.is_open) and kind.type in ("whole", "decimal")
    if may_end_at_0 and may_end and 0 <= values.min() <= np.ptp(values):
        below = -half
    # An interval that is cut by an end is narrower, so that no value is beyond it.
    steps = np.minimum(step, 2 * np.minimum(values - below, above - values))
    spread = _spread_over_steps(values, steps)
    if np.isinf(below) or bounds.low is not None:
        return fit_units(spread, bounds, "none", skewed=True)
    scale = max(step, float(np.quantile(values, STRAIGHT_QUANTILE)) / STRAIGHT_SCALES)
    first = Softplus(below, "above", scale)
    if bounds.high is not None:
        (end,), _ = first.inside(np.array([above]))
        bounds = Bounds(None, float(end))
    return [first, *fit_units(first.inside(spread)[0], bounds, "none", skewed=True)]


def _spread_over_steps(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Values ``(n,)`` in which equal ones are spread at equal distances over an interval around
    them, of the width ``steps`` ``(n,)``.
    """
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(first, counts) + 0.5  # among equal ones
    shift = np.empty(len(values))  # in steps, -0.5 to 0.5
    shift[order] = place / np.repeat(counts, counts) - 0.5
    return values + steps * shift
