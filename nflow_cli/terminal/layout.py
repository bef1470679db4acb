"""Text wrapped to the width of the terminal, and tables."""

import itertools
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nflow_cli.text import printable

GAP = 2  # blanks between the columns of a table
MIN_WIDTH = 8  # of a column, however narrow the terminal is
MAX_KEYS = 0.6  # of the width, for the key columns
_WORDING: ContextVar[Callable[[str], str]] = ContextVar("wording", default=str)  # of notes
_SILENT: ContextVar[bool] = ContextVar("silent", default=False)


def hanging(head: str, text: str, stream: Any = None) -> str:
    """Join a head and a text, wrapped with a hanging indent in a narrow terminal."""
    head, text = printable(head), printable(text)
    width = terminal_width(stream or sys.stdout)
    if width is None or len(head) + len(text) <= width:
        return head + text
    below = " " * min(len(head), max(width - 20, 0))
    rules: Any = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=below, **rules)


def tell(text: str, head: str = "") -> None:
    """Print a note on stderr, unless silenced."""
    if is_silent():
        return
    print(hanging(head, _WORDING.get()(text), sys.stderr), file=sys.stderr)


@contextmanager
def silenced(silent: bool = True) -> Iterator[None]:
    """Print no notes and no progress in this context."""
    token = _SILENT.set(silent)
    try:
        yield
    finally:
        _SILENT.reset(token)


def is_silent() -> bool:
    """Whether notes and progress are silenced."""
    return _SILENT.get()


@contextmanager
def worded(wording: Callable[[str], str]) -> Iterator[None]:
    """Pass notes printed in this context through ``wording``."""
    token = _WORDING.set(wording)
    try:
        yield
    finally:
        _WORDING.reset(token)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], keys: int) -> str:
    """Format a table; one too wide for the terminal is split into parts below each other.

    The first ``keys`` columns and their number are repeated in each part. Text too long for a line
    is cut in the middle.
    """
    columns = [list(map(printable, column)) for column in zip(header, *rows, strict=True)]
    width = terminal_width(sys.stdout)
    if width is None or _width(columns) <= width:
        return _lines(columns)
    numbers = ("#", *map(str, range(1, len(rows) + 1)))
    first = [numbers, *columns[:keys]]
    for most in range(max(map(len, itertools.chain(*first))), 1, -1):
        first = [_shortened(column, most) for column in first]
        if _width(first) <= MAX_KEYS * width:
            break
    room = max(width - _width(first) - GAP, MIN_WIDTH)
    rest = [_shortened(column, room) for column in columns[keys:]]
    return "\n\n".join(_lines([*first, *part]) for part in _parts(rest, room))


def terminal_width(stream: Any) -> int | None:
    """Width of a terminal; None for anything else, whose lines are unlimited."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _parts(columns: Sequence[Sequence[str]], room: int) -> Iterator[list[Sequence[str]]]:
    part: list[Sequence[str]] = []
    for column in columns:
        if part and _width([*part, column]) > room:
            yield part
            part = []
        part.append(column)
    yield part


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + GAP for column in columns) - GAP


def _shortened(column: Sequence[str], most: int) -> list[str]:
    half = (most - 1) // 2
    return [t if len(t) <= most else f"{t[: most - 1 - half]}…{t[len(t) - half :]}" for t in column]


def _lines(columns: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join((" " * GAP).join(map(str.ljust, row, widths)).rstrip() for row in rows)
