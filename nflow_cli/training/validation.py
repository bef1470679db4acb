"""Early stopping and best weights: by a validation loss, or by the training loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from nflow_cli.training.saved_state import EarlyStopState, StateError, ValidationState, checked
from nflow_cli.training.trainer import Clock, MetricsLog

KEPT = ("losses", "bests", "bests_at", "marks", "marks_at", "best_weights")  # in checkpoints


class ValidationLog(MetricsLog):
    """Metrics with a validation loss in each row, early stopping, and best weights.

    Members side by side each keep their weights of the lowest validation loss, for
    :meth:`take_best`; a row has the loss of each and their mean. Nothing counts before ``beta`` is
    1.

    Args:
        clock: Must come before this callback.
        chunks_per_row: Chunks that a row averages.
        validate: Returns the validation loss in nats, a number or one a member; ``None``: a plain
            log.
        stopping: Training ends if no loss has fallen by ``min_delta`` nats in ``patience`` updates;
            ``None``: at its last update.
        from_start: The initial weights may be the best, and have a row.
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
        # One a member: the last loss, the lowest and its update; the loss that must be fallen
        # below, and since which update.
        self.losses: list[float] = []
        self.bests: list[float] = []
        self.bests_at: list[int] = []
        self.marks: list[float] = []
        self.marks_at: list[int] = []
        self.best_weights: list[np.ndarray] = []

    @property
    def validation(self) -> float:
        """Mean of the members' last validation losses; NaN before."""
        return float(np.mean(self.losses)) if self.losses else math.nan

    @property
    def reached(self) -> int:
        """Updates so far, the unit of the patience."""
        return self.clock.updates[-1]

    def on_train_begin(self, logs: Any = None) -> None:
        """Validate the initial weights, unless training was resumed."""
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
        if not self.validate:
            self.write_row({})
            return
        if self.write_row(self.validated()).get("beta", 1) >= 1:
            self.compare()

    def validated(self) -> dict[str, float]:
        """Compute the validation losses; return their columns of a row."""
        found = np.atleast_1d(self.validate() if self.validate else math.nan)
        self.losses = found.astype(float).tolist()
        return self._columns(self.validation, self.losses)

    def _columns(self, loss: float, losses: list[float]) -> dict[str, float]:
        several = losses if len(losses) > 1 else ()
        return {
            self.column: loss,
            **{f"{self.column}_{r}": one for r, one in enumerate(several, start=1)},
        }

    def compare(self) -> None:
        """Keep the best weights of members; stop when the patience with all has ended."""
        count = len(self.losses)
        if not self.bests:
            self.bests, self.bests_at = [math.inf] * count, [0] * count
            self.marks, self.marks_at = [math.inf] * count, [0] * count
        better = [r for r in range(count) if self.losses[r] < self.bests[r]]
        if better:
            self._keep(better)
        for r in better:
            self.bests[r], self.bests_at[r] = self.losses[r], self.reached
        if not self.stopping:
            return
        for r, loss in enumerate(self.losses):
            if loss < self.marks[r] - self.stopping.min_delta:
                self.marks[r], self.marks_at[r] = loss, self.reached
        if all(self.reached - at >= self.stopping.patience for at in self.marks_at):
            self.model.stop_training = True

    def _keep(self, members: list[int]) -> None:
        weights = self.model.get_weights()
        if len(self.losses) == 1:
            self.best_weights = weights
            return
        # Copies: arrays of a checkpoint cannot be written to.
        self.best_weights = [kept.copy() for kept in self.best_weights or weights]
        for kept, weight in zip(self.best_weights, weights):
            kept[members] = weight[members]

    @property
    def kept_of_each(self) -> list[int]:
        """Update of each member's best weights; the last if no loss was finite."""
        return [
            at if math.isfinite(best) else self.reached
            for best, at in zip(self.bests, self.bests_at)
        ]

    @property
    def kept_at(self) -> int:
        """The last of :attr:`kept_of_each`."""
        return max(self.kept_of_each, default=self.reached)

    def best_text(self, write: Callable[[float], str]) -> str:
        """Mean of the members' lowest losses and their last update, or "" where the last losses
        are these.
        """
        best = float(np.mean(self.bests)) if self.bests else math.inf
        if not math.isfinite(best) or write(best) == write(self.validation):
            return ""
        return f", best {write(best)} at {self.kept_at:,}"

    def write_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Write one row; one that ends in a divergence has no validation loss."""
        if self.validate and self.column not in columns:
            lost = [math.nan] * len(self.losses)
            columns = {**columns, **self._columns(math.nan, lost)}
        return super().write_row(columns)

    def be_patient_again(self) -> None:
        """Restart the patience, for a training that is extended."""
        self.marks_at = [self.reached] * len(self.marks_at)

    def take_best(self, model: keras.Model) -> None:
        """Give ``model`` each member's weights of the lowest validation loss."""
        if self.best_weights:
            model.set_weights(self.best_weights)

    def state(self) -> dict[str, Any]:
        return {**super().state(), **{name: getattr(self, name) for name in KEPT}}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        saved = checked(ValidationState, state)
        if len({len(getattr(saved, name)) for name in KEPT[1:-1]}) != 1:
            raise StateError("bests, bests_at, marks, marks_at: expected one of each member")
        for name in KEPT:
            setattr(self, name, getattr(saved, name))


class EarlyStop(keras.callbacks.Callback):
    """Early stopping by the smoothed training loss: no fall by ``min_delta`` in ``patience``
    updates.

    Smoothed exponentially over a quarter of the patience; nothing counts while the objective is
    annealed.
    """

    def __init__(self, patience: int, min_delta: float, clock: Clock):
        super().__init__()
        self.patience, self.min_delta, self.clock = patience, min_delta, clock
        self.smooth, self.best, self.best_update = None, math.inf, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
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
        return {"smooth": self.smooth, "best": self.best, "best_update": self.best_update}

    def restore(self, state: Mapping[str, Any]) -> None:
        saved = checked(EarlyStopState, state)
        self.smooth, self.best, self.best_update = saved.smooth, saved.best, saved.best_update

    def be_patient_again(self) -> None:
        """Restart the patience, for a training that is extended."""
        self.best_update = self.clock.updates[-1]
