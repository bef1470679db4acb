"""Encoding, delimiter, decimal mark and header of a text table."""

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

from nflow_cli.data.tables import MISSING, expect_names, positions
from nflow_cli.errors import DataError

HEAD = 2**20  # bytes read for the header
_SNIFFED = 2**16  # characters read for the marks
_ROWS = 200
DELIMITERS = (",", ";", "\t", "|")
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
_CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.05  # share of control characters in a text; of random bytes 1/9
_FIRST_LINE = re.compile(r'(?:[^"\r\n]++|"[^"]*+")*+')
_LONE_RETURN = re.compile(r"\r(?!\n)")
RETURN = "\ue00d"  # replaces carriage returns inside lines while text is parsed


@dataclass(frozen=True)
class Dialect:
    """Format of a text table.

    ``skipped`` and ``lines`` are characters and lines before the first row; with ``has_returns`` a
    carriage return alone ends a line.
    """

    encoding: str
    delimiter: str
    decimal: str
    has_header: bool
    names: list[str]
    skipped: int
    lines: int
    has_returns: bool

    def parsable(self, text: str) -> str:
        """Replace carriage returns inside lines by :data:`RETURN`."""
        return text if self.has_returns else _without_lone_returns(text)


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
    first_line = _FIRST_LINE.match(text)
    has_returns = first_line is not None and bool(_LONE_RETURN.match(text, first_line.end()))
    if not has_returns:
        text = _without_lone_returns(text)
    sample = text[:_SNIFFED]
    if not whole or len(text) > _SNIFFED:  # the last line may be incomplete
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    delimiter, decimal = _marks(name, sample)
    rows = _rows(sample, delimiter)
    cells = rows[0] if rows else []
    header = _is_header(cells, rows[1:], decimal)
    start, end, before, after = _extent(name, text, delimiter)
    if end == len(text) and not whole:
        raise DataError(f"{name}: expected a first row of at most {HEAD:,} bytes, received more")
    if header:
        cells = next(csv.reader(io.StringIO(text[start:end], newline=""), delimiter=delimiter))
        cells = [cell.replace(RETURN, "\r").strip() for cell in cells]
        cells[0] = cells[0].removeprefix("#").lstrip()  # as numpy.savetxt writes headers
        names = expect_names(name, cells)
    else:
        names = expect_names(name, positions(len(cells)))
    skipped, lines = (end, after) if header else (start, before)
    return Dialect(encoding, delimiter, decimal, header, names, skipped, lines, has_returns)


def _without_lone_returns(text: str) -> str:
    is_any = text.count("\r") > text.count("\r\n")
    return _LONE_RETURN.sub(RETURN, text) if is_any else text


def _decoded(head: bytes, whole: bool) -> tuple[str, str]:
    encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "utf-8")
    for candidate in (encoding, "latin-1"):
        try:
            decoder = codecs.getincrementaldecoder(candidate)()
            return candidate, decoder.decode(head, final=whole)
        except UnicodeDecodeError:
            continue
    raise AssertionError  # Latin-1 has a character for every byte


def _rows(sample: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == _ROWS:
                break
    except csv.Error:  # a cell of more than 128 KiB
        pass
    return rows


def _marks(name: str, sample: str) -> tuple[str, str]:
    best, marks = (0.0, 0.0, False), (",", ".")
    for delimiter in DELIMITERS:
        rows = _rows(sample, delimiter)
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width == 1:
            continue
        cells = [cell for row in rows for cell in row]
        for decimal in (".", ",") if delimiter != "," else (".",):
            numbers = sum(is_number(cell, decimal) for cell in cells) / len(cells)
            tab = delimiter == "\t" and re.search(r"\.tsv(\.gz)?$", name, re.I) is not None
            score = (count / len(rows), numbers, tab)
            if score > best:
                best, marks = score, (delimiter, decimal)
    return marks


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


def _extent(name: str, text: str, delimiter: str) -> tuple[int, int, int, int]:
    buffer = io.StringIO(text, newline="")
    reader = csv.reader(buffer, delimiter=delimiter)
    start, before = 0, 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                return start, buffer.tell(), before, reader.line_num
            start, before = buffer.tell(), reader.line_num
    except csv.Error as error:
        raise DataError(f"{name}: line {before + 1}: expected cells of a table; {error}") from None
    raise DataError(f"{name}: no rows in it; expected a table")
