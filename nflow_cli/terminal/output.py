"""Standard output and error: failed writes are errors, or ignored."""

import errno
import io
import logging
import os
import sys
from typing import Any

from nflow_cli.errors import NflowError


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


def _text(raw: io.FileIO, before: Any) -> io.TextIOWrapper:
    # An ASCII terminal has no ±.
    encoding, errors = getattr(before, "encoding", None), "replace"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=True)


def _size(data: Any) -> int:
    return memoryview(data).nbytes
