"""Maps in a row with their weights: what a stack runs, and what takes it apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nflow_cli.flows.fold import Weights, run_maps
from nflow_cli.flows.map import Map


@dataclass(frozen=True)
class Step:
    """One map of a composition, with its weights.

    Attributes:
        name: What it is called in messages and tables.
        map: Its mathematics.
        weights: Raw, as :func:`~nflow_cli.flows.fold.run_maps` takes them, of one repeat.
    """

    name: str
    map: Map
    weights: Weights

    def run(self, points: Any, inverse: bool = False) -> tuple[Any, Any]:
        """Return the points ``(..., D)`` moved, and the log-determinants ``(...)`` in nats."""
        return run_maps([self.map], [self.weights], 1, points, inverse)


@dataclass(frozen=True)
class Composition:
    """``k`` maps that cycle through a pattern, and an affine map at the data's end or none.

    Attributes:
        names: Of the maps of the pattern.
        maps: The pattern.
        weights: For each position of the pattern its raw weights, as
            :func:`~nflow_cli.flows.fold.run_maps` takes them.
        k: How many maps of the pattern are run.
        last: The affine map and its raw weights.
    """

    names: Sequence[str]
    maps: Sequence[Map]
    weights: Sequence[Weights]
    k: int
    last: tuple[Map, Weights] | None = None

    def __len__(self) -> int:
        return self.k + (self.last is not None)

    def run(self, points: Any, inverse: bool = False) -> tuple[Any, Any]:
        """Return the points ``(..., D)`` moved, and the log-determinants ``(...)`` in nats."""
        if self.last is None:
            return run_maps(self.maps, self.weights, self.k, points, inverse)
        (last, weights), total = self.last, 0.0
        parts = [(self.maps, self.weights, self.k), ([last], [weights], 1)]
        for part in reversed(parts) if inverse else parts:
            points, log_det = run_maps(*part, points, inverse)
            total = total + log_det
        return points, total

    def steps(self) -> Iterator[Step]:
        """Yield the maps one by one, in the order in which they are applied."""
        for index in range(self.k):
            repeat, position = divmod(index, len(self.maps))
            weights = {
                name: array[repeat : repeat + 1] for name, array in self.weights[position].items()
            }
            name = f"flow {index + 1} of {self.k} ({self.names[position]})"
            yield Step(name, self.maps[position], weights)
        if self.last is not None:
            yield Step("the last affine", *self.last)
