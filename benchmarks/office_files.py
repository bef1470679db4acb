"""Tables as spreadsheets and loggers write them, each with what a person reads in it.

A :class:`Sheet` is a table and the way it is written. A defect is a function that changes a sheet:
its cells (a currency, a unit, a code of gaps), or its file (encoding, titles, a total row).
"""

import csv
import gzip
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Cell = float | str | None
GAPS = ("-", "–", "?", "NULL", "#N/A", ".", "#DIV/0!")
CODES = ("-999", "9999")
COMMAS = "decimal commas"
CELLS = r"cell|text|convert|column"
SHAPE = r"line \d|header|columns|fields|rows"
BLANKS = r"space|blank|delimiter|sniff"
QUOTE = r"quot|EOF inside string"
ENCODING = r"encod|decod|UTF-8|utf-8|Latin-1"


class Locale(NamedTuple):
    """Marks of numbers, delimiter, and format of dates."""

    delimiter: str
    decimal: str
    group: str
    day: str
    money: str
    percent: str


PLAIN = Locale(",", ".", ",", "%Y-%m-%d", "${}", "{}%")
US = PLAIN._replace(day="%m/%d/%Y")
GERMAN = Locale(";", ",", ".", "%d.%m.%Y", "{} €", "{} %")
FRENCH = Locale(";", ",", "\u202f", "%d/%m/%Y", "{} €", "{} %")
SWISS = Locale(";", ".", "’", "%d.%m.%Y", "CHF {}", "{}%")


@dataclass
class Column:
    """Column as a person reads it, and as it is written.

    Attributes:
        kind: ``numbers``; ``moments``, seconds since 1970 of dates and times; ``clock``, seconds
            since midnight; ``text``.
        factors: Numbers may be read in these units: 31 % is 31 or 0.31.
        code: Number that stands for a gap: kept, it needs a note.
        is_optional: Whether it may be left out in silence.
        sum: Text in a total row.
    """

    kind: str
    cells: list[Cell]
    texts: list[str]
    factors: tuple[float, ...] = (1.0,)
    code: float | None = None
    is_optional: bool = False
    sum: str = ""


@dataclass
class Sheet:
    """Table, and how its file is written.

    Attributes:
        columns: By the names a person reads; ``name.1`` is any name that begins with ``name``.
        header: Names as written.
        troubles: Patterns of the file's; without any, cells are the trouble.
        lines: Changes of the lines of the file, in turn.
        has_row_names: Whether a first column, without a name, numbers the rows.
        has_names: Whether the file names its columns.
    """

    rng: np.random.Generator
    n: int
    columns: dict[str, Column] = field(default_factory=dict)
    header: list[str] = field(default_factory=list)
    locale: Locale = PLAIN
    encoding: str = "utf-8"
    end: str = "\n"
    suffix: str = ".csv"
    troubles: list[str] = field(default_factory=list)
    lines: list[Callable[[list[str]], list[str]]] = field(default_factory=list)
    write: Callable[["Sheet", Path], None] | None = None
    has_row_names: bool = False
    has_names: bool = True

    @property
    def words(self) -> str:
        """Pattern of what an error must name."""
        return "|".join(self.troubles or [CELLS])

    def add(self, name: str, column: Column) -> None:
        """Add or replace a column."""
        if name not in self.columns:
            self.header.append(name)
        self.columns[name] = column

    def number(self, x: float, places: int = 2, grouped: bool = False) -> str:
        """Number as the locale writes it."""
        marks = {",": self.locale.group if grouped else "", ".": self.locale.decimal}
        return "".join(marks.get(c, c) for c in f"{x:,.{places}f}")

    def rows(self) -> list[list[str]]:
        rows = zip(*(column.texts for column in self.columns.values()))
        names = [[str(i)] if self.has_row_names else [] for i in range(1, self.n + 1)]
        return [[*name, *row] for name, row in zip(names, rows)]

    def written(self, rows: list[list[str]]) -> list[str]:
        """Lines of rows, quoted where they must be."""
        lines = []
        for row in rows:
            text = io.StringIO()
            csv.writer(text, delimiter=self.locale.delimiter, lineterminator="").writerow(row)
            lines.append(text.getvalue())
        return lines

    def save(self, path: Path) -> None:
        if self.write is not None:
            self.write(self, path)
            return
        lines = self.written([self.header, *self.rows()])
        for change in self.lines:
            lines = change(lines)
        content = "".join(line + self.end for line in lines).encode(self.encoding)
        packed = gzip.compress(content, mtime=0) if self.suffix.endswith(".gz") else content
        path.write_bytes(packed)


