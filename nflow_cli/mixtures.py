"""Mixtures of M normals: density, distribution function and its inverse, mass of an interval.

Written once for NumPy and ``keras.ops``: see :mod:`nflow_cli.arrays`. A mixture is three arrays
``(..., M)``: ``log_weights``, whose exponentials sum to 1, ``means``, and ``scales``, all positive.
Points are ``(...)`` and broadcast against them. Logarithms are in nats.
"""

import math
from typing import Any

import numpy as np

from nflow_cli.arrays import (
    SQRT_2PI,
    dtype_of,
    log_ndtr,
    logsumexp,
    ndtri,
    ndtri_exp,
    scaled_tail,
    with_slopes,
)

_NARROW = 1 / 16  # half widths times the slope of the log-density: the series ends at 1e-13 there


def log_density(x: Any, log_weights: Any, means: Any, scales: Any, xp: Any) -> Any:
    """Return ``log f(x)``."""
    z = (x[..., None] - means) / scales
    return logsumexp(log_weights - xp.log(SQRT_2PI * scales) - z * z / 2, -1, xp)


def log_cdf(x: Any, log_weights: Any, means: Any, scales: Any, xp: Any) -> Any:
    """Return ``log F(x)``, the logarithm of the mass below ``x``, to rounding in the lower tail."""
    return logsumexp(log_weights + log_ndtr((x[..., None] - means) / scales, xp), -1, xp)


def log_sf(x: Any, log_weights: Any, means: Any, scales: Any, xp: Any) -> Any:
    """Return ``log(1 - F(x))``, the logarithm of the mass above, to rounding in the upper tail."""
    return logsumexp(log_weights + log_ndtr((means - x[..., None]) / scales, xp), -1, xp)


def log_interval_mass(
    centre: Any, half: Any, log_weights: Any, means: Any, scales: Any, xp: Any
) -> Any:
    """Return ``log(F(centre + half) - F(centre - half))``, right however small ``half`` is.

    Of an interval without an end take :func:`log_cdf` or :func:`log_sf`.

    Args:
        centre: The middle of the interval.
        half: Half its width, positive. Of a small interval a difference of its ends has no digits.
        log_weights: Of the components.
        means: Of the components.
        scales: Of the components.
        xp: The array namespace.
    """
    c, h = (centre[..., None] - means) / scales, half[..., None] / scales
    return logsumexp(log_weights + log_normal_mass(c, h, xp), -1, xp)


def log_normal_mass(c: Any, h: Any, xp: Any) -> Any:
    r"""Return ``log(Φ(c + h) - Φ(c - h))`` of ``h > 0``, arrays of one shape.

    With ``a = |c| - h``, ``b = |c| + h`` and ``E(x) = Φ(-x) exp(x²/2)``

    - of an interval beside 0 it is ``-a²/2 + log(E(a) - exp(-2|c|h) E(b))``;
    - of one around 0 it is ``log(1 - exp(-a²/2) (E(-a) + exp(-2|c|h) E(b)))``;
    - of a narrow one, where these cancel, ``log φ(c) + log 2h + log S``, ``S`` the mean of
      ``cosh(c h t) exp(-h² t²/2)`` over ``0 < t < 1``, by its series.

    The error is at most 1e-12 (1 + |log P|) in float64, 1e-5 (1 + |log P|) in float32.
    """

    def run(c: Any, h: Any) -> tuple[Any, Any]:
        away = xp.abs(c)
        near, far = away - h, away + h
        narrow, beside = xp.maximum(away, 1.0) * h < _NARROW, near >= 0
        fall = xp.expm1(-2 * away * h)
        half_square = near * near / 2
        peak = xp.exp(-xp.where(beside, 0.0, half_square))
        first, second = scaled_tail(xp.abs(near)), (1 + fall) * scaled_tail(far)
        wide = xp.where(beside, first - second, 1 - peak * (first + second))
        clipped = xp.minimum(h, _NARROW)
        shift = xp.minimum(away * h, _NARROW)
        series = clipped * _mean_of_cosh(shift * shift, clipped * clipped) * (2 / SQRT_2PI)
        scaled = xp.where(narrow, series, wide)
        start = xp.where(narrow, c * c / 2, xp.where(beside, half_square, 0.0))
        value = xp.log(scaled) - start

        def slopes() -> tuple[Any, Any]:
            """Return ``φ(a) - φ(b)`` and ``φ(a) + φ(b)`` over the mass, the first signed."""
            bend = shift - clipped * clipped / 2
            at_near = xp.where(narrow, xp.exp(bend), peak) / (SQRT_2PI * scaled)
            return xp.sign(c) * at_near * fall, at_near * (2 + fall)

        return value, slopes

    return with_slopes(run, xp, c, h)


