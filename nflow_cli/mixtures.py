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
    Gradient,
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
    z = (xp.expand_dims(x, axis) - means) / scales
    return logsumexp(log_weights + log_ndtr(z, xp), axis, xp)


def log_sf(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``log(1 - F(x))``, the log-mass above, accurate to rounding in the upper tail."""
    z = (means - xp.expand_dims(x, axis)) / scales
    return logsumexp(log_weights + log_ndtr(z, xp), axis, xp)


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
    c = (centre[..., None, :] - means) / scales
    h = half[..., None, :] / scales
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

    def run(c: Tensor, h: Tensor, side: Tensor | None = None) -> tuple[Tensor, Gradient]:
        distance = xp.abs(c)
        sign = xp.sign(c)
        near = distance - h
        far = distance + h
        is_narrow = (distance * h < _NARROW) & (h < _NARROW)
        fall = xp.expm1(-2 * distance * h)
        if side is not None:
            is_tail = side != 0
            near = xp.where(is_tail, side * c, near)
            sign = xp.where(is_tail, side, sign)
            is_narrow = is_narrow & ~is_tail
            fall = xp.where(is_tail, -1.0, fall)
        is_beside_0 = near >= 0
        half_square = near * near / 2
        peak = xp.exp(-xp.where(is_beside_0, 0.0, half_square))
        near_tail = scaled_tail(xp.abs(near))
        far_tail = (1 + fall) * scaled_tail(far)
        wide = xp.where(is_beside_0, near_tail - far_tail, 1 - peak * (near_tail + far_tail))
        narrow_h = xp.where(is_narrow, h, _NARROW)
        shift = xp.where(is_narrow, distance * h, _NARROW)
        scaled = xp.where(is_narrow, _narrow_mass(narrow_h, shift), wide)
        start = xp.where(is_narrow, c * c / 2, xp.where(is_beside_0, half_square, 0.0))
        value = xp.log(scaled) - start

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            """``φ(a) - φ(b)``, signed, and ``φ(a) + φ(b)``, over the mass."""
            bend = shift - narrow_h * narrow_h / 2
            at_near = upstream * xp.where(is_narrow, xp.exp(bend), peak) / (SQRT_2PI * scaled)
            by_c = sign * at_near * fall
            by_h = at_near * (2 + fall)
            if side is None:
                return by_c, by_h
            return by_c, by_h, xp.zeros_like(c)

        return value, gradient

    inputs = [c, h]
    if side is not None:
        inputs.append(xp.broadcast_to(side, c.shape))
    if xp is np:
        return _apart(run, *inputs)
    return with_gradient(run, xp, *inputs)


def _apart(
    run: Callable[..., tuple[np.ndarray, Gradient]],
    c: np.ndarray,
    h: np.ndarray,
    *side: np.ndarray,
) -> np.ndarray:
    """Values of ``run``, the narrow intervals by their series alone: in a third of the time."""
    shift = np.abs(c) * h
    is_narrow = (shift < _NARROW) & (h < _NARROW)
    for ends in side:
        is_narrow &= ends == 0
    if is_narrow.all():
        return np.log(_narrow_mass(h, shift)) - c * c / 2
    value = np.empty(c.shape, c.dtype)
    mass = _narrow_mass(h[is_narrow], shift[is_narrow])
    value[is_narrow] = np.log(mass) - np.square(c[is_narrow]) / 2
    value[~is_narrow] = run(*(array[~is_narrow] for array in (c, h, *side)))[0]
    return value


def _narrow_mass(h: Tensor, shift: Tensor) -> Tensor:
    """Mass of ``c ± h`` over ``exp(-c²/2)``, of a narrow interval; ``shift = |c| h``."""
    return h * _mean_of_cosh(shift * shift, h * h) * (2 / SQRT_2PI)


def _mean_of_cosh(w: Tensor, v: Tensor) -> Tensor:
    """Mean of ``cosh(√w t) exp(-v t²/2)`` over ``0 < t < 1``, to third order."""
    constant = 1 + w * (1 / 6 + w * (1 / 120 + w / 5040))
    by_v = -1 / 6 + w * (-1 / 20 - w / 336)
    return constant + v * (by_v + v * (1 / 40 + w / 112 - v / 336))


def normal_score(
    x: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> tuple[Tensor, Tensor]:
    """``z = Φ⁻¹(F(x))`` and ``log dz/dx``, accurate to rounding in both tails.

    If ``x`` is drawn from the mixture, ``z`` is N(0, 1).
    """
    u = (xp.expand_dims(x, axis) - means) / scales
    below, above, slope_below, slope_above = log_tails(u, xp)
    is_low = xp.sum(xp.exp(log_weights + below), axis=axis, keepdims=True) < 0.5
    terms = log_weights + xp.where(is_low, below, above)  # the smaller tail has the digits
    z = ndtri_exp(logsumexp(terms, axis, xp), xp)
    # f(x) over the mass of the tail avoids a difference of two squares.
    ratios = xp.where(is_low, slope_below, slope_above) - xp.log(scales)
    log_slope = logsumexp(log_softmax(terms, axis, xp) + ratios, axis, xp) - log_tails(z, xp)[2]
    return xp.where(xp.squeeze(is_low, axis), z, -z), log_slope


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def from_normal_score(
    z: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, xp: ModuleType, axis: int = -1
) -> Tensor:
    """``x = F⁻¹(Φ(z))``, the inverse of :func:`normal_score`, without a gradient.

    Newton's method, with bisection where a step leaves the bracket of the root or is slow.
    """
    is_finite = xp.abs(z) < math.inf
    score = xp.where(is_finite, z, 0.0)
    ends = means + scales * xp.expand_dims(score, axis)  # the quantiles of the components
    eps = float(np.finfo(dtype_of(z)).eps)

    def goes_on(low: Tensor, high: Tensor, x: Tensor, last: Tensor, moves: Tensor) -> Tensor:
        return xp.any(moves)

    def step(
        low: Tensor, high: Tensor, x: Tensor, last: Tensor, moves: Tensor
    ) -> tuple[Tensor, ...]:
        """The bracket, the point within, the last change, and where the root is not reached."""
        score_at_x, log_slope = normal_score(x, log_weights, means, scales, xp, axis)
        gap = score_at_x - score
        low = xp.where(gap < 0, x, low)
        high = xp.where(gap < 0, high, x)
        change = -gap * xp.exp(-log_slope)
        is_good = (x + change > low) & (x + change < high) & (2 * xp.abs(change) <= last)
        new = xp.where(is_good, x + change, low + (high - low) / 2)
        is_off = xp.abs(gap) > 4 * eps * (1 + xp.abs(score_at_x))
        is_large = xp.abs(change) > eps * xp.abs(x)
        moves = moves & (is_off & is_large) & (new > low) & (new < high)
        last = xp.where(moves, xp.abs(new - x), last)
        return low, high, xp.where(moves, new, x), last, moves

    low = xp.min(ends, axis=axis)
    high = xp.max(ends, axis=axis)
    mean = xp.sum(xp.exp(log_weights) * ends, axis=axis)
    state = (low, high, mean, high - low, low < high)
    if xp is np:
        while goes_on(*state):
            state = step(*state)
    else:
        state = xp.while_loop(goes_on, step, state)
    return xp.where(is_finite, state[2], z)


def quantile(p: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """``F⁻¹(p)`` of NumPy arrays, ``0 <= p <= 1``: infinite at both ends."""
    return from_normal_score(ndtri(p, np), log_weights, means, scales, np)