Defect = Callable[[Sheet], None]


def started(name: str, n: int | None = None, locale: Locale = PLAIN) -> Sheet:
    """Sheet of a region, a whole number and a decimal number, drawn by the file's name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    sheet = Sheet(rng, n or int(rng.integers(60, 300)), locale=locale)
    sheet.add("region", levels(sheet, ["north", "south", "east", "west"]))
    numbers(sheet, "pieces", rng.integers(1, 40, sheet.n), partial(sheet.number, places=0))
    numbers(sheet, "price", prices(sheet), sheet.number)
    return sheet


def levels(sheet: Sheet, texts: list[str]) -> Column:
    cells = [str(text) for text in sheet.rng.choice(texts, sheet.n)]
    return Column("text", list(cells), cells)


def numbers(
    sheet: Sheet, name: str, values: np.ndarray, write: Callable[[float], str], **facts: Any
) -> None:
    cells = [float(x) for x in values]
    texts = list(map(write, cells))
    sheet.add(name, Column("numbers", list(cells), texts, sum=write(sum(cells)), **facts))


def prices(sheet: Sheet) -> np.ndarray:
    return np.round(sheet.rng.lognormal(6, 1.2, sheet.n), 2)


def moments(sheet: Sheet, name: str, times: list[datetime], texts: list[str]) -> None:
    sheet.add(name, Column("moments", [time.timestamp() for time in times], texts))


# Defects of cells


def currency(sheet: Sheet) -> None:
    money = sheet.locale.money.format
    numbers(sheet, "price", prices(sheet), lambda x: money(sheet.number(x, grouped=True)))


def thousands(sheet: Sheet) -> None:
    numbers(sheet, "people", 10 * prices(sheet), lambda x: sheet.number(x, grouped=True))


def months(sheet: Sheet) -> None:
    """Whole numbers with thousands, and months, in points."""
    values = sheet.rng.integers(200, 9_999, sheet.n)
    numbers(sheet, "revenue", values, lambda x: sheet.number(x, 0, grouped=True))
    sheet.add("month", levels(sheet, [f"{i:02d}.2015" for i in range(1, 13)]))


def apostrophes(sheet: Sheet) -> None:
    numbers(sheet, "people", 10 * prices(sheet), lambda x: f"{x:,.2f}".replace(",", "'"))


def parentheses(sheet: Sheet) -> None:
    def written(x: float) -> str:
        text = sheet.number(abs(x), grouped=True)
        return f"({text})" if x < 0 else text

    signs = sheet.rng.choice([-1, 1, 1], sheet.n)
    numbers(sheet, "balance", signs * prices(sheet), written)


def percent(sheet: Sheet) -> None:
    values, written = np.round(100 * sheet.rng.beta(2, 5, sheet.n)), sheet.locale.percent.format
    numbers(sheet, "share", values, lambda x: written(sheet.number(x, 0)), factors=(1.0, 0.01))
    sheet.columns["share"].sum = ""


def stray_percent(sheet: Sheet) -> None:
    """Percent, and words in 3 % of the cells."""
    percent(sheet)
    column = sheet.columns["share"]
    for row in sheet.rng.choice(sheet.n, max(1, round(0.03 * sheet.n)), replace=False):
        column.cells[row], column.texts[row] = None, "see note"


def unit(sheet: Sheet) -> None:
    values = np.round(sheet.rng.gamma(4, 3, sheet.n), 1)
    numbers(sheet, "weight", values, lambda x: sheet.number(x, 1) + " kg")
    sheet.columns["weight"].sum = ""


def dashes(sheet: Sheet) -> None:
    """Amounts of money, and a dash for none, as bookkeepers write."""
    currency(sheet)
    emptied(sheet, "price", "-")


def minus(sheet: Sheet) -> None:
    values = np.round(sheet.rng.normal(0, 5, sheet.n), 1) + 0.0
    numbers(sheet, "change", values, lambda x: sheet.number(x, 1).replace("-", "\N{MINUS SIGN}"))


def gap(text: str) -> Defect:
    def defect(sheet: Sheet) -> None:
        numbers(sheet, "stock", sheet.rng.poisson(60, sheet.n), partial(sheet.number, places=0))
        emptied(sheet, "stock", text)

    return defect


def emptied(sheet: Sheet, name: str, text: str) -> None:
    column = sheet.columns[name]
    for row in sheet.rng.choice(sheet.n, sheet.n // 8, replace=False):
        column.cells[row], column.texts[row] = None, text


def code(text: str) -> Defect:
    def defect(sheet: Sheet) -> None:
        ages = sheet.rng.integers(20, 85, sheet.n)
        numbers(sheet, "age", ages, partial(sheet.number, places=0), code=float(text))
        emptied(sheet, "age", text)

    return defect


def twins(sheet: Sheet) -> None:
    """The same letters, composed or not."""
    column = levels(sheet, ["café", "Zürich", "Genève", "Basel"])
    forms = sheet.rng.choice(np.array(["NFC", "NFD"]), sheet.n)
    column.texts = [unicodedata.normalize(f, t) for f, t in zip(forms, column.texts)]
    sheet.add("place", column)


def dates(sheet: Sheet) -> None:
    numbers = sheet.rng.integers(0, 700, sheet.n)
    days = [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(int(i)) for i in numbers]
    moments(sheet, "day", days, [day.strftime(sheet.locale.day) for day in days])


def date_gaps(sheet: Sheet) -> None:
    dates(sheet)
    emptied(sheet, "day", "-")


def times(sheet: Sheet) -> None:
    """Dates as the locale writes them, with hours and minutes."""
    minutes = sheet.rng.integers(0, 500_000, sheet.n)
    days = [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(minutes=int(i)) for i in minutes]
    moments(sheet, "at", days, [day.strftime(sheet.locale.day + " %H:%M") for day in days])


def zones(sheet: Sheet) -> None:
    """ISO times, in winter and in summer time."""
    minutes = sheet.rng.integers(0, 500_000, sheet.n)
    times = [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(minutes=int(i)) for i in minutes]
    offsets = [timezone(timedelta(hours=2 if 3 < time.month < 11 else 1)) for time in times]
    texts = [time.astimezone(zone).isoformat() for time, zone in zip(times, offsets)]
    moments(sheet, "at", times, texts)


def clock(sheet: Sheet) -> None:
    minutes = sheet.rng.integers(360, 1_300, sheet.n)
    texts = [f"{i // 60:02d}:{i % 60:02d}" for i in minutes]
    sheet.add("opens", Column("clock", [60.0 * i for i in minutes], texts))


def two(*units: str) -> Defect:
    """Amounts in two currencies or units are no numbers."""

    def defect(sheet: Sheet) -> None:
        signs = sheet.rng.choice(units, sheet.n)
        texts = [f"{x:.2f} {sign}" for x, sign in zip(prices(sheet), signs)]
        sheet.add("amount", Column("text", list(texts), texts, is_optional=True))

    return defect


def phones(sheet: Sheet) -> None:
    texts = [f"030 {i:03d} {j:03d}" for i, j in sheet.rng.integers(0, 999, (sheet.n, 2))]
    sheet.add("phone", Column("text", list(texts), texts, is_optional=True))


def either_way(sheet: Sheet) -> None:
    """Dates whose day may be the month."""
    texts = [f"{i:02d}/{j:02d}/2023" for i, j in sheet.rng.integers(1, 12, (sheet.n, 2))]
    sheet.add("day", Column("text", list(texts), texts, is_optional=True))


def of_levels(name: str, *texts: str) -> Defect:
    return lambda sheet: sheet.add(name, levels(sheet, list(texts)))


def brand(sheet: Sheet) -> None:
    """A last row that begins with Total, and is no sum."""
    sheet.columns["region"] = column = levels(sheet, ["Aral", "Shell", "Total"])
    column.cells[-1] = column.texts[-1] = "Total"


def ambiguous(sheet: Sheet) -> None:
    """1,204 alone may be a thousand, or a little more than one; so is 1.204 beside semicolons."""
    if sheet.locale is PLAIN:
        sheet.locale = PLAIN._replace(delimiter="\t")
    del sheet.columns["price"]
    sheet.header.remove("price")
    mark = sheet.locale.group
    texts = [f"{i // 1000}{mark}{i % 1000:03d}" for i in sheet.rng.integers(1_000, 9_999, sheet.n)]
    sheet.add("size", Column("text", list(texts), texts, is_optional=True))
    sheet.troubles.append("size")


# Defects of files


def plain(sheet: Sheet) -> None:
    """Only the locale differs."""


def bom(sheet: Sheet) -> None:
    sheet.encoding = "utf-8-sig"


def windows(sheet: Sheet) -> None:
    """Windows-1252, with a sign that Latin-1 lacks in the header."""
    numbers(sheet, "Umsatz €", prices(sheet), sheet.number)
    sheet.encoding, sheet.end = "cp1252", "\r\n"
    sheet.troubles.append(ENCODING)


def unicode_text(sheet: Sheet) -> None:
    sheet.locale = sheet.locale._replace(delimiter="\t")
    sheet.encoding, sheet.end, sheet.suffix = "utf-16", "\r\n", ".txt"
    sheet.troubles.append(ENCODING)


def mixed(sheet: Sheet) -> None:
    """The first half in UTF-8, the second in Latin-1."""
    sheet.add("town", levels(sheet, ["Orléans", "Besançon", "Nîmes", "Paris"]))

    def write(sheet: Sheet, path: Path) -> None:
        lines = [line + "\n" for line in sheet.written([sheet.header, *sheet.rows()])]
        halves = "".join(lines[: sheet.n // 2]), "".join(lines[sheet.n // 2 :])
        path.write_bytes(halves[0].encode() + halves[1].encode("latin-1"))

    sheet.write = write
    sheet.troubles.append(ENCODING)


def returns(sheet: Sheet) -> None:
    sheet.end = "\r"


def titles(sheet: Sheet) -> None:
    sheet.lines.append(lambda lines: ["Sales of all branches", "", "as of 31 May 2024", *lines])
    sheet.troubles.append(SHAPE)


def comments(sheet: Sheet) -> None:
    sheet.lines.append(lambda lines: ["# logger 2.1", "# started 07:45", *lines])
    sheet.troubles.append(SHAPE)


def padded(sheet: Sheet) -> None:
    """Lines above and below with as many delimiters as the rows, as Excel writes them."""

    def changed(lines: list[str]) -> list[str]:
        rest = sheet.locale.delimiter * (len(sheet.header) - 1)
        return ["Sales of all branches" + rest, rest, *lines, rest, "Source: own books" + rest]

    sheet.lines.append(changed)
    sheet.troubles.append(SHAPE)


def units_row(sheet: Sheet) -> None:
    """A row of units below the header."""
    sheet.lines.append(lambda lines: [lines[0], *sheet.written([["", "pcs", "EUR"]]), *lines[1:]])
    sheet.troubles.append("EUR")


def source(sheet: Sheet) -> None:
    sheet.lines.append(lambda lines: [*lines, "", "Source: statistical office"])
    sheet.troubles.append(SHAPE)


def total(word: str = "Total") -> Defect:
    def defect(sheet: Sheet) -> None:
        def ended(lines: list[str]) -> list[str]:
            sums = [column.sum for column in sheet.columns.values()]
            return [*lines, *sheet.written([[word, *sums[1:]]])]

        sheet.lines.append(ended)
        sheet.troubles.append(SHAPE)

    return defect


def short_total(sheet: Sheet) -> None:
    """A total row of fewer cells."""
    text = sheet.columns["price"].sum
    sheet.lines.append(lambda lines: [*lines, *sheet.written([["Total", text]])])
    sheet.troubles.append(SHAPE)


def duplicate(sheet: Sheet) -> None:
    values = sheet.rng.integers(50, 90, sheet.n)
    numbers(sheet, "pieces.1", values, partial(sheet.number, places=0))
    sheet.header[-1] = "pieces"
    sheet.troubles.append("pieces")


def spaces(sheet: Sheet) -> None:
    """Columns aligned by spaces."""

    def write(sheet: Sheet, path: Path) -> None:
        rows = [sheet.header, *sheet.rows()]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(t.rjust(w) for t, w in zip(row, widths)) for row in rows]
        path.write_text("\n".join(lines) + "\n")

    sheet.write, sheet.suffix = write, ".txt"
    sheet.troubles.append(BLANKS)


def nameless(sheet: Sheet) -> None:
    """A logger's times and numbers, without names."""
    sheet.columns, sheet.header, sheet.has_names = {}, [], False
    clock(sheet)
    for name in ("2", "3"):
        numbers(sheet, name, sheet.rng.normal(20, 3, sheet.n).round(2), sheet.number)

    def write(sheet: Sheet, path: Path) -> None:
        path.write_text("\n".join(map(" ".join, sheet.rows())) + "\n")

    sheet.write, sheet.suffix = write, ".log"
    sheet.troubles.append(BLANKS)


