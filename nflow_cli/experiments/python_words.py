"""Messages for Python users: command-line options become keyword arguments."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from nflow_cli.errors import NflowError
from nflow_cli.terminal.output import worded

_OPTION = re.compile(r"`[^`]*`|--set |(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*)")


def in_python(text: str) -> str:
    """Message with names of arguments for options; commands in backticks stay."""
    return _OPTION.sub(_argument, text)


def _argument(match: re.Match[str]) -> str:
    if match["name"]:
        return match["name"].replace("-", "_") + ("=False" if match["no"] else "")
    return "" if match[0] == "--set " else match[0]


@contextmanager
def python_words() -> Iterator[None]:
    """Convert notes and errors of a block for Python users."""
    with worded(in_python):
        try:
            yield
        except NflowError as error:
            error.args = (in_python(error.in_python),)
            raise
