"""Columns as read, in memory, before their kinds are known."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pyarrow as pa

from nflow_cli.config.column_kinds import ColumnKind, Notation
from nflow_cli.config.strict import MAX_LEVELS
from nflow_cli.data.files import dates, notations
from nflow_cli.data.files.arrow_cells import (
    Codes,
    NotANumberError,
    beyond_floats,
    days,
    distinct_texts,
    floats,
    is_beyond_floats,
    is_number,
    present_cells,
    seconds,
)
from nflow_cli.data.files.lattices import snapped
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.files.tables import (
    GAPS,
    MAX_ROWS,
    NONE,
    TableFile,
    is_mark,
    listed,
    looks_like,
    shown,
)
from nflow_cli.data.files.written import DistinctNumbers, as_written, distinct_numbers
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream

Source = Literal["number", "text", "truth", "date", "time"]
MAX_TEXTS = 100_000  # distinct texts of a column
MAX_LETTERS = 2**24  # of all of them
LEAST_NAMED_ROWS = 50  # more rows are named by text that mostly differs:
UNIQUE_SHARE = 0.5  # of the rows have a text of their own, at least
TRUTH_WORDS = {"true", "false"}
PLANE_COLUMNS = ("z1", "z2")  # in the output of `nflow sample`, before a third column


@dataclass(frozen=True, eq=False)
class Column:
    """Column of n rows as read.

    Attributes:
        cell_type: Type of its cells; ``time`` is a date with a time of day.
        numbers: ``(n,)`` float64, NaN if missing: values, days of a date or seconds of a time since
            1970-01-01. ``None`` of text and truth values.
        codes: ``(n,)`` int32, indices in ``texts``, -1 if missing; also of text that was read as
            ``numbers``. ``None`` of numbers, dates, times, nested data and too many distinct texts.
        texts: Distinct, by first appearance, without blanks around, in Unicode's composed form.
        unified_texts: Texts that are written in several ways, with blanks around or in other forms.
        rounded: Cells that are whole numbers without one in float64, and the digits of the first.
        is_index: As of a :class:`~nflow_cli.data.files.tables.Field`.
        is_float32: Stored in single precision.
        decimal: The decimal mark of its numbers in text.
        first_text_cell: Row, and text, of the first cell of a column of text that is no number; of
            stored text the first cell. None if no cell was text, or if not collected.
        date_format: Format of the dates or times in text that the numbers were.
        notation: Of the numbers in text, unless they were digits alone.
        nested_as: What its cells are if no text and no numbers: objects or lists.
        with_last_zeros: A number in the first cells of text that has zeros at its end as others
            have not, such as 1.10 beside 1.9, and without them.
        gap_words: Rows of each word that means a missing cell of text, such as NA.
        order: Levels of an ordered category, lowest first.
    """

    name: str
    cell_type: Source
    numbers: np.ndarray | None
    codes: np.ndarray | None
    texts: list[str]
    is_index: bool = False
    is_float32: bool = False
    decimal: str = "."
    first_text_cell: tuple[int, str] | None = None
    date_format: str | None = None
    notation: Notation | None = None
    unified_texts: Sequence[str] = ()
    rounded: tuple[int, str] | None = None
    gap_words: Mapping[str, int] = field(default_factory=dict)
    with_last_zeros: Sequence[str] = ()
    nested_as: str = ""
    order: Sequence[str] = ()

    @property
    def is_collected(self) -> bool:
        """Whether it has cells: neither nested data nor too many distinct texts."""
        return self.numbers is not None or self.codes is not None

    @property
    def cells(self) -> np.ndarray:
        """Numbers or codes, ``(n,)``; empty if it is not collected."""
        if self.numbers is not None:
            return self.numbers
        return np.zeros(0, np.int32) if self.codes is None else self.codes

    @property
    def are_gaps(self) -> np.ndarray:
        """Mask of missing cells, ``(n,)``; empty if text is not collected."""
        return self.cells < 0 if self.numbers is None else np.isnan(self.numbers)

    @cached_property
    def distinct_numbers(self) -> DistinctNumbers:
        """Distinct finite numbers."""
        if self.numbers is None:
            raise ValueError("text has no numbers")
        return distinct_numbers(self.numbers, self.is_float32)

    @cached_property
    def value_indices(self) -> np.ndarray:
        """Index ``(n,)`` of each cell's value among the distinct ones, -1 if missing or infinite;
        of more than ``MAX_LEVELS`` numbers, which no map has, the row's index in its place.
        """
        if self.numbers is None:
            return self.cells
        values = self.distinct_numbers.values
        indices = np.arange(len(self.numbers))
        if len(values) <= MAX_LEVELS:
            indices = np.searchsorted((values[1:] + values[:-1]) / 2, self.numbers)
        return np.where(np.isfinite(self.numbers), indices, -1)

    @cached_property
    def value_counts(self) -> np.ndarray:
        """Number of rows of each distinct value, ``(m,)``."""
        if self.numbers is None:
            return np.bincount(self.cells[~self.are_gaps])
        return self.distinct_numbers.counts

    @cached_property
    def total_entropy(self) -> float:
        """Entropy of a cell's value, times the number of rows with one, in nats."""
        counts = self.value_counts[self.value_counts > 0]
        return float(-(counts * np.log(counts / counts.sum())).sum())

    @property
    def names_rows(self) -> bool:
        """Whether it is text that differs in most rows, so that it names them, or too often to be
        collected; also of a column that was no text.
        """
        if self.codes is None:
            return True
        rows = int((self.codes >= 0).sum())
        return rows > LEAST_NAMED_ROWS and len(np.unique(self.codes)) > UNIQUE_SHARE * rows

    @property
    def are_lost_texts(self) -> np.ndarray:
        """Mask of cells of text that were read as missing beside numbers, ``(n,)``; empty if the
        column was no text.
        """
        if self.numbers is None or self.codes is None:
            return np.zeros(0, bool)
        return np.isnan(self.numbers) & (self.codes >= 0)

    @property
    def text_counts(self) -> np.ndarray:
        """Number of rows of each text, ``(m,)``."""
        codes = np.zeros(0, int) if self.codes is None else self.codes
        return np.bincount(codes[codes >= 0], minlength=len(self.texts))

    def in_numbers(self, may_be_enclosed: bool = False) -> "Column":
        """Column with the numbers of its text: dates or times (of day: seconds) of one format, or
        numbers in one notation, with its decimal mark; itself if it is other text.

        ``may_be_enclosed``: numbers that are all in parentheses are negative, too.
        """
        if self.cell_type != "text" or self.codes is None:
            return self
        texts, counts = self.unmarked
        if any(map(is_beyond_floats, texts)):
            return self
        form = dates.form_of(texts, counts)
        if form:
            return self._in_spelling(form)
        read = notations.read_numbers(self.texts, self.text_counts, self.decimal, may_be_enclosed)
        if read is None:
            return self
        numbers, notation = read
        return self._with_numbers(numbers, "number", notation=notation)

    def in_levels(self) -> "Column":
        """Column of text in which 3.0 and 3 are one level, the first of them; itself if it has
        numbers.
        """
        if self.numbers is not None or self.codes is None:
            return self
        keys = [*map(self.level_key, self.texts)]
        texts = dict(zip(reversed(keys), reversed(self.texts)))  # the first of each key stays
        places = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        codes = np.array([*map(places.__getitem__, keys), -1], np.int32)[self.codes]
        return replace(self, codes=codes, texts=[*map(texts.__getitem__, places)])

    def level_key(self, text: str) -> str:
        """Key of the level of a text, by which 3.0 and 3 are equal: without zero decimals."""
        zeros = re.fullmatch(rf"(-?(0|[1-9][0-9]*)){re.escape(self.decimal)}0+", text)
        return zeros[1] if zeros else text

    def in_kind(self, kind: ColumnKind) -> "Column":
        """Column whose text is read as a known kind has it: as numbers, dates or levels; ValueError
        if fewer than 95 % of the cells are such. If the kind has gaps and no level `none`, that is
        a gap.
        """
        if kind.type in ("text", "truth"):
            if not kind.missing:
                return self.in_levels()
            levels = kind.levels or self.texts
            nones = [text for text in self.texts if text.lower() == NONE and text not in levels]
            return self.without(nones).in_levels()
        if kind.form is not None and self.cell_type == "number" and self.date_format is None:
            return self._in_texts().in_kind(kind)
        if self.numbers is not None or self.codes is None:
            return self
        if kind.form is not None:
            return self._in_spelling(kind.form)
        if kind.type in ("date", "time"):  # in a table of typed columns
            return self.in_numbers().in_unit(kind.type)
        values = notations.numbers_of(self.texts, kind.notation, self.decimal)
        if not notations.are_numbers(values, self.texts, self.text_counts):
            raise ValueError("numbers")
        return self._with_numbers(values, "number", notation=kind.notation)

    def in_form(self, form: str) -> "Column":
        """Column with the dates or times of its text, of a strptime format in the spelling that
        fits most cells; ValueError if fewer than 95 % of the cells have it.
        """
        if self.cell_type == "number":
            return self._in_texts().in_form(form)
        if self.numbers is not None or self.codes is None:
            return self
        texts, counts = self.unmarked
        return self._in_spelling(dates.spelling_and_rows_of(form, texts, counts)[0])

    def _in_texts(self) -> "Column":
        """Column of text in place of numbers, with the digits of each: 20240307."""
        numbers = self.cells
        values, codes = np.unique(numbers[~self.are_gaps], return_inverse=True)
        places = np.full(len(numbers), -1, np.int32)
        places[~self.are_gaps] = codes
        texts = [f"{value:.15g}" for value in values]
        return replace(self, cell_type="text", numbers=None, codes=places, texts=texts)

    @property
    def unmarked(self) -> tuple[list[str], np.ndarray]:
        """Distinct texts ``(m,)`` of cells that are no gap marks, and numbers of rows of each."""
        pairs = zip(self.texts, self.text_counts.tolist())
        known = {text: count for text, count in pairs if count and not is_mark(text)}
        return [*known], np.array([*known.values()], int)

    def _in_spelling(self, form: str) -> "Column":
        """Column with the dates or times of its text, of a format as it is; ValueError if fewer
        than 95 % of the cells have it.
        """
        values = dates.numbers_of(self.texts, form)
        _, counts = self.unmarked
        if self.text_counts[~np.isnan(values)].sum() < dates.SHARE * counts.sum():
            raise ValueError("dates or times")
        kind = dates.kind_of_form(form)
        return self._with_numbers(values, "number" if kind == "clock" else kind, form=form)

    def _with_numbers(
        self,
        values: np.ndarray,
        cell_type: Source,
        form: str | None = None,
        notation: Notation | None = None,
    ) -> "Column":
        """Column with numbers in place of its text: ``values`` ``(m,)`` of its distinct texts."""
        numbers = np.append(values, np.nan)[self.codes]  # code -1: missing
        return replace(
            self, cell_type=cell_type, numbers=numbers, date_format=form, notation=notation
        )

    def without(self, values: Sequence[str]) -> "Column":
        """Column in which cells that equal one of ``values``, text, number or date, are missing."""
        if not values:
            return self
        parsed = [_parsed_value(value, self.cell_type) for value in values]
        numbers = [number for number in parsed if not np.isnan(number)]
        are_missing = np.zeros(len(self.cells), bool)
        if self.numbers is not None:
            dtype = np.float32 if self.is_float32 else np.float64
            are_missing = np.isin(self.numbers.astype(dtype), np.array(numbers, dtype))
        elif self.codes is not None:
            mean_none = [t in values or _parsed_value(t, "number") in numbers for t in self.texts]
            are_missing = np.array([*mean_none, False])[self.codes]
        column = self
        if self.numbers is not None:
            column = replace(column, numbers=np.where(are_missing, np.nan, self.numbers))
        if self.codes is not None:
            column = replace(column, codes=np.where(are_missing, -1, self.codes))
        return column

    def at(self, rows: np.ndarray) -> "Column":
        """Column of some rows, by their indices in ascending order."""
        stray = self.first_text_cell
        if stray is not None:
            row, text = stray
            place = int(np.searchsorted(rows, row))
            stray = (place, text) if row in rows[place : place + 1] else None
        return replace(
            self,
            numbers=None if self.numbers is None else self.numbers[rows],
            codes=None if self.codes is None else self.codes[rows],
            first_text_cell=stray,
        )

    def in_unit(self, type: Literal["date", "time"]) -> "Column":
        """Column of dates as times, in seconds, or of times as dates, in days; itself of others."""
        if self.numbers is None or {self.cell_type, type} != {"date", "time"}:
            return self
        factor = dates.DAY if type == "time" else 1 / dates.DAY
        return replace(self, cell_type=type, numbers=self.numbers * factor)

    def numbers_as(self, kind: ColumnKind) -> np.ndarray:
        """Numbers in a kind's resolution, ``(n,)``, without noise: 3.1 for 3.0999999046325684.

        Noise is below 12 digits, or of single precision. Values beside a place of the lattice are
        moved to it if its decimals are known. Text has none (ValueError).
        """
        numbers = self.numbers
        if numbers is None:
            raise ValueError("numbers")
        if kind.kind == "number" and kind.resolution is None:
            return numbers
        is_single = self.is_float32 or kind.single is not None
        values = as_written(numbers, is_single, kind.type == "whole")
        if kind.lattice is None or kind.alone.kind != "grid":
            return values
        return snapped(values, kind.lattice)


