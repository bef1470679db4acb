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
    run = _backward if inverse else _forward
    if inverse:
        state, _ = run(kinds[:rest], state, tail)
        looped = [tuple(ops.flip(array, 0) for array in arrays) for arrays in looped]
    roots = len(kinds) if inverse else 0
    state = _fold(lambda *given: run(kinds, *given), state, looped, whole, roots)
    if not inverse:
        state, _ = run(kinds[:rest], state, tail)
    points, log_det = state
    return ops.moveaxis(points, 0, -1), log_det


def _forward(kinds: Sequence[Any], state: Any, sets: Sequence[Any], roots: Any = ()) -> Any:
    """Run once through the pattern (or through its beginning, where ``kinds`` is shorter)."""
    points, log_det = state
    for kind, constrained in zip(kinds, sets):
        points, change = kind.transform(points, *constrained)
        log_det = log_det + change
    return (points, log_det), []


def _backward(kinds: Sequence[Any], state: Any, sets: Sequence[Any], roots: Any = ()) -> Any:
    """Undo one run through the pattern; return also the roots that were solved for.

    Given those ``roots``, nothing is solved: so a gradient does not pay for it again.
    """
    points, log_det = state
    solved, known = [], list(roots)
    for kind, constrained in reversed(list(zip(kinds, sets))):
        fixed = map(ops.stop_gradient, (points, *constrained))
        root = known.pop(0) if known else kind.solve(*fixed)
        points, change = kind.invert(points, root, *constrained)
        log_det = log_det + change
        solved.append(root)
    return (points, log_det), solved


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


def _fold(step: Callable[..., Any], state: Any, sets: Any, count: int, roots: int) -> Any:
    """Fold ``state, roots = step(state, parameters)`` over the leading axis of all in ``sets``.

    Compiled once whatever ``count``, where there is a compiler. No single Keras loop is
    differentiable under XLA on every backend: TensorFlow needs a ``while_loop`` with a known
    bound, JAX needs ``scan``.

    Args:
        step: Runs once through the pattern; see :func:`_forward` and :func:`_backward`.
        state: Points and log-determinant.
        sets: For each position of the pattern, what its flow uses.
        count: How many steps.
        roots: How many roots a step returns, of the log-determinant's shape.
    """
    if count == 0:
        return state
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, p: (step(s, p)[0], None), state, sets)[0]
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            from nflow_cli.flows.tensorflow_fold import fold

            return fold(step, state, sets, count, roots)
    for i in range(count):
        state, _ = step(state, [tuple(array[i] for array in arrays) for arrays in sets])
    return state
