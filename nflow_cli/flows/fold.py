"""Run K maps of a repeating pattern over points: the one loop that every flow layer uses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from nflow_cli.flows.map import Map
from nflow_cli.flows.memo import Memo

Weights = Mapping[str, Any]


def run_maps(
    maps: Sequence[Map], weights: Sequence[Weights], k: int, points: Any, inverse: bool = False
) -> tuple[Any, Any]:
    """Apply ``k`` maps that cycle through ``maps``; with ``inverse``, undo them.

    Args:
        maps: The pattern, such as ``[Planar(), Radial()]``.
        weights: For each position of the pattern its raw weights by name: ``(repeats, *lead,
            *shape, batch or 1)``, as :class:`~nflow_cli.flows.map.Map` says, with ``repeats`` in
            front.
        k: How many maps to run; ``repeats`` is ``k / len(maps)``, rounded up where a position has
            one more.
        points: ``(..., D)``; of these axes the last two are the batch and the features.
        inverse: Run backwards.

    Returns:
        The points ``(..., D)`` and the sum of the log-determinants ``(...)`` in nats.
    """
    if k == 0:
        return points, ops.zeros_like(points[..., 0])
    if len(points.shape) == 1:
        points, log_det = run_maps(maps, weights, k, ops.expand_dims(points, 0), inverse)
        return points[..., 0, :], log_det[..., 0]
    sets = [_constrained(flow, own) for flow, own in zip(maps[:k], weights)]
    points = ops.swapaxes(points, -1, -2)
    points = _broadcast(points, maps, weights)
    state = (points, ops.zeros_like(points[..., 0, :]))

    whole, rest = divmod(k, len(maps))
    looped = [tuple(array[:whole] for array in arrays) for arrays in sets]
    tail = [tuple(array[whole] for array in arrays) for arrays in sets[:rest]]
    run = _backward if inverse else _forward
    if inverse:
        state = run(maps[:rest], Memo(), state, tail)
        looped = [tuple(ops.flip(array, 0) for array in arrays) for arrays in looped]
    state = _fold(lambda *step: run(maps, *step), state, looped, whole)
    if not inverse:
        state = run(maps[:rest], Memo(), state, tail)
    points, log_det = state
    return ops.swapaxes(points, -1, -2), log_det


def _constrained(flow: Map, weights: Weights) -> tuple[Any, ...]:
    """Return what all repeats of a map use."""
    return flow.constrain(*(ops.convert_to_tensor(array) for array in weights.values()))


def _broadcast(points: Any, maps: Sequence[Map], weights: Sequence[Weights]) -> Any:
    """Return points of their final shape, which a loop needs at its start."""
    for flow, own in zip(maps, weights):
        for shape, array in zip(flow.shapes(points.shape[-2]).values(), own.values()):
            one = ops.convert_to_tensor(array[0])
            for _ in shape:
                one = one[..., 0, :]
            if any(size != 1 for size in one.shape):
                return points + ops.zeros_like(ops.expand_dims(one, -2))
            return points
    return points


def _forward(maps: Sequence[Map], memo: Memo, state: Any, sets: Sequence[Any]) -> Any:
    """Run once through the pattern (or through its beginning, where ``maps`` is shorter)."""
    points, log_det = state
    for flow, weights in zip(maps, sets):
        points, change = flow.forward(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _backward(maps: Sequence[Map], memo: Memo, state: Any, sets: Sequence[Any]) -> Any:
    """Undo one run through the pattern."""
    points, log_det = state
    for flow, weights in reversed(list(zip(maps, sets))):
        points, change = flow.inverse(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _fold(step: Callable[..., Any], state: Any, sets: Any, count: int) -> Any:
    """Fold ``state = step(memo, state, weights)`` over the leading axis of all in ``sets``.

    Compiled once whatever ``count``, where there is a compiler. No single Keras loop is
    differentiable under XLA on every backend: TensorFlow needs a ``while_loop`` with a known
    bound, JAX needs ``scan``.

    Args:
        step: Runs once through the pattern; see :func:`_forward` and :func:`_backward`.
        state: Points and log-determinant.
        sets: For each position of the pattern, what its map uses.
        count: How many steps.
    """
    if count == 0:
        return state
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, w: (step(Memo(), s, w), None), state, sets, count)[0]
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            from nflow_cli.flows.tensorflow_fold import fold

            return fold(step, state, sets, count)
    for i in range(count):
        state = step(Memo(), state, [tuple(array[i] for array in arrays) for arrays in sets])
    return state
