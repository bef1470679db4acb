"""Run K flows of a repeating pattern over points: the one loop that every flow layer uses."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


def run_flows(
    kinds: Sequence[Any],
    parameters: Sequence[dict[str, Any]],
    k: int,
    points: Any,
    inverse: bool = False,
) -> tuple[Any, Any]:
    """Apply ``k`` flows that cycle through ``kinds``; with ``inverse``, undo them.

    Args:
        kinds: The classes of the pattern, such as ``[PlanarFlow, RadialFlow]``.
        parameters: For each position of the pattern its raw parameters by name; vectors are
            ``(repeats, *batch, D)``, scalars ``(repeats, *batch)``. ``*batch`` broadcasts against
            the points: ``()`` for shared weights, ``(batch,)`` for amortised ones, ``(R, 1)`` for
            R restarts.
        k: How many flows to run; ``repeats`` is ``k / len(kinds)``, rounded up where a position
            has one more.
        points: ``(..., D)``.
        inverse: Run backwards.

    Returns:
        The points ``(..., D)`` and the sum of the log-determinants ``(...)`` in nats.
    """
    if k == 0:
        return points, ops.zeros_like(points[..., 0])
    rank = max([len(points.shape), *(_rank(kind, p) for kind, p in zip(kinds, parameters))])
    sets = [_constrained(kind, p, rank) for kind, p in zip(kinds[:k], parameters)]
    points = _pad(ops.moveaxis(points, -1, 0), 1, rank)
    first = sets[0][0]
    if any(size != 1 for size in first.shape[2:]):
        points = points + ops.zeros_like(first[0])  # the loop needs its final shape at the start
    state = (points, ops.zeros_like(points[0]))

    whole, rest = divmod(k, len(kinds))
    looped = [tuple(array[:whole] for array in arrays) for arrays in sets]
    tail = [tuple(array[whole] for array in arrays) for arrays in sets[:rest]]
    if inverse:
        state = _step(kinds[:rest], state, tail, inverse)
        looped = [tuple(ops.flip(array, 0) for array in arrays) for arrays in looped]
    state = _fold(lambda s, p: _step(kinds, s, p, inverse), state, looped, whole)
    if not inverse:
        state = _step(kinds[:rest], state, tail, inverse)
    points, log_det = state
    return ops.moveaxis(points, 0, -1), log_det


def _step(kinds: Sequence[Any], state: Any, sets: Sequence[Any], inverse: bool) -> Any:
    """Run once through the pattern (or through its beginning, where ``kinds`` is shorter)."""
    points, log_det = state
    pairs = list(zip(kinds, sets))
    for kind, constrained in reversed(pairs) if inverse else pairs:
        run = kind.invert if inverse else kind.transform
        points, change = run(points, *constrained)
        log_det = log_det + change
    return points, log_det


def _rank(kind: Any, parameters: dict[str, Any]) -> int:
    return len(parameters[kind.vectors[0]].shape) - 1


def _constrained(kind: Any, parameters: dict[str, Any], rank: int) -> tuple[Any, ...]:
    """Put features first, align the batch axes with points of ``rank`` axes, and constrain."""
    arrays = {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
    vectors = [_pad(ops.moveaxis(arrays[name], -1, 1), 2, rank + 1) for name in kind.vectors]
    scalars = [_pad(arrays[name], 1, rank) for name in kind.scalars]
    return kind.constrain(*vectors, *scalars)


def _pad(array: Any, axis: int, rank: int) -> Any:
    """Insert axes of size 1 at ``axis`` until ``array`` has ``rank`` axes."""
    for _ in range(rank - len(array.shape)):
        array = ops.expand_dims(array, axis)
    return array


def _fold(step: Callable[[Any, Any], Any], state: Any, sets: Any, count: int) -> Any:
    """Fold ``step(state, parameters)`` over the leading axis of every array in ``sets``.

    Compiled once whatever ``count``. No single Keras loop is differentiable under XLA on every
    backend: TensorFlow needs a ``while_loop`` with a known bound (and a TensorArray, whose
    gradient does not grow with ``count``), JAX needs ``scan``; torch runs eagerly.
    """
    if count == 0:
        return state
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, p: (step(s, p), None), state, sets)[0]
    if backend == "tensorflow":
        return _fold_tensorflow(step, state, sets, count)
    for i in range(count):
        state = step(state, [tuple(array[i] for array in arrays) for arrays in sets])
    return state


def _fold_tensorflow(step: Callable[[Any, Any], Any], state: Any, sets: Any, count: int) -> Any:
    import tensorflow as tf

    def unstack(array: Any) -> Any:
        empty = tf.TensorArray(array.dtype, count, element_shape=array.shape[1:])
        return empty.unstack(array)

    stored = [[unstack(array) for array in arrays] for arrays in sets]

    def body(i: Any, *state: Any) -> tuple[Any, ...]:
        return i + 1, *step(state, [[array.read(i) for array in arrays] for arrays in stored])

    return tf.while_loop(
        lambda i, *_: i < count, body, (tf.constant(0), *state), maximum_iterations=count
    )[1:]
