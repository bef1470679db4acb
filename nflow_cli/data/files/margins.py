"""Margins of a text table: titles and header above its rows, totals and sources below."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nflow_cli.data.files import dates
from nflow_cli.data.files.notations import is_number, is_text, parts_of_number
from nflow_cli.data.files.tables import is_mark, listed, positions, shown

Cells = Sequence[str]  # of a row

MAX_MARGIN_ROWS = 20  # above a table, or below it
_LEAST_ROWS = 3  # of data, that rows above or below them are compared with
_LEAST_BELOW = 3  # cells that a cell is compared with
_TOTAL_WORDS = re.compile(
    r"(((grand|sub)[ -]?|sous-)?tota(l|ls|le|al|ux)( général| general|e)?|"
    r"(gesamt|zwischen)?summe|(ins)?gesamt|sum|somme|suma|"
    r"average|mean|mittelwert|durchschnitt|moyenne)( \d{4}| ?\(.*\))?:?",
    re.I,
)
_QUALTRICS = '{"ImportId":'
_PROSE = re.compile(r"[^\W\d][^:]*:|[(*©]|[^\W\d]\S*(\s+\S+){3}")  # "Source: …", "(2 rows)"


def _may_be_name(cell: str, decimal: str) -> bool:
    """Whether a cell is text, or ``inf`` without a sign, which may be inflation."""
    return is_text(cell, decimal) or cell.strip().lower() in ("inf", "infinity")


def _are_column_names(cells: Cells, decimal: str) -> bool:
    """Whether all cells may be names of columns, and one at least is text."""
    return all(_may_be_name(cell, decimal) for cell in cells) and any(
        is_text(cell, decimal) for cell in cells
    )


def _is_like_rows_below(row: Cells, rows: Sequence[Cells]) -> bool:
    """Whether any cell of a row has the unit of nearly all cells below it, or their date format."""
    for i, cell in enumerate(map(str.strip, row)):
        cells = [below[i].strip() for below in rows if i < len(below) and below[i].strip()]
        if len(cells) >= _LEAST_BELOW and (
            _has_common_unit(cell, cells) or _has_date_form(cell, cells)
        ):
            return True
    return False


def _has_common_unit(cell: str, others: Cells) -> bool:
    """Whether a cell is a number with a unit, and nearly all others have the same unit."""
    number = parts_of_number(cell)
    if number is None or not any(number.unit):
        return False
    parsed = [parts_of_number(text) for text in others]
    units = [parts.unit for parts in parsed if parts is not None]
    return units.count(number.unit) >= dates.SHARE * len(others)


def _has_date_form(cell: str, others: Cells) -> bool:
    """Whether a cell is a date or time in a format that nearly all others have, too."""
    # Formats of the others are searched, slowly, only for a cell that is a date or time.
    forms = dates.forms_of([cell]) and dates.forms_of(others)
    return not all(np.isnan(dates.numbers_of([cell], form)) for form in forms)


def _is_header(first: Cells, rows: Sequence[Cells], decimal: str) -> bool:
    """Whether the row ``first`` is a header of the ``rows`` below it, by :func:`top_of`'s rules."""
    if _is_like_rows_below(first, rows):
        return False
    numbers = [cell for cell in first if is_number(cell, decimal)]
    if not numbers:
        return any(is_text(cell, decimal) for cell in first)
    if not all(cell.strip().isdecimal() or _may_be_name(cell, decimal) for cell in numbers):
        return False
    if first[0].strip() == "" and [cell.strip() for cell in first[1:]] == [
        str(i) for i in range(len(first) - 1)
    ]:
        return True  # pandas' header of an array, with its index
    texts = [i for i, cell in enumerate(first) if is_text(cell, decimal)]
    below = [[row[i] for row in rows if i < len(row)] for i in texts]
    return any(column and all(is_number(cell, decimal) for cell in column) for column in below)


def _filled_places(cells: Cells) -> list[int]:
    """Indices of the cells of a row that are not blank."""
    return [i for i, cell in enumerate(cells) if cell.strip()]


@dataclass(frozen=True)
class Top:
    """Beginning of a text table.

    Attributes:
        names: Of the columns, all different.
        end: The last line that is no data, counted from 1; 0 if there is none.
        rows: The first rows of data, by their lines.
        notes: Lines to print: rows or columns left out, columns renamed.
        is_named: Whether there is a header.
    """

    names: list[str]
    end: int
    rows: Mapping[int, Cells]
    notes: list[str]
    is_named: bool


