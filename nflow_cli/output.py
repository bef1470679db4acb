"""What the commands write to: results on stdout, which must arrive, and a log on stderr."""

import errno
import io
import logging
import os
import sys
from typing import Any

from nflow_cli.errors import NflowError


class Results(io.FileIO):
    """Says so, once, when what is written does not arrive."""

    failed = False

    def write(self, data: Any) -> int | None:
        """Write what can be written.

        Raises:
            NflowError: If the disk is full, or the file was closed. A pipe without a reader is
                click's own matter: it ends quietly.
        """
        try:
            return _size(data) if self.failed else super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            self.failed = True  # Python tries again when it ends
            raise NflowError(f"stdout: {error.strerror}") from None


class Log(io.FileIO):
    """Drops what cannot be written: no work is stopped by that."""

    def write(self, data: Any) -> int:
        """Write what can be written."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return _size(data) if written is None else written


def prepare(stdout: type[io.FileIO] = Results) -> None:
    """Set up the output of this process, also where it was started without a stdout or stderr."""
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would be taken for it
            os.open(os.devnull, flags)  # takes the least descriptor; stdout cannot be written to
    os.environ["MPLBACKEND"] = "agg"  # a user's may be of another Matplotlib, which refuses it
    # Where the cache of its fonts can be is nothing that a picture shows.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.stdout = _text(stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(Log(2, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, before: Any) -> io.TextIOWrapper:
    # An ASCII terminal has no ±.
    encoding, errors = getattr(before, "encoding", None), "replace"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=True)


def _size(data: Any) -> int:
    return memoryview(data).nbytes
