"""Progress of a training on stderr."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from nflow_cli.terminal.layout import is_silent, tell
from nflow_cli.training.observer import Observer
from nflow_cli.training.progress import SHOWN_FROM, progress_bar, training_left_text


class ProgressReport(Observer):
    """Progress bar with an ETA, or plain lines if stderr is no terminal.

    The ETA goes by the pace since the first chunk, which compiles; the first line comes after ten
    seconds of that pace at the latest.

    Args:
        steps: Updates in all.
        clock: :class:`~nflow_cli.training.trainer.Clock`, before this observer.
        note: Figures of a chunk's logs.
        more: Text behind them in lines, which have more room than a bar.
    """

    def __init__(
        self,
        steps: int,
        clock: Any,
        note: Callable[[Mapping[str, Any]], str],
        more: Callable[[], str] = str,
    ):
        self.steps, self.clock, self.note, self.more = steps, clock, note, more
        self._warm: tuple[int, float] | None = None  # the first update of the pace, and when it was

    def begin(self) -> None:
        if hasattr(self, "bar"):
            return
        from rich.progress import TimeRemainingColumn
        from rich.table import Column

        made, note = "{task.completed:,.0f}/{task.total:,.0f}", "{task.fields[note]}"
        self.bar = progress_bar(made, TimeRemainingColumn(table_column=Column(no_wrap=True)), note)
        self.shown: int | None = None  # the tenth that the last line was of
        self.task = self.bar.add_task("", total=self.steps, note="compiling")
        self.bar.start()

    def after(self, logs: Mapping[str, float]) -> None:
        """Move the bar, or print a line at every tenth, with the validation of this chunk."""
        update, now = self.clock.updates[-1], time.monotonic()
        self._warm = self._warm or (update, now)
        note = self.note(logs)
        self.bar.update(self.task, completed=update, note=note)
        tenth, waited = 10 * update // self.steps, now - self._warm[1] >= SHOWN_FROM
        if self.bar.disable and (tenth > (self.shown or 0) or (waited and self.shown is None)):
            self.shown = tenth
            left = training_left_text(self._seconds_left(update, now), now)
            tell(f"training: {update:,}/{self.steps:,} updates, {note}{self.more()}{left}")

    def _seconds_left(self, update: int, now: float) -> float:
        first, begun = self._warm or (update, now)
        made = update - first
        return (self.steps - update) * (now - begun) / made if made else math.nan

    def end(self) -> None:
        if self.model.stop_training and not is_silent():
            made = f"{self.clock.updates[-1]:,}/{self.steps:,} updates"
            self.bar.console.print(
                f"training: stopped early at {made}, by train.early_stopping",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()
