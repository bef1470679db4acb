"""Columns of numbers and of categories, read as rows of float64. No Keras here."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.config.column_schema import MAX_LEVEL, MAX_LEVELS
from nflow_cli.config.roles import Roles
from nflow_cli.data.tables import MISSING, Column, TableFile, is_number, shown
from nflow_cli.errors import ColumnError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN = -1.0  # the number of a level that no training row has


class Reader:
    """Reads blocks of a table: numbers as they are, categories as the numbers of their levels.

    Args:
        table: That the blocks are of.
        levels: Of the categories, by name; ``None`` numbers the levels as they appear.
    """

    def __init__(self, table: TableFile, levels: Mapping[str, Sequence[str] | None]):
        self._table = table
        self._numbers = {
            name: {text: number for number, text in enumerate(known or ())}
            for name, known in levels.items()
        }
        self._open = {name for name, known in levels.items() if known is None}

    def levels(self, name: str) -> list[str]:
        """Return the levels of a category, in the order of their numbers."""
        return list(self._numbers[name])

    def floats(self, block: "pa.RecordBatch", name: str, first: int) -> np.ndarray:
        """Return a column of a block, whose first row has the number ``first``, as float64.

        A category is the number of its level, -1 where that is unknown, NaN where it is missing.

        Raises:
            DataError: In one line: a value that is no number, or no level.
        """
        if name not in self._numbers:
            return self._floats(block, name, first)
        texts, which = distinct_texts(self._table, name, block.column(name))
        known = self._numbers[name]
        numbers = np.full(len(texts) + 1, np.nan)  # the last of what is missing: which is -1
        for i, text in enumerate(texts):
            if text is None:
                continue
            if text not in known and name in self._open:
                self._expect_level(name, text, first + int(np.argmax(which == i)))
                known[text] = len(known)
            numbers[i] = known.get(text, UNKNOWN)
        return numbers[which]

    def _floats(self, block: "pa.RecordBatch", name: str, first: int) -> np.ndarray:
        try:
            return self._table.floats(block, name, first)
        except DataError as error:
            if Column(name, is_number=True) in self._table.columns:
                raise
            raise DataError(f"{error}; --categorical {name} takes text") from None

    def _expect_level(self, name: str, text: str, row: int) -> None:
        """Refuse a level too long, or one too many."""
        if len(text) > MAX_LEVEL:
            raise ColumnError(
                f"{self._table.name}: {self._table.place(row)}, column {shown(name)}: expected a "
                f"level of at most {MAX_LEVEL:,} letters, received {len(text):,}: {shown(text)}",
                name,
            )
        if len(self._numbers[name]) == MAX_LEVELS:
            raise ColumnError(
                f"{self._table.name}: column {shown(name)}: expected at most {MAX_LEVELS:,} levels "
                f"of a category, received more; the next is {shown(text)}",
                name,
            )


def rows_of(table: TableFile, block: "pa.RecordBatch", roles: Roles, first: int) -> np.ndarray:
    """Return the rows ``(m, C)`` of a block, whose first has the number ``first`` in the table.

    The columns are those of ``roles``; a category that is unknown is -1, what is missing NaN.

    Raises:
        DataError: In one line: a value that is no number, with its place.
    """
    reader = Reader(table, roles.levels)
    return np.column_stack([reader.floats(block, name, first) for name in roles.columns])


def weights_of(table: TableFile, block: "pa.RecordBatch", name: str, first: int) -> np.ndarray:
    """Return the weights ``(m,)`` of a block, as :func:`rows_of` does its rows; 0 where missing.

    Raises:
        DataError: In one line: a weight is negative, or not from 1e-100 to 1e100.
    """
    weights = np.nan_to_num(table.floats(block, name, first), nan=0.0, posinf=np.inf)
    wrong = (weights != 0) & ~((weights >= 1e-100) & (weights <= 1e100))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{table.name}: {table.place(first + row)}, column {shown(name)}: expected a weight of "
            f"0, or from 1e-100 to 1e100, received {weights[row]:.6g}"
        )
    return weights


def rows_of_table(table: TableFile, roles: Roles) -> np.ndarray:
    """Return all rows ``(n, C)`` of a table, as :func:`rows_of` does of a block.

    Raises:
        DataError: In one line: a column is missing, or a value is no number.
    """
    table.expect(roles.columns)
    parts, first = [np.empty((0, len(roles.columns)))], 0
    for block in table.blocks(list(roles.columns)):
        parts.append(rows_of(table, block, roles, first))
        first += block.num_rows
    return np.concatenate(parts)


def texts(numbers: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Return the levels ``(n,)`` of their numbers, as an array of objects."""
    return np.array(levels, object)[numbers.astype(int)]


def distinct_texts(
    table: TableFile, name: str, cells: "pa.Array"
) -> tuple[list[str | None], np.ndarray]:
    """Return the distinct values of cells as levels, and which of them each cell is; -1 is none.

    Raises:
        DataError: In one line: they are lists or other structures.
    """
    import pyarrow as pa

    try:
        encoded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
        values = encoded.dictionary
        if is_number(values.type) and not pa.types.is_decimal(values.type):
            numbers = values.to_numpy(zero_copy_only=False) + 0  # that of -0.0 is 0.0
            texts = [str(number) for number in numbers]
        else:
            texts = values.cast(pa.string()).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError(
            f"{table.name}: column {shown(name)}: expected text or numbers, received "
            f"{shown(cells.type)}"
        ) from None
    which = encoded.indices.cast(pa.int64()).fill_null(-1)
    return [_level(text, table.decimal) for text in texts], which.to_numpy(zero_copy_only=False)


def _level(text: str | None, decimal: str) -> str | None:
    """Return the level that a text stands for; ``None`` where it says that the value is missing."""
    if text is None or text.strip().lower() in MISSING:
        return None
    whole = re.fullmatch(rf"(-?(0|[1-9][0-9]*)){re.escape(decimal)}0+", text)
    return whole[1] if whole else text  # 3.0 is the level 3
