"""Compositions of maps with their weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.flows.fold import Weights, run_maps
from nflow_cli.flows.map import Map


@dataclass(frozen=True)
class Step:
    """One map of a composition, with its weights.

    Attributes:
        name: In messages and tables.
        map: Its mathematics.
        weights: Raw, of one repeat; see :func:`~nflow_cli.flows.fold.run_maps`.
    """

    name: str
    map: Map
    weights: Weights

    def run(self, points: Any, inverse: bool = False) -> tuple[Any, Any]:
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
        weights: Raw, of each position; see :func:`~nflow_cli.flows.fold.run_maps`.
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

    def of(self, turn: Callable[[Any], Any]) -> "Composition":
        """The same maps with ``turn(weight)`` for each weight."""
        weights = [{name: turn(value) for name, value in here.items()} for here in self.weights]
        last = self.last and (self.last[0], {n: turn(v) for n, v in self.last[1].items()})
        return replace(self, weights=weights, last=last)

    def parts(self) -> Iterator[tuple[str, Map, Weights]]:
        """Name, map and raw weights of each position of the pattern, and of the last map."""
        yield from zip(self.names, self.maps, self.weights)
        if self.last is not None:
            yield "affine", self.last[0], self.last[1]

    def run(self, points: Any, inverse: bool = False) -> tuple[Any, Any]:
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
