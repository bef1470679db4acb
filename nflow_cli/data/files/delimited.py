"""Tables as delimited text (CSV, TSV): their format, and their rows, parsed in blocks by Arrow."""

import codecs
import csv
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from nflow_cli.data.files.margins import Top, bottom_of, top_of
from nflow_cli.data.files.notations import decimal_of, is_number, is_text
from nflow_cli.data.files.tables import Field, TableFile, expect_names, listed, looks_like, shown
from nflow_cli.errors import DataError, one_line

BLOCK = 2**20  # bytes read at once; no row is longer
MAX_BYTES = 8 * 2**30  # of a file, compressed or not
Marks = tuple[str, str]  # of cells, of decimals
DELIMITERS = (",", ";", "\t", "|")
SPACES = " "  # one or more, as a delimiter
_LEAST_FULL = 0.9  # share of rows with all columns, where spaces delimit
_SNIFFED_LETTERS = 2**16  # characters of the beginning by which the format is detected,
_SNIFFED_ROWS = 200  # and rows in them, at most
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Characters of UTF-8 that no text in a single-byte encoding has: "Ã©", "â€œ", "Ð´Ð°".
_UTF8_LETTERS = re.compile(
    rb"[\xc2\xc3][\x80-\xbf]|\xe2(?:\x80[\x90-\xaf]|\x82\xac)|(?:[\xd0\xd1][\x80-\xbf]){2}"
)
_SINGLE_BYTE = {"cp1252": "Windows-1252", "mac-roman": "Mac Roman"}
_ANY_BYTES = "latin-1"  # which has a character for every byte: none of the encodings fits
_SHOWN_BYTES = 20  # bytes of a line, in an error
_WORD = re.compile("[\\w\x80-\U0010ffff]+")
_BREAKS_TO_BLANKS = bytes.maketrans(b"\r\n", b"  ")
_COMMENT = re.compile(rb"^#.*", re.M)
# In tables with spaces as delimiters; a quoted cell is matched to be left as it is.
_QUOTED_CELL = rb'("(?:[^"]|"")*+(?:"|\Z))'
_SPACES_BETWEEN_CELLS = re.compile(rb"( ) +|" + _QUOTED_CELL)
_SPACES_AT_LINE_ENDS = re.compile(rb" ?([\r\n]++) ?|" + _QUOTED_CELL)
_MOST_QUOTED_LINES = 50  # of a quoted cell in a table of one column
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_LAST_BLOCKS = 3  # in which totals and sources below the table are looked for
_CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.05  # share of control characters in a text; of random bytes 1/9


@dataclass(frozen=True)
class Dialect:
    """Format of a text table; ``header`` are its bytes in UTF-8 to the header's end, if any, and
    ``doubts`` as of a :class:`~nflow_cli.data.files.tables.TableFile`.
    """

    encoding: str
    delimiter: str
    decimal: str
    top: Top
    header_bytes: bytes
    doubts: Mapping[str, str]


def sniff(name: str, head: bytes, is_all: bool, marks: Marks | None = None) -> Dialect:
    """Detect the format of a text table from its beginning ``head``, which may be ``is_all`` of it.

    The delimiter (comma, semicolon, tab, bar, or spaces where none of these does) gives most rows
    equally many cells, most of them numbers, unless ``marks`` gives it. Header and titles are those
    of :func:`margins.top_of`.
    """
    encoding, text = _decoded(head, is_all)
    controls = _CONTROL.findall(text[:_SNIFFED_LETTERS])
    if "\0" in controls or len(controls) > _MOST_CONTROLS * len(text[:_SNIFFED_LETTERS]):
        raise DataError(
            f"{name}: expected text, an array of NumPy, or Parquet; received a file that begins "
            f"with {head[:8]!r} and holds the character {min(controls)!r}"
        )
    if encoding == _ANY_BYTES:
        line, row = _first_line_not_in_utf8(head)
        raise DataError(
            f"{name}: line {line:,}: expected text in UTF-8, UTF-16 or Windows-1252, received "
            f"{row[:_SHOWN_BYTES]!r}: save the table in UTF-8"
        )
    delimiter, decimal = marks or _best_marks(name, text)
    rows = _first_rows(text, delimiter)
    if not rows:
        most = f"{csv.field_size_limit():,}"
        raise DataError(f"{name}: no rows in it; expected cells of at most {most} letters")
    top = top_of(rows, decimal)
    doubts: Mapping[str, str] = {}
    if marks is None and (delimiter != "," or '"' in text[:_SNIFFED_LETTERS]):
        decimal, doubts = _decimal_and_doubts(top, delimiter, decimal)
        top = top_of(rows, decimal)
    lines = itertools.islice(io.StringIO(text, newline=""), max(top.end, next(iter(rows))))
    header = "".join(lines)
    if len(header) == len(text) and not is_all:
        raise DataError(f"{name}: expected a first row of at most {BLOCK:,} bytes, received more")
    expect_names(name, top.names)
    if encoding in _SINGLE_BYTE:
        word = max(_WORD.finditer(text), key=_n_letters_beyond_ascii)
        line = 1 + _n_line_breaks(text[: word.start()].encode())
        top.notes.append(
            f"text is read in {_SINGLE_BYTE[encoding]}, as {shown(word[0])} in line {line:,}: if "
            "that is garbled, save the table in UTF-8"
        )
    if not top.end:
        header = ""
    return Dialect(encoding, delimiter, decimal, top, header.encode(), doubts)