def separator(sheet: Sheet) -> None:
    """The delimiter on a line of its own, for Excel."""
    sheet.lines.append(lambda lines: [f"sep={sheet.locale.delimiter}", *lines])
    sheet.troubles.append(SHAPE)


def trailing(sheet: Sheet) -> None:
    sheet.lines.append(lambda lines: [line + sheet.locale.delimiter for line in lines])
    sheet.troubles.append(SHAPE)


def trailing_rows(sheet: Sheet) -> None:
    """A delimiter at the end of each row but the header."""
    end = sheet.locale.delimiter
    sheet.lines.append(lambda lines: [lines[0], *(line + end for line in lines[1:])])
    sheet.troubles.append(SHAPE)


def packed(sheet: Sheet) -> None:
    sheet.suffix = ".csv.gz"


def row_names(sheet: Sheet) -> None:
    """As `write.csv` of R, with a column of row names without a name."""
    sheet.header.insert(0, "")
    sheet.has_row_names = True


def breaks(sheet: Sheet) -> None:
    """Cells of two lines, quoted as they must be."""
    sheet.add("note", levels(sheet, ["paid", "late,\nreminded", 'says "soon"', "new"]))


def lone_return(sheet: Sheet) -> None:
    """A carriage return within a cell of a file whose lines end with line feeds."""
    sheet.add("note", levels(sheet, ["paid", "late", "new"]))
    note = sheet.columns["note"]
    note.cells[40] = note.texts[40] = "la\rte"
    sheet.troubles.append(SHAPE)

    def write(sheet: Sheet, path: Path) -> None:
        lines = map(sheet.locale.delimiter.join, [sheet.header, *sheet.rows()])
        path.write_bytes("".join(line + "\n" for line in lines).encode())

    sheet.write = write


