"""Divergence: training stops at the first chunk that is not finite."""

import math
import time
from collections.abc import Mapping
from typing import Any

from nflow_cli.errors import DivergenceError
from nflow_cli.training.observer import Observer
from nflow_cli.training.trainer import is_finite

KEEP_SECONDS = 1.0  # time between copies of the weights, which cost about a millisecond
CHECK, TRY = "check the target or the data", "try a smaller train.learning_rate or train.clip_norm"


class DivergenceStop(Observer):
    """Raises a :class:`~nflow_cli.errors.DivergenceError` when loss or gradient are not finite.

    The cause is looked for with weights kept at most ``KEEP_SECONDS`` before.

    Args:
        is_first: Whether it is the first stage, whose learning rate is its own.
    """

    def __init__(self, is_first: bool = False):
        self.is_first, self._begun, self._norm = is_first, False, math.nan
        self._weights: list[Any] = []
        self._kept_at = -math.inf

    def begin(self) -> None:
        self._begun = bool(self.model.optimizer.iterations > 0)

    def before(self) -> None:
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self._weights = self.model.get_weights()
            self._kept_at = time.monotonic()

    def after(self, logs: Mapping[str, float]) -> None:
        if is_finite(logs):
            self._begun, self._norm = True, logs["gradient_norm"]
            return
        facts = [f"loss {logs['loss']:.4g}", f"learning rate {logs['learning_rate']:.4g}"]
        if math.isfinite(self._norm):
            facts.append(f"gradient norm before {self._norm:.4g}")
        cause = self.model.cause(self._weights)
        # Divergence in the first chunk: the target or the data, as nothing was learnt yet.
        ways = [CHECK, TRY] if not cause and not self._begun else [TRY]
        stage = ""
        if self.is_first:
            stage, ways = " of the first stage", [CHECK] if not cause else []
        update = int(self.model.optimizer.iterations)
        told = [", ".join(facts), cause, ", or ".join(ways)]
        raise DivergenceError(
            f"training diverged by update {update:,}{stage}: {'; '.join(filter(None, told))}"
        )
