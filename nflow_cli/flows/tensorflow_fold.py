"""The loop over maps on TensorFlow, compiled once for any length, with its own gradient."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from nflow_cli.flows.map import Memo, product


class Saving(Memo):
    """Saves computed residuals, in order."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def dense(self, weights: Any, points: Any) -> Any:
        return self._saved(super().dense(weights, points))

    def root(self, solve: Callable[..., Any], *known: Any) -> Any:
        return self._saved(super().root(solve, *known))

    def _saved(self, value: Any) -> Any:
        self.values.append(value)
        return value


class Reusing(Memo):
    """Returns saved values in the same order, with their gradients."""

    def __init__(self, values: Sequence[Any]):
        self.values: Iterator[Any] = iter(values)

    def dense(self, weights: Any, points: Any) -> Any:
        value = next(self.values)

        @tf.custom_gradient
        def known(weights: Any, points: Any) -> Any:
            def gradient(change: Any) -> Any:
                # A second derivative runs this in a graph of its own: a tape sees only its tensors.
                factors = [tf.identity(weights), tf.identity(points)]
                with tf.GradientTape() as tape:
                    tape.watch(factors)
                    again = product(*factors)  # its gradient needs none of its values
                return tape.gradient(again, factors, change)

            return tf.identity(value), gradient

        return known(weights, points)

    def root(self, solve: Callable[..., Any], *known: Any) -> Any:
        return tf.stop_gradient(next(self.values))


def fold(step: Callable[..., Any], state: Sequence[Any], sets: Any, count: int) -> Any:
    """Fold ``state = step(memo, state, weights)`` over the leading axis of all in ``sets``.

    State, products and roots of each step are saved; from them the gradient runs the step again.
    (TensorFlow's own gradient of a ``while_loop`` copies all that a step reads or computes, and
    takes a third longer.)
    """

    @tf.custom_gradient
    def run(*flat: Any) -> Any:
        start, arrays = flat[: len(state)], flat[len(state) :]

        def forward(i: Any, stacks: Any, *before: Any) -> Any:
            memo = Saving()
            after = step(memo, before, keras.tree.pack_sequence_as(sets, _take(arrays, i)))
            return i + 1, _write(stacks, i, [*before, *memo.values]), *after

        stacks = _empty(count, [*start, *_specs_of_saved(step, start, arrays, sets)])
        end, stacks = _loop(forward, 0, count, stacks, start)

        def gradient(*changes: Any) -> Any:
            def backward(i: Any, summed: Any, *changes: Any) -> Any:
                at = _take(stacks, i)
                before, memo = at[: len(state)], Reusing(at[len(state) :])
                changes, of_weights = _transposed(
                    step, memo, before, _take(arrays, i), sets, changes
                )
                return i - 1, _write(summed, i, of_weights), *changes

            summed = _empty(count, [array[0] for array in arrays])
            changes, summed = _loop(backward, count - 1, count, summed, changes)
            return *changes, *summed

        return end, gradient

    return run(*state, *keras.tree.flatten(sets))


def _specs_of_saved(step: Any, state: Any, arrays: Any, sets: Any) -> list[Any]:
    """By tracing the step once."""

    def run(state: Any, flat: Any) -> Any:
        memo = Saving()
        step(memo, state, keras.tree.pack_sequence_as(sets, flat))
        return memo.values

    specs = [tf.TensorSpec(array.shape, array.dtype) for array in state]
    of_one = [tf.TensorSpec(array.shape[1:], array.dtype) for array in arrays]
    traced = tf.function(run, autograph=False)  # no Python control flow
    return traced.get_concrete_function(specs, of_one).structured_outputs


def _transposed(step: Any, memo: Any, before: Any, flat: Any, sets: Any, changes: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch([before, flat])
        after = step(memo, before, keras.tree.pack_sequence_as(sets, flat))
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(after, [before, flat], changes, unconnected_gradients=zero)


def _loop(body: Any, first: int, count: int, arrays: Any, state: Any) -> tuple[Any, Any]:
    start = (tf.constant(first), arrays, *state)
    bound = {"maximum_iterations": count}  # XLA needs a known bound
    _, arrays, *state = tf.while_loop(lambda i, *_: (i >= 0) & (i < count), body, start, **bound)
    return tuple(state), [array.stack() for array in arrays]


def _take(arrays: Any, i: Any) -> list[Any]:
    return [array[i] for array in arrays]


def _empty(count: int, values: Any) -> list[Any]:
    return [tf.TensorArray(v.dtype, count, element_shape=v.shape) for v in values]


def _write(arrays: Any, i: Any, values: Any) -> list[Any]:
    return [array.write(i, value) for array, value in zip(arrays, values)]
