"""Notes on cells of columns: read as numbers, as missing or as text, and codes of missing cells."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from nflow_cli.config.options import escaped
from nflow_cli.data import dates
from nflow_cli.data.arrow_cells import is_beyond_floats
from nflow_cli.data.asked import AskedColumn, AskedColumns
from nflow_cli.data.columns import MAX_TEXTS, Column
from nflow_cli.data.mends import grouped
from nflow_cli.data.notations import SHARE, cell_of, is_number, numbers_of, why_none
from nflow_cli.data.tables import TableFile, is_mark, listed, shown
from nflow_cli.data.written import as_written
from nflow_cli.text import command_line

STRAY = 0.1  # share of text cells among numbers, for a note
LOST = 0.5  # if the column is left out, and each of these texts has several rows
SHOWN_STRAYS = 3  # of them, that differ
REPEATED = 3  # rows of a code or of words of missing cells, at least
GAP_WORDS = 0.05  # share of the rows of a column of text, for a note
LEAST_DATES = 10  # that differ, for a note
FIRST_DAY, LAST_DAY = "19000101", "20991231"
DIGITS = {8 + 2 * n: "%Y%m%d" + "%H%M%S"[: 2 * n] for n in range(4)}  # formats, by length
HUGE = 1e20
TICK = 1e-6  # seconds: what tables tell of times
LOSS = 1e-8  # of a column's range, by rounding to 12 digits, for a note
HOURS, MINUTES = ("%H:%M", "%-H:%M"), ("%M:%S", "%M:%S.%f")  # forms of the same cells
ROUNDED = 300  # seconds
YEAR, PARTS = re.compile(r"\b(19|20)\d\d\b"), re.compile(r"\d+|[^\W\d_]{3,}")
DATE_PARTS = 3  # numbers and words of a date, at least
SHAPES = 3  # of the cells of text that may be numbers or dates, at most
EXAMPLES = 100  # of such cells, for one that is neither
CODE = re.compile(r"-?99+|-9|-1|-?9+\.9+")  # of a missing cell


def notes_of_texts(table: TableFile, columns: AskedColumns, rows: np.ndarray) -> Iterator[str]:
    """Notes on columns of text: read as numbers, in which notation and without which cells; or not,
    by a few cells only, by units that differ, by separators that can be read in two ways, or in a
    way that is not known.
    """
    for name, request in columns.items():
        column = request.column
        if column.twins and column.numbers is None:
            count = f"{len(column.twins):,} level{'s are' if len(column.twins) > 1 else ' is'}"
            yield (
                f"{name}: {count} written in several ways (blanks around, or Unicode's forms) and "
                f"read as one: {shown(column.twins[0])}"
            )
        if column.numbers is None and not column.names_rows and (alike := _alike(column)):
            yield f"{name}: levels that differ by capitals alone: {listed(alike)}"
        if not column.is_collected and column.stray is not None:
            row, text = column.stray
            if is_mark(text) or cell_of(text) is not None:
                yield (
                    f"{name} is read as text: more than {MAX_TEXTS:,} distinct cells (--max-rows N "
                    f"reads some rows), such as {shown(text)} in {table.place(int(rows[row]))}"
                )
        if column.source == "number" and column.notation is None and name in table.doubts:
            yield table.doubts[name]
        if column.codes is None or request.is_categorical:
            continue
        place = partial(_place, table, rows, column.texts, column.codes)
        if column.notation is not None:
            known = ~column.gaps
            number = column.cells[np.argmax(known)]
            yield f"{name}: read as numbers, such as {number:.15g} from {place(known)}"
        if _may_be_minutes(column) and request.form is None:
            way = _way_of_minutes(column)
            yield f"{name}: read as hours and minutes: {place(~column.gaps)}{way}"
        if column.numbers is not None:
            yield from notes_of_lost(table, column, rows)
        elif sum(column.gap_words.values()) >= max(REPEATED, GAP_WORDS * len(column.codes)):
            counts = listed([f"{n:,} {shown(word)}" for word, n in column.gap_words.items()])
            yield f"{name}: of {len(column.codes):,} cells of text {counts} are read as missing"
        if any(map(is_beyond_floats, column.texts)):
            continue
        if column.source == "text" and (why := _why_no_date(column)):
            known = np.isin(column.codes, [i for i, t in enumerate(column.texts) if not is_mark(t)])
            yield f"{name} is read as text, and looks like dates or times: {place(known)}; {why}"
        elif column.source == "text" and (why := _why_text(column, place)):
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
        if not len(numbers) or column.distinct.single is not None:
            continue
        written, text = as_written(numbers), partial(_text_of, source=column.source)
        lost, n = np.abs(written - numbers), column.distinct.merged
        if n:
            i = int(np.argmax(np.diff(written) == 0))
            yield (
                f"{name}: {n:,} of {len(numbers):,} numbers equal others to 12 digits, and are "
                f"read as these: {text(numbers[i])} and {text(numbers[i + 1])}"
            )
        elif lost.max() > (TICK if column.source == "time" else LOSS * np.ptp(numbers)):
            i = int(np.argmax(lost))
            yield f"{name}: read to 12 digits, such as {text(numbers[i])} as {text(written[i])}"


def _text_of(number: float, source: str) -> str:
    """Number, or time of seconds, with all its digits."""
    if source == "time":
        return str(np.datetime64(round(number / TICK), "us"))
    return repr(float(number))


def notes_of_lost(table: TableFile, column: Column, rows: np.ndarray) -> Iterator[str]:
    """Notes on the cells of text that were read as missing beside numbers or dates."""
    if column.codes is None or not (lost := column.lost).any():
        return
    place = partial(_place, table, rows, column.texts, column.codes)
    found, counts = np.unique(column.codes[lost], return_counts=True)
    of_marks = {i: int(n) for i, n in zip(found, counts) if is_mark(column.texts[i])}
    for i, n in of_marks.items():
        yield (
            f"{column.name}: {n:,} gap mark{'s' * (n > 1)} read as missing: "
            f"{place(column.codes == i)}"
        )
    others = lost & ~np.isin(column.codes, [*of_marks])
    if n := int(others.sum()):
        known = int((column.codes >= 0).sum())
        yield (
            f"{column.name}: {n:,} of {known:,} cells read as missing, as they are no numbers or "
            f"dates: {place(others)}"
        )


def _place(
    table: TableFile, rows: np.ndarray, texts: Sequence[str], codes: np.ndarray, some: np.ndarray
) -> str:
    """Text and place of the first of some cells ``(n,)`` of a column of text."""
    row = int(np.argmax(some))
    return f"{shown(texts[codes[row]])} in {table.place(int(rows[row]))}"


def _why_no_date(column: Column) -> str:
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


def _why_text(column: Column, place: Callable[[np.ndarray], str]) -> str:
    counts, decimal = column.text_counts, column.decimal
    others = np.isnan(numbers_of(column.texts, None, decimal)) & (counts > 0)
    n, known, examples = counts[others].sum(), counts.sum(), np.flatnonzero(others)[:1]
    are_repeated = column.names_rows and n >= REPEATED * others.sum()
    if 0 < n <= (LOST if are_repeated else STRAY) * known:
        values = [
            f"{escaped(column.name)}={escaped(column.texts[i])}" for i in np.flatnonzero(others)
        ]
        option = command_line(["--na", ",".join(values[:SHOWN_STRAYS])])
        return (
            f"{n:,} of {known:,} cells are not numbers: {place(column.codes == examples[0])}; if "
            f"they mean missing, {option}"
        )
    if reason := why_none(column.texts, counts, decimal):
        why, examples = reason
        return f"{why}: {', '.join(place(column.codes == code) for code in examples)}"
    if column.names_rows and (text := _example_of_unread(column)):
        example = place(column.codes == column.texts.index(text))
        way = _way_of_minutes(column) or _way_of_dates(column, text)
        return f"cells such as {example} are neither numbers nor dates in a known form{way}"
    return ""


def _way_of_minutes(column: Column) -> str:
    """How cells are read as minutes and seconds, or ""."""
    texts, counts = column.unmarked
    for form in MINUTES:
        if dates.best_of(form, texts, counts)[1] >= dates.SHARE * counts.sum():
            option = command_line(["--date", f"{escaped(column.name)}={form}"])
            return f"; if they are minutes and seconds, {option}"
    return ""


def _way_of_dates(column: Column, text: str) -> str:
    """How cells such as a text with a year and more are read as dates, or ""."""
    if not YEAR.search(text) or len(PARTS.findall(text)) < DATE_PARTS:
        return ""
    option = command_line(["--date", f"{escaped(column.name)}=FORMAT"])
    return f"; if they are dates, {option} of strptime"


def _may_be_minutes(column: Column) -> bool:
    """Whether times in hours and minutes may be minutes and seconds: these are not all rounded, as
    times of day to five minutes are.
    """
    if column.numbers is None or column.form not in HOURS:
        return False
    return bool((column.numbers[~column.gaps] % ROUNDED).any())


def _alike(column: Column) -> list[str]:
    """Rows and texts of the levels that are others in small letters."""
    rows = dict(zip(*column.unmarked))
    of_keys = grouped((text.casefold(), text) for text in rows)
    return [
        " and ".join(f"{rows[text]:,} {shown(text)}" for text in texts)
        for texts in of_keys.values()
        if len(texts) > 1
    ]


def _example_of_unread(column: Column) -> str:
    """Cell of text in which two numbers or more, and no more words, stand in one of a few ways, 7h
    56m, and that is no number or date; "" of others: one number behind letters is a name, A-1023.
    """
    texts, counts = column.unmarked
    shapes = [re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text)) for text in texts]
    rows = Counter[str]()
    for shape, count in zip(shapes, counts.tolist()):
        rows[shape] += count
    usual = dict(rows.most_common(SHAPES))
    are_numbers = all(shape.count("9") >= max(2, shape.count("a")) for shape in usual)
    if sum(usual.values()) < SHARE * counts.sum() or not are_numbers:
        return ""
    examples = [text for text, shape in zip(texts[:EXAMPLES], shapes) if shape in usual]
    unread = (t for t in examples if not (is_number(t, column.decimal) or dates.forms_of([t])))
    return next(unread, "")


def notes_of_days(columns: Iterable[AskedColumn]) -> Iterator[str]:
    """Notes on whole numbers that may be dates."""
    for request in columns:
        name, column = request.name, request.column
        if column.numbers is None or column.source != "number" or column.form is not None:
            continue
        numbers = column.numbers[np.isfinite(column.numbers)]
        if (form := _form_of_digits(numbers)) and not request.is_categorical:
            yield (
                f"{name}: whole numbers that look like dates, such as {numbers[0]:.0f}; to read "
                f"them: {command_line(['--date', f'{escaped(name)}={form}'])}"
            )


def notes_of_codes(columns: Iterable[AskedColumn]) -> Iterator[str]:
    """Notes on numbers that may be versions, or codes of missing cells: -999, 9999, 1e30, in
    several rows and beyond all others by more than their range.
    """
    for request in columns:
        name, column = request.name, request.column
        if column.numbers is None or column.source != "number" or column.form is not None:
            continue
        numbers = column.numbers[np.isfinite(column.numbers)]
        if column.alike and not request.is_categorical:
            text, number = column.alike
            yield (
                f"{name}: {text} is read as the number {number}; to keep them apart: "
                f"{command_line(['--categorical', escaped(name)])}"
            )
        ends = {numbers.min(), numbers.max()} if len(numbers) else set()
        codes = sorted(float(end) for end in ends if _is_code(end, column.is_float32))
        others = numbers[~np.isin(numbers, codes)]
        if not codes or not len(others) or request.is_categorical:
            continue
        low, high = float(others.min()), float(others.max())
        for code in codes:
            n, gap = int((numbers == code).sum()), max(low - code, code - high)
            if n >= REPEATED and gap > high - low > 0:
                yield (
                    f"{name}: {n:,} cells are {code:.15g}, far from the others ({low:.6g} to "
                    f"{high:.6g}): if it means missing, --na {escaped(name)}={code:.15g}"
                )


def _form_of_digits(numbers: np.ndarray) -> str:
    """Format of numbers that are dates as 20240307, or with hours, minutes and seconds; or ""."""
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < LEAST_DATES:
        return ""
    texts = [f"{value:.15g}" for value in values]
    form = DIGITS.get(len(texts[0]), "")
    if not form or texts[0][:8] < FIRST_DAY or texts[-1][:8] > LAST_DAY:
        return ""
    return form if dates.best_of(form, texts, counts)[1] >= dates.SHARE * len(numbers) else ""


def _is_code(number: float, is_float32: bool) -> bool:
    text = f"{number:.7g}" if is_float32 else f"{number:.15g}"
    return CODE.fullmatch(text) is not None or abs(number) >= HUGE
