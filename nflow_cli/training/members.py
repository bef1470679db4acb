"""Whose weights are kept of the members of an ensemble: of each its own best."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from nflow_cli.training.saved_state import MembersState, StateError, checked
from nflow_cli.training.trainer import MetricsLog
from nflow_cli.training.validation import ValidationLog

KEPT = ("bests", "bests_at", "marks", "marks_at")  # in checkpoints, beside the best weights


class MembersLog(ValidationLog):
    """A :class:`ValidationLog` of members that are trained side by side.

    ``validate`` returns the loss of each. The validation loss of a row is their mean, beside which
    each has a column of its own. A member keeps its weights of the update where its loss was
    lowest; training ends where the patience with all of them has.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.losses: list[float] = []
        self.bests: list[float] = []
        self.bests_at: list[int] = []
        self.marks: list[float] = []
        self.marks_at: list[int] = []

    def validated(self) -> dict[str, float]:
        """Compute the validation losses; return the columns that they have in a row."""
        self.losses = [float(loss) for loss in self.validate()] if self.validate else []
        self.validation = float(np.mean(self.losses))
        each = {f"{self.column}_{r + 1}": loss for r, loss in enumerate(self.losses)}
        return {self.column: self.validation, **each}

    def write_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Write one row; a row that ends in a divergence has no validation losses."""
        if self.column not in columns:
            lost = (f"{self.column}_{r + 1}" for r in range(len(self.losses)))
            columns = {**columns, self.column: math.nan, **dict.fromkeys(lost, math.nan)}
        return super().write_row(columns)

    def compare(self) -> None:
        """Keep the weights of those members that are at their best; stop where all are idle."""
        count = len(self.losses)
        if not self.bests:
            self.bests, self.bests_at = [math.inf] * count, [0] * count
            self.marks, self.marks_at = [math.inf] * count, [0] * count
        better = [r for r in range(count) if self.losses[r] < self.bests[r]]
        if better:
            weights = self.model.get_weights()
            # Copies: what came from a checkpoint cannot be written to.
            self.best_weights = [kept.copy() for kept in self.best_weights or weights]
            for kept, weight in zip(self.best_weights, weights):
                kept[better] = weight[better]
        for r in better:
            self.bests[r], self.bests_at[r] = self.losses[r], self.reached
        if not self.stopping:
            return
        for r, loss in enumerate(self.losses):
            if loss < self.marks[r] - self.stopping.min_delta:
                self.marks[r], self.marks_at[r] = loss, self.reached
        if all(self.reached - at >= self.stopping.patience for at in self.marks_at):
            self.model.stop_training = True

    @property
    def kept_at(self) -> int:
        """When the last of the members that are kept was at its best."""
        return max(self.kept_of_each, default=self.reached)

    @property
    def kept_of_each(self) -> list[int]:
        """Whose weights :meth:`take_best` gives of each member."""
        return [
            at if math.isfinite(best) else self.reached
            for best, at in zip(self.bests, self.bests_at)
        ]

    def be_patient_again(self) -> None:
        """Count from here, where a training that this stopped is extended."""
        self.marks_at = [self.reached] * len(self.marks_at)

    def take_best(self, model: keras.Model) -> None:
        """Give ``model`` the weights of the lowest validation loss of each member."""
        if self.best_weights:
            model.set_weights(self.best_weights)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        rows = MetricsLog.state(self)
        kept = {name: getattr(self, name) for name in (*KEPT, "losses", "best_weights")}
        return {**rows, **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        MetricsLog.restore(self, state)
        saved = checked(MembersState, state)
        counts = {len(getattr(saved, name)) for name in KEPT}
        if len(counts) != 1:
            raise StateError("bests, bests_at, marks, marks_at: expected one of each member")
        for name in (*KEPT, "losses", "best_weights"):
            setattr(self, name, getattr(saved, name))
        self.validation = float(np.mean(self.losses)) if self.losses else math.nan
