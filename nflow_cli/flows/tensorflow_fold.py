"""The loop over flows on TensorFlow: compiled once whatever their number, with its own gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


def fold(step: Callable[..., Any], state: Sequence[Any], sets: Any, count: int, roots: int) -> Any:
    """Fold ``state, roots = step(state, parameters)`` over the leading axis of all in ``sets``.

    Each step's state is kept, and its ``roots``, of which there are so many, in the shape of the
    log-determinant. From them the gradient runs ``step(state, parameters, roots)`` again.
    (TensorFlow's own gradient of a ``while_loop`` copies whatever a step has read or computed, and
    takes a third longer.)
    """

    @tf.custom_gradient
    def run(*flat: Any) -> Any:
        start, arrays = flat[: len(state)], flat[len(state) :]

        def forward(i: Any, kept: Any, *before: Any) -> Any:
            after, found = step(before, keras.tree.pack_sequence_as(sets, _take(arrays, i)))
            return i + 1, _write(kept, i, [*before, *found]), *after

        kept = _empty(count, [*start, *[start[1]] * roots])
        end, kept = _loop(forward, 0, count, kept, start)

        def gradient(*changes: Any) -> Any:
            def backward(i: Any, found: Any, *changes: Any) -> Any:
                at = _take(kept, i)
                before, solved = at[: len(state)], at[len(state) :]
                changes, own = _transposed(step, before, _take(arrays, i), sets, solved, changes)
                return i - 1, _write(found, i, own), *changes

            found = _empty(count, [array[0] for array in arrays])
            changes, found = _loop(backward, count - 1, count, found, changes)
            return *changes, *found

        return end, gradient

    return run(*state, *keras.tree.flatten(sets))


def _transposed(step: Any, before: Any, flat: Any, sets: Any, roots: Any, changes: Any) -> Any:
    """Return the gradient of one step in its state and in its parameters ``flat``."""
    with tf.GradientTape() as tape:
        tape.watch([before, flat])
        after, _ = step(before, keras.tree.pack_sequence_as(sets, flat), roots)
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(after, [before, flat], changes, unconnected_gradients=zero)


def _loop(body: Any, first: int, count: int, arrays: Any, state: Any) -> tuple[Any, Any]:
    """Run ``body(i, arrays, *state)`` ``count`` times from index ``first`` on; stack ``arrays``."""
    start = (tf.constant(first), arrays, *state)
    kept = {"maximum_iterations": count}  # a known bound, which XLA asks for
    _, arrays, *state = tf.while_loop(lambda i, *_: (i >= 0) & (i < count), body, start, **kept)
    return tuple(state), [array.stack() for array in arrays]


def _take(arrays: Any, i: Any) -> list[Any]:
    return [array[i] for array in arrays]


def _empty(count: int, values: Any) -> list[Any]:
    return [tf.TensorArray(v.dtype, count, element_shape=v.shape) for v in values]


def _write(arrays: Any, i: Any, values: Any) -> list[Any]:
    return [array.write(i, value) for array, value in zip(arrays, values)]