# Files of programs


def write_table(sheet: Sheet) -> None:
    """As `write.table` of R: text quoted, and a header without the row names."""
    sheet.has_row_names, sheet.suffix = True, ".txt"
    sheet.troubles.append(BLANKS)

    def write(sheet: Sheet, path: Path) -> None:
        texts = [True, *(column.kind == "text" for column in sheet.columns.values())]
        lines = [" ".join(f'"{name}"' for name in sheet.header)]
        for row in sheet.rows():
            lines.append(" ".join(f'"{t}"' if is_text else t for t, is_text in zip(row, texts)))
        path.write_text("\n".join(lines) + "\n")

    sheet.write = write


def savetxt(delimiter: str) -> Defect:
    def defect(sheet: Sheet) -> None:
        rows = sheet.rng.normal(20, 3, (sheet.n, 3))
        sheet.columns = {
            name: Column("numbers", [float(f"{x:.8e}") for x in column], [])
            for name, column in zip(("time", "voltage", "current"), rows.T)
        }

        def write(sheet: Sheet, path: Path) -> None:
            names = delimiter.join(sheet.columns)
            np.savetxt(path, rows, fmt="%.8e", delimiter=delimiter, header=names)

        sheet.write, sheet.suffix = write, ".txt"
        sheet.troubles.append(BLANKS)

    return defect


