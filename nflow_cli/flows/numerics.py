"""Scalar functions on every backend, in the type of their argument, and a loop."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor

# 1e-34 for narrower types.
SMALLEST = {"float64": 1e-290}
# exp of this is still a normal number; -87 for narrower types.
LOG_SMALLEST = {"float64": -708.0}
# Newton steps that bring the inverse to rounding error at every slope, and one more; 5 for narrower
# types.
NEWTON_STEPS = {"float64": 7}
FLAT = 1e-9  # slope whose square is close to underflow in float32


def is_direction(squared_norm: Tensor) -> Tensor:
    """Whether a squared norm is far enough from underflow for a division."""
    dtype = keras.backend.standardize_dtype(squared_norm.dtype)
    return squared_norm > SMALLEST.get(dtype, 1e-34)


def tanh(x: Tensor) -> Tensor:
    """``tanh(x)`` in the type of ``x``, unlike ``ops.tanh`` on JAX."""
    if keras.backend.standardize_dtype(x.dtype) == keras.config.floatx():
        return ops.tanh(x)
    e = ops.expm1(ops.clip(-2 * x, -80.0, 80.0))
    return -e / (2 + e)


def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))``; torch's own returns ``x`` from 20 on, 2e-9 too little."""
    return -ops.log_sigmoid(-x)


def inverse_softplus(y: np.ndarray) -> np.ndarray:
    """``x`` with ``log(1 + exp(x)) = y > 0``, for arrays."""
    return y + np.log(-np.expm1(-y))


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp(a) + exp(b))`` in the type of ``a``, which must be finite.

    ``ops.logaddexp`` returns ``keras.config.floatx()`` on JAX and torch.
    """
    return b + softplus(a - b)


def repeated(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], count: int
) -> tuple[Tensor, ...]:
    """Iterate ``state = step(i, state)`` for ``i`` from 0 to ``count - 1``.

    By ``scan`` on JAX, by a ``while_loop`` with a known bound on TensorFlow: no Keras loop is
    differentiable under XLA on both.
    """
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, i: (step(i, s), None), state, ops.arange(count), count)[0]
    if backend == "tensorflow":
        _, *values = ops.while_loop(
            lambda i, *_: i < count,
            lambda i, *s: (i + 1, *step(i, s)),
            (ops.convert_to_tensor(0), *state),
            maximum_iterations=count,
        )
        return tuple(values)
    for i in range(count):
        state = step(i, state)
    return state


def slope_of(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Slope ``s = softplus(raw)`` and ``rest``, for :func:`log_slope`."""
    lowest = LOG_SMALLEST.get(keras.backend.standardize_dtype(raw.dtype), -87.0)
    floor = ops.exp(lowest + raw - ops.stop_gradient(raw))  # its gradient in raw is that of exp
    slope = ops.where(raw < lowest, floor, softplus(raw))
    return slope, ops.stop_gradient(ops.minimum(raw - lowest, 0.0))


def implicit(h: Tensor, c: Tensor, slope: Tensor) -> Tensor:
    """Attach a gradient to ``h = tanh(v)`` of a root found by :func:`signed_root`.

    It is that of the implicit function ``v``: the term added to ``h`` is 0 and has the first and
    second derivatives of ``tanh(v)``, those of a step of Halley's iteration. (Only the first if the
    slope squared underflows.)
    """
    moved = c - slope * h
    gap = moved - ops.stop_gradient(moved)
    derivative = _derivative(h, slope)
    is_steep = derivative > FLAT
    steep = ops.where(is_steep, derivative, 1.0)
    flat = ops.stop_gradient(ops.where(is_steep, 1.0, derivative))
    bend = ops.stop_gradient(ops.where(is_steep, h / (steep * steep), 0.0))
    return h + gap * (1 - h * h) / (steep * flat) * (1 - gap * bend)


def log_slope(h: Tensor, slope: Tensor, rest: Tensor) -> Tensor:
    """``log(1 + (1 - h^2) (s - 1)) = log(h^2 + (1 - h^2) s)`` in nats, ``h = tanh(v)``.

    The second form does not cancel: both terms are positive. ``s`` is kept from underflow for large
    negative raw values, where ``h^2`` outweighs it; the missing part of its logarithm, ``rest``,
    counts where ``h`` is 0. (Between 0 and 1e-15, or 1e-145 in float64, the value is finite but
    inexact.)
    """
    return ops.log(h * h + (1 - h * h) * slope) + ops.where(h == 0, rest, 0.0)


def signed_root(c: Tensor, slope: Tensor) -> Tensor:
    """Root ``v`` of ``v + (s - 1) tanh(v) = c``.

    By symmetry for ``|c|``, in ``[|c| - |s - 1|, |c| + |s - 1|]``, ``v >= 0``. There the left side
    is convex for ``s < 1`` and concave for ``s > 1``, so Newton's iteration is monotone, from an
    upper bound of the root in the first case and a lower one in the second.
    """
    return ops.sign(c) * _root(ops.abs(c), slope)


def _root(c: Tensor, slope: Tensor) -> Tensor:
    reach = ops.abs(slope - 1)
    low = ops.relu(c - reach)
    high = c + reach
    linear = c / slope  # tanh(v) <= v
    # v - tanh(v) >= v^3 / 4.2 up to v = 1, and >= v - 1 from there.
    above = ops.minimum(ops.exp(ops.log(4.2 * c) / 3) + c, linear)
    below = ops.maximum(_saturated(c, reach), linear)
    v = ops.clip(ops.where(slope < 1, above, below), low, high)
    for _ in range(NEWTON_STEPS.get(keras.backend.standardize_dtype(v.dtype), 5)):
        h, excess = _tanh_and_excess(v)
        v = ops.clip(v - (excess + slope * h - c) / _derivative(h, slope), low, high)
    return v


def _saturated(c: Tensor, s: Tensor) -> Tensor:
    """Lower bound of the root for ``s > 0``, close where tanh saturates.

    ``v <= u = max(log(2s) / 2, c - s + 1)``: beyond the first ``s (1 - tanh(v)) <= 1``. So
    ``tanh(v) >= (c - u) / s``, which is at most ``1 - 1/s``. (From a start on the slope of tanh
    Newton's iteration would need a step per unit of ``v``.)
    """
    s = ops.maximum(s, 1.0)
    u = ops.maximum(ops.log(2 * s) / 2, c - s + 1)
    t = ops.clip((c - u) / s, 0.0, 1 - 6e-8)
    return ops.log((1 + t) / (1 - t)) / 2


def _derivative(h: Tensor, slope: Tensor) -> Tensor:
    return ops.clip(h * h + (1 - h * h) * slope, 1e-30, 1e30)


def _tanh_and_excess(v: Tensor) -> tuple[Tensor, Tensor]:
    """``tanh(v)`` and ``v - tanh(v)``, the second without cancellation near 0."""
    h = tanh(v)
    v2 = v * v
    series = 1 / 3 - v2 * (2 / 15 - v2 * (17 / 315 - v2 * (62 / 2835 - v2 * 1382 / 155925)))
    return h, ops.where(v2 < 0.01, v * v2 * series, v - h)
