"""What a command says when a signal tells it to stop. No maths here."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator

from nflow_cli.errors import Interrupted
from nflow_cli.text import printable


@contextlib.contextmanager
def hinted(hint: Callable[[], str | None]) -> Iterator[None]:
    """Let an interruption say what ``hint()`` is, the next thing to do.

    The innermost of several hints is told.
    """
    try:
        yield
    except Interrupted as interruption:
        interruption.hint = interruption.hint or hint()
        raise


def line(interruption: Interrupted) -> str:
    """Say that the command was stopped, and what to do next: without a hint, the same again."""
    hint = interruption.hint or f"to run it again: {shlex.join(['nflow', *sys.argv[1:]])}"
    return printable(f"nflow: interrupted; {hint}")
