"""What ends a command: raised where it can end, held back where it cannot. No Keras here."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nflow_cli.errors import Interrupted
from nflow_cli.text import command_line, printable

NUMBERS = [signal.SIGINT, signal.SIGTERM]
# Where the terminal was closed; not where that is to end nothing, as under nohup.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    NUMBERS.append(signal.SIGHUP)
AGAIN = 0.05  # seconds until a signal is sent again whose exception was lost


class Raised:
    """From :meth:`start` to :meth:`stop`, a signal raises :class:`Interrupted`.

    What is raised while a finalizer runs gets lost there, and Python says so in a traceback:
    that is kept quiet, and the signal is sent again.

    Attributes:
        over: The command has ended, well or not: no signal raises any more.
    """

    def __init__(self) -> None:
        self.over = False
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Take the signals over."""
        self._hook, sys.unraisablehook = sys.unraisablehook, self._lost
        self._before = set_handlers(self._raise)

    def stop(self) -> None:
        """Give them back."""
        self.over = True
        if self._timer:
            self._timer.cancel()
            self._timer.join()
        restore_handlers(self._before)
        sys.unraisablehook = self._hook

    def _raise(self, number: int, _: Any) -> None:
        if not self.over:
            raise Interrupted(number)

    def _lost(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            self._hook(unraisable)
        elif not self.over:
            thread = threading.main_thread().ident
            number = unraisable.exc_value.number
            self._timer = threading.Timer(AGAIN, signal.pthread_kill, (thread, number))
            self._timer.daemon = True
            self._timer.start()


class Held:
    """While entered, signals are noted; a second one does what it did before.

    One that was not acted on by then is sent again at the end.

    Attributes:
        received: The first signal that came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Held":
        self._before = set_handlers(self._note)
        return self

    def __exit__(self, _: Any, error: Any, __: Any) -> None:
        restore_handlers(self._before)
        if self.received and not isinstance(error, Interrupted):
            signal.raise_signal(self.received)

    def _note(self, number: int, frame: Any) -> None:
        if self.received is None:
            self.received = number
        elif callable(before := self._before[number]):
            before(number, frame)


def set_handlers(handler: Callable[[int, Any], Any] | signal.Handlers) -> dict[int, Any]:
    """Let ``handler`` have the signals; return who had them, nobody outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # Python lets no other thread handle signals
    return {number: signal.signal(number, handler) for number in NUMBERS}


def restore_handlers(before: dict[int, Any]) -> None:
    """Give the signals back."""
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def hinted(hint: Callable[[], str | None]) -> Iterator[None]:
    """Let an interruption say what ``hint()`` is, the next thing to do.

    The innermost of several hints is printed.
    """
    try:
        yield
    except Interrupted as interruption:
        interruption.hint = interruption.hint or hint()
        raise


def interruption_line(interruption: Interrupted, argv: Sequence[str]) -> str:
    """Say that ``nflow *argv`` was stopped, and what to do next: without a hint, the same again."""
    hint = interruption.hint or f"to run it again: {command_line(['nflow', *argv])}"
    return printable(f"nflow: interrupted; {hint}")
