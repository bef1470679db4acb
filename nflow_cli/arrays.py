"""Numerically stable functions for NumPy and ``keras.ops``: log-sum-exp, normal CDF and quantile.

``xp`` is the array namespace: ``numpy``, or ``keras.ops`` for tensors of any backend. Results have
the type of the argument, float32 or float64. With ``keras.ops`` all are differentiable, and no
gradient is NaN where the value is finite. (``keras.ops.maximum`` of a float64 tensor and a number
is a float32 on torch: ``where`` is used instead.)
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.polynomial import chebyshev

# An array of NumPy, or a tensor or variable of any backend of Keras: their common operations have
# no type that checkers know.
Tensor: TypeAlias = Any
# From the gradient by a value to those by each input.
Gradient: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]

LOG_2 = math.log(2)
SQRT_2PI = math.sqrt(2 * math.pi)
LOG_SQRT_2PI = math.log(2 * math.pi) / 2

# Φ(-x) exp(x²/2) = p(y) / (x + 4) for x >= 0, y = (x - 4) / (x + 4): the Chebyshev series of p.
_SHIFT = 4.0
_TAIL = (
    0.9704512045660766,
    -0.7517088168395706,
    0.22219355567525104,
    -0.048517753260446085,
    0.006925920496242481,
    -0.00032059847439814995,
    -0.00010054739163210679,
    1.8903369019706965e-05,
    1.010356885474631e-06,
    -6.145334749397824e-07,
    -3.3810201200691756e-09,
    2.0686508061742833e-08,
    -1.1282603632469507e-10,
    -7.774015228388695e-10,
    -9.941424191404708e-12,
    3.174482949858303e-11,
    1.842480684470494e-12,
    -1.3128616466710965e-12,
    -1.7415362652654813e-13,
    4.9072740317044244e-14,
    1.2931384326165576e-14,
    -1.2180663521726341e-15,
    -8.052147372620933e-16,
    -2.8604941442616213e-17,
)
# Coefficients of the powers of y, for each type. All are below 1 in size: nothing cancels.
_POWERS = {
    np.dtype("float32"): [float(c) for c in chebyshev.cheb2poly(_TAIL[:10])],
    np.dtype("float64"): [float(c) for c in chebyshev.cheb2poly(_TAIL)],
}


def dtype_of(x: Tensor) -> np.dtype:
    """NumPy dtype of an array or a tensor of any backend."""
    if isinstance(x.dtype, np.dtype):
        return x.dtype
    return np.dtype(getattr(x.dtype, "name", str(x.dtype).removeprefix("torch.")))


def with_gradient(
    function: Callable[..., tuple[Tensor, Gradient]], xp: ModuleType, *inputs: Tensor
) -> Tensor:
    """Elementwise function of inputs of one shape, with a custom gradient.

    Args:
        function: Returns the value, which may have a leading axis of several results, and a
            function from its gradient to that of each input.
        xp: The array namespace.
        *inputs: Tensors are flattened: XLA on CPUs works along the last axis, which may be short.
    """
    if xp is np:
        return function(*inputs)[0]

    def run(*flat: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
        value, pull_back = function(*flat)

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, ...]:
            if upstream is None:
                return pull_back(*arguments)
            # On torch: a second derivative needs the gradient of a fresh computation.
            return function(*arguments)[1](upstream)

        return value, gradient

    values = xp.custom_gradient(run)(*(xp.reshape(array, (-1,)) for array in inputs))
    return xp.reshape(values, (*values.shape[:-1], *xp.shape(inputs[0])))


@np.errstate(divide="ignore", under="ignore")
def logsumexp(x: Tensor, axis: int, xp: ModuleType) -> Tensor:
    """``log Σ exp(x)`` along an axis; ``-inf`` where all of ``x`` are."""
    peak = _peak(x, axis, xp)
    return xp.squeeze(peak, axis) + xp.log(xp.sum(xp.exp(x - peak), axis=axis))


@np.errstate(under="ignore")
def log_softmax(x: Tensor, axis: int, xp: ModuleType) -> Tensor:
    """``x - log Σ exp(x)``, the sum along an axis."""
    moved = x - _peak(x, axis, xp)
    return moved - xp.log(xp.sum(xp.exp(moved), axis=axis, keepdims=True))


def _peak(x: Tensor, axis: int, xp: ModuleType) -> Tensor:
    """Maximum, 0 if it is -inf, without a gradient."""
    peak = xp.max(x, axis=axis, keepdims=True)
    peak = xp.where(peak == -math.inf, 0.0, peak)
    return peak if xp is np else xp.stop_gradient(peak)


@np.errstate(over="ignore", under="ignore")
def silu(x: Tensor, xp: ModuleType) -> Tensor:
    """``x / (1 + exp(-x))``."""
    if xp is np:  # without a gradient, which an overflow makes NaN
        return x / (1 + xp.exp(-x))
    small = xp.exp(-xp.abs(x))
    return x * xp.where(x < 0, small, 1.0) / (1 + small)


@np.errstate(divide="ignore", under="ignore")
def log1mexp(x: Tensor, xp: ModuleType) -> Tensor:
    """``log(1 - exp(x))`` of ``x < 0``; ``-inf`` at 0."""
    is_near_0 = x > -LOG_2  # expm1 is accurate on this side, log1p on the other
    near = xp.where(is_near_0, x, -LOG_2)
    far = xp.where(is_near_0, -LOG_2, x)
    return xp.where(is_near_0, xp.log(-xp.expm1(near)), xp.log1p(-xp.exp(far)))


def scaled_tail(x: Tensor) -> Tensor:
    """``Φ(-x) exp(x²/2)`` for ``x >= 0``, of any array, by arithmetic alone.

    Φ is the standard normal distribution function. The relative error is 7e-16 in float64 and 3e-7
    in float32, at any ``x``.
    """
    part = 1 / (x + _SHIFT)
    y = 1 - 2 * _SHIFT * part
    constant, *coefficients, value = _POWERS[dtype_of(x)]
    value = value * y
    for coefficient in reversed(coefficients):
        value += coefficient  # in place: half the time of NumPy's
        value *= y
    return part * (value + constant)


@np.errstate(divide="ignore", under="ignore")
def log_ndtr(x: Tensor, xp: ModuleType) -> Tensor:
    """``log Φ(x)``, Φ the standard normal distribution function.

    Accurate to rounding in both tails; its derivative is ``φ(x) / Φ(x)``.
    """

    def run(x: Tensor) -> tuple[Tensor, Gradient]:
        near, far, log_tail, _ = _tails(x, xp)
        value = xp.where(x > 0, far, near)

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            log_ratio = xp.where(x > 0, -x * x / 2 - far, -log_tail) - LOG_SQRT_2PI
            return (upstream * xp.exp(log_ratio),)

        return value, gradient

    return with_gradient(run, xp, x)


@np.errstate(divide="ignore", under="ignore")
def log_tails(x: Tensor, xp: ModuleType) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``log Φ(x)``, ``log Φ(-x)``, and the logarithms of their slopes.

    The slopes are ``φ(x) / Φ(x)`` and ``φ(x) / Φ(-x)``: inverse Mills ratios.
    """

    def run(x: Tensor) -> tuple[Tensor, Gradient]:
        near, far, log_tail, half_square = _tails(x, xp)
        near_slope = -log_tail - LOG_SQRT_2PI
        far_slope = -half_square - far - LOG_SQRT_2PI
        is_positive = x > 0
        log_below = xp.where(is_positive, far, near)
        log_above = xp.where(is_positive, near, far)
        log_slope_below = xp.where(is_positive, far_slope, near_slope)
        log_slope_above = xp.where(is_positive, near_slope, far_slope)

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            below = xp.exp(log_slope_below)
            above = xp.exp(log_slope_above)
            by_tails = upstream[0] * below - upstream[1] * above
            return (by_tails - upstream[2] * (x + below) + upstream[3] * (above - x),)

        return xp.stack([log_below, log_above, log_slope_below, log_slope_above]), gradient

    tails = with_gradient(run, xp, x)
    return tails[0], tails[1], tails[2], tails[3]