def top_of(rows: Mapping[int, Cells], decimal: str) -> Top:
    """Names of columns, and the first rows, of rows by their lines.

    The first row is a header if it has text and no number, or text and whole numbers, or ``inf``,
    where numbers stand below the text. Titles are the rows above the first full one, if this is
    text and numbers are below it; or else above one that has as many cells as most rows, and half
    of them filled, if it is a header or they have one cell each. A header of one name less than its
    rows have cells lacks that of the first column, as R writes it, or of the last if this is empty.
    A first row like the others, with a date or a unit, is no header. Rows of units, or of the texts
    of questions, right below it are left out.
    """
    lines = [*rows]
    cells = [*rows.values()]
    width = Counter(map(len, cells)).most_common(1)[0][0]
    # Rows before the first of data, so far: titles, then the header, then units or questions.
    n = 0 if _lacks_a_name(cells, width, decimal) else _n_titles(cells, width, decimal)
    notes = []
    end = 0
    if n:
        notes.append(_note_of_rows("above the table", lines[:n], cells[0]))
        end = lines[n - 1]
    first = cells[n]
    is_named = _is_header(first, cells[n + 1 :], decimal)
    names = positions(len(first))
    has_number = any(is_number(cell, decimal) for cell in first)
    if not has_number and _is_like_rows_below(first, cells[n + 1 :]):
        notes.append(
            f"line {lines[n]:,} is read as the first row, and no header, as it is like the others: "
            f"{shown(_row_text(first))}"
        )
    if is_named:
        names = [cell.strip() for cell in first]
        end = lines[n]
        names[0] = names[0].removeprefix("#").lstrip()  # as numpy.savetxt writes headers
        if _lacks_a_name(cells[n:], width, decimal):
            place = 0 if any(row[-1].strip() for row in cells[n + 1 :]) else width - 1
            names.insert(place, "")
            notes.append(f"the header has no name for column {place + 1:,}")
        unique = different_names(names)
        notes += note_of_names(names, unique)
        names = unique
        n += 1
        below = _n_below_header(cells[n:], decimal)
        if below:
            notes.append(_note_of_rows("below the header", lines[n : n + below], cells[n]))
            n += below
            end = lines[n - 1]
    return Top(names, end, dict(zip(lines[n:], cells[n:])), notes, is_named)


def _n_titles(rows: Sequence[Cells], width: int, decimal: str) -> int:
    """Number of rows of titles, above the header, or above the data if there is none; ``width``:
    cells of most rows.
    """
    if width == 1:
        return 0
    n = next((i for i, row in enumerate(rows) if len(row) == len(_filled_places(row)) == width), 0)
    if not _is_text_above_numbers(rows[n:], decimal):
        n = next((i for i, row in enumerate(rows) if _is_half_full(row, width)), 0)
    above = rows[:n]
    below = rows[n:]
    if not 0 < n <= MAX_MARGIN_ROWS or sum(len(row) == width for row in below) < _LEAST_ROWS:
        return 0
    is_named = len(_filled_places(below[0])) == width and _is_header(below[0], below[1:], decimal)
    are_lines = all(len(row) == 1 and is_text(row[0], decimal) for row in above)
    return n if is_named or are_lines else 0


def _is_text_above_numbers(rows: Sequence[Cells], decimal: str) -> bool:
    """Whether the first row is text in all cells, and a column below it has numbers alone."""
    columns = zip(*(row for row in rows[1:] if len(row) == len(rows[0])))
    below = [[cell for cell in column if cell.strip()] for column in columns]
    return _are_column_names(rows[0], decimal) and any(
        column and all(is_number(cell, decimal) for cell in column) for column in below
    )


def _is_half_full(cells: Cells, width: int) -> bool:
    """Whether a row has the width of the table, and half of its cells, or all but an index's name,
    filled, as no title has.
    """
    return len(cells) == width and 2 * len(_filled_places(cells)) + (not cells[0].strip()) >= width


def _lacks_a_name(rows: Sequence[Cells], width: int, decimal: str) -> bool:
    """Whether the first row is a header of one name less than the ``width`` of all rows below."""
    first = rows[0]
    below = rows[1:]
    return (
        len(first) == width - 1 == len(_filled_places(first)) > 1
        and _are_column_names(first, decimal)
        and all(len(row) == width for row in below)
        and not _is_header(below[0], below[1:], decimal)
    )


