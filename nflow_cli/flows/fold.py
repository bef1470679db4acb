"""The loop over maps that all flow layers use."""

import itertools
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
    """Apply ``k`` maps that cycle through ``maps``, or with ``inverse`` undo them.

    Args:
        maps: The pattern, such as ``[Planar(), Radial()]``.
        weights: Raw weights by name, for each position of the pattern:
            ``(repeats, *lead, *shape, batch or 1)``, as for :class:`~nflow_cli.flows.map.Map` after
            ``repeats``.
        k: Number of maps; ``repeats`` is ``k / len(maps)``, rounded up for the first positions.
        points: ``(..., D)``; the axis before the last is the batch.
        inverse: Run backwards.

    Returns:
        The points and the sum of log-determinants ``(...)`` in nats.
    """
    if k == 0:
        return points, ops.zeros_like(points[..., 0])
    if len(points.shape) == 1:
        points, log_det = run_maps(maps, weights, k, ops.expand_dims(points, 0), inverse)
        return points[..., 0, :], log_det[..., 0]
    points = ops.swapaxes(points, -1, -2)
    dim = points.shape[-2]
    raw = [
        [(shape, ops.convert_to_tensor(here[name])) for name, shape in flow.shapes(dim).items()]
        for flow, here in zip(maps[:k], weights)
    ]
    points = _broadcast(points, raw)
    sets = [flow.constrain(*(array for _, array in here)) for flow, here in zip(maps, raw)]
    state = (points, ops.zeros_like(points[..., 0, :]))

    whole, rest = divmod(k, len(maps))
    looped = [tuple(_first(whole, array) for array in arrays) for arrays in sets]
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


def _broadcast(points: Any, raw: Sequence[Sequence[tuple[tuple[int, ...], Any]]]) -> Any:
    """A loop needs the final shape at its start."""
    wider = {}
    for shape, array in itertools.chain(*raw):
        sizes = (*array.shape[1 : -1 - len(shape)], array.shape[-1])
        if any(size != 1 for size in sizes):
            wider[sizes] = shape, array
    for shape, array in wider.values():
        one = array[(0, ..., *(0 for _ in shape), slice(None))]
        points = points + ops.zeros_like(ops.expand_dims(one, -2))
    return points


def _forward(maps: Sequence[Map], memo: Memo, state: Any, sets: Sequence[Any]) -> Any:
    points, log_det = state
    for flow, weights in zip(maps, sets):
        points, change = flow.forward(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _backward(maps: Sequence[Map], memo: Memo, state: Any, sets: Sequence[Any]) -> Any:
    points, log_det = state
    for flow, weights in reversed(list(zip(maps, sets))):
        points, change = flow.inverse(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _fold(step: Callable[..., Any], state: Any, sets: Any, count: int) -> Any:
    """Fold ``state = step(memo, state, weights)`` over the leading axis of all in ``sets``.

    Compiled once for any ``count``: under XLA TensorFlow differentiates a ``while_loop`` with a
    known bound, JAX a ``scan``.
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
    unstacked = [[ops.unstack(array, count) for array in arrays] for arrays in sets]
    for i in range(count):
        state = step(Memo(), state, [tuple(steps[i] for steps in arrays) for arrays in unstacked])
    return state


def _first(count: int, array: Any) -> Any:
    return array if array.shape[0] == count else array[:count]
