"""What the compiled training loop is fed: one chunk of updates at a time."""

from collections.abc import Sequence

import keras
import numpy as np

from nflow_cli.streams import stream


class NoiseChunks(keras.utils.PyDataset):
    """The base samples of a 2-D fit, one chunk of updates at a time.

    Item ``i`` is ``(noise, count)``: noise ``(chunk, 2, batch_size)`` for the updates from
    ``i * chunk`` on (features first, as the flows compute: transposing would cost a twentieth of
    an update), and how many of them are due, ``(1,)``. Keras draws one chunk ahead of the training.
    R seeds give ``(chunk, 2, R, batch_size)``: to each restart what its seed alone would give.
    """

    def __init__(
        self, base, seeds: Sequence[int], steps: int, chunk: int, batch_size: int, first: int = 0
    ):
        super().__init__(workers=1, max_queue_size=2)
        self.base, self.seeds, self.steps = base, seeds, steps
        self.chunk, self.batch_size, self.first = chunk, batch_size, first

    def __len__(self) -> int:
        return -(-self.steps // self.chunk) - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index += self.first
        shape = (self.chunk, 2, self.batch_size)
        drawn = [self.base.sample(stream(seed, "base-noise", index), shape) for seed in self.seeds]
        noise = drawn[0] if len(drawn) == 1 else np.stack(drawn, axis=2)
        count = min(self.chunk, self.steps - index * self.chunk)
        return noise, np.array([count], dtype=np.int32)
