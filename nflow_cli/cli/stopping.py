"""What a command does when it is told to stop, by Ctrl-C (SIGINT) or SIGTERM. No maths here."""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click

from nflow_cli.errors import Interrupted

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@contextlib.contextmanager
def stopped_by_signals(hint: str | None = None) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a line that says what to do next, and exit 130 or 143.

    Without ``hint`` it is the command itself again. The innermost of several hints is told.
    """

    def stop(number: int, _: Any) -> None:
        raise Interrupted(number)

    try:
        with _handled_by(stop):
            yield
    except Interrupted as interruption:
        hint = hint or f"to run it again: {shlex.join(['nflow', *sys.argv[1:]])}"
        click.echo(f"nflow: interrupted; {hint}", err=True)
        sys.exit(EXIT_CODES[signal.Signals(interruption.number)])


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back: what a handler raises in an import can get lost there."""
    received: list[int] = []
    with _handled_by(lambda number, _: received.append(number)):
        yield
    for number in received[:1]:
        signal.raise_signal(number)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    previous = {number: signal.signal(number, handler) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
