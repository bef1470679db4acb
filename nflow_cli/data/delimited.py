"""Tables as delimited text (CSV, TSV): their format, and their rows, parsed in blocks by Arrow."""

import codecs
import csv
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from nflow_cli.data.tables import (
    MISSING,
    Field,
    TableFile,
    expect_names,
    looks_like,
    positions,
    shown,
)
from nflow_cli.errors import DataError, one_line

BLOCK = 2**20  # bytes read at once; no row is longer
MAX_BYTES = 8 * 2**30  # of a file, compressed or not
DELIMITERS = (",", ";", "\t", "|")
_SNIFFED = 2**16  # characters read for the marks
_ROWS = 200
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Characters of UTF-8 that no text in a single-byte encoding has: "Ã©", "â€œ", "Ð´Ð°".
_UTF8 = re.compile(
    rb"[\xc2\xc3][\x80-\xbf]|\xe2(?:\x80[\x90-\xaf]|\x82\xac)|(?:[\xd0\xd1][\x80-\xbf]){2}"
)
_SINGLE_BYTE = ("cp1252", "latin-1", "mac-roman")
_NO_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_COMMENT = re.compile(rb"^#.*", re.M)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
_CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.05  # share of control characters in a text; of random bytes 1/9


@dataclass(frozen=True)
class Dialect:
    """Format of a text table; ``header`` are its bytes in UTF-8 to the header's end, if any."""

    encoding: str
    delimiter: str
    decimal: str
    names: list[str]
    header: bytes


def sniff(name: str, head: bytes, whole: bool) -> Dialect:
    """Detect the format of a text table from its beginning, ``whole`` if that is all.

    The delimiter (comma, semicolon, tab or bar) gives most rows equally many cells, most of them
    numbers. The first row is a header if it has text and no number, or text and whole numbers where
    numbers stand below the text.
    """
    encoding, text = _decoded(head, whole)
    controls = _CONTROL.findall(text[:_SNIFFED])
    if "\0" in controls or len(controls) > _MOST_CONTROLS * len(text[:_SNIFFED]):
        raise DataError(
            f"{name}: expected text, an array of NumPy, or Parquet; received a file that begins "
            f"with {head[:8]!r} and holds the character {min(controls)!r}"
        )
    delimiter, decimal = _marks(name, text)
    rows = _rows(text, delimiter)
    if not rows:
        most = f"{csv.field_size_limit():,}"
        raise DataError(f"{name}: no rows in it; expected cells of at most {most} letters")
    n_lines, cells = next(iter(rows.items()))
    first = "".join(itertools.islice(io.StringIO(text, newline=""), n_lines))
    if len(first) == len(text) and not whole:
        raise DataError(f"{name}: expected a first row of at most {BLOCK:,} bytes, received more")
    if _is_header(cells, [*rows.values()][1:], decimal):
        names, header = [cell.strip() for cell in cells], first.encode()
        names[0] = names[0].removeprefix("#").lstrip()  # as numpy.savetxt writes headers
    else:
        names, header = positions(len(cells)), b""
    return Dialect(encoding, delimiter, decimal, expect_names(name, names), header)


def _decoded(head: bytes, whole: bool) -> tuple[str, str]:
    encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "utf-8")
    # Classic Mac programs end lines by CR alone, and have letters at 0x80 to 0x9F.
    is_mac = b"\r" in head and b"\n" not in head and re.search(rb"[\x80-\x9f]", head)
    for candidate in (encoding, "mac-roman" if is_mac else "cp1252", "latin-1"):
        with suppress(UnicodeDecodeError):
            decoder = codecs.getincrementaldecoder(candidate)()
            return candidate, decoder.decode(head, final=whole)
    raise AssertionError  # Latin-1 has a character for every byte


def _rows(text: str, delimiter: str) -> dict[int, list[str]]:
    """Cells of the first rows, by the number of a row's last line."""
    lines = io.StringIO(text, newline="")
    rows: dict[int, list[str]] = {}
    reader = csv.reader(lines, delimiter=delimiter)
    with suppress(csv.Error):  # a cell of more than 128 KiB
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows[reader.line_num] = cells
            if rows and (len(rows) == _ROWS or lines.tell() > _SNIFFED):
                break
    return rows


def _marks(name: str, text: str) -> tuple[str, str]:
    def score(marks: tuple[str, str]) -> tuple[float, float, bool]:
        delimiter, decimal = marks
        rows = _rows(text, delimiter).values()
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width == 1:
            return 0.0, 0.0, False
        cells = [is_number(cell, decimal) for row in rows for cell in row]
        tab = delimiter == "\t" and re.search(r"\.tsv(\.gz)?$", name, re.I) is not None
        return count / len(rows), sum(cells) / len(cells), tab

    return max([(",", "."), *itertools.product(DELIMITERS[1:], (".", ","))], key=score)


