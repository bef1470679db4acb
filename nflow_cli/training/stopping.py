"""Early stopping: by a validation loss with the best network weights, or by the training loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, model_validator

from nflow_cli.config.run_config import EarlyStopping
from nflow_cli.training.observers import Clock, Count, MetricsLog, Observer, Saved

COOL_DOWN_SHARE = 0.15  # updates of cooling down, relative to those before
LEAST_COOL_DOWN = 50  # updates
FALL_SIGMAS = 2.0  # standard errors by which a fall may be greater than it looks


class Cooling(Observer):
    """Observer that may stop a training, whose learning rate then falls to 0: it cools down.

    Attributes:
        stopped_at: Update from which it cools down; ``None``: it does not.
    """

    clock: Clock
    stopped_at: int | None = None

    def cool_down_after(self, updates: int) -> int:
        """Number of updates in which the rate falls to 0, after ``updates`` of training."""
        raise NotImplementedError

    def begin(self) -> None:
        self.cool_from(self.stopped_at)

    def cool_from(self, update: int | None) -> None:
        """Cool down from ``update`` on; ``None``: train at the full rate."""
        self.stopped_at = update
        if self.model.cooled:
            self.model.cooled.cool(update, self.cool_down_after(update or 0))

    def end_when_cool(self) -> None:
        """End the training if the rate is 0."""
        start = self.stopped_at
        if start is not None and self.clock.updates[-1] >= start + self.cool_down_after(start):
            self.model.stop_training = True


class ValidationLog(MetricsLog, Cooling):
    """Metrics with a validation loss in each row, early stopping, and the best network weights.

    Members side by side each keep their network weights of the lowest validation loss, for
    :meth:`take_best`; a row has the loss of each and their mean. Nothing counts before ``beta`` is
    1.

    Where the learning rate can fall, a training that stops goes back to the best network weights
    and cools down, all members together.

    Args:
        clock: Must come before this observer.
        chunks_per_row: Chunks that a row averages.
        validate: Returns the validation loss in nats, a number, one a member, or ``(R, n)``, one a
            member and row; ``None``: a plain log.
        stopping: Training stops if no loss has fallen by ``min_delta`` nats in ``patience``
            updates; ``None``: at its last. A fall that is within a standard error by the rows
            restarts half of the patience.
        validates_start: The initial network weights may be the best, and have a row.
        row_weights: Row weights ``(n,)`` of the validation rows; ``None``: equal.
    """

    class State(MetricsLog.State):
        losses: list[float]
        bests: list[float]
        bests_at: list[Count]
        marks: list[float]
        marks_at: list[Count]
        best_weights: list[Any]  # arrays
        best_moments: list[Any]  # arrays
        mark_rows: list[Any]  # arrays
        stopped_at: Count | None

        @model_validator(mode="after")
        def _check_members(self) -> "ValidationLog.State":
            """Check that lists with an entry for each member are of one length."""
            lists = [self.bests, self.bests_at, self.marks, self.marks_at]
            if self.mark_rows:
                lists.append(self.mark_rows)
            if len({len(values) for values in lists}) != 1:
                raise ValueError("bests, bests_at, marks, marks_at: expected one of each member")
            return self

    column = "validation_loss"

    def __init__(
        self,
        clock: Clock,
        chunks_per_row: int = 1,
        validate: Callable[[], float | np.ndarray] | None = None,
        stopping: EarlyStopping | None = None,
        validates_start: bool = False,
        row_weights: np.ndarray | None = None,
    ):
        super().__init__(clock, chunks_per_row)
        self.validate = validate
        self.stopping = stopping
        self.validates_start = validates_start
        self.row_weights = row_weights
        # Of each member the last validation loss, the lowest one and its update; its mark, the loss
        # below which it must fall, from which update the patience counts, and the mark by row.
        self.losses: list[float] = []
        self.bests: list[float] = []
        self.bests_at: list[int] = []
        self.marks: list[float] = []
        self.marks_at: list[int] = []
        self.mark_rows: list[np.ndarray] = []
        self.best_weights: list[np.ndarray] = []
        self.best_moments: list[np.ndarray] = []
        self._row_losses = np.zeros((0, 0))

    @property
    def mean_loss(self) -> float:
        """Mean of the members' last validation losses; NaN before."""
        return float(np.mean(self.losses)) if self.losses else math.nan

    @property
    def update(self) -> int:
        """Updates so far, the unit of the patience."""
        return self.clock.updates[-1]

    def begin(self) -> None:
        """Validate the initial network weights, unless training was resumed."""
        super().begin()
        if self.validate and self.validates_start and not self.rows:
            names = sorted((*self.model.terms, "gradient_norm", "learning_rate"))
            self.add({**dict.fromkeys(names, math.nan), **self.validated()}, math.nan)
            self.compare()

    def end_row(self) -> None:
        """Write a row with the validation losses; compare these once ``beta`` is 1."""
        if not self.validate:
            self.write_row({})
            return
        if self.write_row(self.validated()).get("beta", 1) >= 1:
            self.compare()

    def validated(self) -> dict[str, float]:
        """Compute the validation losses of all members; return their columns of a row."""
        losses = np.atleast_1d(self.validate() if self.validate else math.nan).astype(float)
        if losses.ndim > 1:
            self._row_losses = losses
            losses = np.average(losses, axis=1, weights=self.row_weights)
        self.losses = losses.tolist()
        return self._loss_columns(self.mean_loss, self.losses)

    def _loss_columns(self, mean: float, losses: list[float]) -> dict[str, float]:
        """Columns of a row: the mean validation loss, and that of each of several members."""
        columns = {self.column: mean}
        if len(losses) > 1:
            for r, loss in enumerate(losses, start=1):
                columns[f"{self.column}_{r}"] = loss
        return columns

    def compare(self) -> None:
        """Keep the network weights of members whose loss is their lowest; stop when the patience
        with all members has ended.
        """
        count = len(self.losses)
        if not self.bests:
            self.bests = [math.inf] * count
            self.bests_at = [0] * count
            self.marks = [math.inf] * count
            self.marks_at = [0] * count
        better = [r for r in range(count) if self.losses[r] < self.bests[r]]
        if better:
            self._keep_weights(better)
        for r in better:
            self.bests[r] = self.losses[r]
            self.bests_at[r] = self.update
        if self.stopped_at is not None:
            self.end_when_cool()
        elif self.stopping:
            for r, loss in enumerate(self.losses):
                if self.marks[r] - loss > self.stopping.min_delta:
                    self._move_mark(r, loss)
            if all(self.update - update >= self.stopping.patience for update in self.marks_at):
                self._cool_or_end()

    def _move_mark(self, r: int, loss: float) -> None:
        """Set the mark of member ``r`` to its loss, and restart the patience with it; half of the
        updates waited still count if the fall is within a standard error.
        """
        error = (
            self._standard_error(self._row_losses[r] - self.mark_rows[r]) if self.mark_rows else 0.0
        )
        is_clear = self.marks[r] - loss > error
        waited = 0 if is_clear else self.update - self.marks_at[r]
        self.marks[r] = loss
        self.marks_at[r] = self.update - waited // 2
        if not self.mark_rows:
            self.mark_rows = list(self._row_losses)
        if self.mark_rows:
            self.mark_rows[r] = self._row_losses[r]

    def _standard_error(self, values: np.ndarray) -> float:
        """Standard error of the mean of values ``(n,)``, one a row, by the row weights."""
        w = np.ones(len(values)) if self.row_weights is None else self.row_weights
        return float(np.linalg.norm(w * (values - np.average(values, weights=w))) / w.sum())

    def _cool_or_end(self) -> None:
        """Cool down from the best network weights, or end the training if its rate cannot fall."""
        model = self.model
        if not (model.cooled and self.best_weights):
            model.stop_training = True
            return
        best_at = np.reshape(self.bests_at, model.restarts)
        model.go_back(self.best_weights, self.best_moments, best_at)
        self.cool_from(self.update)

    def cool_down_after(self, updates: int) -> int:
        return max(round(COOL_DOWN_SHARE * updates), LEAST_COOL_DOWN)

    def _keep_weights(self, members: list[int]) -> None:
        """Keep the present network weights of some members, and their moments of the optimizer."""
        weights = self.model.get_weights()
        self.best_weights = self._merged_by_member(self.best_weights, weights, members)
        if self.model.cooled:
            moments = [keras.ops.convert_to_numpy(moment) for moment in self.model.moments]
            self.best_moments = self._merged_by_member(self.best_moments, moments, members)

    def _merged_by_member(
        self, kept: list[np.ndarray], present: list[np.ndarray], members: list[int]
    ) -> list[np.ndarray]:
        """Kept arrays, each ``(R, …)``, in which ``members`` have their present values."""
        if len(self.losses) == 1:
            return present
        # Copies: arrays of a checkpoint cannot be written to.
        merged = [array.copy() for array in kept or present]
        for array, values in zip(merged, present):
            array[members] = values[members]
        return merged

    @property
    def best_updates(self) -> list[int]:
        """Update of each member's best network weights; the last if no loss was finite."""
        updates = []
        for loss, update in zip(self.bests, self.bests_at):
            updates.append(update if math.isfinite(loss) else self.update)
        return updates

    @property
    def last_best_update(self) -> int:
        """The last of :attr:`best_updates`."""
        return max(self.best_updates, default=self.update)

    def best_text(self, write: Callable[[float], str]) -> str:
        """Text of the mean of the members' lowest losses and the last update of these; "" if the
        last losses are the lowest. ``write``: text of a loss.
        """
        best = float(np.mean(self.bests)) if self.bests else math.inf
        if not math.isfinite(best) or write(best) == write(self.mean_loss):
            return ""
        if len(self.bests) > 1:
            return f", best of each member {write(best)}, the last at {self.last_best_update:,}"
        return f", best {write(best)} at {self.last_best_update:,}"

    def write_row(self, columns: Mapping[str, float]) -> dict[str, float]:
        """Write one row with ``columns``; its validation losses are NaN if they have none."""
        if self.validate and self.column not in columns:
            nans = [math.nan] * len(self.losses)
            columns = {**columns, **self._loss_columns(math.nan, nans)}
        return super().write_row(columns)

    def restart_patience(self) -> None:
        """Restart the patience, for a training that is extended."""
        self.marks_at = [self.update] * len(self.marks_at)
        self.stopped_at = None

    def take_best(self, model: keras.Model) -> None:
        """Give ``model`` each member's network weights of the lowest validation loss."""
        if self.best_weights:
            model.set_weights(self.best_weights)