def _order_of(cells: pa.Array) -> tuple[str, ...]:
    """Levels of an ordered category of text, lowest first, without gap marks."""
    texts = (normalize("NFC", str(text).strip()) for text in cells.dictionary.to_pylist())
    return tuple(dict.fromkeys(text for text in texts if text.lower() not in GAPS))


def _parsed_value(text: str, source: Source) -> float:
    """Number of a text as a column of a source has it, of dates in days, of times in seconds; NaN
    of other text.
    """
    with suppress(ValueError):
        if source in ("date", "time"):
            unit, ticks = ("D", 1) if source == "date" else ("us", 10**6)
            return float(np.datetime64(text, unit).astype(np.int64)) / ticks
        return float(text)
    return np.nan


def read_columns(
    table: TableFile,
    max_rows: int | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    texts: Sequence[str] = (),
    codes: Sequence[str] = (),
    apart: Sequence[str] = (),
) -> tuple[list[Column], np.ndarray]:
    """Columns of a table, in 8 bytes a number, 4 bytes a text, and one block; and the numbers
    ``(n,)`` of their rows in the table.

    A column of a text file is numeric if all its cells are numbers or missing; else ISO dates or
    times if all are; else text. Infinities are kept.

    Args:
        table: A file, or a Python object.
        max_rows: Of more rows, a random sample is read.
        seed: Of the sample.
        names: Of the columns to read; None: all.
        texts: Of columns that are text, whatever they hold.
        codes: Of columns that are text if they are digits of one width with leading zeros, 007, or
            have more digits than float64 and repeat.
        apart: Of columns that are text if they have numbers such as 1.10 beside 1.9.
    """
    columns = {column.name: column for column in table.columns}
    names = list(columns) if names is None else list(names)
    table.expect(names)
    rows = None if max_rows is None else _random_rows(table, names[:1], max_rows, seed)
    readers = {name: _Reader(table, name, ["text"] if name in texts else []) for name in names}
    if table.is_untyped:
        for name in codes:
            readers[name].codes = Codes()
    n = _read_blocks(table, readers, rows)
    for reader in readers.values():
        are_codes = reader.codes and reader.codes.are_found
        are_apart = reader.with_last_zeros and reader.name in apart
        if (are_codes or are_apart) and reader.sources[:1] == ["number"]:
            reader.sources = ["text"]
            reader.is_mixed = True
    while mixed := [reader for reader in readers.values() if reader.is_mixed]:
        rereaders = {r.name: _Reader(table, r.name, r.sources, r.first_text_cell) for r in mixed}
        _read_blocks(table, rereaders, rows)  # text after numbers: reread these as text
        readers |= rereaders
    read = {name: readers.pop(name).column(columns[name].is_index) for name in names}
    for name in codes:
        if read[name].rounded is not None:
            reader = _Reader(table, name, ["text"])
            _read_blocks(table, {name: reader}, rows)
            as_text = reader.column(columns[name].is_index)
            if not as_text.names_rows:
                read[name] = as_text
    if rows is None:
        rows = np.arange(n)
    return [*read.values()], rows


