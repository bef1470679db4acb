"""Progress on stderr: a bar with a note beside it."""

import contextlib
import contextvars
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nflow_cli.terminal.layout import is_silent, tell
from nflow_cli.training.observers import Observer

LEAST_DECIMALS, DECIMALS = 3, 5  # of a score in nats: tables have 5
WAIT_SECONDS = 10.0  # a wait that is shorter is not worth a word
QUIET_SECONDS = 2.0  # that a phase runs before it is named


def progress_bar(note: str, made: str = "") -> Any:
    """Progress bar of rich, with a note beside it, and what is made with the time left.

    ``note`` and ``made`` are formats of ``task``. Only where stderr is a terminal, with
    ``FORCE_COLOR`` or not. ``NO_COLOR`` takes its colours.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    columns: list[Any] = [BarColumn(None, table_column=Column(max_width=40))]
    if made:
        columns.append(TextColumn(made, markup=False))
        columns.append(TimeRemainingColumn(table_column=Column(no_wrap=True)))
    columns.append(TextColumn(note, markup=False))
    is_shown = sys.stderr.isatty() and console.is_interactive and not is_silent()
    return Progress(*columns, console=console, disable=not is_shown)


@contextlib.contextmanager
def phase(text: str, total: int = 0) -> Iterator[Callable[[int], None]]:
    """Print ``text`` on stderr once the block has run for two seconds.

    Yields:
        A function for progress, to be called with the number of further rows that are done, of
        ``total``: every tenth of a long block is printed, with the time left.
    """
    begun, done, shown = time.monotonic(), 0, 0

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        tenth, seconds = 10 * done // max(total, 1), time.monotonic() - begun
        if shown < tenth < 10 and seconds >= WAIT_SECONDS:
            shown = tenth
            tell(f"{text}: {tenth}0 %{left_text(seconds * (total / done - 1))}")

    in_context = contextvars.copy_context().run  # a thread has none of its own
    timer = threading.Timer(QUIET_SECONDS, in_context, (tell, text))
    timer.daemon = True
    timer.start()
    try:
        yield advance
    finally:
        timer.cancel()


def left_text(seconds: float) -> str:
    """Remaining time, to stand behind a comma, or "" where it is short or, NaN, not known yet."""
    return about_left(seconds) if seconds >= WAIT_SECONDS else ""


def about_left(seconds: float) -> str:
    """Remaining time, to stand behind a comma."""
    return f", about {duration(max(seconds, 0.0))} left"


def duration(seconds: float) -> str:
    """Write a duration with a fitting unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def nats_text(value: float) -> str:
    """Nats with four significant digits, in three to five decimals."""
    if not abs(value) < 1e9:
        return f"{value:.3e}"
    if abs(value) < 0.5 * 10.0**-DECIMALS:
        return f"< {10.0**-DECIMALS:.{DECIMALS}f}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, LEAST_DECIMALS), DECIMALS)}f}"


class ProgressReport(Observer):
    """Progress bar with an ETA, or plain lines if stderr is no terminal.

    The ETA goes by the pace since the first chunk, which compiles; the first line comes after ten
    seconds of that pace at the latest.

    Args:
        steps: Updates in all.
        clock: :class:`~nflow_cli.training.observers.Clock`, before this observer.
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
        made = "{task.completed:,.0f}/{task.total:,.0f}"
        self.bar = progress_bar("{task.fields[note]}", made)
        self.shown: int | None = None  # the tenth that the last line was of
        self.task = self.bar.add_task("", total=self.steps, note="compiling")
        self.bar.start()

    def after(self, logs: Mapping[str, float]) -> None:
        """Move the bar, or print a line at every tenth, with the validation of this chunk."""
        update, now = self.clock.updates[-1], time.monotonic()
        self._warm = self._warm or (update, now)
        note = self.note(logs)
        self.bar.update(self.task, completed=update, note=note)
        tenth, waited = 10 * update // self.steps, now - self._warm[1] >= WAIT_SECONDS
        if self.bar.disable and (tenth > (self.shown or 0) or (waited and self.shown is None)):
            self.shown = tenth
            left = left_text(self._seconds_left(update, now))
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
