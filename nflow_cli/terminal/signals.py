"""Signals that end a command: raised as errors, or deferred."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from nflow_cli.errors import Interrupted
from nflow_cli.text import command_line, printable

NUMBERS = [signal.SIGINT, signal.SIGTERM]
# A closed terminal; ignored under nohup.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    NUMBERS.append(signal.SIGHUP)
RETRY_SECONDS = 0.05  # until a signal is sent again after its exception was lost


class RaisedSignals:
    """Signals raise :class:`Interrupted` from :meth:`start` to :meth:`stop`.

    An exception in a finalizer is lost and printed by Python as a traceback: that is suppressed,
    and the signal sent again.

    Attributes:
        over: The command has ended: signals raise no more.
    """

    def __init__(self) -> None:
        self.over = False
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Install the signal handlers."""
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._lost
        self._before = set_handlers(self._raise)

    def stop(self) -> None:
        """Restore the previous handlers."""
        self.over = True
        if self._timer:
            self._timer.cancel()
            self._timer.join()
        restore_handlers(self._before)
        sys.unraisablehook = self._hook

    def _raise(self, number: int, _: FrameType | None) -> None:
        if not self.over:
            raise Interrupted(number)

    def _lost(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            self._hook(unraisable)
        elif not self.over:
            thread = threading.main_thread().ident
            number = unraisable.exc_value.number
            self._timer = threading.Timer(RETRY_SECONDS, signal.pthread_kill, (thread, number))
            self._timer.daemon = True
            self._timer.start()


class DeferredSignals:
    """Signals are deferred while entered; a second one goes to the previous handler.

    At the end an unhandled signal is sent again. ``received`` is the first.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "DeferredSignals":
        self._before = set_handlers(self._note)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        restore_handlers(self._before)
        if self.received and not isinstance(error, Interrupted):
            signal.raise_signal(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal; a second one goes to the previous handler."""
        if self.received is None:
            self.received = number
            return
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)


def set_handlers(handler: Callable[[int, Any], Any] | signal.Handlers) -> dict[int, Any]:
    """Install ``handler`` for the signals; return the previous ones."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # Python lets no other thread handle signals
    return {number: signal.signal(number, handler) for number in NUMBERS}


def restore_handlers(before: dict[int, Any]) -> None:
    """Restore the previous handlers."""
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def hinted(hint: Callable[[], str | None]) -> Iterator[None]:
    """Add ``hint()``, the command to run next, to an interruption.

    The innermost of several hints is printed.
    """
    try:
        yield
    except Interrupted as interruption:
        interruption.hint = interruption.hint or hint()
        raise


def interruption_line(interruption: Interrupted, argv: Sequence[str]) -> str:
    """Line on an interruption of ``nflow *argv``, with its hint or the command."""
    hint = interruption.hint or f"to run it again: {command_line(['nflow', *argv])}"
    return printable(f"nflow: interrupted; {hint}")
