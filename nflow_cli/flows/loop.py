"""A loop within one map: compiled once whatever its length, with the backend's own gradient."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def repeated(step: Callable[[Any, Any], Any], state: Any, count: int) -> Any:
    """Return ``state = step(i, state)`` for ``i`` from 0 to ``count - 1``.

    No single Keras loop is differentiable under XLA on every backend: TensorFlow needs a
    ``while_loop`` with a known bound, JAX needs ``scan``.
    """
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, i: (step(i, s), None), state, ops.arange(count), count)[0]
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            start, bound = (tf.constant(0), *state), {"maximum_iterations": count}
            _, *state = tf.while_loop(
                lambda i, *_: i < count, lambda i, *s: (i + 1, *step(i, s)), start, **bound
            )
            return tuple(state)
    for i in range(count):
        state = step(i, state)
    return state
