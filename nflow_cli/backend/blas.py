"""Threads of BLAS, the linear algebra of NumPy."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is needed
    from threadpoolctl import ThreadpoolController

_LOCK = threading.Lock()
_callers = 0  # threads of the process that are within the context
_limit = contextlib.ExitStack()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, in the whole process, while any thread is in this context.

    Where each core has a block of rows, further threads only wait for one another.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _callers
    with _LOCK:
        if not _callers:
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))
        _callers += 1


def _leave() -> None:
    global _callers
    with _LOCK:
        _callers -= 1
        if not _callers:
            _limit.close()


@functools.cache
def _controller() -> "ThreadpoolController":
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
