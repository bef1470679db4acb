"""Terminal: standard streams, notes, wrapped text and tables."""

import errno
import io
import itertools
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from nflow_cli.errors import NflowError
from nflow_cli.text import printable

GAP = 2  # blanks between the columns of a table
MIN_WIDTH = 8  # of a column, however narrow the terminal is
MAX_KEYS = 0.6  # of the width, for the key columns
CLEARED = "\r\x1b[K"  # a line of a terminal
_WORDING: ContextVar[Callable[[str], str]] = ContextVar("wording", default=str)  # of notes
_SILENT: ContextVar[bool] = ContextVar("silent", default=False)


class Results(io.FileIO):
    """Standard output: a failed write is reported once."""

    failed = False

    def write(self, data: Any) -> int | None:
        """Write as much as possible; a full disk or closed file is an NflowError (click handles a
        broken pipe).
        """
        try:
            return _size(data) if self.failed else super().write(data)
        except OSError as error:
            self.failed = True  # Python flushes again at exit
            if error.errno == errno.EPIPE:
                raise
            raise NflowError(f"stdout: {error.strerror}") from None


class Log(io.FileIO):
    """Standard error: a failed write is ignored."""

    def write(self, data: Any) -> int:
        """Write as much as possible."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return _size(data) if written is None else written


def prepare(stdout: type[io.FileIO] = Results) -> None:
    """Set up stdout and stderr, even if the process started without them."""
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next opened file would get its number
            os.open(os.devnull, flags)  # takes the lowest descriptor; stdout is not writable
    os.environ["MPLBACKEND"] = "agg"  # the user's may not exist in this environment
    # The place of its font cache does not matter to a picture.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.stdout = _text(stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(Log(2, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """Stream of text in the encoding of the one before."""
    encoding = getattr(before, "encoding", None)
    # An ASCII terminal has no ±.
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "replace", line_buffering=True)


def _size(data: Any) -> int:
    return memoryview(data).nbytes


def hanging(head: str, text: str, stream: TextIO | None = None) -> str:
    """Join a head and a text, wrapped with a hanging indent in a narrow terminal."""
    head = printable(head)
    text = printable(text)
    width = terminal_width(stream or sys.stdout)
    if width is None or len(head) + len(text) <= width:
        return head + text
    indent = " " * min(len(head), max(width - 20, 0))
    return textwrap.fill(
        text,
        width,
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class StatusLine:
    """Last line of a terminal, which the next status or note replaces."""

    is_open = False

    def show(self, text: str) -> None:
        """Replace the line, cut to the width of the terminal."""
        width = terminal_width(sys.stderr) or len(text) + 1
        sys.stderr.write(f"{CLEARED}{printable(text)[: width - 1]}")
        sys.stderr.flush()
        self.is_open = True

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self.is_open:
            sys.stderr.write(CLEARED)
            sys.stderr.flush()
        self.is_open = False


STATUS = StatusLine()


def tell(text: str, head: str = "") -> None:
    """Print a note on stderr, unless silenced."""
    if is_silent():
        return
    STATUS.clear()
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


def terminal_width(stream: TextIO) -> int | None:
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
    """Texts of a column, long ones cut in the middle."""
    end = (most - 1) // 2
    start = most - 1 - end
    texts = list(column)
    for i, text in enumerate(texts):
        if len(text) > most:
            texts[i] = f"{text[:start]}…{text[len(text) - end :]}"
    return texts


def _lines(columns: Sequence[Sequence[str]]) -> str:
    """Lines of a table, a row each."""
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join((" " * GAP).join(map(str.ljust, row, widths)).rstrip() for row in rows)
