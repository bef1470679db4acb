"""Compositions of maps with their weights, and the loop over maps that all flow layers use."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo

Weights: TypeAlias = Mapping[str, Tensor]
State: TypeAlias = tuple[Tensor, Tensor]  # points, and log-determinants so far


@dataclass(frozen=True)
class Step:
    """One map of a composition, with its weights.

    Attributes:
        name: In messages and tables.
        map: Its mathematics.
        weights: Raw, of one repeat; see :func:`~nflow_cli.flows.composition.run_maps`.
    """

    name: str
    map: Map
    weights: Weights

    def run(self, points: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Images of points ``(..., D)``, and log-determinants ``(...)`` in nats."""
        return run_maps([self.map], [self.weights], 1, points, inverse)

    def part(self, t: float) -> "Step":
        """The map at a part ``t`` of the way; see :meth:`Map.part`."""
        moved = self.map.part(t, **self.arrays())
        types = {name: value.dtype for name, value in self.weights.items()}
        weights = {name: ops.cast(value, types[name]) for name, value in moved.items()}
        return replace(self, weights=weights)

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            name: ops.convert_to_numpy(value).astype(np.float64)
            for name, value in self.weights.items()
        }


@dataclass(frozen=True)
class Composition:
    """``k`` maps that cycle through a pattern, and an optional affine map at the data's end.

    Attributes:
        names: Of the maps of the pattern.
        maps: The pattern.
        weights: Raw, of each position; see :func:`~nflow_cli.flows.composition.run_maps`.
        k: Number of maps run.
        last: The affine map and its raw weights.
    """

    names: Sequence[str]
    maps: Sequence[Map]
    weights: Sequence[Weights]
    k: int
    last: tuple[Map, Weights] | None = None

    def __len__(self) -> int:
        return self.k + (self.last is not None)

    def map_weights(self, turn: Callable[[Tensor], Tensor]) -> "Composition":
        """The same maps with ``turn(weight)`` for each weight."""
        weights = [{name: turn(value) for name, value in here.items()} for here in self.weights]
        last = self.last and (self.last[0], {n: turn(v) for n, v in self.last[1].items()})
        return replace(self, weights=weights, last=last)

    def parts(self) -> Iterator[tuple[str, Map, Weights]]:
        """Name, map and raw weights of each position of the pattern, and of the last map."""
        yield from zip(self.names, self.maps, self.weights)
        if self.last is not None:
            yield "affine", self.last[0], self.last[1]

    def run(self, points: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        parts = [(self.maps, self.weights, self.k)]
        if self.last is not None:
            parts.append(([self.last[0]], [self.last[1]], 1))
        log_dets = []
        for maps, weights, k in reversed(parts) if inverse else parts:
            points, log_det = run_maps(maps, weights, k, points, inverse)
            log_dets.append(log_det)
        return points, sum(log_dets[1:], start=log_dets[0])

    def steps(self) -> Iterator[Step]:
        """The maps one by one, in the order of application."""
        for index in range(self.k):
            repeat, position = divmod(index, len(self.maps))
            weights = {
                name: array[repeat : repeat + 1] for name, array in self.weights[position].items()
            }
            name = f"flow {index + 1} of {self.k} ({self.names[position]})"
            yield Step(name, self.maps[position], weights)
        if self.last is not None:
            yield Step("the last affine", *self.last)


def run_maps(
    maps: Sequence[Map], weights: Sequence[Weights], k: int, points: Tensor, inverse: bool = False
) -> tuple[Tensor, Tensor]:
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


def _broadcast(points: Tensor, raw: Sequence[Sequence[tuple[tuple[int, ...], Tensor]]]) -> Tensor:
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


def _forward(
    maps: Sequence[Map], memo: Memo, state: State, sets: Sequence[Sequence[Tensor]]
) -> State:
    points, log_det = state
    for flow, weights in zip(maps, sets):
        points, change = flow.forward(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _backward(
    maps: Sequence[Map], memo: Memo, state: State, sets: Sequence[Sequence[Tensor]]
) -> State:
    points, log_det = state
    for flow, weights in reversed(list(zip(maps, sets))):
        points, change = flow.inverse(memo, points, *weights)
        log_det = log_det + change
    return points, log_det


def _fold(
    step: Callable[..., State], state: State, sets: Sequence[Sequence[Tensor]], count: int
) -> State:
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


def _first(count: int, array: Tensor) -> Tensor:
    return array if array.shape[0] == count else array[:count]
