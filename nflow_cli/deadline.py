"""Time that a command may take."""

import math
import time
from typing import Any

from nflow_cli.errors import ConfigError

MAX_MINUTES = 100_000


class Deadline:
    """End of a command that may take some minutes, from now on."""

    def __init__(self, minutes: float):
        self.minutes = minutes
        self.begun = time.monotonic()

    @property
    def passed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float:
        """Seconds that are left, negative once it is over."""
        return 60 * self.minutes - self.passed


def deadline_in(minutes: Any) -> Deadline | None:
    """Deadline in some minutes; ``None`` for ``None``."""
    if minutes is None:
        return None
    try:
        number = float(minutes)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number <= MAX_MINUTES:
        raise ConfigError(
            f"expected a number of minutes above 0. Received: minutes={minutes!r:.60}"
        )
    return Deadline(number)
