"""What ends a training early, by a validation loss or its own, and whose weights are kept."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from nflow_cli.training.saved_state import EarlyStopState, ValidationState, checked
from nflow_cli.training.trainer import Clock, MetricsLog

KEPT = ("validation", "best", "best_at", "mark", "mark_at", "best_weights")  # in checkpoints


class ValidationLog(MetricsLog):
    """Writes rows as :class:`MetricsLog` does, with the loss on a validation split in each.

    The weights of the lowest validation loss are kept for :meth:`take_best`. Where the objective is
    annealed, nothing counts before ``beta`` is 1. Without ``validate`` it is a plain log.

    Args:
        clock: Must come before this callback.
        chunks_per_row: How many chunks a row is about.
        validate: Returns the loss on the validation split, in nats.
        stopping: ``patience`` and ``min_delta``: training ends where the loss has not fallen by
            ``min_delta`` nats for so long; ``None``: it goes on to its last update.
        from_start: Whether the weights that training begins with may be the best: they have a row.
    """

    column = "validation_loss"

    def __init__(
        self,
        clock: Clock,
        chunks_per_row: int = 1,
        validate: Callable[[], Any] | None = None,
        stopping: Any = None,
        from_start: bool = False,
    ):
        super().__init__(clock, chunks_per_row)
        self.validate, self.stopping, self.from_start = validate, stopping, from_start
        self.validation, self.best, self.best_at = math.nan, math.inf, 0
        self.mark, self.mark_at = math.inf, 0  # what the loss must fall below, and since when
        self.best_weights: list[np.ndarray] = []

    @property
    def reached(self) -> int:
        """How far training is, in the unit of the patience: updates."""
        return self.clock.updates[-1]

    def on_train_begin(self, logs: Any = None) -> None:
        """Validate what training begins with, unless it goes on."""
        if self.validate and self.from_start and not self.rows:
            self.rows, validated = 1, self.validated()
            names = sorted((*self.model.terms, "gradient_norm", "learning_rate"))
            lost = dict.fromkeys(names, math.nan)
            self.add_row(
                {
                    "update": self.reached,
                    **lost,
                    **validated,
                    "updates_per_second": math.nan,
                    "elapsed_seconds": 0.0,
                }
            )
            self.compare()

    def end_row(self) -> None:
        """Validate, write the row, and compare."""
        if not self.validate:
            self.write_row({})
            return
        if self.write_row(self.validated()).get("beta", 1) >= 1:
            self.compare()

    def validated(self) -> dict[str, float]:
        """Compute the validation loss; return the columns that it has in a row."""
        self.validation = float(self.validate()) if self.validate else math.nan
        return {self.column: self.validation}

    def compare(self) -> None:
        """Keep the weights if they are the best, and stop if there is no hope."""
        if self.validation < self.best:
            self.best, self.best_at = self.validation, self.reached
            self.best_weights = self.model.get_weights()
        if not self.stopping:
            return
        if self.validation < self.mark - self.stopping.min_delta:
            self.mark, self.mark_at = self.validation, self.reached
        elif self.reached - self.mark_at >= self.stopping.patience:
            self.model.stop_training = True

    @property
    def kept_at(self) -> int:
        """Whose weights :meth:`take_best` gives: the last ones where no loss was finite."""
        return self.best_at if math.isfinite(self.best) else self.reached

    def write_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Write one row; a row that ends in a divergence has no validation loss."""
        if self.validate and self.column not in columns:
            columns = {**columns, self.column: math.nan}
        return super().write_row(columns)

    def be_patient_again(self) -> None:
        """Count from here, where a training that this stopped is extended."""
        self.mark_at = self.reached

    def take_best(self, model: keras.Model) -> None:
        """Give ``model`` the weights of the lowest validation loss."""
        if self.best_weights:
            model.set_weights(self.best_weights)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {**super().state(), **{name: getattr(self, name) for name in KEPT}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().restore(state)
        saved = checked(ValidationState, state)
        for name in KEPT:
            setattr(self, name, getattr(saved, name))


class EarlyStop(keras.callbacks.Callback):
    """Stops when the smoothed loss has not fallen by ``min_delta`` for ``patience`` updates.

    The loss is smoothed exponentially over a quarter of the patience; while the objective is
    still annealed, nothing is counted.
    """

    def __init__(self, patience: int, min_delta: float, clock: Clock):
        super().__init__()
        self.patience, self.min_delta, self.clock = patience, min_delta, clock
        self.smooth, self.best, self.best_update = None, math.inf, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the smoothed loss with the best one."""
        if logs["beta"] < 1:
            return
        update, loss, made = self.clock.updates[-1], float(logs["loss"]), self.clock.made
        keep = math.exp(-made / (self.patience / 4))
        self.smooth = loss if self.smooth is None else keep * self.smooth + (1 - keep) * loss
        if self.smooth < self.best - self.min_delta:
            self.best, self.best_update = self.smooth, update
        elif update - self.best_update >= self.patience:
            self.model.stop_training = True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"smooth": self.smooth, "best": self.best, "best_update": self.best_update}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        saved = checked(EarlyStopState, state)
        self.smooth, self.best, self.best_update = saved.smooth, saved.best, saved.best_update

    def be_patient_again(self) -> None:
        """Count from here, where a training that this stopped is extended."""
        self.best_update = self.clock.updates[-1]