def _n_below_header(rows: Sequence[Cells], decimal: str) -> int:
    """Number of rows at the beginning, right below the header, that are no data: up to the keys of
    Qualtrics, whose texts of questions are above; one or two rows of units; or one of questions.
    """
    for i, row in enumerate(rows[:_LEAST_ROWS]):
        if any(cell.startswith(_QUALTRICS) for cell in row):
            return i + 1
    for n in (2, 1):
        if len(rows) > n and all(_is_row_of_units([row, *rows[n:]], decimal) for row in rows[:n]):
            return n
    return int(_is_row_of_questions(rows, decimal))


def _is_row_of_questions(rows: Sequence[Cells], decimal: str) -> bool:
    """Whether the first row is text, of two words a cell or more, that no other row has, and stands
    above a column of numbers, or of dates or times.
    """
    if len(rows) <= _LEAST_ROWS:
        return False
    first = rows[0]
    filled = _filled_places(first)
    n_words = sum(len(first[i].split()) for i in filled)
    if not filled or n_words < 2 * len(filled):
        return False
    columns = [
        [row[i].strip() for row in rows[1:] if i < len(row) and row[i].strip()] for i in filled
    ]
    if any(first[i].strip() in column for i, column in zip(filled, columns)):
        return False
    if not all(
        is_text(first[i], decimal) and not parts_of_number(first[i].strip()) for i in filled
    ):
        return False
    return any(
        _is_text_among_values(first[i], column, decimal) for i, column in zip(filled, columns)
    )


def _are_numbers_or_dates(cells: Cells, decimal: str) -> bool:
    """Whether nearly all of some cells are numbers, or dates or times of one format."""
    n_numbers = sum(is_number(cell, decimal) for cell in cells)
    return bool(cells) and (n_numbers >= dates.SHARE * len(cells) or bool(dates.forms_of(cells)))


def _is_text_among_values(cell: str, others: Cells, decimal: str) -> bool:
    """Whether a cell is text, in no format of dates of the others, which are numbers or dates."""
    is_no_value = is_text(cell, decimal) and not _has_date_form(cell.strip(), others)
    return is_no_value and _are_numbers_or_dates(others, decimal)


def _is_row_of_units(rows: Sequence[Cells], decimal: str) -> bool:
    """Whether the first row is one of units: text in two columns or more, in each of which all
    others are numbers or gap marks, or dates or times, and else empty.
    """
    if len(rows) <= _LEAST_ROWS or len(_filled_places(rows[0])) < 2:
        return False
    columns = [
        [row[i] for row in rows if i < len(row) and row[i].strip()] for i in _filled_places(rows[0])
    ]
    return all(
        len(column) > _LEAST_ROWS
        and is_text(column[0], decimal)
        and (
            all(not is_text(cell, decimal) or is_mark(cell) for cell in column[1:])
            or (dates.forms_of(column[1:]) and not _has_date_form(column[0], column[1:]))
        )
        for column in columns
    )


def different_names(names: Sequence[str]) -> list[str]:
    """Different names of columns, as pandas makes them.

    Of several alike the second is ``name.1``. A first one without a name is ``index``, others are
    called by their positions.
    """
    unique = list[str]()
    taken = {*names}
    earlier = set[str]()  # as in the table
    numbers = defaultdict[str, Iterator[int]](lambda: itertools.count(1))
    for i, name in enumerate(names, start=1):
        new = name
        is_taken = name in earlier
        if not name:
            new = "index" if i == 1 < len(names) else str(i)
            is_taken = new in taken
        if is_taken:
            numbered = (f"{new}.{n}" for n in numbers[new])
            new = next(candidate for candidate in numbered if candidate not in taken)
        earlier.add(name)
        taken.add(new)
        unique.append(new)
    return unique


def note_of_names(names: Sequence[str], unique: Sequence[str]) -> list[str]:
    """Note on columns with a name other than the table's."""
    pairs = enumerate(zip(names, unique), start=1)
    renamed = [
        f"{shown(new)} (column {i:,})" for i, (name, new) in pairs if new not in (name, "index")
    ]
    return (
        [f"columns named anew, as names repeat or are empty: {listed(renamed)}"] if renamed else []
    )


