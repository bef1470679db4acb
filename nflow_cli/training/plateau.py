"""What ends a fit to a density early: a loss that falls no more, and a learning rate then to 0."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from nflow_cli.training.saved_state import PlateauState, checked
from nflow_cli.training.trainer import Clock

SIGMAS = 2.0  # standard errors by which a fall may be greater than it looks


class Plateau(keras.callbacks.Callback):
    """Ends a training whose loss falls by less than ``min_delta`` nats in ``patience`` updates.

    The loss of a chunk is a noisy mean, so two windows of ``patience`` updates are compared: the
    fall of the mean loss from one to the next, 0 where it rose, plus two of its standard errors by
    the spread of their chunks, has to be below ``min_delta``. So noise that hides such a fall ends
    nothing. Then the learning rate falls to 0 in ``cool_down`` updates, and training ends.

    Args:
        patience: Updates of a window.
        min_delta: Nats.
        cool_down: Updates.
        clock: Must come before this callback.
        start: The update before which nothing counts: another objective or gradient is to come.
    """

    def __init__(self, patience: int, min_delta: float, cool_down: int, clock: Clock, start: int):
        super().__init__()
        self.patience, self.min_delta, self.cool_down = patience, min_delta, cool_down
        self.clock, self.start = clock, start
        self.losses: list[float] = []  # of the chunks of both windows
        self.reached: int | None = None  # the update at which the loss fell no more

    def on_train_begin(self, logs: Any = None) -> None:
        """Cool a program that another one hands over to, or a checkpoint."""
        self._cool()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the windows, or end the training when it has cooled down."""
        update = self.clock.updates[-1]
        if self.reached is None and update > self.start:
            chunks = max(2, round(self.patience / self.clock.made))
            self.losses = [*self.losses, float(logs["loss"])][-2 * chunks :]
            if len(self.losses) == 2 * chunks and self._is_over(chunks):
                self.reached = update
                self._cool()
        if self.reached is not None and update >= self.reached + self.cool_down:
            self.model.stop_training = True

    def _is_over(self, chunks: int) -> bool:
        before, after = np.split(np.array(self.losses), 2)
        error = math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / chunks)
        fall = max(before.mean() - after.mean(), 0.0)
        return bool(fall + SIGMAS * error < self.min_delta)

    def _cool(self) -> None:
        self.model.cooled.cool(self.reached)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"losses": self.losses, "reached": self.reached}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        saved = checked(PlateauState, state)
        self.losses, self.reached = saved.losses, saved.reached

    def be_patient_again(self) -> None:
        """Begin to compare anew, where a training that this ended is extended."""
        self.losses, self.reached = [], None