def numbers_of(table: TableFile, names: Sequence[str]) -> np.ndarray:
    """Columns ``(n, D)``, float64, at most 10 million rows, or a DataError that names the first
    cell that is no finite number.
    """
    return stacked(table, read_columns(table, names=names)[0])


def stacked(table: TableFile, columns: Sequence[Column]) -> np.ndarray:
    """Numbers ``(n, D)`` of columns of a table, all finite; else a DataError."""
    rows = np.column_stack([_finite_numbers(table, column) for column in columns])
    if not len(rows):
        raise DataError(f"{table.name}: expected rows of numbers, received none")
    return rows


def _finite_numbers(table: TableFile, column: Column) -> np.ndarray:
    """Numbers ``(n,)`` of a column, all finite; else a DataError that names the first other."""
    row, received = column.first_text_cell or (None, column.cell_type)
    if column.cell_type == "number" and column.numbers is not None:
        wrong = ~np.isfinite(column.numbers)
        if not wrong.any():
            return column.numbers
        row = int(np.argmax(wrong))
        received = str(column.numbers[row])
    place = "" if row is None else f"{table.place(row)}, "
    raise DataError(
        f"{table.name}: {place}column {shown(column.name)}: expected a finite number, "
        f"received {shown(received)}{looks_like(received)}"
    )