def _tails(x: Tensor, xp: ModuleType) -> tuple[Tensor, ...]:
    """``log Φ(-|x|)``, ``log Φ(|x|)``, the logarithm of the scaled tail, and ``x²/2``."""
    tail = scaled_tail(xp.abs(x))
    half_square = x * x / 2
    log_tail = xp.log(tail)
    far = xp.log1p(-tail * xp.exp(-half_square))
    return log_tail - half_square, far, log_tail, half_square


@np.errstate(under="ignore")
def ndtri_exp(log_p: Tensor, xp: ModuleType) -> Tensor:
    """``Φ⁻¹(exp(log_p))`` for ``log_p <= 0``: the inverse of :func:`log_ndtr`.

    ``log_p`` near 0 has few digits of ``1 - p``: above the median use ``-ndtri_exp(log(1 - p))``.
    """

    def run(log_p: Tensor) -> tuple[Tensor, Gradient]:
        is_low = log_p < -LOG_2
        log_upper = log1mexp(xp.where(is_low, -LOG_2, log_p), xp)
        x = _upper_quantile(xp.where(is_low, log_p, log_upper), xp)
        z = xp.where(is_low, -x, x)
        return z, lambda upstream: (upstream * xp.exp(-log_tails(z, xp)[2]),)

    return with_gradient(run, xp, log_p)


@np.errstate(divide="ignore", under="ignore")
def ndtri(p: Tensor, xp: ModuleType) -> Tensor:
    """``Φ⁻¹(p)`` of ``0 <= p <= 1``: infinite at both ends."""
    is_low = p < 0.5
    log_p = xp.log(xp.where(is_low, p, 0.5))
    log_q = xp.log1p(-xp.where(is_low, 0.5, p))
    x = ndtri_exp(xp.where(is_low, log_p, log_q), xp)
    return xp.where(is_low, x, -x)


@np.errstate(over="ignore", invalid="ignore")
def _upper_quantile(log_q: Tensor, xp: ModuleType) -> Tensor:
    """``x >= 0`` with ``log Φ(-x) = log_q <= log 1/2``.

    A rational approximation (Abramowitz & Stegun, *Handbook*, 1964, 26.2.23) of error 4.5e-4, then
    two steps of Halley's method, which triple the number of digits; one in float32.
    """
    is_infinite = log_q == -math.inf
    log_q = xp.where(is_infinite, -1.0, log_q)
    t = xp.sqrt(-2 * log_q)
    numerator = (0.010328 * t + 0.802853) * t + 2.515517
    denominator = ((0.001308 * t + 0.189269) * t + 1.432788) * t + 1
    x = t - numerator / denominator
    x = xp.where(x < 0, 0.0, x)
    steps = 1 if dtype_of(x).name == "float32" else 2
    for _ in range(steps):
        tail = scaled_tail(x)
        hazard = 1 / (SQRT_2PI * tail)
        excess = xp.log(tail) - x * x / 2 - log_q
        x = x + excess / (hazard + excess * (hazard - x) / 2)
        x = xp.where(x < 0, 0.0, x)
    return xp.where(is_infinite, math.inf, x)