def is_number(cell: str, decimal: str) -> bool:
    """Whether a cell is a number."""
    cell = cell.strip()
    if decimal == ",":
        cell = cell.replace(".", "?").replace(",", ".")
    return _NUMBER.fullmatch(cell) is not None


def _is_text(cell: str, decimal: str) -> bool:
    return not is_number(cell, decimal) and cell.strip().lower() not in MISSING


def _is_header(first: list[str], rows: list[list[str]], decimal: str) -> bool:
    numbers = [cell for cell in first if is_number(cell, decimal)]
    if not numbers:
        return any(_is_text(cell, decimal) for cell in first)
    if not all(cell.strip().isdecimal() for cell in numbers):
        return False
    if first[0].strip() == "" and [cell.strip() for cell in first[1:]] == [
        str(i) for i in range(len(first) - 1)
    ]:
        return True  # pandas' header of an array, with its index
    texts = [i for i, cell in enumerate(first) if _is_text(cell, decimal)]
    below = [[row[i] for row in rows if i < len(row)] for i in texts]
    return any(column and all(is_number(cell, decimal) for cell in column) for column in below)


@dataclass(frozen=True)
class _Rows:
    """Whole rows in UTF-8, the same with blanks for line breaks in quotes, and their first line."""

    text: bytes
    masked: bytes
    line: int

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """First line and bytes of each row that is not empty."""
        line, start = self.line, 0
        for masked in self.masked.splitlines(keepends=True):
            row = self.text[start : start + len(masked)]
            if row.strip(b"\r\n"):
                yield line, row
            line += _n_breaks(row)
            start += len(row)