def json_lines(sheet: Sheet) -> None:
    def write(sheet: Sheet, path: Path) -> None:
        rows = zip(*(column.cells for column in sheet.columns.values()))
        lines = [json.dumps(dict(zip(sheet.columns, row))) for row in rows]
        path.write_text("\n".join(lines) + "\n")

    sheet.write, sheet.suffix = write, ".jsonl"
    sheet.troubles.append("json")


def excel(sheet: Sheet) -> None:
    dates(sheet)

    def write(sheet: Sheet, path: Path) -> None:
        from openpyxl import Workbook

        book = Workbook()
        page: Any = book.active
        page.append(list(sheet.columns))
        for row in zip(*(column.cells for column in sheet.columns.values())):
            page.append([*row[:-1], datetime.fromtimestamp(row[-1], UTC).date()])
        book.save(path)

    sheet.write, sheet.suffix = write, ".xlsx"
    sheet.troubles.append(r"xlsx|codec|binary|UTF|utf")


def wide(sheet: Sheet) -> None:
    """More columns than a fit takes."""
    sheet.columns, sheet.header = {}, []
    sheet.troubles.append(r"1,?00[01]")
    for i in range(1_001):
        numbers(sheet, f"x{i}", sheet.rng.normal(size=sheet.n), lambda x: f"{x:.17g}")