def _decoded(head: bytes, is_all: bool) -> tuple[str, str]:
    """Encoding of a text, the first in which it has no wrong byte, and the text decoded.

    ``is_all``: whether ``head`` is the whole text; otherwise its last character may be cut.
    """
    unicode = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "utf-8")
    # Classic Mac programs end lines by CR alone, and have letters at 0x80 to 0x9F.
    is_mac = b"\r" in head and b"\n" not in head and re.search(rb"[\x80-\x9f]", head)
    single_byte = "mac-roman" if is_mac else "cp1252"
    for encoding in (unicode, single_byte, _ANY_BYTES):
        with suppress(UnicodeDecodeError):
            decoder = codecs.getincrementaldecoder(encoding)()
            return encoding, decoder.decode(head, final=is_all)
    raise AssertionError


def _first_rows(text: str, delimiter: str) -> dict[int, list[str]]:
    """Cells of the first rows that are not empty, by the number of a row's last line."""
    lines = io.StringIO(text, newline="")
    rows: dict[int, list[str]] = {}
    reader = csv.reader(lines, delimiter=delimiter)
    if delimiter == SPACES:  # "# x y" is a header of numpy.savetxt
        trimmed = (f"{line.strip().removeprefix('# ')}\n" for line in lines)
        reader = csv.reader(trimmed, delimiter=delimiter, skipinitialspace=True)
    with suppress(csv.Error):  # a cell of more than 128 KiB
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows[reader.line_num] = cells
            if rows and (len(rows) == _SNIFFED_ROWS or lines.tell() > _SNIFFED_LETTERS):
                break
    return rows


def _best_marks(name: str, text: str) -> Marks:
    """Delimiter and decimal mark with which most rows have equally many cells, most of numbers.

    Spaces delimit if all columns are numbers then, and score better than by any other mark; or if
    some are, and no other mark divides nearly all rows into equally many cells.
    """

    def score(marks: Marks) -> tuple[float, float, bool, int]:
        """Shares of rows of the usual width, and of numbers; whether a tab suits; the width."""
        delimiter, decimal = marks
        rows = _first_rows(text, delimiter).values()
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width == 1:
            return 0.0, 0.0, False, 1
        are_numbers = [is_number(cell, decimal) for row in rows for cell in row]
        is_tsv = delimiter == "\t" and re.search(r"\.tsv(\.gz)?$", name, re.I) is not None
        return count / len(rows), sum(are_numbers) / len(are_numbers), is_tsv, width

    best = max([(",", "."), *itertools.product(DELIMITERS[1:], (".", ","))], key=score)
    spaces = max(((SPACES, "."), (SPACES, ",")), key=score)
    number_share = _share_of_number_columns(text, *spaces)
    are_better = number_share == 1 and score(spaces) > score(best)  # 1,5 2,5
    return spaces if are_better or (number_share and score(best)[0] < _LEAST_FULL) else best


