"""Base class of tables, read in blocks, and words of their messages."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from nflow_cli.errors import DataError, one_line
from nflow_cli.registry import nearest
from nflow_cli.runs import files, npz

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 10_000
MAX_ROWS = 10**7
BLOCK_ROWS = 2**16
LOG_Q = "log_q"  # the written column of log-densities
# Texts of missing values, in capitals or not; of numbers and dates also `none`, a level of text.
GAPS = ("", "na", "n/a", "#na", "#n/a", "nan", "-nan", "+nan", "null", "<na>")
NONE = "none"
MISSING = (*GAPS, NONE)
# Beside numbers or dates, in capitals or not, these mean that there is none.
MARKS = {"-", "--", "---", "–", "—", "−", "?", "??", ".", "..", "...", "…", "*", ":", "/", "\\n"}
MARKS |= {NONE, "n.a.", "n. a.", "k.a.", "k. a.", "n.d.", "n/d", "nd", "s/o"}
MARKS |= {"#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!", "#wert!", "#bezug!"}
_ARABIC = str.maketrans("٫٬", ".,")  # decimal mark, and between thousands
_SHOWN = 60  # characters of a value, in a message
_REASON = 200  # of another library's message


@dataclass(frozen=True)
class Field:
    """Column of a table.

    Attributes:
        is_index: Index of a pandas DataFrame, or a draw's number or log-density; ignored unless
            named.
    """

    name: str
    is_index: bool = False


class TableFile(ABC):
    """File, or a Python object; ``n_rows`` is None if unknown before reading.

    ``notes`` are lines to print once it is read; ``doubts`` those on columns that have numbers in
    the table's decimal mark, by name, where this is uncertain.
    """

    decimal = "."  # the mark in numbers that are text
    is_untyped = False  # whether all cells are text
    is_part = False  # of a table of many files: it may have no rows
    source: Path | None = None  # the file, if it is one,
    stamp: tuple[int, ...] = ()  # as it was when it was opened

    def __init__(self, name: str, columns: Sequence[Field], n_rows: int | None = None):
        self.name = name
        self.columns = list(columns)
        self.n_rows = n_rows
        self.notes: list[str] = []
        self.doubts: Mapping[str, str] = {}

    def blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        """Columns as stored, some rows at a time; of a file that changes a ``DataError``."""
        self.expect_unchanged()
        try:
            yield from self._blocks(names)
        except DataError:
            self.expect_unchanged()  # or that is why
            raise
        self.expect_unchanged()

    @abstractmethod
    def _blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]: ...

    def expect_unchanged(self) -> None:
        """Check that the file is the one that was opened: it is read several times."""
        if self.source and files.stamp(self.source) != self.stamp:
            raise DataError(
                f"{self.name}: changed while it was read; expected a file that stays as it is: "
                "read a copy"
            )

    def place(self, row: int) -> str:
        """Place of a row, counted from 0, in messages."""
        return f"row {row} counted from 0"

    def expect(self, names: Sequence[str]) -> None:
        """Check that there are columns of these names."""
        known = [column.name for column in self.columns]
        for name in names:
            if name not in known:
                columns = ", ".join(map(shown, known[:20]))
                if len(known) > 20:
                    columns += ", …"
                hint = nearest(name, known)
                raise DataError(
                    f"{self.name}: no column {shown(name)}{hint}; its columns: {columns}"
                )


def is_mark(text: str) -> bool:
    """Whether a text beside numbers means that there is none."""
    return text.lower() in MARKS


def in_plain_form(text: str) -> str:
    """Text with digits of other scripts, Arabic marks in numbers, and full-width letters and signs
    as usual: ١٢٫٥ as 12.5, ￥１２ as ¥12.
    """
    if text.isascii():
        return text
    text = re.sub("[\uff01-\uffe6]", lambda wide: normalize("NFKC", wide[0]), text)
    return re.sub(r"\d", lambda digit: str(int(digit[0])), text).translate(_ARABIC)


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


def expect_width(name: str, width: int) -> None:
    """Check a number of columns, before there is a list of them."""
    if not 1 <= width <= MAX_COLUMNS:
        raise DataError(f"{name}: expected 1 to {MAX_COLUMNS:,} columns, received {width:,}")


def expect_names(name: str, names: Sequence[str]) -> list[str]:
    """Check column names; a first one left empty by pandas becomes ``index``."""
    expect_width(name, len(names))
    if len(names) > 1 and not names[0]:
        names = ["index", *names[1:]]
    names_above: set[str] = set()
    for position, column in enumerate(names, start=1):
        if not column:
            raise DataError(f"{name}: column {position} of {len(names)} has no name in the header")
        if re.search("[\ud800-\udfff]", column):
            received = shown(column)
            raise DataError(f"{name}: expected names that UTF-8 can encode, received {received}")
        if column in names_above:
            raise DataError(f"{name}: two columns are called {shown(column)}; expected one")
        names_above.add(column)
    return list(names)


def positions(n: int) -> list[str]:
    """Names of unnamed columns: "1", "2", …."""
    return [str(i) for i in range(1, n + 1)]


@contextmanager
def explained(name: str, expected: str) -> Iterator[None]:
    """Turn any error of a file's library into a one-line ``DataError``."""
    try:
        yield
    except DataError:
        raise
    except npz.ArrayError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # NumPy, zipfile, zlib and Arrow raise different ones
        received = one_line(error)[:_REASON]
        raise DataError(f"{name}: expected {expected}; received: {received}") from None
