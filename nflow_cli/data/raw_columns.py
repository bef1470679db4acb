"""The columns of a whole table as they are read, before their kinds are known."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class RawColumn:
    """A column as it was read.

    Attributes:
        name: The column's.
        source: What its cells are; a `time` is a timestamp.
        numbers: `(n,)` float64, NaN where missing: the value, days since 1970-01-01 of a `date`,
            seconds since then of a `time`; None for text and truth values.
        codes: `(n,)` int32, index into the texts, -1 where missing; None for numbers, and for text
            that differs too often to be collected.
        texts: Distinct texts, by first appearance.
        is_index: Whether it is the index of a pandas DataFrame.
        is_float32: Whether it was stored as float32.
    """

    name: str
    source: Literal["number", "text", "truth", "date", "time"]
    numbers: np.ndarray | None
    codes: np.ndarray | None
    texts: list[str]
    is_index: bool = False
    is_float32: bool = False
