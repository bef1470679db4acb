"""Base class of tables, read in blocks; cells of Arrow as numbers."""

import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.errors import DataError
from nflow_cli.registry import nearest

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 10_000
MAX_ROWS = 10**7
BLOCK_ROWS = 2**16
LOG_Q = "log_q"  # the written column of log-densities
# Texts of missing values, in capitals or not.
MISSING = ("", "na", "n/a", "#na", "#n/a", "nan", "-nan", "+nan", "null", "none", "<na>")
_SHOWN = 60  # characters of a value, in a message


@dataclass(frozen=True)
class Field:
    """Column of a table.

    Attributes:
        is_index: Index of a pandas DataFrame, or a draw's number or log-density; ignored unless
            named.
    """

    name: str
    is_index: bool = False


class NotANumberError(Exception):
    """Non-number, and its row in the block."""

    def __init__(self, row: int, value: Any):
        super().__init__(row, value)
        self.row, self.value = row, value


class TableFile(ABC):
    """File, or a Python object; ``n_rows`` is None if unknown before reading."""

    decimal = "."  # the mark in numbers that are text
    is_untyped = False  # whether all cells are text
    is_part = False  # of a table of many files: it may have no rows
    notes: Sequence[str] = ()  # lines to print before a fit to it

    def __init__(self, name: str, columns: Sequence[Field], n_rows: int | None = None):
        self.name = name
        self.columns = list(columns)
        self.n_rows = n_rows

    @abstractmethod
    def blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        """Columns as stored, some rows at a time."""

    def place(self, row: int) -> str:
        """Place of a row, counted from 0, in messages."""
        return f"row {row} counted from 0"

    def text(self, name: str) -> np.ndarray:
        """Column as text: an array ``(n,)`` of ``str``, "" where missing."""
        import pyarrow as pa

        self.expect([name])
        parts = []
        for block in self.blocks([name]):
            try:
                cells = block.column(name).cast(pa.string()).fill_null("")
            except (pa.ArrowException, UnicodeDecodeError):
                received = f"{shown(block.column(name).type)}"
                raise DataError(
                    f"{self.name}: column {shown(name)}: expected text, received {received}"
                ) from None
            parts.append(cells.to_numpy(zero_copy_only=False))
        return np.concatenate(parts) if parts else np.empty(0, object)

    def expect(self, names: Sequence[str]) -> None:
        """Check that there are columns of these names."""
        known = [column.name for column in self.columns]
        for name in names:
            if name not in known:
                listed = ", ".join(map(shown, known[:20])) + (", …" if len(known) > 20 else "")
                hint = nearest(name, known)
                raise DataError(
                    f"{self.name}: no column {shown(name)}{hint}; its columns: {listed}"
                )


def shown(value: Any) -> str:
    """At most 60 printable characters of a value."""
    text = repr(value if isinstance(value, str) else str(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def listed(names: Sequence[str]) -> str:
    """At most ten names, separated by commas."""
    text = ", ".join(names[:10])
    return text if len(names) <= 10 else f"{text} and {len(names) - 10:,} others"


def looks_like(line: str) -> str:
    """Hint at the format of an unreadable line, or ""."""
    if re.search(r'\s"', line):
        return ", which looks like a space before a quotation mark"
    if re.fullmatch(r"\s*[^\s,;]+([ ]+[^\s,;]+)+\s*", line):
        return ", which looks like columns separated by spaces"
    return ""


def is_number(type: "pa.DataType") -> bool:
    """Whether a type is numeric."""
    import pyarrow as pa

    types = pa.types
    return types.is_integer(type) or types.is_floating(type) or types.is_decimal(type)


def is_text(type: "pa.DataType") -> bool:
    """Whether a type is text."""
    import pyarrow as pa

    return pa.types.is_string(type) or pa.types.is_large_string(type)


def floats(values: Any, decimal: str = ".") -> Any:
    """Numbers or text of Arrow as float64, null where missing; or a NotANumberError."""
    import pyarrow as pa
    import pyarrow.compute as pc

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


def present_cells(values: Any) -> Any:
    """Stripped text, null where missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(values)  # pyright: ignore[reportAttributeAccessIssue]
    missing = pc.is_in(  # pyright: ignore[reportAttributeAccessIssue]
        pc.utf8_lower(cells),  # pyright: ignore[reportAttributeAccessIssue]
        pa.array(MISSING, cells.type),
    )
    return pc.if_else(missing, None, cells)  # pyright: ignore[reportAttributeAccessIssue]


def _first_bad(cells: Any) -> int:
    import pyarrow as pa

    def is_beyond(row: int) -> bool:
        try:
            cells[: row + 1].cast(pa.float64())
        except pa.ArrowInvalid:
            return True
        return False

    return bisect_left(range(len(cells)), True, key=is_beyond)


def expect_names(name: str, names: Sequence[str]) -> list[str]:
    """Check column names; a first one left empty by pandas becomes ``index``."""
    if not 1 <= len(names) <= MAX_COLUMNS:
        received = f"{len(names):,}"
        raise DataError(f"{name}: expected 1 to {MAX_COLUMNS:,} columns, received {received}")
    if len(names) > 1 and not names[0]:
        names = ["index", *names[1:]]
    seen: set[str] = set()
    for position, column in enumerate(names, start=1):
        if not column:
            raise DataError(f"{name}: column {position} of {len(names)} has no name in the header")
        if re.search("[\ud800-\udfff]", column):
            received = shown(column)
            raise DataError(f"{name}: expected names that UTF-8 can encode, received {received}")
        if column in seen:
            raise DataError(f"{name}: two columns are called {shown(column)}; expected one")
        seen.add(column)
    return list(names)


def positions(n: int) -> list[str]:
    """Names of unnamed columns: "1", "2", …."""
    return [str(i) for i in range(1, n + 1)]
