"""Tables of spreadsheets in Office Open XML (.xlsx), by the extra ``excel``, openpyxl."""

import csv
import datetime
import importlib
import io
import itertools
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any
from xml.parsers import expat

from nflow_cli.data.files.delimited import BLOCK, TextTable
from nflow_cli.data.files.tables import explained, listed, shown
from nflow_cli.errors import DataError, NflowError

MAX_BYTES = 2**29  # unpacked
MAX_ROWS = 2**20
MAX_CELLS = 10**7
LEAST = 10  # rows of two cells or more, of a sheet that is a table and not about others
_MERGED = re.compile(rb'mergeCell ref="([A-Z]+)(\d+):[A-Z]+(\d+)"')
_HIDDEN = re.compile(rb'<(?:\w+:)?row\b[^>]*\shidden="(?:1|true)"')
MAX_LETTERS = 2**28  # of a sheet
MAX_CELL = 2**16  # letters
MAX_WIDTH = 2**14  # cells of a row, attributes of an element
MAX_TAG = 2**21  # bytes, which a parser reads again with each block until the tag ends
MAX_PARTS = 2_000  # that are opened
MAX_OPENED = 4  # times, each
# Elements of all parts that are opened, by their names; of each other MAX_ROWS in sheets and their
# texts, which are streamed, and fewer elsewhere: openpyxl makes 30,000 objects of them in a second.
MAX_OBJECTS = 2**17
STREAMED = ("xl/worksheets/", "xl/sharedStrings")
MOST = {**dict.fromkeys(("c", "v", "f", "is", "t"), MAX_CELLS), "row": 2**21, "si": 2**21}


def sheet_table(name: str, path: Any) -> TextTable:
    """Table of the first visible sheet with ten rows of two cells or more, or else with data; its
    formulas are their stored values.

    The sheet is read as the text that Excel would export, but for numbers and dates, which are
    whole, with its rows as lines. Of cells merged below the header all have the value of the first
    in its column. Formulas are looked for where a column is empty.
    """
    try:
        importlib.import_module("openpyxl")
    except ImportError:
        raise NflowError(
            f"{name}: an .xlsx file is read by openpyxl; in nflow's checkout: pip install "
            "'.[excel]'; or export the sheet as CSV"
        ) from None
    # Warnings of openpyxl are of styles and extensions that it leaves out.
    with explained(name, "a workbook of Excel (.xlsx)"), warnings.catch_warnings(action="ignore"):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise DataError(
                f"{name}: expected at most {MAX_BYTES:,} bytes uncompressed, received {size:,}; "
                "export the sheet as CSV"
            )
        with closing(_workbook(path, data_only=True)) as workbook:
            sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
            sheet, rows = _first_table(name, sheets)
            title = sheet.title if sheet else ""
            column_of = importlib.import_module("openpyxl.utils").column_index_from_string
            areas = list[tuple[bytes, bytes, bytes]]()
            hidden = 0
            for tags in _tags(sheet):
                areas += _MERGED.findall(tags)
                hidden += len(_HIDDEN.findall(tags))
            merged = [(column_of(a.decode()), int(i), int(j)) for a, i, j in areas]
        label = name
        if len(sheets) > 1:
            titles = listed([shown(sheet.title) for sheet in sheets])
            label = f"{name}: sheet {shown(title)}, of {titles}"
        table = _text_table(label, rows)
        end = table.dialect.top.end
        if merged := [area for area in merged if end < area[1] <= len(rows)]:
            _fill(label, rows, merged)
            table = _text_table(label, rows)
        if hidden:
            table.notes.insert(0, f"hidden rows are read, too: {hidden:,}")
        if len(sheets) > 1:
            to_read = "to read another, move it to the front"
            table.notes.insert(0, f"sheet {shown(title)} is read, of {titles}: {to_read}")
        first = max(map(len, rows)) - len(table.columns)
        places = {first + i: column.name for i, column in enumerate(table.columns)}
        empty = [j for j in places if not any(any(row[j : j + 1]) for row in rows[end:])]
        if empty:
            with closing(_workbook(path, data_only=False)) as workbook:
                workbook[title].reset_dimensions()
                cells = itertools.chain.from_iterable(workbook[title].iter_rows(min_row=end + 1))
                formulas = {cell.column - 1 for cell in cells if cell.data_type == "f"}
            if names := [places[j] for j in empty if j in formulas]:
                table.notes.append(
                    f"{listed(names)}: formulas without stored values, read as missing: "
                    "open the file in a spreadsheet program and save it"
                )
    return table


def _first_table(name: str, sheets: list[Any]) -> tuple[Any, list[list[str]]]:
    """The first sheet with some rows of two cells or more, or else with data, and its rows."""
    first = None, list[list[str]]()
    for sheet in sheets:
        rows = _rows(name, sheet)
        if sum(sum(map(bool, row)) > 1 for row in rows) >= LEAST:
            return sheet, rows
        if not first[1]:
            first = sheet, rows
    return first