def bottom_of(
    rows: Mapping[int, Cells], first: Mapping[int, Cells], width: int, decimal: str
) -> tuple[int, list[str]]:
    """Number of the last rows of a text table that are totals or sources below it, and notes.

    ``rows``: the last ones, by their lines; ``first``: the first of data; ``width``: columns.

    A row is left out if a cell says total (sum, mean, in some languages) where none above does;
    if most of its cells, the first among them, are empty where those above never are; or if it is
    prose, such as "Source: …". A row of delimiters alone ends a table whose rows are unlike those
    below it.
    """
    lines = [*rows]
    cells = [*rows.values()]
    above = [row for line, row in first.items() if line < lines[0]] + cells
    n = _n_rows_below_blank(above, width, decimal)
    above = above[: len(above) - n]
    row = above.pop()  # the last that may be data
    while above and n < MAX_MARGIN_ROWS and _is_total_or_source(row, above, width):
        n += 1
        row = above.pop()
    shown_row = next(filter(_filled_places, cells[-n:]), cells[-n])
    notes = [_note_of_rows("below the table", lines[-n:], shown_row)] if n else []
    most = min(width, 1 + len(_always_filled_places(above)))
    if len(above) >= _LEAST_ROWS and width > 1 and 2 * len(_newly_empty_places(row, above)) >= most:
        notes.append(
            f"line {lines[-n - 1]:,} may be a total, or no data: it is empty where none above is"
        )
    return n, notes


def _n_rows_below_blank(rows: Sequence[Cells], width: int, decimal: str) -> int:
    """Number of the last rows from one of delimiters alone on, if each behind it is unlike those
    above: it has text below numbers or dates, or a gap below none. In one column a blank row is a
    gap, and the number 0.
    """
    if width == 1:
        return 0
    for n in range(min(MAX_MARGIN_ROWS, len(rows) - _LEAST_ROWS), 1, -1):
        blank = rows[-n]
        above = rows[:-n]
        if len(blank) == width and not _filled_places(blank):
            columns = [
                [cell.strip() for cell in column if cell.strip()]
                for column in itertools.zip_longest(*above, fillvalue="")
            ]
            if all(
                _newly_empty_places(row, above)
                or any(_is_text_among_values(*pair, decimal) for pair in zip(row, columns))
                for row in rows[1 - n :]
            ):
                return n
    return 0


def _is_total_or_source(row: Cells, above: Sequence[Cells], width: int) -> bool:
    """Whether a row is no data by those above it: a total, mostly empty, or prose, as
    :func:`bottom_of` has it.
    """
    above = [cells for cells in above if _filled_places(cells)]
    if width == 1 or len(above) < _LEAST_ROWS:
        return False
    if any(
        _says_total(row, i) and not any(_says_total(a, i) for a in above)
        for i in _filled_places(row)
    ):
        return True
    if len(row) == width and 2 * len(_newly_empty_places(row, above)) <= width:
        return False
    if len(row) == width and not row[0].strip():
        return True
    n_prose = sum(_PROSE.match(cells[0].strip()) is not None for cells in above)
    is_prose = _PROSE.match(row[0].strip()) and (len(_filled_places(row)) == 1 or ":" in row[0])
    return bool(is_prose) and 2 * n_prose < len(above)


def _says_total(row: Cells, i: int) -> bool:
    """Whether the cell of index ``i`` of a row, if it has it, is a word for a total or a mean."""
    return i < len(row) and _TOTAL_WORDS.fullmatch(row[i].strip()) is not None


def _newly_empty_places(row: Cells, above: Sequence[Cells]) -> list[int]:
    """Indices of the columns in which a row is blank, and no row above is."""
    return sorted(_always_filled_places(above) - {*_filled_places(row)})


def _always_filled_places(rows: Sequence[Cells]) -> set[int]:
    """Indices of the columns in which no row is blank; none without rows."""
    return set.intersection(*(set(_filled_places(row)) for row in rows)) if rows else set()


def _note_of_rows(where: str, lines: Sequence[int], first: Cells) -> str:
    """Note on rows that are left out, with their lines and the text of the ``first`` of them."""
    ends = dict.fromkeys((lines[0], lines[-1]))
    range_text = f"line{'s' * (len(ends) > 1)} {' to '.join(f'{end:,}' for end in ends)}"
    text = _row_text(first)
    content = shown(text) if text else "empty"
    return f"left out {where}: {range_text}, {content}"


def _row_text(cells: Cells) -> str:
    """Text of the cells of a row that are not blank."""
    return " ".join(filter(None, map(str.strip, cells)))
