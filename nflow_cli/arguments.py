"""Checks of what callers in Python pass. No Keras here."""

import operator
from typing import Any

from nflow_cli.errors import ConfigError, NflowError

MAX_SEED = 2**64 - 1


def whole_number(
    name: str, value: Any, most: int | None = None, error: type[NflowError] = ConfigError
) -> int:
    """Return a number that counts: Python's or NumPy's, 0 or more, and no truth value.

    Raises:
        NflowError: An ``error``, in one line, for anything else.
    """
    expected = f"a whole number, 0 or more{'' if most is None else f', at most {most}'}"
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or (most is not None and number > most):
        received = " ".join(repr(value).split())  # an array has lines
        raise error(f"expected {expected}. Received: {name}={received:.60}")
    return number
