"""Progress on stderr: phases that are named, bars, and the time that is left."""

import contextlib
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from nflow_cli.terminal.output import STATUS, is_silent, tell

WAIT_SECONDS = 10.0  # a wait that is shorter is not worth a word
QUIET_SECONDS = 2.0  # that a phase runs before it is named


def progress_bar(note: str, counts: str = "") -> Any:
    """Progress bar by rich, with a note, counts and the remaining time.

    ``note`` and ``counts`` are formats of ``task``. Only where stderr is a terminal, with
    ``FORCE_COLOR`` or not. ``NO_COLOR`` takes its colours.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    columns: list[Any] = [BarColumn(None, table_column=Column(max_width=40))]
    if counts:
        columns.append(TextColumn(counts, markup=False))
        columns.append(TimeRemainingColumn(table_column=Column(no_wrap=True)))
    columns.append(TextColumn(note, markup=False))
    is_shown = sys.stderr.isatty() and console.is_interactive and not is_silent()
    return Progress(*columns, console=console, disable=not is_shown)


class Phase:
    """Stage of a command: its text, elapsed seconds, and remaining time, if known.

    Args:
        text: What it does.
        total: Rows to be done; 0 if unknown.
    """

    def __init__(self, text: str, total: int):
        self.text = text
        self.total = total
        self.done = 0
        self.begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    def advance(self, count: int) -> None:
        """Count further rows that are done."""
        self.done += count

    def __str__(self) -> str:
        seconds = self.seconds
        if not self.done or self.done >= self.total:
            return f"{self.text}: {duration(seconds)}" if seconds >= 1 else self.text
        left = left_text(seconds * (self.total / self.done - 1))
        return f"{self.text}: {100 * self.done // self.total} %{left}"


_RUNNING: list[Phase] = []  # the innermost last, which alone is shown
_HIDDEN: ContextVar[bool] = ContextVar("hidden", default=False)  # of phases, not of notes


@contextlib.contextmanager
def shown(verbose: bool | None) -> Iterator[None]:
    """Show the phases of a block, or hide them; ``None``: show them in a terminal alone."""
    is_shown = has_status_line() if verbose is None else verbose
    token = _HIDDEN.set(not is_shown)
    try:
        yield
    finally:
        _HIDDEN.reset(token)


@contextlib.contextmanager
def phase(text: str, total: int = 0) -> Iterator[Callable[[int], None]]:
    """Progress of a stage on stderr, once it has run for two seconds.

    A terminal has one line, which is replaced each second and removed at the end.

    Yields:
        A function for progress, to be called with the number of further rows that are done, of
        ``total``.
    """
    running = Phase(text, total)
    ended = threading.Event()
    if _HIDDEN.get():
        yield running.advance
        return
    in_context = contextvars.copy_context().run  # a thread has none of its own
    thread = threading.Thread(target=in_context, args=(_show, running, ended), daemon=True)
    _RUNNING.append(running)
    thread.start()
    try:
        yield running.advance
    finally:
        _RUNNING.remove(running)
        ended.set()
        thread.join()


def _show(running: Phase, ended: threading.Event) -> None:
    is_terminal = has_status_line()
    show = STATUS.show if is_terminal else tell
    for due in seconds_shown(is_terminal):
        if ended.wait(max(due - running.seconds, 0.0)):
            break
        if _RUNNING[-1:] == [running]:
            show(str(running))
    STATUS.clear()


def seconds_shown(is_terminal: bool) -> Iterator[float]:
    """Seconds after which a phase is shown: 2, 3, 4 and so on in a terminal, else 2, 10, 20, 40."""
    due = QUIET_SECONDS
    while True:
        yield due
        due = due + 1 if is_terminal else max(WAIT_SECONDS, 2 * due)


def has_status_line() -> bool:
    """Whether stderr is a terminal that can replace a line, and not silenced."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not is_silent()


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