def open_quote(*rows: int) -> Defect:
    """A mark of inches, in some rows, that is taken for a quotation mark."""

    def defect(sheet: Sheet) -> None:
        column = levels(sheet, ["a", "b", "c"])
        for row in rows:
            column.texts[row] = '"' + column.texts[row]
        sheet.add("mark", column)
        delimiter = sheet.locale.delimiter

        def write(sheet: Sheet, path: Path) -> None:
            path.write_text("\n".join(map(delimiter.join, [sheet.header, *sheet.rows()])) + "\n")

        sheet.write = write
        sheet.troubles.append(QUOTE)

    return defect


zeros = of_levels("shop", *(f"{i:03d}" for i in range(1, 20)))
postal = of_levels("zip", "01067", "04109", "10115", "20095", "80331", "99084")
ja, oui = of_levels("paid", "Ja", "Nein"), of_levels("paid", "oui", "non")
ALONE: dict[str, Defect] = {
    "currency": currency,
    "currency, gaps -": dashes,
    "German amounts": currency,
    "French amounts": currency,
    "Swiss amounts": currency,
    "thousands": thousands,
    "German thousands, months": months,
    "apostrophes": apostrophes,
    "negative in parentheses": parentheses,
    "percent": percent,
    "percent, 3 % words": stray_percent,
    "unit": unit,
    "minus sign": minus,
    **{f"gap {text}": gap(text) for text in GAPS},
    **{f"code {text}": code(text) for text in CODES},
    "leading zeros": zeros,
    "postal codes": postal,
    "telephone numbers": phones,
    "ranges": of_levels("ages", "18-29", "30-44", "45-64", "65+"),
    "a level -": of_levels("grade", "A", "B", "C", "-"),
    "a brand Total": brand,
    "NFC and NFD": twins,
    "dates": dates,
    "times with zones": zones,
    "times of day": clock,
    "dates, gaps -": date_gaps,
    "German dates": dates,
    "German times": times,
    "French dates": dates,
    "US dates": dates,
    "dates either way": either_way,
    "Ja and Nein": ja,
    "oui and non": oui,
    "two currencies": two("$", "€"),
    "two units": two("kg", "g"),
    "ambiguous 1,204": ambiguous,
    "German, ambiguous 1.204": ambiguous,
    COMMAS: plain,
    "byte order mark": bom,
    "Windows-1252": windows,
    "UTF-8 and Latin-1": mixed,
    "UTF-16, tabs": unicode_text,
    "carriage returns": returns,
    "title lines": titles,
    "comment lines": comments,
    "lines above and below, padded": padded,
    "row of units": units_row,
    "source line": source,
    "total row": total(),
    "short total row": short_total,
    "duplicate name": duplicate,
    "spaces": spaces,
    "spaces, no header": nameless,
    "sep= line": separator,
    "trailing delimiters": trailing,
    "trailing delimiters, not in the header": trailing_rows,
    "gzip": packed,
    "R write.csv": row_names,
    "R write.table": write_table,
    "NumPy, spaces": savetxt(" "),
    "NumPy, commas": savetxt(","),
    "JSON lines": json_lines,
    "Excel workbook": excel,
    "line breaks in quotes": breaks,
    "carriage return in a cell": lone_return,
}
SIZED: dict[str, tuple[int, Defect]] = {
    "1,001 columns": (60, wide),
    "open quote, 20 rows": (20, open_quote(9)),
    "open quote, 50,000 rows": (50_000, open_quote(700)),
    "quote closed 1,000 rows below": (3_000, open_quote(700, 1_700)),
}
EXPORTS: dict[str, tuple[Locale, list[Defect]]] = {
    "German Excel": (GERMAN, [bom, dates, currency, duplicate, total("Summe")]),
    "German Excel, Windows-1252": (GERMAN, [windows, dates, postal, ja, total("Summe")]),
    "French Excel": (FRENCH, [bom, dates, currency, oui, percent]),
    "US Excel": (US, [dates, currency, percent, parentheses, total()]),
    "Swiss Excel": (SWISS, [bom, dates, currency, thousands, twins]),
    "Mac Excel": (US, [dates, currency, gap("-"), returns]),
    "Excel Unicode text": (GERMAN, [dates, unit, gap("–"), unicode_text]),
}
OF_FILES = ["byte order mark", "Windows-1252", "UTF-16, tabs", "carriage returns", "title lines"]
OF_FILES += ["source line", "total row", "duplicate name", "spaces", "sep= line", "gzip"]
OF_FILES += ["trailing delimiters", COMMAS]
OF_CELLS = ["currency", "percent", "minus sign", "gap -", "leading zeros", "code 9999", "dates"]
OF_CELLS += ["unit", "thousands", "gap ?", "negative in parentheses", "NFC and NFD", "code -999"]
MORE_PAIRS = [("total row", "source line"), ("total row", "title lines")]
MORE_PAIRS += [("source line", "title lines"), ("duplicate name", "title lines")]
MORE_PAIRS += [("Windows-1252", "total row"), ("UTF-16, tabs", "title lines")]
MORE_PAIRS += [("trailing delimiters", "duplicate name"), ("carriage returns", "source line")]
# Letters that an encoding lacks, and blanks within a cell between columns of spaces.
NEVER = {("Windows-1252", "minus sign"), ("Windows-1252", "NFC and NFD"), ("spaces", "unit")}


