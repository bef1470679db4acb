"""A loop inside one map, compiled once for any length, with the backend's gradient."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


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
