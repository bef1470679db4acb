"""Length of a training by the time that it may take."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.training.chunks import Chunks

if TYPE_CHECKING:  # which loads Keras: costs are compared before
    from nflow_cli.training.trainer import ChunkTrainer

TRIAL_SECONDS = 2.0  # of a trial, after compiling
RESERVE_SECONDS = 10.0  # of pictures and report, and of the end of the process
LEAST_ROWS = 2_000  # training rows, of more


class Cost(NamedTuple):
    """Seconds of a training: of each update, or epoch, and of all else.

    Attributes:
        rows: Training rows, if fewer of them may do.
        update_by_row, others_by_row: What each of them adds.
    """

    update: float
    others: float
    rows: int = 0
    update_by_row: float = 0.0
    others_by_row: float = 0.0

    def of_rows(self, rows: int) -> "Cost":
        """The same on fewer training rows."""
        fewer = self.rows - rows
        update = self.update - fewer * self.update_by_row
        others = self.others - fewer * self.others_by_row
        return self._replace(update=update, others=others, rows=rows)

    def rows_in(self, seconds: float) -> int:
        """Training rows, ``LEAST_ROWS`` at least, that leave half of ``seconds`` for updates."""
        too_long = self.others - (seconds - RESERVE_SECONDS) / 2
        if too_long <= 0 or self.rows <= LEAST_ROWS or not self.others_by_row:
            return self.rows
        return max(int(self.rows - too_long / self.others_by_row), LEAST_ROWS)

    def length(self, seconds: float, least: int) -> int:
        """Most updates or epochs in ``seconds`` less the reserve; ``least`` at least."""
        return max(int((seconds - RESERVE_SECONDS - self.others) / self.update), least)

    def late(self, length: int, seconds: float) -> float:
        """Seconds that a training of some length takes more than there are."""
        return RESERVE_SECONDS + self.others + length * self.update - seconds


class Pace(NamedTuple):
    """Seconds of an update, and of compiling it."""

    update: float
    compiling: float


def pace(model: "ChunkTrainer", chunks: Chunks, seconds: float = TRIAL_SECONDS) -> Pace:
    """Time updates of ``model`` for some seconds, and their compiling.

    Chunks are cut short to 1, 1, 2, 4, 8, … updates, to time slow ones soon.
    """
    counts: list[int] = []  # of updates
    durations: list[float] = []
    while len(counts) < 2 or sum(durations[1:]) < seconds:  # the first compiles
        start = time.perf_counter()
        points, count = chunks[len(counts) % len(chunks)]
        drawn = time.perf_counter()
        most = 2 ** min(max(len(counts) - 1, 0), 20)
        count = np.minimum(count, most).astype(count.dtype)
        float(model.program((points, count))["loss"])
        trained = time.perf_counter()
        counts.append(int(count[0]))
        durations.append(max(drawn - start, trained - drawn))  # a training draws meanwhile
    update = sum(durations[1:]) / sum(counts[1:])
    return Pace(update, max(durations[0] - update, 0.0))


def seconds_of(call: Callable[[], Any]) -> float:
    """Time of a call whose programs are compiled already."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