def text_of(table: TableFile, name: str) -> np.ndarray:
    """Column as text: an array ``(n,)`` of ``str``, "" where missing."""
    table.expect([name])
    parts = []
    for block in table.blocks([name]):
        try:
            cells = block.column(name).cast(pa.string()).fill_null("")
        except (pa.ArrowException, UnicodeDecodeError):
            raise DataError(
                f"{table.name}: column {shown(name)}: expected text, received "
                f"{shown(block.column(name).type)}"
            ) from None
        parts.append(cells.to_numpy(zero_copy_only=False))
    return np.concatenate(parts) if parts else np.empty(0, object)


def read_points(name: str | Path) -> np.ndarray:
    """Points ``(n, 2)`` of a table, float64, finite, at most 10 million.

    Of two columns, with or without a header; else ``z1`` and ``z2``, as of ``nflow sample``.
    """
    table = open_table(name)
    names = [column.name for column in table.columns if not column.is_index]
    if len(names) != 2 and not {*PLANE_COLUMNS} <= {*names}:
        hint = looks_like(names[0]) if len(names) == 1 else ""
        raise DataError(
            f"{table.name}: expected two columns of numbers, or z1 and z2 among others; received "
            f"{len(names):,}: {listed([*map(shown, names)])}{hint}"
        )
    return numbers_of(table, names if len(names) == 2 else PLANE_COLUMNS)


