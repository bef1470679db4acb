"""Convergence of a reverse-KL fit: at a flat loss the learning rate falls to 0."""

import math
from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel

from nflow_cli.training.cooling import Cooling
from nflow_cli.training.observer import Count, Saved
from nflow_cli.training.trainer import Clock

SIGMAS = 2.0  # standard errors by which a fall may be greater than it looks


class Plateau(Saved, Cooling):
    """Ends a training whose loss falls by less than ``min_delta`` nats in ``patience`` updates.

    The loss of a chunk is a noisy mean, so two windows of ``patience`` updates are compared:
    ``max(fall of the mean loss, 0) + 2 standard errors < min_delta`` (errors by the spread of the
    chunks); noise that could hide a larger fall ends nothing. Then the learning rate falls to 0 in
    ``cool_down`` updates.

    Args:
        clock: Must come before this observer.
        start: Earlier losses do not count: objective or gradient change there.
    """

    class State(BaseModel):
        losses: list[float]
        stopped_at: Count | None

    def __init__(self, patience: int, min_delta: float, cool_down: int, clock: Clock, start: int):
        self.patience, self.min_delta, self.cool_down = patience, min_delta, cool_down
        self.clock, self.start = clock, start
        self.losses: list[float] = []  # of the chunks of both windows

    def cool_down_after(self, updates: int) -> int:
        return self.cool_down

    def after(self, logs: Mapping[str, float]) -> None:
        update = self.clock.updates[-1]
        if self.stopped_at is None and update > self.start:
            chunks = max(2, round(self.patience / self.clock.made))
            self.losses = [*self.losses, logs["loss"]][-2 * chunks :]
            if len(self.losses) == 2 * chunks and self._is_over(chunks):
                self.cool_from(update)
        self.end_when_cool()

    def _is_over(self, chunks: int) -> bool:
        before, after = np.split(np.array(self.losses), 2)
        error = math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / chunks)
        fall = max(before.mean() - after.mean(), 0.0)
        return bool(fall + SIGMAS * error < self.min_delta)

    def be_patient_again(self) -> None:
        """Restart the windows, for a training that is extended."""
        self.losses, self.stopped_at = [], None
