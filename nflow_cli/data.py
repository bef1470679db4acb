"""Where random numbers come from: streams keyed by (seed, purpose, step)."""

import zlib

import keras
import numpy as np


def stream(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return the random generator of one step of one purpose.

    Counter-based (Philox): a stream depends on its three keys alone, so any step can be drawn
    again, in any order, and purposes never overlap.
    """
    key = [seed, zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, step]))


class NoiseChunks(keras.utils.PyDataset):
    """The base samples of a 2-D fit, one chunk of updates at a time.

    Item ``i`` is ``(noise, count)``: noise ``(chunk, batch_size, 2)`` for the updates from
    ``i * chunk`` on, and how many of them are due, ``(1,)``. Keras draws one chunk ahead of the
    training.
    """

    def __init__(self, base, seed: int, steps: int, chunk: int, batch_size: int, first: int = 0):
        super().__init__(workers=1, max_queue_size=2)
        self.base, self.seed, self.steps = base, seed, steps
        self.chunk, self.batch_size, self.first = chunk, batch_size, first

    def __len__(self) -> int:
        return -(-self.steps // self.chunk) - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index += self.first
        noise = self.base.sample(
            stream(self.seed, "base-noise", index), (self.chunk, self.batch_size, 2)
        )
        count = min(self.chunk, self.steps - index * self.chunk)
        return noise, np.array([count], dtype=np.int32)
