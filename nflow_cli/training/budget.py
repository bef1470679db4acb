"""Length of a training by the time that it may take."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.training.chunks import Chunks
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
    """Time updates of ``model`` for some seconds, and their compiling.

    Chunks are cut short to 1, 1, 2, 4, 8, … updates, to time slow ones soon.
    """
    made: list[int] = []
    taken: list[float] = []
    while len(made) < 2 or sum(taken[1:]) < seconds:  # the first compiles
        begun = time.perf_counter()
        points, count = chunks[len(made) % len(chunks)]
        drawn = time.perf_counter()
        count = np.minimum(count, 2 ** min(max(len(made) - 1, 0), 20)).astype(count.dtype)
        float(model.program((points, count))["loss"])
        trained = time.perf_counter()
        made.append(int(count[0]))
        taken.append(max(drawn - begun, trained - drawn))  # a training draws meanwhile
    update = sum(taken[1:]) / sum(made[1:])
    return Cost(update, max(taken[0] - update, 0.0))


def seconds_of(call: Callable[[], Any]) -> float:
    """Time of a call whose programs are compiled already."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