class Plateau(Saved, Cooling):
    """Ends a training whose loss falls by less than ``min_delta`` nats in ``patience`` updates.

    The loss of a chunk is a noisy mean, so two windows of ``patience`` updates are compared:
    ``max(fall of the mean loss, 0) + 2 standard errors < min_delta`` (errors by the spread of the
    chunks); noise that could hide a larger fall ends nothing. Then the learning rate falls to 0 in
    ``cool_down`` updates.

    Args:
        patience: Updates of a window.
        min_delta: Nats that the loss must fall by in them.
        cool_down: Updates in which the rate falls to 0.
        clock: Must come before this observer.
        start: Update before which losses do not count: objective or gradient change there.
    """

    class State(BaseModel):
        losses: list[float]
        stopped_at: Count | None

    def __init__(self, patience: int, min_delta: float, cool_down: int, clock: Clock, start: int):
        self.patience = patience
        self.min_delta = min_delta
        self.cool_down = cool_down
        self.clock = clock
        self.start = start
        self.losses: list[float] = []  # of the chunks of both windows

    def cool_down_after(self, updates: int) -> int:
        return self.cool_down

    def after(self, logs: Mapping[str, float]) -> None:
        """Take the loss of a chunk; cool down if the windows differ too little."""
        update = self.clock.updates[-1]
        if self.stopped_at is None and update > self.start:
            chunks = max(2, round(self.patience / self.clock.chunk_updates))
            self.losses = [*self.losses, logs["loss"]][-2 * chunks :]
            if len(self.losses) == 2 * chunks and self._is_flat(chunks):
                self.cool_from(update)
        self.end_when_cool()

    def _is_flat(self, chunks: int) -> bool:
        """Whether the loss fell too little between two windows of ``chunks`` chunks each."""
        before, after = np.split(np.array(self.losses), 2)
        error = math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / chunks)
        fall = max(before.mean() - after.mean(), 0.0)
        return bool(fall + FALL_SIGMAS * error < self.min_delta)

    def restart_patience(self) -> None:
        """Restart the windows, for a training that is extended."""
        self.losses = []
        self.stopped_at = None