def _random_rows(table: TableFile, names: Sequence[str], size: int, seed: int) -> np.ndarray | None:
    """Numbers ``(size,)`` of random rows of a table, ascending; None if it has no more rows.

    ``names``: of a column, to count rows by, if their number is unknown.
    """
    n = table.n_rows
    if n is None:
        n = sum(block.num_rows for block in table.blocks(names))
    if n <= size:
        return None
    keys = stream(seed, "max-rows").random(n)
    return np.sort(np.argpartition(keys, size)[:size])


def _read_blocks(table: TableFile, readers: dict[str, "_Reader"], rows: np.ndarray | None) -> int:
    """Number of rows of a table, after each of its columns, by name, was read by its reader, in
    blocks of rows; of all rows, or of those of the numbers ``rows``, which ascend.
    """
    n_read = 0
    for block in table.blocks(list(readers)):
        end = n_read + block.num_rows
        if rows is not None:
            low, high = np.searchsorted(rows, [n_read, end])
            block = block.take(rows[low:high] - n_read)
        elif end > MAX_ROWS:
            raise DataError(
                f"{table.name}: expected at most {MAX_ROWS:,} rows, received more (a fit draws "
                "some by data.max_rows)"
            )
        for name, reader in readers.items():
            reader.add(block.column(name))
        n_read = end
    return n_read


