"""Training batches, grouped into chunks of updates for the compiled loop."""

import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nflow_cli.random_streams import shifted_lattice, stream

if TYPE_CHECKING:  # which loads Keras
    from nflow_cli.densities.bases import Base

Chunk: TypeAlias = tuple[Any, np.ndarray]  # arrays, one or a nest, and the count of updates


class Chunks:
    """Sequence of chunks ``(arrays, (count,))`` of one shape, with ``count`` updates each.

    Attributes:
        steps: Updates of all chunks.
        ahead: Number of chunks that are drawn ahead of training.
    """

    steps: int
    ahead = 2

    def start_at(self, update: int) -> None:
        """Skip the first ``update`` updates."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Chunk:
        raise NotImplementedError

    def __iter__(self) -> Generator[Chunk]:
        """Chunks drawn in a thread while earlier ones train."""
        pool = ThreadPoolExecutor(1)
        waiting = []
        try:
            for index in range(len(self)):
                waiting.append(pool.submit(self.__getitem__, index))
                if index >= self.ahead:
                    yield waiting.pop(0).result()
            for chunk in waiting:
                yield chunk.result()
        finally:
            pool.shutdown(cancel_futures=True)


class DrawnChunks(Chunks):
    """Random points for a fit, one chunk of updates at a time.

    An item is ``(points, count)``: points ``(chunk, D, batch_size)``, features first as in the
    flows, and the number ``(1,)`` of updates to run: the rest of the chunk. R seeds give
    ``(chunk, R, D, batch_size)``, each restart its own stream.
    """

    def __init__(self, seeds: Sequence[int], steps: int, chunk: int, batch_size: int):
        self.seeds = seeds
        self.steps = steps
        self.chunk = chunk
        self.batch_size = batch_size
        self.start = 0

    def start_at(self, update: int) -> None:
        self.start = update

    def __len__(self) -> int:
        if self.start >= self.steps:
            return 0
        return math.ceil(self.steps / self.chunk) - self.start // self.chunk

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        number = self.start // self.chunk + index
        skipped = self.start % self.chunk if index == 0 else 0
        by_seed = [self.drawn(seed, number) for seed in self.seeds]
        points = by_seed[0] if len(by_seed) == 1 else np.stack(by_seed, axis=1)
        count = min(self.chunk, self.steps - number * self.chunk) - skipped
        return np.roll(points, -skipped, axis=0), np.array([count], dtype=np.int32)

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw chunk ``index`` of one seed: ``(chunk, D, batch_size)``, float32."""
        raise NotImplementedError


class NoiseChunks(DrawnChunks):
    """Base samples for a fit by reverse KL; other arguments as of :class:`PointChunks`.

    Args:
        dim: D.
        purpose: Of the random stream.
        even: An update's samples are a randomly shifted lattice, which fills the base evenly.
    """

    def __init__(
        self,
        base: "Base",
        dim: int,
        seeds: Sequence[int],
        steps: int,
        chunk: int,
        batch_size: int,
        purpose: str = "base-noise",
        even: bool = False,
    ):
        super().__init__(seeds, steps, chunk, batch_size)
        self.base = base
        self.dim = dim
        self.purpose = purpose
        self.even = even

    def drawn(self, seed: int, index: int) -> np.ndarray:
        shape = (self.chunk, self.dim, self.batch_size)
        rng = stream(seed, self.purpose, index)
        if self.even:
            return self.base.quantiles(shifted_lattice(rng, shape))
        return self.base.sample_columns(rng, shape)


class PointChunks(DrawnChunks):
    """Batches of data points for a maximum-likelihood fit, drawn with replacement.

    Args:
        points: ``(n, D)``, standardised.
        seeds: One a member.
        steps: Updates of all chunks.
        chunk: Updates per chunk.
        weights: ``(n,)``, proportional to probabilities; ``None``: equal.
    """

    def __init__(
        self,
        points: np.ndarray,
        seeds: Sequence[int],
        steps: int,
        chunk: int,
        batch_size: int,
        weights: np.ndarray | None = None,
    ):
        super().__init__(seeds, steps, chunk, batch_size)
        self.points = np.asarray(points.T, np.float32, order="C")
        self._cumulative = None if weights is None else np.cumsum(weights / weights.sum())

    def drawn(self, seed: int, index: int) -> np.ndarray:
        return np.moveaxis(self.points[:, self._rows(seed, index)], 0, 1)

    def _rows(self, seed: int, index: int) -> np.ndarray:
        """Numbers of the rows of a chunk ``(chunk, batch_size)``."""
        rng = stream(seed, "batches", index)
        shape = (self.chunk, self.batch_size)
        n = self.points.shape[1]
        if self._cumulative is None:
            return rng.integers(n, size=shape)
        rows = np.searchsorted(self._cumulative, rng.random(shape), side="right")
        return np.minimum(rows, n - 1)
