"""What a command says when a signal tells it to stop. No maths here."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence

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


def line(interruption: Interrupted, argv: Sequence[str]) -> str:
    """Say that ``nflow *argv`` was stopped, and what to do next: without a hint, the same again."""
    hint = interruption.hint or f"to run it again: {shlex.join(['nflow', *argv])}"
    return printable(f"nflow: interrupted; {hint}")