def _number_with_last_zeros(cells: pa.Array, decimal: str) -> Sequence[str]:
    """First text of a number whose decimals end in zeros as others have not, 1.10 beside 1.9, and
    the text without these zeros; empty if there is none: then all numbers have zeros, or none has.
    """
    texts = present_cells(cells).unique().drop_null().to_pylist()
    parts = {text: text.lstrip("+-").split(decimal) for text in texts if decimal in text}
    decimals = {text: part[1] for text, part in parts.items() if "".join(part).isdecimal()}
    least = min(map(len, decimals.values()), default=0)
    for text, digits in decimals.items():
        if digits.rstrip("0") and digits[-1] == "0" and 0 < least < len(digits):
            return text, text.rstrip("0")
    return ()


@dataclass(eq=False)
class _Reader:
    """Collects the blocks of a column.

    Attributes:
        sources: Possible types of cells, the current one first; none: stored type.
        first_text_cell, is_float32, with_last_zeros, nested_as: As of a :class:`Column`.
        is_mixed: Earlier blocks were read as another type than the last ones: they are reread.
        is_clock: Whether stored cells are times of day.
        codes: Search for codes, if the column may have any.
        beyond: Number of cells that are whole numbers without one in float64.
        first_beyond: The digits of the first.
    """

    table: TableFile
    name: str
    sources: list[Source] = field(default_factory=list)
    first_text_cell: tuple[int, str] | None = None
    is_mixed: bool = False
    is_float32: bool = False
    is_clock: bool = False
    codes: Codes | None = None
    beyond: int = 0
    first_beyond: str = ""
    with_last_zeros: Sequence[str] = ()
    nested_as: str = ""
    _parts: list[np.ndarray] = field(default_factory=list)  # numbers or codes of each block
    _codes: dict[str, int] = field(default_factory=dict)  # of each text
    _written: dict[str, str] = field(default_factory=dict)  # how each text was written first
    _unified_texts: dict[str, None] = field(default_factory=dict)  # written in several ways
    _gap_words: Counter[str] = field(default_factory=Counter)
    _n_letters: int = 0  # of all texts
    _is_collected: bool = True  # few enough texts
    _orders: dict[tuple[str, ...], None] = field(default_factory=dict)  # of ordered categories

    def add(self, cells: pa.Array) -> None:
        """Read the cells of the next block, of the first type that suits all cells so far."""
        self.is_clock = pa.types.is_time(cells.type)
        if not self.sources:
            self._choose_sources(cells.type)
        for source in list(self.sources):
            try:
                if source == "text":
                    self._add_texts(cells)
                else:
                    self._add_numbers(cells, source)
                return
            except NotANumberError as error:
                self._give_up(source, error)

    def _give_up(self, source: Source, error: NotANumberError) -> None:
        """No longer try a type that a cell is not of; earlier blocks are to be read again."""
        self.sources.remove(source)
        n_before = sum(map(len, self._parts))
        if source == "number":
            row_in_block, value = error.args
            self.first_text_cell = n_before + row_in_block, str(value)
        if self._parts:
            self.is_mixed = True
        self._parts.clear()

    def _choose_sources(self, type: pa.DataType) -> None:
        """Set the possible types of cells by their stored type; of a text file any may be."""
        self.is_float32 = pa.types.is_float32(type)
        if pa.types.is_date(type):
            self.sources = ["date"]
        elif pa.types.is_timestamp(type):
            self.sources = ["time"]
        elif is_number(type) or pa.types.is_null(type):
            self.sources = ["number"]
        elif self.table.is_untyped:
            self.sources = ["number", "date", "time", "text"]
        else:
            self.sources = ["text"]
        if pa.types.is_nested(type):
            self.nested_as = "objects" if pa.types.is_struct(type) else "lists"

    def _add_numbers(self, cells: pa.Array, source: Source) -> None:
        """Read cells as numbers, dates or times; NotANumberError at the first of another type."""
        read = {"number": floats, "date": days, "time": seconds}[source]
        part = read(cells, self.table.decimal).to_numpy(zero_copy_only=False)
        if self.codes is not None and not self.codes.add(cells):
            self.codes = None
        if self.table.is_untyped and source == "number" and not self._parts:
            self.with_last_zeros = _number_with_last_zeros(cells, self.table.decimal)
        self._parts.append(np.array(part, np.float64))
        if beyond := beyond_floats(cells, self._parts[-1]):
            self.first_beyond = self.first_beyond or beyond[0]
            self.beyond += len(beyond)

    def _add_texts(self, cells: pa.Array) -> None:
        """Read cells as text, in codes; nothing if there were too many texts, or nested data."""
        if not self._is_collected:
            return
        if pa.types.is_dictionary(cells.type) and cells.type.ordered:
            self._orders[_order_of(cells)] = None
        try:
            spellings, indices = distinct_texts(cells)
        except (pa.ArrowException, UnicodeDecodeError):  # nested data
            self._give_up_texts()
            return
        counts = np.bincount(indices[indices >= 0], minlength=len(spellings)).tolist()
        codes = []  # of each spelling
        for spelling, count in zip(spellings, counts):
            written = spelling or ""
            text = normalize("NFC", written.strip())
            if text.lower() in GAPS:
                if text:
                    self._gap_words[text] += count
                codes.append(-1)
                continue
            if self._written.setdefault(text, written) != written:
                self._unified_texts[text] = None
            if text not in self._codes:
                self._codes[text] = len(self._codes)
                self._n_letters += len(text)
            codes.append(self._codes[text])
        self._parts.append(np.array([*codes, -1], np.int32)[indices])  # the last is of index -1
        if len(self._codes) > MAX_TEXTS or self._n_letters > MAX_LETTERS:
            self._give_up_texts()

    def _give_up_texts(self) -> None:
        """Forget the texts read, and read no more: the column is not collected."""
        self._is_collected = False
        self._parts = []
        self._codes = {}
        self._written = {}
        self._unified_texts = {}

    def column(self, is_index: bool) -> Column:
        """Column of the blocks read, of numbers or of indices of texts; its memory is then the
        column's alone.
        """
        # The type that suits all blocks; none is left of a column that is stored as numbers.
        source = self.sources[0] if self.sources else "number"
        decimal = self.table.decimal
        parts = self._parts
        self._parts = []
        if source != "text":
            return Column(
                self.name,
                source,
                np.concatenate(parts) if parts else np.empty(0),
                codes=None,
                texts=[],
                is_index=is_index,
                is_float32=self.is_float32,
                decimal=decimal,
                rounded=(self.beyond, self.first_beyond) if self.beyond else None,
                with_last_zeros=self.with_last_zeros,
            )
        texts = list(self._codes)
        if self.is_clock:
            texts = dates.without_fractions(texts)
        if texts and {text.lower() for text in texts} <= TRUTH_WORDS:
            source = "truth"
        codes = np.concatenate(parts) if parts else np.empty(0, np.int32)
        first_text_cell = self.first_text_cell
        if first_text_cell is None and texts:  # stored as text: texts are by first appearance
            first_text_cell = int(np.argmax(codes >= 0)), texts[0]
        return Column(
            self.name,
            source,
            numbers=None,
            codes=codes if self._is_collected else None,
            texts=texts,
            is_index=is_index,
            decimal=decimal,
            first_text_cell=first_text_cell,
            unified_texts=[*self._unified_texts],
            nested_as=self.nested_as,
            gap_words=dict(self._gap_words),
            order=next(iter(self._orders)) if len(self._orders) == 1 else (),
        )
