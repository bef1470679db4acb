"""Progress on stderr: phases that are named, bars, and the time that is left."""

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from nflow_cli.terminal.output import is_silent, tell

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
