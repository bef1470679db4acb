"""Schedules of a training: its learning rate, and the annealing of its objective."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

NEVER = 1e30  # an update that does not come


class RuntimeConstant:
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
        self.rate, self.step = rate, RuntimeConstant(_angle(steps))

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
    """Learning rate, or schedule, that falls to 0 by a cosine after :meth:`cool`.

    Weights are noisy at a high rate: a training that just stops is worse.
    """

    def __init__(self, rate: Any, steps: int):
        super().__init__()
        self.rate, self.steps = rate, steps
        self.start, self.length = RuntimeConstant(NEVER), RuntimeConstant(1)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        begun = ops.minimum(step, self.start.value)
        rate: Any = self.rate(begun) if callable(self.rate) else self.rate
        part = ops.clip((step - begun) / self.length.value, 0.0, 1.0)
        return rate * 0.5 * (1.0 + ops.cos(math.pi * part))

    def cool(self, update: int | None, length: int) -> None:
        """Let the rate fall from that of ``update`` on, in ``length`` updates or those that are
        left; ``None``: not yet.
        """
        self.start.assign(NEVER if update is None else update)
        self.length.assign(max(min(length, self.steps - (update or 0)), 1))


def learning_rate(train: Any, steps: int) -> Any:
    """Learning rate of the settings ``train``: a number, or a schedule."""
    rate, stopping = train.learning_rate, getattr(train, "early_stopping", None)
    if train.schedule == "cosine":
        rate = Cosine(rate, steps)
    return Cooled(rate, steps) if getattr(stopping, "cools", False) else rate


def inverse_temperature(update: Any, anneal_updates: int, start: float) -> Any:
    """``β_t``, linear from ``start`` to 1 over ``anneal_updates`` updates.

    The annealed objective has ``β_t log p`` in place of ``log p``; in the paper
    ``β_t = min(1, 0.01 + t/10000)`` (arXiv 1505.05770, eq. 20).
    """
    if anneal_updates == 0:
        return ops.ones_like(ops.cast(update, "float32"))
    # Rounded as XLA's constants.
    rise = float(np.float32(1 - start) * (np.float32(1) / np.float32(anneal_updates)))
    return ops.clip(start + rise * ops.cast(update, "float32"), start, 1.0)
