"""Checks of what callers in Python pass. No Keras here."""

import math
import operator
from typing import TYPE_CHECKING, Any

from nflow_cli.errors import ConfigError, DataError, NflowError

if TYPE_CHECKING:
    import numpy as np

MAX_SEED = 2**32 - 1  # of a run, a stream or a layer: what generators of Keras take


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


def room_for(n: Any, row: tuple[int, ...], dtype: Any, times: int = 1) -> "np.ndarray":
    """Return an array for ``n`` times ``times`` rows of a shape, not yet filled.

    Raises:
        DataError: ``n`` is no whole number, or there is no memory for the array.
    """
    import numpy as np

    shape = (whole_number("n", n, error=DataError) * times, *row)
    try:
        return np.empty(shape, dtype)
    except (MemoryError, OverflowError, ValueError):  # the latter where no address is that long
        gibibytes = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
        raise DataError(
            f"expected a number of samples that fit in memory. Received: n={n:,}, which take "
            f"{gibibytes:,.0f} GiB"
        ) from None