def _tags(sheet: Any) -> Iterator[bytes]:
    """Text of a sheet's file, in blocks of whole tags: it says what openpyxl passes over. None is
    no sheet.
    """
    if sheet is None:
        return
    rest = b""
    with sheet._get_source() as source:
        while block := source.read(BLOCK):
            tags, sign, rest = (rest + block).rpartition(b"<")
            rest = sign + rest
            yield tags
    yield rest


def _text_table(label: str, rows: list[list[str]]) -> TextTable:
    content = _text(label, rows)
    return TextTable(label, lambda: io.BytesIO(content), marks=(",", "."))


def _fill(label: str, rows: list[list[str]], merged: list[tuple[int, int, int]]) -> None:
    """Write the first cell of each merged area, a column from one row to another, to the others."""
    count = sum(last - first for _, first, last in merged)
    if count > MAX_CELLS:
        raise DataError(f"{label}: expected at most {MAX_CELLS:,} merged cells, received {count:,}")
    for column, first, last in merged:
        value = "".join(rows[first - 1][column - 1 : column])
        if not value:
            continue
        for row in rows[first:last]:
            row += [""] * (column - len(row))
            row[column - 1] = value


class _Parts(zipfile.ZipFile):
    """Archive of a workbook, which counts the elements of each part that is opened, by the parser
    that reads it next: openpyxl makes objects of all of them.
    """

    def __init__(self, path: Any):
        super().__init__(path)
        self._opened = Counter[str]()
        self._elements = Counter[str]()

    def open(self, name: Any, *args: Any, **options: Any) -> Any:
        self._opened[name] += 1
        if self._opened[name] > MAX_OPENED or len(self._opened) > MAX_PARTS:
            raise zipfile.BadZipFile(f"more than {MAX_PARTS:,} parts, or a part of many sheets")
        if self._opened[name] == 1:
            self._count(super().open(name))
        return super().open(name, *args, **options)

    def _count(self, part: Any) -> None:
        cells = 0
        others = MAX_ROWS if part.name.startswith(STREAMED) else MAX_OBJECTS

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal cells
            element = tag.rpartition(":")[2]
            self._elements[element] += 1
            cells = 0 if element == "row" else cells + (element == "c")
            most = MOST.get(element, others)
            if self._elements[element] > most or max(cells, len(attributes)) > MAX_WIDTH:
                raise zipfile.BadZipFile(
                    f"more than {most:,} elements {shown(element)}, or {MAX_WIDTH:,} in a row; "
                    "export the sheet as CSV"
                )

        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        with part, suppress(expat.ExpatError):  # no XML, or damaged: an error of openpyxl
            size = 0
            while block := part.read(BLOCK):
                parser.Parse(block)
                size += len(block)
                if size - parser.CurrentByteIndex > MAX_TAG:
                    raise zipfile.BadZipFile(f"a tag of more than {MAX_TAG:,} bytes")


def _workbook(path: Any, data_only: bool) -> Any:
    library = importlib.import_module("openpyxl.reader.excel")
    reader = library.ExcelReader(path, read_only=True, data_only=data_only, keep_links=False)
    reader.archive.close()
    reader.archive = _Parts(path)
    reader.read()
    return reader.wb


def _rows(name: str, sheet: Any) -> list[list[str]]:
    """Rows of a sheet from its first, each to its last cell that is not empty."""
    sheet.reset_dimensions()  # those in the file may be wrong
    rows = list[list[str]]()
    n_cells = 0
    n_letters = 0
    last = 0
    for cells in sheet.iter_rows(values_only=True):
        n_cells += len(cells)
        texts = [*map(_text_of, cells)]
        while texts and not texts[-1]:
            texts.pop()
        rows.append(texts)
        letters = [*map(len, texts)]
        n_letters += sum(letters)
        if max(letters, default=0) > MAX_CELL or n_letters > MAX_LETTERS:
            raise DataError(
                f"{name}: sheet {shown(sheet.title)}: expected cells of at most {MAX_CELL:,} "
                f"letters, {MAX_LETTERS:,} in all"
            )
        if len(rows) > MAX_ROWS or n_cells > MAX_CELLS:
            raise DataError(
                f"{name}: sheet {shown(sheet.title)}: expected at most {MAX_ROWS:,} rows and "
                f"{MAX_CELLS:,} cells; export it as CSV"
            )
        if texts:
            last = len(rows)
    return rows[:last]


def _text_of(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime.datetime):
        is_day = cell.time() == datetime.time()
        return cell.date().isoformat() if is_day else cell.isoformat(" ")
    if isinstance(cell, datetime.timedelta):
        return repr(cell.total_seconds())
    return re.sub(r"\s*[\r\n]\s*", " ", str(cell)).strip()


def _text(name: str, rows: list[list[str]]) -> bytes:
    """CSV of rows of one width, without empty columns at the left."""
    starts = [next(i for i, text in enumerate(row) if text) for row in rows if row]
    first = min(starts, default=0)
    width = max(map(len, rows), default=0)
    if len(starts) * (width - first) > MAX_CELLS:
        raise DataError(
            f"{name}: expected at most {MAX_CELLS:,} cells, received {len(starts):,} rows of up to "
            f"{width - first:,} cells; delete those beside the table"
        )
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([*row, *[""] * (width - len(row))][first:] if row else [])
    text.flush()
    return content.getvalue()