def sheets() -> Iterator[tuple[str, Sheet]]:
    """Names and sheets: each defect alone, in pairs, and the exports of programs."""
    for name, defect in ALONE.items():
        if name != "Excel workbook" or find_spec("openpyxl"):
            yield name, changed(started(name, locale=locale_of(name)), [defect])
    for name, (n, defect) in SIZED.items():
        yield name, changed(started(name, n), [defect])
    for first, second in pairs():
        name = f"{first} + {second}"
        yield name, changed(started(name, locale=locale_of(first)), [ALONE[second], ALONE[first]])
    for name, (locale, defects) in EXPORTS.items():
        yield name, changed(started(name, locale=locale), defects)


def locale_of(name: str) -> Locale:
    if name == COMMAS:
        return GERMAN
    locales = {"German": GERMAN, "French": FRENCH, "Swiss": SWISS, "US": US}
    return locales.get(re.split(r"\W", name)[0], PLAIN)


def pairs() -> Iterator[tuple[str, str]]:
    """Each defect of files beside three of cells, so each of cells beside three of files; and of
    files beside each other, in the order in which they change the lines.
    """
    for shift in (0, 3, 7):
        for i, first in enumerate(OF_FILES):
            pair = first, OF_CELLS[(i + shift) % len(OF_CELLS)]
            if pair not in NEVER:
                yield pair
    yield from ((second, first) for first, second in MORE_PAIRS)


def changed(sheet: Sheet, defects: list[Defect]) -> Sheet:
    for defect in defects:
        defect(sheet)
    return sheet
