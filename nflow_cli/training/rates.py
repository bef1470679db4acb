"""Learning rates that change during a training."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

NEVER = 1e30  # an update that does not come


class Number:
    """Number that a compiled loop reads: another one takes no new compilation.

    No weight of the model that holds it.
    """

    def __init__(self, value: float):
        self._variable = keras.Variable(value, trainable=False, dtype="float32")

    def assign(self, value: float) -> None:
        self._variable.assign(value)

    @property
    def value(self) -> Any:
        """As a tensor, float32."""
        return self._variable.value


class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """Cosine decay to 0: ``rate (1 + cos(π t/T)) / 2`` at update ``t`` of ``T``."""

    def __init__(self, rate: float, steps: int):
        super().__init__()
        self.rate, self.step = rate, Number(_angle(steps))

    def __call__(self, step: Any) -> Any:
        angle = ops.minimum(ops.cast(step, "float32") * self.step.value, math.pi)
        return self.rate * (0.5 * (1.0 + ops.cos(angle)))

    def lengthen(self, steps: int) -> None:
        """Set the number of updates T."""
        self.step.assign(_angle(steps))


def _angle(steps: int) -> float:
    """``π/T`` with the rounding of XLA's constants: the bits are those of a fixed ``T``."""
    return float(np.float32(math.pi) * (np.float32(1) / np.float32(steps)))


class Cooled(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate, or schedule, that falls to 0 in ``length`` updates after :meth:`cool`.

    Weights are noisy at a high rate: a training that just stops is worse.
    """

    def __init__(self, rate: Any, length: int):
        super().__init__()
        self.rate, self.length, self.start = rate, length, Number(NEVER)

    def __call__(self, step: Any) -> Any:
        rate: Any = self.rate(step) if callable(self.rate) else self.rate
        part = ops.clip((ops.cast(step, "float32") - self.start.value) / self.length, 0.0, 1.0)
        return rate * 0.5 * (1.0 + ops.cos(math.pi * part))

    def cool(self, update: int | None) -> None:
        """Let the rate fall from ``update`` on; ``None``: not yet."""
        self.start.assign(NEVER if update is None else update)

    def lengthen(self, steps: int) -> None:
        """Set the number of updates of the schedule."""
        if isinstance(self.rate, Cosine):
            self.rate.lengthen(steps)


def learning_rate(train: Any, steps: int) -> Any:
    """Learning rate of the settings ``train``: a number, or a schedule."""
    rate, stopping = train.learning_rate, getattr(train, "early_stopping", None)
    if train.schedule == "cosine":
        rate = Cosine(rate, steps)
    cool_down = getattr(stopping, "cool_down", 0)
    return Cooled(rate, cool_down) if cool_down else rate
