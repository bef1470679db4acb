"""Run K maps of a repeating pattern over points: the one loop that every flow layer uses."""

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
    points = ops.swapaxes(points, -1, -2)
    raw = [_in_order(flow, here, points.shape[-2]) for flow, here in zip(maps[:k], weights)]
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


def _in_order(flow: Map, weights: Weights, dim: int) -> list[tuple[tuple[int, ...], Any]]:
    """Return the shapes and raw weights of a map, in the order in which it names them."""
    shapes = flow.shapes(dim).items()
    return [(shape, ops.convert_to_tensor(weights[name])) for name, shape in shapes]


def _broadcast(points: Any, raw: Sequence[Sequence[tuple[tuple[int, ...], Any]]]) -> Any:
    """Return points of their final shape, which a loop needs at its start."""
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
    unstacked = [[ops.unstack(array, count) for array in arrays] for arrays in sets]
    for i in range(count):
        state = step(Memo(), state, [tuple(steps[i] for steps in arrays) for arrays in unstacked])
    return state


def _first(count: int, array: Any) -> Any:
    """Return the first ``count`` rows; a slice of all would be an operation more."""
    return array if array.shape[0] == count else array[:count]
