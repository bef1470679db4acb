"""The loop over maps on TensorFlow, compiled once for any length, with its own gradient."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Memo, WeightSets, product

# The state after a step, by its memo, the state before, and its weights.
Step: TypeAlias = Callable[[Memo, Sequence[Tensor], WeightSets], tuple[Tensor, ...]]


class Saving(Memo):
    """Saves computed residuals, in order."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def dense(self, weights: Tensor, points: Tensor) -> Tensor:
        return self._saved(super().dense(weights, points))

    def root(self, solve: Callable[..., Tensor], *known: Tensor) -> Tensor:
        return self._saved(super().root(solve, *known))

    def _saved(self, value: Tensor) -> Tensor:
        self.values.append(value)
        return value


class Reusing(Memo):
    """Returns saved values in the same order, with their gradients."""

    def __init__(self, values: Sequence[Tensor]):
        self.values: Iterator[Tensor] = iter(values)

    def dense(self, weights: Tensor, points: Tensor) -> Tensor:
        value = next(self.values)

        @tf.custom_gradient
        def saved_product(
            weights: Tensor, points: Tensor
        ) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
            def gradient(change: Tensor) -> list[Tensor]:
                # A second derivative runs this in a graph of its own: a tape sees only its tensors.
                factors = [tf.identity(weights), tf.identity(points)]
                with tf.GradientTape() as tape:
                    tape.watch(factors)
                    recomputed = product(*factors)  # its gradient needs none of its values
                return tape.gradient(recomputed, factors, change)

            return tf.identity(value), gradient

        return saved_product(weights, points)

    def root(self, solve: Callable[..., Tensor], *known: Tensor) -> Tensor:
        return tf.stop_gradient(next(self.values))


def fold(
    step: Step, state: tuple[Tensor, ...], weights: WeightSets, count: int
) -> tuple[Tensor, ...]:
    """Fold ``state = step(memo, state, weights)`` over the leading axis of all ``weights``.

    State, products and roots of each step are saved; from them the gradient runs the step again.
    (TensorFlow's own gradient of a ``while_loop`` copies all that a step reads or computes, and
    takes a third longer.)
    """

    @tf.custom_gradient
    def run(*flat: Tensor) -> tuple[tuple[Tensor, ...], Callable[..., tuple[Tensor, ...]]]:
        start = flat[: len(state)]
        arrays = flat[len(state) :]

        def forward(i: Tensor, stacks: list[tf.TensorArray], *before: Tensor) -> tuple[Tensor, ...]:
            memo = Saving()
            after = step(memo, before, keras.tree.pack_sequence_as(weights, _take(arrays, i)))
            return i + 1, _write(stacks, i, [*before, *memo.values]), *after

        stacks = _empty(count, [*start, *_specs_of_saved(step, start, arrays, weights)])
        end, stacks = _loop(forward, 0, count, stacks, start)

        def gradient(*changes: Tensor) -> tuple[Tensor, ...]:
            def backward(
                i: Tensor, summed: list[tf.TensorArray], *changes: Tensor
            ) -> tuple[Tensor, ...]:
                saved = _take(stacks, i)
                before = saved[: len(state)]
                memo = Reusing(saved[len(state) :])
                of_state, of_weights = _transposed(
                    step, memo, before, _take(arrays, i), weights, list(changes)
                )
                return i - 1, _write(summed, i, of_weights), *of_state

            summed = _empty(count, [array[0] for array in arrays])
            of_state, of_weights = _loop(backward, count - 1, count, summed, changes)
            return *of_state, *of_weights

        return end, gradient

    return run(*state, *keras.tree.flatten(weights))


def _specs_of_saved(
    step: Step, state: Sequence[Tensor], arrays: Sequence[Tensor], weights: WeightSets
) -> list[tf.TensorSpec]:
    """Tensor specs of the intermediate values that a step saves, by a single trace."""

    def run(state: Sequence[Tensor], flat: Sequence[Tensor]) -> list[Tensor]:
        memo = Saving()
        step(memo, state, keras.tree.pack_sequence_as(weights, flat))
        return memo.values

    state_specs = [tf.TensorSpec(array.shape, array.dtype) for array in state]
    weight_specs = [tf.TensorSpec(array.shape[1:], array.dtype) for array in arrays]
    traced = tf.function(run, autograph=False)  # no Python control flow
    return traced.get_concrete_function(state_specs, weight_specs).structured_outputs


def _transposed(
    step: Step,
    memo: Memo,
    before: list[Tensor],
    flat: list[Tensor],
    weights: WeightSets,
    changes: list[Tensor],
) -> Any:
    """Gradients of a step by the state before and by its weights, of that by the state after."""
    with tf.GradientTape() as tape:
        tape.watch([before, flat])
        after = step(memo, before, keras.tree.pack_sequence_as(weights, flat))
    zero = tf.UnconnectedGradients.ZERO
    return tape.gradient(after, [before, flat], changes, unconnected_gradients=zero)


def _loop(
    body: Callable[..., tuple[Tensor, ...]],
    first: int,
    count: int,
    arrays: list[tf.TensorArray],
    state: Sequence[Tensor],
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """State after ``body`` at all steps from ``first`` on, up or down, and the stacked arrays."""
    start = (tf.constant(first), arrays, *state)
    bound = {"maximum_iterations": count}  # XLA needs a known bound
    _, arrays, *state = tf.while_loop(lambda i, *_: (i >= 0) & (i < count), body, start, **bound)
    return tuple(state), [array.stack() for array in arrays]


def _take(arrays: Sequence[Tensor], i: Tensor) -> list[Tensor]:
    return [array[i] for array in arrays]


def _empty(count: int, values: Sequence[Tensor]) -> list[tf.TensorArray]:
    """Arrays of ``count`` of each of the values, or of their specs."""
    return [tf.TensorArray(v.dtype, count, element_shape=v.shape) for v in values]


def _write(
    arrays: list[tf.TensorArray], i: Tensor, values: Sequence[Tensor]
) -> list[tf.TensorArray]:
    return [array.write(i, value) for array, value in zip(arrays, values)]
