"""Compositions of maps with their weights, and the loop over maps that all flow layers use."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo, WeightSets

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
        """The raw weights as arrays, float64."""
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

    def map_weights(self, function: Callable[[Tensor], Tensor]) -> "Composition":
        """The same maps with ``function(weight)`` for each weight."""

        def mapped(weights: Weights) -> Weights:
            return {name: function(value) for name, value in weights.items()}

        weights = [mapped(position) for position in self.weights]
        last = self.last and (self.last[0], mapped(self.last[1]))
        return replace(self, weights=weights, last=last)

    def parts(self) -> Iterator[tuple[str, Map, Weights]]:
        """Name, map and raw weights of each position of the pattern, and of the last map."""
        yield from zip(self.names, self.maps, self.weights)
        if self.last is not None:
            yield "affine", self.last[0], self.last[1]

    def run(self, points: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Images of points ``(..., D)``, and log-determinants ``(...)`` in nats."""
        parts = [(self.maps, self.weights, self.k)]
        if self.last is not None:
            parts.append(([self.last[0]], [self.last[1]], 1))
        if inverse:
            parts.reverse()
        log_dets = []
        for maps, weights, k in parts:
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
        [(shape, ops.convert_to_tensor(position[name])) for name, shape in flow.shapes(dim).items()]
        for flow, position in zip(maps[:k], weights)
    ]
    points = _broadcast(points, raw)
    constrained = []
    for flow, position in zip(maps, raw):
        constrained.append(flow.constrain(*(array for _, array in position)))
    state = (points, ops.zeros_like(points[..., 0, :]))

    # Whole cycles of the pattern in a loop, and its first maps once more.
    cycles, rest = divmod(k, len(maps))
    looped = [tuple(_first(cycles, array) for array in arrays) for arrays in constrained]
    tail = [tuple(array[cycles] for array in arrays) for arrays in constrained[:rest]]
    if inverse:
        state = _backward(maps[:rest], Memo(), state, tail)
        looped = [tuple(ops.flip(array, 0) for array in arrays) for arrays in looped]
        state = _fold(partial(_backward, maps), state, looped, cycles)
    else:
        state = _fold(partial(_forward, maps), state, looped, cycles)
        state = _forward(maps[:rest], Memo(), state, tail)
    points, log_det = state
    return ops.swapaxes(points, -1, -2), log_det


def _broadcast(points: Tensor, raw: Sequence[Sequence[tuple[tuple[int, ...], Tensor]]]) -> Tensor:
    """Points with the leading axes and batch of all weights: a loop needs the final shape at its
    start.

    ``raw``: of each position the shapes of its weights, and the weights.
    """
    wider = {}
    for shape, array in itertools.chain(*raw):
        sizes = (*array.shape[1 : -1 - len(shape)], array.shape[-1])
        if any(size != 1 for size in sizes):
            wider[sizes] = (shape, array)
    for shape, array in wider.values():
        corner = array[(0, ..., *(0 for _ in shape), slice(None))]
        points = points + ops.zeros_like(ops.expand_dims(corner, -2))
    return points


def _forward(maps: Sequence[Map], memo: Memo, state: State, weights: WeightSets) -> State:
    points, log_det = state
    for flow, constrained in zip(maps, weights):
        points, change = flow.forward(memo, points, *constrained)
        log_det = log_det + change
    return points, log_det


def _backward(maps: Sequence[Map], memo: Memo, state: State, weights: WeightSets) -> State:
    points, log_det = state
    for flow, constrained in reversed(list(zip(maps, weights))):
        points, change = flow.inverse(memo, points, *constrained)
        log_det = log_det + change
    return points, log_det


def _fold(step: Callable[..., State], state: State, weights: WeightSets, count: int) -> State:
    """Fold ``state = step(memo, state, weights)`` over the leading axis of all ``weights``.

    Compiled once for any ``count``: under XLA TensorFlow differentiates a ``while_loop`` with a
    known bound, JAX a ``scan``.
    """
    if count == 0:
        return state
    backend = keras.config.backend()
    if backend == "jax":
        return ops.scan(lambda s, w: (step(Memo(), s, w), None), state, weights, count)[0]
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            from nflow_cli.flows.tensorflow_fold import fold

            return fold(step, state, weights, count)
    unstacked = [[ops.unstack(array, count) for array in arrays] for arrays in weights]
    for i in range(count):
        repeat = [tuple(steps[i] for steps in arrays) for arrays in unstacked]
        state = step(Memo(), state, repeat)
    return state


def _first(count: int, array: Tensor) -> Tensor:
    if array.shape[0] == count:  # no slice in the program
        return array
    return array[:count]
