"""When Python looks for garbage, and when there is none to be found."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage where much is made and nothing thrown away: an import, a picture.

    Python looks all the oftener, a sixth of the time that TensorFlow's import takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