class TextTable(TableFile):
    """Text table in the format found by :func:`sniff`.

    ``opened`` opens the unpacked file anew at each call. Blank lines are skipped, and if it
    ``is_commented`` those that begin with #.

    A quoted cell may have several lines, but not swallow rows: it ends before a delimiter or a
    line's end, and at most half of its row's lines look like rows, with as many delimiters and
    blanks after the same ones.
    """

    is_untyped = True

    def __init__(self, name: str, opened: Callable[[], Any], is_commented: bool = False):
        self.name, self._opened, self._is_commented = name, opened, is_commented
        head = next(self._parts(), b"")
        self.dialect = sniff(name, head, whole=len(head) < BLOCK)
        self.decimal = self.dialect.decimal
        self._delimiter = delimiter = self.dialect.delimiter.encode()
        # A mark quotes at the start of a cell alone, and a cell may go on where it is closed.
        other = rb"[^%b\r\n]" % re.escape(delimiter)
        quoted = rb'"(?<!%b")(?:[^"]++|"")*+(?:"(?P<after>%b*+)|\Z)' % (other, other)
        on_a_line = rb'[^"]++|"(?<=%b")|"(?:[^"\r\n]++|"")*+"%b*+' % (other, other)
        self._quoted = re.compile(quoted)
        self._spanning = re.compile(rb"((?:%b)*+)(%b)?" % (on_a_line, quoted))
        width = len(self.dialect.names)
        self._expected = f"expected {width:,} column{'s' * (width > 1)}"
        header = self.dialect.header
        self._expect_closed(_Rows(header, self._masked(header), 1))
        super().__init__(name, list(map(Field, self.dialect.names)))

    def blocks(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns as text.

        Arrow's own stream would call Python from its threads, and hang at exit.
        """
        columns = self.dialect.names
        parse = arrow_csv.ParseOptions(
            delimiter=self.dialect.delimiter,
            newlines_in_values=True,
            invalid_row_handler=lambda row: "error" if row.text.strip() else "skip",
        )
        convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=list(dict.fromkeys(names)),
        )
        for rows in self._rows():
            if not rows.text.strip(b"\r\n"):
                continue
            size = len(rows.text) + 1
            read = arrow_csv.ReadOptions(column_names=columns, block_size=size)
            try:
                table = arrow_csv.read_csv(pa.BufferReader(rows.text), read, parse, convert)
            except pa.ArrowException as error:
                raise self._complaint(rows, one_line(error)) from None
            yield from table.to_batches()

    def place(self, row: int) -> str:
        """Line of a row, counted from 1."""
        commas = len(self.dialect.names) - 1
        lines = (
            line
            for rows in self._rows()
            for line, text in rows
            if text.count(self._delimiter) == commas or text.decode().strip()
        )
        line = next(itertools.islice(lines, row, None), None)
        return f"data row {row + 1}" if line is None else f"line {line}"

    def _rows(self) -> Iterator[_Rows]:
        skipped = len(self.dialect.header)
        rest, line = b"", 1 + _n_breaks(self.dialect.header)
        texts = codecs.iterdecode(self._encoded(), self.dialect.encoding)
        try:
            for text in itertools.chain(texts, [""]):
                rest += text.encode()[skipped:] or b"\n"  # at the end
                masked = self._masked(rest)
                ends = masked.rfind(b"\n"), masked.rfind(b"\r", 0, -1)  # a line feed may follow
                end = max(ends) + 1 if text else len(rest)
                rows = _Rows(rest[:end], masked[:end], line)
                self._expect_closed(rows)
                yield rows
                rest, line, skipped = rest[end:], line + _n_breaks(rows.text), 0
                if len(rest) > BLOCK:
                    raise DataError(
                        f"{self.name}: line {line}: {self._expected}, received a row of more than "
                        f"{BLOCK:,} bytes; is a quotation mark not closed?"
                    )
        except UnicodeDecodeError as error:
            line += _n_breaks(rest) + _n_breaks(error.object[: error.start])
            received = error.object[error.start : error.start + 8]
            encoding = self.dialect.encoding.removesuffix("-sig")
            raise DataError(
                f"{self.name}: line {line}: expected text in {encoding}, as at the beginning of "
                f"the file; received the bytes {received!r}"
            ) from None

    def _encoded(self) -> Iterator[bytes]:
        """The parts, of one encoding: a line that is UTF-8 where others are not is refused."""
        line = 1
        for part in self._parts():
            if self.dialect.encoding in _SINGLE_BYTE:
                if found := _UTF8.search(part):
                    line += _n_breaks(part[: found.start()])
                    raise self._mixture(line, found[0])
                line += _n_breaks(part)
            yield part

    def _mixture(self, line: int, received: bytes) -> DataError:
        lines = enumerate(next(self._parts()).splitlines(), start=1)
        other = next(n for n, row in lines if row.decode(errors="ignore").encode() != row)
        encoding = self.dialect.encoding
        return DataError(
            f"{self.name}: line {line}: {received.decode()!r} in UTF-8, line {other} is in "
            f"{encoding}; expected one encoding: save the table in UTF-8"
        )

    def _parts(self) -> Iterator[bytes]:
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

    def _masked(self, text: bytes) -> bytes:
        return self._spanning.sub(
            lambda found: found[1] + (found[2] or b"").translate(_NO_BREAKS), text
        )

    def _expect_closed(self, rows: _Rows) -> None:
        """Check that no quoted cell swallows rows."""
        if rows.text == rows.masked:
            return
        for line, row in rows:
            for found in self._spanning.finditer(row):
                cell, after = found[2], found["after"]
                if cell and (after is None or after.strip() or self._are_rows(row)):
                    first = line + _n_breaks(row[: found.start(2)])
                    last = first + len(cell.rstrip(b"\r\n").splitlines()) - 1
                    raise DataError(
                        f"{self.name}: line {first}: a quotation mark opens a cell that goes on to "
                        f"line {last} and swallows rows; is it not closed? Received: "
                        f"{shown(cell.rstrip().decode(errors='replace'))}"
                    )

    def _are_rows(self, text: bytes) -> bool:
        """Whether most lines of a row look like rows.

        Prose has blanks after delimiters, or, beside one other column, the line's end.
        """
        width = len(self.dialect.names)
        lines = text.splitlines(keepends=width == 2)
        if lines[0].count(self._delimiter) != width - 1:
            return False
        if width == 1:
            cells = [line.decode(errors="replace").strip('"') for line in lines]
            alike = [is_number(cell, self.decimal) for cell in cells]
        else:
            blanks = [[c[:1].isspace() for c in line.split(self._delimiter)[1:]] for line in lines]
            alike = [some == blanks[0] for some in blanks]
        return 2 * sum(alike) > len(alike)

    def _complaint(self, rows: _Rows, reason: str) -> DataError:
        for line, row in rows:
            received = self._quoted.sub(b"", row).count(self._delimiter) + 1
            text = row.decode(errors="replace").rstrip("\r\n")
            if received != len(self.dialect.names) and text.strip():
                return DataError(
                    f"{self.name}: line {line}: {self._expected}, received {received:,}: "
                    f"{shown(text)}{looks_like(text)}"
                )
        return DataError(f"{self.name}: after line {rows.line}: {reason}")


def _n_breaks(text: bytes) -> int:
    """Number of line breaks."""
    returns = text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0
    return text.count(b"\n") + returns