def _mean_of_cosh(w: Any, v: Any) -> Any:
    """Return the mean of ``cosh(√w t) exp(-v t²/2)`` over ``0 < t < 1``, to third order."""
    no_v = 1 + w * (1 / 6 + w * (1 / 120 + w / 5040))
    one_v = -1 / 6 + w * (-1 / 20 - w / 336)
    return no_v + v * (one_v + v * (1 / 40 + w / 112 - v / 336))


def normal_score(x: Any, log_weights: Any, means: Any, scales: Any, xp: Any) -> Any:
    """Return ``z = Φ⁻¹(F(x))``, to rounding in both tails: N(0, 1) where ``x`` is of the mixture.

    Its slope is ``f(x) / φ(z)``.
    """
    u = (x[..., None] - means) / scales
    tail = scaled_tail(xp.abs(u)) * xp.exp(-u * u / 2)
    mass = xp.sum(xp.exp(log_weights) * xp.where(u > 0, 1 - tail, tail), axis=-1)
    side = xp.where(mass < 0.5, xp.ones_like(mass), -1.0)  # the tail that has the digits
    log_tail = logsumexp(log_weights + log_ndtr(side[..., None] * u, xp), -1, xp)
    return side * ndtri_exp(log_tail, xp)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def from_normal_score(z: Any, log_weights: Any, means: Any, scales: Any, xp: Any) -> Any:
    """Return ``x = F⁻¹(Φ(z))``, the inverse of :func:`normal_score`, without a gradient.

    Newton's method, by bisection where that leaves what is known to hold the root, or is slow.
    """
    known = xp.abs(z) < math.inf
    score = xp.where(known, z, 0.0)
    ends = means + scales * score[..., None]  # what the components alone would give
    mixture, eps = (log_weights, means, scales), float(np.finfo(dtype_of(z)).eps)

    def going(low: Any, high: Any, x: Any, last: Any, goes_on: Any) -> Any:
        return xp.any(goes_on)

    def step(low: Any, high: Any, x: Any, last: Any, goes_on: Any) -> tuple[Any, ...]:
        at = normal_score(x, *mixture, xp)
        gap = at - score
        low, high = xp.where(gap < 0, x, low), xp.where(gap < 0, high, x)
        move = -gap * xp.exp(-at * at / 2 - log_density(x, *mixture, xp)) / SQRT_2PI
        there = (x + move > low) & (x + move < high) & (2 * xp.abs(move) <= last)
        new = xp.where(there, x + move, low + (high - low) / 2)
        goes_on = goes_on & (new > low) & (new < high) & (xp.abs(gap) > 4 * eps * (1 + xp.abs(at)))
        last = xp.where(goes_on, xp.abs(new - x), last)
        return low, high, xp.where(goes_on, new, x), last, goes_on

    low, high = xp.min(ends, axis=-1), xp.max(ends, axis=-1)
    state = low, high, xp.sum(xp.exp(log_weights) * ends, axis=-1), high - low, low < high
    if xp is np:
        while going(*state):
            state = step(*state)
    else:
        state = xp.while_loop(going, step, state)
    return xp.where(known, state[2], z)


def quantile(p: Any, log_weights: Any, means: Any, scales: Any) -> Any:
    """Return ``F⁻¹(p)`` of NumPy arrays, ``0 <= p <= 1``: infinite at both ends."""
    return from_normal_score(ndtri(p, np), log_weights, means, scales, np)
