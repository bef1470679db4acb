"""Notes on cells of columns: read as numbers, as missing or as text, and codes of missing cells."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from nflow_cli.config.schema_options import escaped
from nflow_cli.data.files import dates
from nflow_cli.data.files.arrow_cells import is_beyond_floats
from nflow_cli.data.files.columns import MAX_TEXTS, Column
from nflow_cli.data.files.notations import (
    NUMBER_SHARE,
    is_number,
    numbers_of,
    parts_of_number,
    why_no_notation,
)
from nflow_cli.data.files.tables import TableFile, is_mark, listed, shown
from nflow_cli.data.files.written import as_written
from nflow_cli.data.kinds.asked import AskedColumn, AskedColumns
from nflow_cli.data.kinds.mends import grouped
from nflow_cli.text import command_line

STRAY_SHARE = 0.1  # of cells that are text among numbers, at most, for a note
REPEATED_STRAY_SHARE = 0.5  # if the column is left out, and each of these texts has several rows
SHOWN_STRAYS = 3  # different texts, in the option that makes them missing
LEAST_REPEATS = 3  # rows of a code, or of words that mean a missing cell
GAP_WORD_SHARE = 0.05  # of the rows of a column of text, at least, for a note
LEAST_DATES = 10  # that differ, for a note
FIRST_DAY = "19000101"
LAST_DAY = "20991231"
FORMS_BY_LENGTH = {8 + 2 * n: "%Y%m%d" + "%H%M%S"[: 2 * n] for n in range(4)}  # of digits
HUGE_CODE = 1e20
TICK = 1e-6  # seconds: tables have no finer times
LOSS_SHARE = 1e-8  # of a column's range, that is lost by rounding to 12 digits, for a note
HOUR_FORMS = ("%H:%M", "%-H:%M")
MINUTE_FORMS = ("%M:%S", "%M:%S.%f")  # forms of the same cells
ROUNDED_SECONDS = 300  # to which times of day, but no durations, may all be rounded
YEAR = re.compile(r"\b(19|20)\d\d\b")
NUMBERS_AND_WORDS = re.compile(r"\d+|[^\W\d_]{3,}")
DATE_PARTS = 3  # numbers and words of a date, at least
MAX_SHAPES = 3  # of cells of text, which may then be numbers or dates
MAX_EXAMPLES = 100  # of such cells, among which one that is neither is looked for
CODE_OF_MISSING = re.compile(r"-?99+|-9|-1|-?9+\.9+")


def notes_of_texts(table: TableFile, columns: AskedColumns, rows: np.ndarray) -> Iterator[str]:
    """Notes on columns of text: levels that may be one; numbers, in which notation and without
    which cells; or why they are read as text: too many distinct ones, a few cells, units that
    differ, separators that can be read in two ways, dates of no certain format.

    ``rows`` ``(n,)``: numbers of the rows in the table, for the places of examples.
    """
    for name, request in columns.items():
        column = request.column
        if column.unified_texts and column.numbers is None:
            count = len(column.unified_texts)
            levels = f"{count:,} levels are" if count > 1 else "1 level is"
            yield (
                f"{name}: {levels} written in several ways (blanks around, or Unicode's forms) and "
                f"read as one: {shown(column.unified_texts[0])}"
            )
        if column.numbers is None and not column.names_rows:
            twins = _twins_by_capitals(column)
            if twins:
                yield f"{name}: levels that differ by capitals alone: {listed(twins)}"
        if not column.is_collected and column.first_text_cell is not None:
            row, text = column.first_text_cell
            if is_mark(text) or parts_of_number(text) is not None:
                yield (
                    f"{name} is read as text: more than {MAX_TEXTS:,} distinct cells (--max-rows N "
                    f"reads some rows), such as {shown(text)} in {table.place(int(rows[row]))}"
                )
        if column.cell_type == "number" and column.notation is None and name in table.doubts:
            yield table.doubts[name]
        if column.codes is None or request.is_categorical:
            continue
        # Of the first cell of a mask (n,).
        place = partial(_text_and_place, table, rows, column.texts, column.codes)
        if column.notation is not None:
            known = ~column.are_gaps
            number = column.cells[np.argmax(known)]
            yield f"{name}: read as numbers, such as {number:.15g} from {place(known)}"
        if _may_be_minutes(column) and request.date_format is None:
            way = _hint_of_minutes(column)
            yield f"{name}: read as hours and minutes: {place(~column.are_gaps)}{way}"
        if column.numbers is not None:
            yield from notes_of_lost(table, column, rows)
        elif sum(column.gap_words.values()) >= max(
            LEAST_REPEATS, GAP_WORD_SHARE * len(column.codes)
        ):
            counts = listed([f"{n:,} {shown(word)}" for word, n in column.gap_words.items()])
            yield f"{name}: of {len(column.codes):,} cells of text {counts} are read as missing"
        if column.cell_type == "text" and not any(map(is_beyond_floats, column.texts)):
            way = _way_to_read_dates(column)
            if way:
                codes = [i for i, text in enumerate(column.texts) if not is_mark(text)]
                example = place(np.isin(column.codes, codes))
                yield f"{name} is read as text, and looks like dates or times: {example}; {way}"
            elif why := _why_not_numbers(column, place):
                yield f"{name} is read as text: {why}"


def notes_of_merged(columns: Iterable[Column]) -> Iterator[str]:
    """Notes on numbers that lose digits by which cells differ, and on times that lose any."""
    for column in columns:
        name = column.name
        if column.numbers is None:
            continue
        if column.rounded is not None:
            n, digits = column.rounded
            yield (
                f"{name}: {n:,} cells are whole numbers beyond 2^53 that are read to 16 digits: "
                f"{digits} as {float(digits):.0f}"
            )
        numbers = np.unique(column.numbers[np.isfinite(column.numbers)])
        if not len(numbers) or column.distinct_numbers.single is not None:
            continue
        written = as_written(numbers)
        text = partial(_with_all_digits, cell_type=column.cell_type)
        changes = np.abs(written - numbers)
        largest_change = TICK if column.cell_type == "time" else LOSS_SHARE * np.ptp(numbers)
        if column.distinct_numbers.merged:
            i = int(np.argmax(np.diff(written) == 0))
            yield (
                f"{name}: {column.distinct_numbers.merged:,} of {len(numbers):,} numbers equal "
                f"others to 12 digits, and are read as these: {text(numbers[i])} and "
                f"{text(numbers[i + 1])}"
            )
        elif changes.max() > largest_change:
            i = int(np.argmax(changes))
            yield f"{name}: read to 12 digits, such as {text(numbers[i])} as {text(written[i])}"


def _with_all_digits(number: float, cell_type: str) -> str:
    """Text of a number with all its digits; from a column of times, of the time to microseconds."""
    if cell_type == "time":
        return str(np.datetime64(round(number / TICK), "us"))
    return repr(float(number))


def notes_of_lost(table: TableFile, column: Column, rows: np.ndarray) -> Iterator[str]:
    """Notes on the cells of a column of text that were read as missing beside numbers or dates.

    ``rows`` ``(n,)``: numbers of the column's rows in the table.
    """
    lost = column.are_lost_texts
    if column.codes is None or not lost.any():
        return
    place = partial(_text_and_place, table, rows, column.texts, column.codes)
    codes, counts = np.unique(column.codes[lost], return_counts=True)
    mark_rows = {i: int(n) for i, n in zip(codes, counts) if is_mark(column.texts[i])}
    for i, n in mark_rows.items():
        yield (
            f"{column.name}: {n:,} gap mark{'s' * (n > 1)} read as missing: "
            f"{place(column.codes == i)}"
        )
    others = lost & ~np.isin(column.codes, [*mark_rows])
    count = int(others.sum())
    if count:
        known = int((column.codes >= 0).sum())
        yield (
            f"{column.name}: {count:,} of {known:,} cells read as missing, as they are no numbers "
            f"or dates: {place(others)}"
        )


def _text_and_place(
    table: TableFile, rows: np.ndarray, texts: Sequence[str], codes: np.ndarray, mask: np.ndarray
) -> str:
    """Text and place, in words, of the first cell of a mask ``(n,)`` of a column of text.

    ``rows`` ``(n,)``: numbers of the column's rows in the table; ``codes`` ``(n,)``: indices of the
    cells' ``texts``.
    """
    row = int(np.argmax(mask))
    return f"{shown(texts[codes[row]])} in {table.place(int(rows[row]))}"


def _way_to_read_dates(column: Column) -> str:
    """How text that looks like dates or times may be read, in words: by options of formats that fit
    it, or with other names of months; "" of other text.
    """
    texts, counts = column.unmarked
    if len(texts) < LEAST_DATES:
        return ""
    ways = [f"{column.name}={dates.plain(form)}" for form in dates.forms_of(texts, counts)]
    if ways:
        return (
            f"to read them: {' or '.join(command_line(['--date', escaped(way)]) for way in ways)}"
        )
    if dates.have_named_months(texts, counts):
        return "only English names of months are read, or numbers in place of them"
    return ""


def _why_not_numbers(column: Column, place: Callable[[np.ndarray], str]) -> str:
    """Why text that is mostly numbers, or like numbers or dates, is not read as such, in words, and
    the option that may help; "" of other text.

    ``place``: text and place, in words, of the first cell of a mask ``(n,)``.
    """
    counts = column.text_counts
    n_known = counts.sum()
    are_strays = np.isnan(numbers_of(column.texts, None, column.decimal)) & (counts > 0)
    strays = np.flatnonzero(are_strays)
    n_strays = counts[strays].sum()
    are_repeated = column.names_rows and n_strays >= LEAST_REPEATS * len(strays)
    max_share = REPEATED_STRAY_SHARE if are_repeated else STRAY_SHARE
    if 0 < n_strays <= max_share * n_known:
        values = [f"{escaped(column.name)}={escaped(column.texts[i])}" for i in strays]
        option = command_line(["--na", ",".join(values[:SHOWN_STRAYS])])
        return (
            f"{n_strays:,} of {n_known:,} cells are not numbers: "
            f"{place(column.codes == strays[0])}; if they mean missing, {option}"
        )
    unclear = why_no_notation(column.texts, counts, column.decimal)
    if unclear:
        why, examples = unclear
        return f"{why}: {', '.join(place(column.codes == code) for code in examples)}"
    text = _example_of_unread(column) if column.names_rows else ""
    if text:
        example = place(column.codes == column.texts.index(text))
        way = _hint_of_minutes(column) or _hint_of_dates(column, text)
        return f"cells such as {example} are neither numbers nor dates in a known form{way}"
    return ""


def _hint_of_minutes(column: Column) -> str:
    """Hint of the option that reads cells as minutes and seconds; "" if they cannot be such."""
    texts, counts = column.unmarked
    for form in MINUTE_FORMS:
        if dates.spelling_and_rows_of(form, texts, counts)[1] >= dates.SHARE * counts.sum():
            option = command_line(["--date", f"{escaped(column.name)}={form}"])
            return f"; if they are minutes and seconds, {option}"
    return ""


def _hint_of_dates(column: Column, text: str) -> str:
    """Hint of the option that reads cells as dates, if one with a ``text`` may be a date: it has a
    year and two numbers or words more; else "".
    """
    if not YEAR.search(text) or len(NUMBERS_AND_WORDS.findall(text)) < DATE_PARTS:
        return ""
    option = command_line(["--date", f"{escaped(column.name)}=FORMAT"])
    return f"; if they are dates, {option} of strptime"


def _may_be_minutes(column: Column) -> bool:
    """Whether times in hours and minutes may be minutes and seconds: these are not all rounded, as
    times of day to five minutes are.
    """
    if column.numbers is None or column.date_format not in HOUR_FORMS:
        return False
    return bool((column.numbers[~column.are_gaps] % ROUNDED_SECONDS).any())


def _twins_by_capitals(column: Column) -> list[str]:
    """Levels that differ by capitals alone, in words: the numbers of rows and texts of each set."""
    rows = dict(zip(*column.unmarked))
    texts_by_letters = grouped((text.casefold(), text) for text in rows)
    return [
        " and ".join(f"{rows[text]:,} {shown(text)}" for text in texts)
        for texts in texts_by_letters.values()
        if len(texts) > 1
    ]


def _example_of_unread(column: Column) -> str:
    """Text of a cell that is no number or date in a known form but may be one, as 7h 56m; "" if
    there is none.

    Nearly all cells have one of a few shapes, of two numbers or more, and no more words: one number
    behind letters is a name, A-1023.
    """
    texts, counts = column.unmarked
    shapes = [re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text)) for text in texts]
    rows = Counter[str]()
    for shape, count in zip(shapes, counts.tolist()):
        rows[shape] += count
    frequent = dict(rows.most_common(MAX_SHAPES))
    are_numbers = all(shape.count("9") >= max(2, shape.count("a")) for shape in frequent)
    if sum(frequent.values()) < NUMBER_SHARE * counts.sum() or not are_numbers:
        return ""
    examples = [text for text, shape in zip(texts[:MAX_EXAMPLES], shapes) if shape in frequent]
    unread = (t for t in examples if not (is_number(t, column.decimal) or dates.forms_of([t])))
    return next(unread, "")


def notes_of_days(columns: Iterable[AskedColumn]) -> Iterator[str]:
    """Notes on columns of whole numbers that may be dates, as 20240307, and how to read them."""
    for request in columns:
        numbers = _plain_numbers(request.column)
        form = _form_of_digits(numbers)
        if form and not request.is_categorical:
            option = command_line(["--date", f"{escaped(request.name)}={form}"])
            yield (
                f"{request.name}: whole numbers that look like dates, such as {numbers[0]:.0f}; to "
                f"read them: {option}"
            )


def _plain_numbers(column: Column) -> np.ndarray:
    """Finite numbers ``(n,)`` of a column; none of dates, times and text."""
    if column.numbers is None or column.cell_type != "number" or column.date_format is not None:
        return np.zeros(0)
    return column.numbers[np.isfinite(column.numbers)]


def notes_of_codes(columns: Iterable[AskedColumn]) -> Iterator[str]:
    """Notes on numbers that may be versions, or codes of missing cells: -999, 9999, 1e30, in
    several rows and beyond all others by more than their range.
    """
    for request in columns:
        name = request.name
        column = request.column
        numbers = _plain_numbers(column)
        if not len(numbers) or request.is_categorical:
            continue
        if column.with_last_zeros:
            text, number = column.with_last_zeros
            yield (
                f"{name}: {text} is read as the number {number}; to keep them apart: "
                f"{command_line(['--categorical', escaped(name)])}"
            )
        ends = {numbers.min(), numbers.max()}
        codes = sorted(float(end) for end in ends if _may_mean_missing(end, column.is_float32))
        others = numbers[~np.isin(numbers, codes)]
        if not len(others):
            continue
        low = float(others.min())
        high = float(others.max())
        for code in codes:
            n = int((numbers == code).sum())
            distance = max(low - code, code - high)
            if n >= LEAST_REPEATS and distance > high - low > 0:
                yield (
                    f"{name}: {n:,} cells are {code:.15g}, far from the others ({low:.6g} to "
                    f"{high:.6g}): if it means missing, --na {escaped(name)}={code:.15g}"
                )


def _form_of_digits(numbers: np.ndarray) -> str:
    """Format of numbers ``(n,)`` that are dates as 20240307, or have hours, minutes and seconds
    behind these; "" of others.
    """
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < LEAST_DATES:
        return ""
    texts = [f"{value:.15g}" for value in values]
    form = FORMS_BY_LENGTH.get(len(texts[0]), "")
    if not form or texts[0][:8] < FIRST_DAY or texts[-1][:8] > LAST_DAY:
        return ""
    return (
        form
        if dates.spelling_and_rows_of(form, texts, counts)[1] >= dates.SHARE * len(numbers)
        else ""
    )


def _may_mean_missing(number: float, is_float32: bool) -> bool:
    """Whether a number is such as codes of missing cells are: -999, 9999, 99.9, -1, or huge."""
    text = f"{number:.7g}" if is_float32 else f"{number:.15g}"
    return CODE_OF_MISSING.fullmatch(text) is not None or abs(number) >= HUGE_CODE
