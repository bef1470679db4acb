"""A terminal in place of stderr."""

import io
import re
import sys

COLUMNS = 80


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal_of(monkeypatch):
    """Make stderr a terminal of 80 columns; return a function that tells its last line."""
    terminal = Terminal()
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)

    def last():
        text = re.sub(r"\x1b\[[0-9;?]*\w", "", terminal.getvalue())
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()][-1]

    return last
