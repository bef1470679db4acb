"""Cells of Arrow as numbers, dates and text."""

from bisect import bisect_left
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nflow_cli.data.files.tables import MISSING
from nflow_cli.data.files.written import EXACT

TIME = r"^([01]\d|2[0-3])[0-5]\d([0-5]\d)?$"


class NotANumberError(Exception):
    """Row in the block of a cell that is no number, and its value."""


def is_number(type: pa.DataType) -> bool:
    """Whether a type is numeric."""
    types = pa.types
    return types.is_integer(type) or types.is_floating(type) or types.is_decimal(type)


def is_text(type: pa.DataType) -> bool:
    """Whether a type is text."""
    return pa.types.is_string(type) or pa.types.is_large_string(type)


def floats(values: Any, decimal: str = ".") -> Any:
    """Numbers or text of Arrow as float64, null where missing; or a NotANumberError."""
    if not is_text(values.type):
        return values.cast(pa.float64(), safe=False)  # large integers are rounded
    if decimal == ".":
        with suppress(pa.ArrowInvalid):
            return values.cast(pa.float64())
    cells = present_cells(values)
    if decimal == ",":  # a point is no decimal mark, but may group digits
        cells = pc.replace_substring(cells, ".", "?")  # pyright: ignore[reportAttributeAccessIssue]
        cells = pc.replace_substring(cells, ",", ".")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid:
        row = _first_bad(cells)
        raise NotANumberError(row, values[row]) from None


def beyond_floats(cells: Any, numbers: np.ndarray) -> list[str]:
    """Digits of the cells that are whole numbers without one in float64, which has all to 2^53."""
    large = np.flatnonzero(np.abs(numbers) >= EXACT)
    if not len(large) or not (pa.types.is_integer(cells.type) or is_text(cells.type)):
        return []
    texts = cells.take(pa.array(large)).cast(pa.string()).to_pylist()
    return [text.strip() for text in texts if is_beyond_floats(text.strip())]


def is_beyond_floats(text: str) -> bool:
    """Whether a text is a whole number that float64 does not have."""
    digits = text.removeprefix("-")
    if not (len(digits) > 15 and digits.isdecimal()):
        return False
    number = float(digits)
    return np.isfinite(number) and int(number) != int(digits)


class Codes:
    """Search for codes in blocks of text: digits of one width, some with a leading zero (007), and
    not all of them times of day (0730, 073000).
    """

    def __init__(self) -> None:
        self._width = 0
        self._has_zeros = False
        self._are_times = True

    @property
    def are_found(self) -> bool:
        """Whether the cells are codes."""
        return self._has_zeros and not self._are_times

    def add(self, cells: Any) -> bool:
        """Whether all cells, those of earlier blocks too, may be codes."""
        if not self._are_digits(present_cells(cells[:100]).drop_null()):  # as of most columns
            return False
        # Some may be missing.
        return self._are_digits(cells) or self._are_digits(present_cells(cells).drop_null())

    def _are_digits(self, cells: Any) -> bool:
        ends = pc.min_max(pc.binary_length(cells))
        low = ends["min"].as_py()
        high = ends["max"].as_py()
        has_one_width = low is None or 1 < low == high == (self._width or low)
        if not has_one_width or not _are_all(pc.ascii_is_decimal(cells)):
            return False
        self._width = self._width or low or 0
        self._has_zeros = self._has_zeros or not _are_all(pc.invert(pc.starts_with(cells, "0")))
        self._are_times = self._are_times and _are_all(pc.match_substring_regex(cells, TIME))
        return True


def _are_all(mask: Any) -> bool:
    return pc.all(mask, min_count=0).as_py()


def present_cells(values: Any) -> Any:
    """Stripped text, null where missing among numbers or dates."""
    cells = pc.utf8_trim_whitespace(values)  # pyright: ignore[reportAttributeAccessIssue]
    missing = pc.is_in(  # pyright: ignore[reportAttributeAccessIssue]
        pc.utf8_lower(cells),  # pyright: ignore[reportAttributeAccessIssue]
        pa.array(MISSING, cells.type),
    )
    return pc.if_else(missing, None, cells)  # pyright: ignore[reportAttributeAccessIssue]


def texts_in(cells: Any) -> list[str] | None:
    """Distinct texts that are not missing, also of categories; None of another type."""
    values = cells.dictionary if pa.types.is_dictionary(cells.type) else cells
    return present_cells(values).unique().drop_null().to_pylist() if is_text(values.type) else None


def _first_bad(cells: Any) -> int:
    def is_beyond(row: int) -> bool:
        try:
            cells[: row + 1].cast(pa.float64())
        except pa.ArrowInvalid:
            return True
        return False

    return bisect_left(range(len(cells)), True, key=is_beyond)


def days(cells: Any, _: str = ".") -> Any:
    """Dates of Arrow or in ISO text as days since 1970-01-01; or a NotANumberError."""
    return _cast(cells, pa.date32()).cast(pa.int32()).cast(pa.float64())


def seconds(cells: Any, _: str = ".") -> Any:
    """Times of Arrow or in ISO text as seconds since 1970-01-01; or a NotANumberError."""
    if pa.types.is_timestamp(cells.type):
        times = cells
    else:  # with a zone or without
        times = _cast(cells, pa.timestamp("us"), pa.timestamp("us", "UTC"))
    ticks = times.cast(pa.int64()).cast(pa.float64(), safe=False)
    a_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[times.type.unit]
    return pc.divide(ticks, a_second)  # pyright: ignore[reportAttributeAccessIssue]


def _cast(cells: Any, *types: Any) -> Any:
    cells = present_cells(cells) if pa.types.is_string(cells.type) else cells
    for type in types:
        with suppress(pa.ArrowInvalid):
            return cells.cast(type)
    raise NotANumberError(0, None)


def distinct_texts(cells: pa.Array) -> tuple[list[str | None], np.ndarray]:
    """Distinct values as texts, None if null, and the index of each cell; -1: null."""
    encoded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    values = encoded.dictionary
    texts: list[str | None] = []
    if is_number(values.type) and not pa.types.is_decimal(values.type):
        numbers = values.to_numpy(zero_copy_only=False) + 0  # that of -0.0 is 0.0
        texts += map(str, numbers)
    else:
        texts += values.cast(pa.string()).to_pylist()
    which = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return texts, which
