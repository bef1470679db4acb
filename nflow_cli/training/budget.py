"""Length of a training by the time that it may take."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.training.chunks import Chunks
from nflow_cli.training.observers import Clock, Observer
from nflow_cli.training.trainer import ChunkTrainer

TRIAL_SECONDS = 2.0  # of a trial, after compiling
RESERVE_SECONDS = 10.0  # of pictures and report, and of the end of the process


class Cost(NamedTuple):
    """Seconds of a training: of each update, or epoch, and of all else."""

    update: float
    others: float

    def length(self, seconds: float, least: int) -> int:
        """Most updates or epochs in ``seconds`` less the reserve; ``least`` at least."""
        return max(int((seconds - RESERVE_SECONDS - self.others) / self.update), least)

    def late(self, length: int, seconds: float) -> float:
        """Seconds that a training of some length takes more than there are."""
        return RESERVE_SECONDS + self.others + length * self.update - seconds


def pace(model: ChunkTrainer, chunks: Chunks, seconds: float = TRIAL_SECONDS) -> Cost:
    """Time updates of ``model`` for some seconds, and their compiling."""
    clock = Clock()
    model.train_on(_Growing(chunks), [clock, _Enough(clock, seconds)])
    update = sum(clock.seconds[1:]) / (clock.updates[-1] - clock.updates[1])
    return Cost(update, max(clock.seconds[0] - update, 0.0))


def seconds_of(call: Callable[[], Any]) -> float:
    """Time of a call whose programs are compiled already."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class _Growing(Chunks):
    """Chunks cut short to 1, 1, 2, 4, 8, … updates, to time slow ones soon."""

    def __init__(self, chunks: Chunks):
        self.chunks = chunks

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        points, count = self.chunks[index % len(self.chunks)]
        return points, np.minimum(count, 2 ** min(max(index - 1, 0), 20)).astype(count.dtype)


class _Enough(Observer):
    """Ends a training ``seconds`` after its first chunk, which compiles."""

    def __init__(self, clock: Clock, seconds: float):
        self.clock, self.seconds = clock, seconds

    def after(self, logs: Mapping[str, float]) -> None:
        _, *warm = self.clock.seconds
        self.model.stop_training = bool(warm) and sum(warm) >= self.seconds
