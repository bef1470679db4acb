"""Mixtures of M normals: density, distribution function and its inverse, mass of an interval.

For NumPy and ``keras.ops``: see :mod:`nflow_cli.arrays`. A mixture is three arrays ``(..., M)``:
``log_weights``, whose exponentials sum to 1, ``means``, and ``scales``, all positive. Points are
``(...)`` and broadcast against them. The components may be along another axis, counted from the
last. Logarithms are in nats.
"""

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np

from nflow_cli.arrays import (
    SQRT_2PI,
    Tensor,
    dtype_of,
    log_ndtr,
    log_softmax,
    log_tails,
    logsumexp,
    ndtri,
    ndtri_exp,
    scaled_tail,
    with_gradient,
)

_NARROW = 1 / 16  # half width times the slope of the log-density: error of the series 1e-13


def log_density(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``log f(x)``."""
    z = (xp.expand_dims(x, axis) - means) / scales
    return logsumexp(log_weights - xp.log(SQRT_2PI * scales) - z * z / 2, axis, xp)


def log_cdf(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``log F(x)``, the log-mass below ``x``, accurate to rounding in the lower tail."""
    return logsumexp(
        log_weights + log_ndtr((xp.expand_dims(x, axis) - means) / scales, xp), axis, xp
    )


def log_sf(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``log(1 - F(x))``, the log-mass above, accurate to rounding in the upper tail."""
    return logsumexp(
        log_weights + log_ndtr((means - xp.expand_dims(x, axis)) / scales, xp), axis, xp
    )


def log_mass(
    centre: Tensor,
    half: Tensor,
    log_weights: Tensor,
    means: Tensor,
    scales: Tensor,
    *,
    xp: ModuleType,
    has_ends: bool,
) -> Tensor:
    """Log-mass ``(…, n)`` in nats of intervals by mixtures ``(…, M, n)``.

    With ``has_ends``, ``half`` may be ``inf``: all above ``centre``, or ``-inf``: all below.
    """
    side = None
    if has_ends:
        is_tail = xp.isinf(half)
        side = xp.where(is_tail, xp.sign(half), 0.0)[..., None, :]
        half = xp.where(is_tail, 1.0, half)
    c, h = (centre[..., None, :] - means) / scales, half[..., None, :] / scales
    return logsumexp(log_weights + log_normal_mass(c, h, xp, side), -2, xp)


def log_normal_mass(c: Tensor, h: Tensor, xp: ModuleType, side: Tensor | None = None) -> Tensor:
    r"""``log(Φ(c + h) - Φ(c - h))`` for ``h > 0``, arrays of one shape.

    Where ``side`` is 1 it is ``log(1 - Φ(c))``, the mass above ``c``, and where it is -1
    ``log Φ(c)``; ``h`` is any positive number there. ``side`` broadcasts, and has no gradient.

    With ``a = |c| - h``, ``b = |c| + h`` and ``E(x) = Φ(-x) exp(x²/2)``

    - of an interval beside 0 it is ``-a²/2 + log(E(a) - exp(-2|c|h) E(b))``;
    - of one around 0 it is ``log(1 - exp(-a²/2) (E(-a) + exp(-2|c|h) E(b)))``;
    - of a narrow one, where these cancel, ``log φ(c) + log 2h + log S``, ``S`` the mean of
      ``cosh(c h t) exp(-h² t²/2)`` over ``0 < t < 1``, by its series.

    The error is at most 1e-12 (1 + |log P|) in float64, 1e-5 (1 + |log P|) in float32.
    """

    def run(c: Tensor, h: Tensor, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        away, sign = xp.abs(c), xp.sign(c)
        near, far = away - h, away + h
        narrow = (away * h < _NARROW) & (h < _NARROW)
        fall = xp.expm1(-2 * away * h)
        if side is not None:
            ends = side != 0
            near, sign = xp.where(ends, side * c, near), xp.where(ends, side, sign)
            narrow, fall = narrow & ~ends, xp.where(ends, -1.0, fall)
        beside = near >= 0
        half_square = near * near / 2
        peak = xp.exp(-xp.where(beside, 0.0, half_square))
        first, second = scaled_tail(xp.abs(near)), (1 + fall) * scaled_tail(far)
        wide = xp.where(beside, first - second, 1 - peak * (first + second))
        clipped, shift = xp.where(narrow, h, _NARROW), xp.where(narrow, away * h, _NARROW)
        scaled = xp.where(narrow, _narrow(clipped, shift), wide)
        start = xp.where(narrow, c * c / 2, xp.where(beside, half_square, 0.0))
        value = xp.log(scaled) - start

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            """``φ(a) - φ(b)``, signed, and ``φ(a) + φ(b)``, over the mass."""
            bend = shift - clipped * clipped / 2
            at_near = upstream * xp.where(narrow, xp.exp(bend), peak) / (SQRT_2PI * scaled)
            slopes = sign * at_near * fall, at_near * (2 + fall)
            return slopes if side is None else (*slopes, xp.zeros_like(c))

        return value, gradient

    inputs = (c, h) if side is None else (c, h, xp.broadcast_to(side, c.shape))
    return _by_parts(run, *inputs) if xp is np else with_gradient(run, xp, *inputs)


def _by_parts(
    run: Callable[..., tuple[Tensor, Tensor]], c: np.ndarray, h: np.ndarray, *side: np.ndarray
) -> np.ndarray:
    """``run``, in a third of the time where intervals are narrow."""
    shift = np.abs(c) * h
    narrow = (shift < _NARROW) & (h < _NARROW)
    for ends in side:
        narrow &= ends == 0
    if narrow.all():
        return np.log(_narrow(h, shift)) - c * c / 2
    value = np.empty(c.shape, c.dtype)
    value[narrow] = np.log(_narrow(h[narrow], shift[narrow])) - np.square(c[narrow]) / 2
    value[~narrow] = run(*(array[~narrow] for array in (c, h, *side)))[0]
    return value


def _narrow(h: Tensor, shift: Tensor) -> Tensor:
    """Mass of ``c ± h`` over ``exp(-c²/2)``, of a narrow interval; ``shift = |c| h``."""
    return h * _mean_of_cosh(shift * shift, h * h) * (2 / SQRT_2PI)


def _mean_of_cosh(w: Tensor, v: Tensor) -> Tensor:
    """Mean of ``cosh(√w t) exp(-v t²/2)`` over ``0 < t < 1``, to third order."""
    no_v = 1 + w * (1 / 6 + w * (1 / 120 + w / 5040))
    one_v = -1 / 6 + w * (-1 / 20 - w / 336)
    return no_v + v * (one_v + v * (1 / 40 + w / 112 - v / 336))


def normal_score(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> tuple[Tensor, Tensor]:
    """``z = Φ⁻¹(F(x))`` and ``log dz/dx``, accurate to rounding in both tails.

    If ``x`` is drawn from the mixture, ``z`` is N(0, 1).
    """
    u = (xp.expand_dims(x, axis) - means) / scales
    below, above, slope_below, slope_above = log_tails(u, xp)
    low = xp.sum(xp.exp(log_weights + below), axis=axis, keepdims=True) < 0.5
    terms = log_weights + xp.where(low, below, above)  # the smaller tail has the digits
    z = ndtri_exp(logsumexp(terms, axis, xp), xp)
    # f(x) over the mass of the tail avoids a difference of two squares.
    ratios = xp.where(low, slope_below, slope_above) - xp.log(scales)
    log_slope = logsumexp(log_softmax(terms, axis, xp) + ratios, axis, xp) - log_tails(z, xp)[2]
    return xp.where(xp.squeeze(low, axis), z, -z), log_slope


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def from_normal_score(
    z: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``x = F⁻¹(Φ(z))``, the inverse of :func:`normal_score`, without a gradient.

    Newton's method, with bisection where a step leaves the bracket of the root or is slow.
    """
    known = xp.abs(z) < math.inf
    score = xp.where(known, z, 0.0)
    ends = means + scales * xp.expand_dims(score, axis)  # the quantiles of the components
    eps = float(np.finfo(dtype_of(z)).eps)

    def going(low: Tensor, high: Tensor, x: Tensor, last: Tensor, goes_on: Tensor) -> Tensor:
        return xp.any(goes_on)

    def step(
        low: Tensor, high: Tensor, x: Tensor, last: Tensor, goes_on: Tensor
    ) -> tuple[Tensor, ...]:
        at, log_slope = normal_score(x, log_weights, means, scales, xp, axis)
        gap = at - score
        low, high = xp.where(gap < 0, x, low), xp.where(gap < 0, high, x)
        move = -gap * xp.exp(-log_slope)
        there = (x + move > low) & (x + move < high) & (2 * xp.abs(move) <= last)
        new = xp.where(there, x + move, low + (high - low) / 2)
        far = (xp.abs(gap) > 4 * eps * (1 + xp.abs(at))) & (xp.abs(move) > eps * xp.abs(x))
        goes_on = goes_on & far & (new > low) & (new < high)
        last = xp.where(goes_on, xp.abs(new - x), last)
        return low, high, xp.where(goes_on, new, x), last, goes_on

    low, high = xp.min(ends, axis=axis), xp.max(ends, axis=axis)
    state = low, high, xp.sum(xp.exp(log_weights) * ends, axis=axis), high - low, low < high
    if xp is np:
        while going(*state):
            state = step(*state)
    else:
        state = xp.while_loop(going, step, state)
    return xp.where(known, state[2], z)


def quantile(p: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """``F⁻¹(p)`` of NumPy arrays, ``0 <= p <= 1``: infinite at both ends."""
    return from_normal_score(ndtri(p, np), log_weights, means, scales, np)
