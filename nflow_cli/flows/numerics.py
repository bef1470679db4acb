"""Functions that keep the type of their argument, and a loop, on every backend."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

# 1e-34 for narrower types.
SMALLEST = {"float64": 1e-290}


def is_direction(squared_norm: Any) -> Any:
    """Whether a squared norm is far enough from underflow for a division."""
    dtype = keras.backend.standardize_dtype(squared_norm.dtype)
    return squared_norm > SMALLEST.get(dtype, 1e-34)


def tanh(x: Any) -> Any:
    """``tanh(x)`` in the type of ``x``, unlike ``ops.tanh`` on JAX."""
    if keras.backend.standardize_dtype(x.dtype) == keras.config.floatx():
        return ops.tanh(x)
    e = ops.expm1(ops.clip(-2 * x, -80.0, 80.0))
    return -e / (2 + e)


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``; torch's own returns ``x`` from 20 on, 2e-9 too little."""
    return -ops.log_sigmoid(-x)


def inverse_softplus(y: np.ndarray) -> np.ndarray:
    """``x`` with ``log(1 + exp(x)) = y > 0``, for arrays."""
    return y + np.log(-np.expm1(-y))


def logaddexp(a: Any, b: Any) -> Any:
    """``log(exp(a) + exp(b))`` in the type of ``a``, which must be finite.

    ``ops.logaddexp`` returns ``keras.config.floatx()`` on JAX and torch.
    """
    return b + softplus(a - b)


def repeated(step: Callable[[Any, Any], Any], state: Any, count: int) -> Any:
    """Iterate ``state = step(i, state)`` for ``i`` from 0 to ``count - 1``.

    By ``scan`` on JAX, by a ``while_loop`` with a known bound on TensorFlow: no Keras loop is
    differentiable under XLA on both.
    """
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, i: (step(i, s), None), state, ops.arange(count), count)[0]
    if backend == "tensorflow":
        _, *state = ops.while_loop(
            lambda i, *_: i < count,
            lambda i, *s: (i + 1, *step(i, s)),
            (ops.convert_to_tensor(0), *state),
            maximum_iterations=count,
        )
        return tuple(state)
    for i in range(count):
        state = step(i, state)
    return state
