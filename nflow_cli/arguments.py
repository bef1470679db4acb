"""Checks of arguments that callers in Python pass."""

import math
import operator
from typing import Any

from nflow_cli.errors import ConfigError, DataError, NflowError

MAX_SEED = 2**32 - 1  # of a run, a stream or a layer: Keras takes no larger one


def whole_number(
    name: str, value: Any, most: int | None = None, error: type[NflowError] = ConfigError
) -> int:
    """Non-negative whole number of Python or NumPy; truth values are refused."""
    expected = f"a whole number, 0 or more{'' if most is None else f', at most {most}'}"
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or (most is not None and number > most):
        received = " ".join(repr(value).split())  # an array is printed in lines
        raise error(f"expected {expected}. Received: {name}={received:.60}")
    return number


def room_for(n: Any, row: tuple[int, ...], dtype: Any, times: int = 1) -> Any:
    """Uninitialised array for ``n`` × ``times`` rows of a shape."""
    import numpy as np

    shape = (whole_number("n", n, error=DataError) * times, *row)
    try:
        return np.empty(shape, dtype)
    except (MemoryError, OverflowError, ValueError):  # ValueError: too large for an address
        gibibytes = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
        raise DataError(
            f"expected a number of samples that fit in memory. Received: n={n:,}, of "
            f"{gibibytes:,.0f} GiB"
        ) from None