def _share_of_number_columns(text: str, delimiter: str, decimal: str) -> float:
    """Share of the columns of a text's first rows that are numbers or missing; 0 of one column, if
    fewer than nearly all rows have all columns, or if lines above the rows are no header.
    """
    rows = _first_rows(text, delimiter)
    if not rows:
        return 0.0
    top = top_of(rows, decimal)
    width = len(top.names)
    full = [row for row in top.rows.values() if len(row) == width]
    if width == 1 or len(full) < _LEAST_FULL * len(top.rows) or (top.end and not top.is_named):
        return 0.0
    return sum(not any(is_text(cell, decimal) for cell in cells) for cells in zip(*full)) / width


def _decimal_and_doubts(top: Top, delimiter: str, decimal: str) -> tuple[str, dict[str, str]]:
    """Decimal mark of a table, by its first rows in ``top``, and notes on columns, by name, whose
    numbers may be thousands, 1.204, if the mark is uncertain.

    It is ``decimal`` unless some columns have a mark for certain: the mark of most of them. Points,
    which codes and coordinates have, count half, unless the comma is the delimiter.
    """
    columns = zip(top.names, itertools.zip_longest(*top.rows.values(), fillvalue=""))
    columns = [(name, cells) for name, cells in columns if {*".,"} & {*"".join(cells)}]
    marks = [decimal_of(cells) for _, cells in columns]  # "": of numbers, by either mark
    n_points = marks.count(".")
    n_commas = marks.count(",")
    if n_points or n_commas:
        most_points = 0 if delimiter == "," else 2 * n_commas  # for which the mark is the comma
        decimal = "," if n_points <= most_points else "."
    doubts = {
        name: f"{name}: {cell.strip()!r} is read as {float(cell.replace(decimal, '.')):.3f}, not "
        f"as {cell.strip().replace(decimal, '')}: the decimal mark of the table is uncertain"
        for mark, (name, cells) in zip(marks, columns)
        for cell in reversed(cells)  # the last to be written is the first cell
        if mark == "" and decimal in cell and _THOUSANDS.fullmatch(cell.strip())
    }
    # Columns contradict each other, or none has a mark for certain.
    is_uncertain = bool(n_commas) if n_points else not n_commas and delimiter != ","
    if not is_uncertain:
        doubts = {}
    return decimal, doubts


@dataclass(frozen=True)
class _Rows:
    """Block of complete rows in UTF-8.

    Attributes:
        text: Bytes of the rows.
        masked: These bytes with blanks in place of line breaks in quotes: one line is one row.
        line: Number of the first line in the file, from 1.
    """

    text: bytes
    masked: bytes
    line: int

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """First line and bytes of each row that is not empty."""
        line = self.line
        start = 0
        for masked in self.masked.splitlines(keepends=True):
            row = self.text[start : start + len(masked)]
            if row.strip(b"\r\n"):
                yield line, row
            line += _n_line_breaks(row)
            start += len(row)


class TextTable(TableFile):
    """Text table in the format found by :func:`sniff`.

    ``opened`` opens the unpacked file anew at each call; ``marks`` are the delimiter and the
    decimal mark, if known. Blank lines are skipped, and if it ``is_commented`` those that begin
    with #.

    A quoted cell may have several lines, but not swallow rows: it ends before a delimiter or a
    line's end, and at most half of its row's lines look like rows, with as many delimiters and
    blanks after the same ones. Of one column, they are numbers or values of the first rows.
    """

    is_untyped = True

    def __init__(
        self,
        name: str,
        opened: Callable[[], Any],
        is_commented: bool = False,
        marks: Marks | None = None,
    ):
        self.name = name
        self._opened = opened
        self._is_commented = is_commented
        head = next(self._bytes_in_parts(), b"")
        self.dialect = sniff(name, head, len(head) < BLOCK, marks)
        self.decimal = self.dialect.decimal
        self._delimiter = delimiter = self.dialect.delimiter.encode()
        # A mark quotes at the start of a cell alone, and a cell may go on where it is closed.
        # `quoted` is a quoted cell, and `on_a_line` what stands between those of several lines:
        # of `_spanning`, group 1 is such text, and group 2 the cell behind it.
        letter = rb"[^%b\r\n]" % re.escape(delimiter)
        quoted = rb'"(?<!%b")(?:[^"]++|"")*+(?:"(?P<after>%b*+)|\Z)' % (letter, letter)
        on_a_line = rb'[^"]++|"(?<=%b")|"(?:[^"\r\n]++|"")*+"%b*+' % (letter, letter)
        self._quoted = re.compile(quoted)
        self._spanning = re.compile(rb"((?:%b)*+)(%b)?" % (on_a_line, quoted))
        self._names = self.dialect.top.names
        self._has_bottom_notes = False
        width = len(self._names)
        self._expected_width = f"expected {width:,} column{'s' * (width > 1)}"
        header = self.dialect.header_bytes
        self._expect_quotes_closed(_Rows(header, self._without_breaks_in_quotes(header), 1))
        self._first_values = {row[0] for row in self.dialect.top.rows.values() if width == 1}
        self._header = self._line_of_names()
        self._repeated_headers = dict[int, None]()  # by their lines
        super().__init__(name, list(map(Field, self._names)))
        self.notes = [*self.dialect.top.notes]
        self.doubts = self.dialect.doubts
        if self.dialect.delimiter == SPACES:
            self.notes.append("columns are separated by spaces")

    def _blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns as text, in batches: each block of rows is parsed by Arrow.

        Arrow's own stream would call Python from its threads, and hang at exit.
        """
        columns = self._names
        parse = arrow_csv.ParseOptions(
            delimiter=self.dialect.delimiter,
            newlines_in_values=True,
            invalid_row_handler=_refuse_unless_blank,
        )
        convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=list(dict.fromkeys(names)),
        )
        for rows in self._table_rows():
            if not rows.text.strip(b"\r\n"):
                continue
            read = arrow_csv.ReadOptions(column_names=columns, block_size=len(rows.text) + 1)
            try:
                table = arrow_csv.read_csv(pa.BufferReader(rows.text), read, parse, convert)
            except pa.ArrowException as error:
                raise self._error_of_row(rows, one_line(error)) from None
            yield from table.to_batches()

    def place(self, row: int) -> str:
        """Line, from 1, of the data row of index ``row``, from 0, in words."""
        n_delimiters = len(self._names) - 1
        # Counted as Arrow has rows: blank lines are none, unless they have all delimiters.
        lines = (
            line
            for rows in self._table_rows()
            for line, text in rows
            if text.count(self._delimiter) == n_delimiters or text.decode().strip()
        )
        line = next(itertools.islice(lines, row, None), None)
        return f"data row {row + 1}" if line is None else f"line {line}"

    def _table_rows(self) -> Iterator[_Rows]:
        """Rows of data in blocks, without repeated headers and lines below the table."""
        # Held back until the end is known: a block may be one row, and the last has no line break.
        held = list[_Rows]()
        for rows in self._all_rows():
            held.append(self._without_repeated_headers(rows))
            if len(held) > _LAST_BLOCKS:
                yield held.pop(0)
        text = b"".join(rows.text for rows in held)
        masked = b"".join(rows.masked for rows in held)
        yield self._without_bottom(_Rows(text, masked, held[0].line))

    def _line_of_names(self) -> bytes:
        """Line of the header with the columns' names, if these are two or more; else empty."""
        for line in filter(bytes.strip, self.dialect.header_bytes.splitlines()):
            if len(self._names) > 1 and [*map(str.strip, self._cells_of_line(line))] == self._names:
                return line
        return b""

    def _without_repeated_headers(self, rows: _Rows) -> _Rows:
        """Rows with an empty line where the header stands again, as in files that were joined;
        the numbers of these lines are kept for a note.
        """
        if not self._header or self._header not in rows.text:
            return rows
        header = re.compile(rb"(?<![^\r\n])%b(?![^\r\n])" % re.escape(self._header))
        line = rows.line
        start = 0
        for match in header.finditer(rows.text):
            line += _n_line_breaks(rows.text[start : match.start()])
            start = match.start()
            self._repeated_headers[line] = None
        return _Rows(header.sub(b"", rows.text), header.sub(b"", rows.masked), rows.line)

    def _without_bottom(self, rows: _Rows) -> _Rows:
        """Last rows, without totals and sources below the table; notes on these are kept once."""
        # The last letters alone are searched, from the beginning of a row.
        before = rows.masked[: max(0, len(rows.masked) - _SNIFFED_LETTERS)]
        start = before.rfind(b"\n" if b"\n" in before else b"\r") + 1
        line = rows.line + _n_line_breaks(rows.text[:start])
        tail = _Rows(rows.text[start:], rows.masked[start:], line)
        last_rows = {line: row for line, row in tail if row.strip()}
        cells = {line: self._cells_of_line(row) for line, row in last_rows.items()}
        if not last_rows:
            return rows
        rows_above = self.dialect.top.rows
        n_below, notes = bottom_of(cells, rows_above, len(self._names), self.decimal)
        if not self._has_bottom_notes:
            self._has_bottom_notes = True
            if self._repeated_headers:
                lines = listed([f"line {line:,}" for line in self._repeated_headers])
                self.notes.append(f"left out: the header again, in {lines}")
            self.notes += notes
        end = len(rows.text)
        for row in reversed([*last_rows.values()][len(last_rows) - n_below :]):
            end = rows.text.rindex(row, 0, end)
        return _Rows(rows.text[:end], rows.masked[:end], rows.line)

    def _cells_of_line(self, row: bytes) -> list[str]:
        """Cells of one row of the text."""
        text = row.decode()
        delimiter = self.dialect.delimiter
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error:  # a cell of more than 128 KiB
            return text.split(delimiter)

    def _all_rows(self) -> Iterator[_Rows]:
        """Rows behind the header, in blocks of complete ones, in UTF-8 whatever the file's encoding
        is. Bytes of another encoding, a row of more than a block, and a quotation mark that is not
        closed are a DataError.
        """
        skipped = len(self.dialect.header_bytes)  # of the first text
        rest = b""  # a row whose end is not read yet
        line = 1 + _n_line_breaks(self.dialect.header_bytes)
        texts = codecs.iterdecode(self._bytes_of_one_encoding(), self.dialect.encoding)
        try:
            for text in itertools.chain(texts, [""]):
                rest += text.encode()[skipped:] or b"\n"  # at the end: the last line may lack it
                masked = self._without_breaks_in_quotes(rest)
                end = len(rest)
                if text:
                    last_return = masked.rfind(b"\r", 0, -1)  # a line feed may follow
                    end = max(masked.rfind(b"\n"), last_return) + 1
                rows = _Rows(rest[:end], masked[:end], line)
                if self.dialect.delimiter == SPACES:
                    # No blanks at the ends of rows, and one between cells; those in quotes stay.
                    single = _SPACES_BETWEEN_CELLS.sub(rb"\1\2", rest[:end].strip(b" "))
                    single = _SPACES_AT_LINE_ENDS.sub(rb"\1\2", single)
                    rows = _Rows(single, self._without_breaks_in_quotes(single), line)
                self._expect_quotes_closed(rows)
                yield rows
                rest = rest[end:]
                line += _n_line_breaks(rows.text)
                skipped = 0
                if len(rest) > BLOCK:
                    raise DataError(
                        f"{self.name}: line {line}: {self._expected_width}, received a row of more "
                        f"than {BLOCK:,} bytes; is a quotation mark not closed?"
                    )
        except UnicodeDecodeError as error:
            line += _n_line_breaks(rest) + _n_line_breaks(error.object[: error.start])
            received = error.object[error.start : error.start + 8]
            encoding = self.dialect.encoding.removesuffix("-sig")
            raise DataError(
                f"{self.name}: line {line}: expected text in {encoding}, as at the beginning of "
                f"the file; received the bytes {received!r}"
            ) from None

    def _bytes_of_one_encoding(self) -> Iterator[bytes]:
        """Bytes of the file, in parts; a DataError if the file is in a single-byte encoding and one
        of its lines is UTF-8.
        """
        line = 1
        for part in self._bytes_in_parts():
            if self.dialect.encoding in _SINGLE_BYTE:
                match = _UTF8_LETTERS.search(part)
                if match:
                    line += _n_line_breaks(part[: match.start()])
                    raise self._error_of_encodings(line, match[0])
                line += _n_line_breaks(part)
            yield part

    def _error_of_encodings(self, line: int, received: bytes) -> DataError:
        """Error of a file in a single-byte encoding whose ``line`` has letters in UTF-8."""
        other_line, _ = _first_line_not_in_utf8(next(self._bytes_in_parts()))
        return DataError(
            f"{self.name}: line {line}: {received.decode()!r} in UTF-8, line {other_line} is in "
            f"{self.dialect.encoding}; expected one encoding: save the table in UTF-8"
        )

    def _bytes_in_parts(self) -> Iterator[bytes]:
        """Bytes of the file, unpacked, in parts that end with a line, or within a very long one;
        comments are blanks. A damaged or too large file is a DataError.
        """
        size = 0
        try:
            with self._opened() as file:
                while part := file.read(BLOCK) + file.readline(BLOCK):
                    size += len(part)
                    if size > MAX_BYTES:
                        raise DataError(
                            f"{self.name}: expected at most {MAX_BYTES:,} bytes uncompressed"
                        )
                    if self._is_commented:
                        part = _COMMENT.sub(lambda comment: b" " * len(comment[0]), part)
                    yield part
        except (OSError, EOFError, zlib.error) as error:  # of gzip
            raise DataError(f"{self.name}: damaged: {one_line(error)}") from None

    def _without_breaks_in_quotes(self, text: bytes) -> bytes:
        """Text of the same length with blanks in place of line breaks in quoted cells."""
        return self._spanning.sub(
            lambda match: match[1] + (match[2] or b"").translate(_BREAKS_TO_BLANKS), text
        )

    def _expect_quotes_closed(self, rows: _Rows) -> None:
        """Check that quotation marks are closed: that no quoted cell of several lines swallows
        rows, by the rules of the class; else a DataError with the lines of the cell.
        """
        if rows.text == rows.masked:
            return
        for line, row in rows:
            for match in self._spanning.finditer(row):
                cell = match[2]
                after = match["after"]  # behind the closing mark; None if it is not closed
                if cell and (after is None or after.strip() or self._looks_like_rows(row)):
                    first = line + _n_line_breaks(row[: match.start(2)])
                    last = first + len(cell.rstrip(b"\r\n").splitlines()) - 1
                    raise DataError(
                        f"{self.name}: line {first}: a quotation mark opens a cell that goes on to "
                        f"line {last} and swallows rows; is it not closed? Received: "
                        f"{shown(cell.rstrip().decode(errors='replace'))}"
                    )

    def _looks_like_rows(self, text: bytes) -> bool:
        """Whether most lines of a quoted row look like rows of their own: cells of one column are
        numbers or values of the first rows; lines of more have blanks after the same delimiters as
        the first. Prose has them after any, or, beside one other column, at the line's end.
        """
        width = len(self._names)
        lines = text.splitlines(keepends=width == 2)
        if lines[0].count(self._delimiter) != width - 1:
            return False
        if width == 1:
            cells = [line.decode(errors="replace").strip('"') for line in lines]
            if len(cells) > _MOST_QUOTED_LINES:
                return True
            are_rows = [
                is_number(cell, self.decimal) or cell in self._first_values for cell in cells
            ]
        else:
            blanks = [[c[:1].isspace() for c in line.split(self._delimiter)[1:]] for line in lines]
            are_rows = [line_blanks == blanks[0] for line_blanks in blanks]
        return 2 * sum(are_rows) > len(are_rows)

    def _error_of_row(self, rows: _Rows, reason: str) -> DataError:
        """Error of the first row with other than the table's cells, or with Arrow's ``reason``."""
        for line, row in rows:
            width = self._quoted.sub(b"", row).count(self._delimiter) + 1
            text = row.decode(errors="replace").rstrip("\r\n")
            if width != len(self._names) and text.strip():
                return DataError(
                    f"{self.name}: line {line}: {self._expected_width}, received {width:,}: "
                    f"{shown(text)}{looks_like(text)}"
                )
        return DataError(f"{self.name}: after line {rows.line}: {reason}")


def _refuse_unless_blank(row: arrow_csv.InvalidRow) -> str:
    """Handling of a row with other than the table's cells: refused, or skipped if it is blank."""
    return "error" if row.text.strip() else "skip"


def _n_letters_beyond_ascii(word: re.Match[str]) -> int:
    """Number of different letters of a word that ASCII lacks."""
    return sum(not letter.isascii() for letter in {*word[0]})


def _first_line_not_in_utf8(text: bytes) -> tuple[int, bytes]:
    """First line that is not in UTF-8: its number, from 1, and its bytes."""
    lines = enumerate(text.splitlines(), start=1)
    return next((n, row) for n, row in lines if row.decode(errors="ignore").encode() != row)


def _n_line_breaks(text: bytes) -> int:
    """Number of line breaks: of LF, CR LF, and CR alone."""
    returns = text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0
    return text.count(b"\n") + returns
