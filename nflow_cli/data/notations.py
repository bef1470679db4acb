"""Numbers in text: thousands separators, currencies, units, accounting negatives, gap marks.

A column has one notation: the same unit in all cells, and separators that have one meaning.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

import numpy as np

from nflow_cli.config.kinds import Notation
from nflow_cli.data.tables import MISSING, in_plain_form, is_mark

SHARE = 0.95  # of the cells that are no gap marks are numbers, at least
MAX_UNITS = 3  # that differ in a column, for a note,
NUMBERS = 3  # and numbers of each at least
LONGEST = 60  # letters of a number
_NUMBER = re.compile(r"[+-]?(\d++(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
MAX_AFFIX = 18  # letters
MAX_DECIMALS = 17
SPACES = " \u00a0\u202f\u2009"
SEPARATORS = f".,{SPACES}'’"
MINUS = "-−–"
SIGNS = "$€£¥₹₽₩₺₴₪₫₱฿₦₡₲₵₸₭₮₼₾¢"
CODES = (
    "USD|EUR|GBP|CHF|JPY|CNY|RMB|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RUB|TRY|UAH|INR|AUD|CAD"
    "|NZD|SGD|HKD|TWD|KRW|THB|IDR|MYR|PHP|VND|BRL|MXN|ARS|CLP|COP|PEN|ZAR|NGN|KES|EGP|ILS"
    "|AED|SAR|XAF|XOF|kr|Kr|zł|Kč|Ft|lei|Fr|SFr|Rs"
)
CURRENCY = re.compile(rf"[A-Z]{{0,3}}[{SIGNS}]|(?:{CODES})\.?")
UNIT = re.compile(r"[^\W\d_]{1,12}[²³]?(?:[/·][^\W\d_]{1,5}[²³]?)?|[%‰°]|°[CF]")
CODE = re.compile(r"[^\W\d_]\d+|\d+[^\W\d_]|0\d.*")  # beside numbers, these make codes of them
MONTH = re.compile(r"[01]?\d\.(?:19|20)\d\d")  # where commas are decimal marks
LAKHS = "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"  # 1,20,400
TWO_WAYS = "numbers that can be read in two ways"
# Sign, prefix, sign, digits, suffix, sign. Digits begin with a mark only where no letter is before.
CELL = re.compile(
    rf"(\()?([{MINUS}+]?)([^0-9{MINUS}+(]*?)([{MINUS}]?)((?<![^\W\d_])[.,])?"
    rf"([0-9]+(?:[{SEPARATORS}][0-9]+)*)([^0-9)]*?)([{MINUS}]?)(\))?"
)


def is_number(cell: str, decimal: str) -> bool:
    """Whether a cell is a number."""
    cell = cell.strip()
    if decimal == ",":
        cell = cell.replace(".", "?").replace(",", ".")
    return _NUMBER.fullmatch(cell) is not None


def is_text(cell: str, decimal: str) -> bool:
    """Whether a cell is neither a number nor missing."""
    return not is_number(cell, decimal) and cell.strip().lower() not in MISSING


class Cell(NamedTuple):
    """Parts of a number in text.

    Attributes:
        prefix: Before the digits, without a sign; likewise ``suffix`` behind them.
        unit: Prefix and suffix with plain spaces.
        negative: What stands before and behind the digits of a negative number; None of others.
        digits: With separators.
    """

    prefix: str
    suffix: str
    unit: tuple[str, ...]
    negative: tuple[str, str] | None
    digits: str


def _unit(*affixes: str) -> tuple[str, ...]:
    return tuple(re.sub(f"[{SPACES}]+", " ", affix) for affix in affixes)


def cell_of(text: str) -> Cell | None:
    """Parts of a text that is a number, with or without a currency or a unit."""
    match = CELL.fullmatch(in_plain_form(text)) if len(text) <= LONGEST else None
    if match is None:
        return None
    opened, sign, prefix, inner, mark, digits, suffix, behind, closed = match.groups("")
    signs = [part for part in (opened, sign.strip("+"), inner, behind) if part]
    before = prefix.strip()
    is_money = not before or CURRENCY.fullmatch(before)
    after = suffix.strip()
    has_unit = not after or CURRENCY.fullmatch(after) or UNIT.fullmatch(after)
    if not (is_money and has_unit) or len(signs) > 1 or bool(opened) != bool(closed):
        return None
    if max(len(prefix), len(suffix)) > MAX_AFFIX or (behind and digits.isdecimal()):  # 50-: more
        return None
    negative = (opened + sign + prefix + inner, suffix + behind + closed) if signs else None
    return Cell(prefix, suffix, _unit(prefix, suffix), negative, mark + digits)


class Marks(NamedTuple):
    """Thousands separator, if any, and decimal mark."""

    thousands: str
    decimal: str

    @property
    def most(self) -> int:
        """Digits in a row, where all numbers are grouped; a space may be left out of four."""
        if not self.thousands:
            return LONGEST
        return 3 if self.thousands in ".," else 4

    def numbers(self, digits: Iterable[str], most: int = LONGEST) -> np.ndarray:
        """Numbers of digits, NaN where these have other marks, or more than ``most`` in a row."""
        integer = rf"0|[1-9][0-9]{{0,{most - 1}}}"
        if self.thousands:
            integer += rf"|[1-9][0-9]{{0,2}}(?:{re.escape(self.thousands)}[0-9]{{3}})+"
        if self.thousands == ",":
            integer += LAKHS
        pattern = re.compile(rf"(?=.)({integer})?(?:{re.escape(self.decimal)}([0-9]+))?")
        return np.array([self._number(pattern.fullmatch(text)) for text in digits], float)

    def _number(self, match: re.Match[str] | None) -> float:
        if match is None:
            return np.nan
        integer, fraction = match.groups("0")
        return float(f"{integer.replace(self.thousands, '')}.{fraction}")


_Value = TypeVar("_Value", bound=Hashable)


def _most(pairs: Iterable[tuple[_Value, int]]) -> _Value:
    """The most frequent of values with their rows."""
    tally = Counter[_Value]()
    for value, rows in pairs:
        tally[value] += rows
    return max(tally, key=tally.__getitem__)


def marks_of(digits: Sequence[str], counts: np.ndarray, decimal: str) -> list[Marks]:
    """Meanings of the separators of distinct digits, in ``counts`` rows, that fit most of them.

    The first has the decimal mark of the table; each of the others leads to other numbers.
    """
    separators = {mark for text in digits for mark in text} & {*SEPARATORS}
    candidates = [
        Marks(group, point)
        for point in sorted(".,", key=lambda mark: mark != decimal)
        for group in ["", *sorted(separators - {point})]
    ]
    numbers = {marks: marks.numbers(digits, marks.most) for marks in candidates}
    rows = {marks: int(counts[~np.isnan(read)].sum()) for marks, read in numbers.items()}
    meanings: list[Marks] = []
    for marks in candidates:
        is_new = not any(
            np.array_equal(numbers[marks], numbers[meaning], equal_nan=True) for meaning in meanings
        )
        if rows[marks] == max(rows.values()) and is_new:
            meanings.append(marks)
    return meanings


def notation_of(
    texts: Sequence[str], counts: np.ndarray, decimal: str = ".", may_be_enclosed: bool = False
) -> Notation | None:
    """Notation of most of the distinct texts, in ``counts`` rows each; None if none fits them.

    ``decimal``, the mark of the table, decides what 1,204 is; not against a currency, whose numbers
    have no three decimals. Numbers that are all in parentheses are negative if they may be.
    """
    known = [i for i, text in enumerate(texts) if counts[i] and not is_mark(text)]
    cells = {i: cell_of(texts[i]) for i in known}
    numbers = [(cell, int(counts[i])) for i, cell in cells.items() if cell is not None]
    if not numbers:
        return None
    unit = _most((cell.unit, rows) for cell, rows in numbers)
    numbers = [(cell, rows) for cell, rows in numbers if cell.unit == unit]
    rows = np.array([rows for _, rows in numbers])
    if _why_unclear([cell for cell, _ in numbers], rows, decimal, may_be_enclosed):
        return None
    digits = [cell.digits for cell, _ in numbers]
    marks = marks_of(digits, rows, decimal)[0]
    decimals = {len(text.partition(marks.decimal)[2]) for text in digits}
    prefix, suffix = _most(((cell.prefix, cell.suffix), rows) for cell, rows in numbers)
    negative = ("-" + prefix, suffix)
    if any(cell.negative for cell, _ in numbers):
        negative = _most((cell.negative, rows) for cell, rows in numbers if cell.negative)
    return Notation(
        prefix=prefix,
        suffix=suffix,
        thousands=marks.thousands,
        decimal="," if marks.decimal == "," else ".",
        decimals=decimals.pop() if len(decimals) == 1 and max(decimals) <= MAX_DECIMALS else None,
        negative=list(negative),
    )


def _why_unclear(
    cells: Sequence[Cell], rows: np.ndarray, decimal: str, may_be_enclosed: bool = False
) -> str:
    """Why the numbers of distinct cells of one unit, in ``rows`` each, are unclear, or ""."""
    if not may_be_enclosed and all(cell.negative and ")" in cell.negative[1] for cell in cells):
        return f"{TWO_WAYS}, in parentheses as negative ones or as standard errors"
    digits = [cell.digits for cell in cells]
    if decimal == "," and all(map(MONTH.fullmatch, digits)):
        return f"{TWO_WAYS}, with decimals or as months"
    marks, *others = marks_of(digits, rows, decimal)
    decimals = {len(text.partition(marks.decimal)[2]) for text in digits}
    is_money = any(CURRENCY.fullmatch(affix.strip()) for affix in cells[0].unit)
    if others and is_money and 3 in decimals <= {0, 3}:
        first = next(text for text in digits if not text.isdecimal())
        ways = [f"{way.numbers([first])[0]:.15g}" for way in (marks, others[0])]
        return f"{TWO_WAYS}, {first} as {' or '.join(ways)}"
    with_mark = rows[[marks.decimal in text for text in digits]].sum()
    if marks.decimal != decimal and 0 < with_mark < rows.sum() / 2:
        return f"{TWO_WAYS}, with decimals or as lists"
    return ""


def numbers_of(texts: Sequence[str], notation: Notation | None, decimal: str = ".") -> np.ndarray:
    """Numbers of texts `(n,)`, NaN of those in another notation; None: digits with the mark
    ``decimal``.

    Texts that all lack the unit are read without.
    """
    plain = np.array([_plain_number(text, decimal) for text in texts], float)
    if notation is None:
        return plain
    cells = [cell_of(text) for text in texts]
    unit = _unit(notation.prefix, notation.suffix)
    if not any(cell and cell.unit == unit for cell in cells):
        unit = ("", "")
    of_unit = {i: cell for i, cell in enumerate(cells) if cell and cell.unit == unit}
    marks = Marks(notation.thousands, notation.decimal)
    sizes = marks.numbers(cell.digits for cell in of_unit.values())
    signs = np.where([cell.negative is not None for cell in of_unit.values()], -1.0, 1.0)
    numbers = np.full(len(texts), np.nan)
    numbers[[*of_unit]] = signs * sizes
    if unit == ("", ""):
        return np.where(np.isnan(numbers), plain, numbers)
    return numbers


def _plain_number(text: str, decimal: str) -> float:
    text = in_plain_form(text)
    if not is_number(text, decimal) or CODE.fullmatch(text):
        return np.nan
    return float(text.replace(decimal, "."))


def are_numbers(values: np.ndarray, texts: Sequence[str], counts: np.ndarray) -> bool:
    """Whether distinct texts with these values, in ``counts`` rows each, are a column of numbers:
    95 % of the cells that are no gap marks, and none of the others a code such as 136A.
    """
    known = ~np.isnan(values)
    others = [(i, text) for i, text in enumerate(texts) if not (known[i] or is_mark(text))]
    if any(CODE.fullmatch(text) for _, text in others):
        return False
    total = counts[known].sum() + counts[[i for i, _ in others]].sum()
    return bool(counts[known].sum() >= SHARE * total)


def read_numbers(
    texts: Sequence[str], counts: np.ndarray, decimal: str = ".", may_be_enclosed: bool = False
) -> tuple[np.ndarray, Notation | None] | None:
    """Numbers of distinct texts `(n,)`, in ``counts`` rows each, and their notation, if not digits
    alone; None if they are no column of numbers.
    """
    numbers = numbers_of(texts, None, decimal)
    rows = counts[~np.isnan(numbers)].sum()
    notation = notation_of(texts, counts, decimal, may_be_enclosed)
    if notation is not None:
        in_notation = numbers_of(texts, notation, decimal)
        rows_in_notation = counts[~np.isnan(in_notation)].sum()
        if rows_in_notation > rows:
            rows = rows_in_notation
            numbers = in_notation
        else:
            notation = None
    if not rows or not are_numbers(numbers, texts, counts):
        return None
    return numbers, notation


def decimal_of(cells: Iterable[str]) -> str | None:
    """Decimal mark of a column of numbers, "" if comma and point may be; None of other text."""
    known = (text for text in map(str.strip, cells) if text.lower() not in MISSING)
    rows = Counter(text for text in known if not MONTH.fullmatch(text))
    counts = np.array([*rows.values()], int)
    marks = {}
    for mark in ".,":
        read = read_numbers([*rows], counts, mark)
        if read is not None:
            _, notation = read
            marks[mark] = notation.decimal if notation else mark
    if not marks:
        return None
    by_point = marks.get(".", "")  # the comma of 4,6 among 4 and 6 is none for certain
    return by_point if marks.get(",", by_point) == by_point else ""


def texts_of(numbers: np.ndarray, notation: Notation, decimals: int | None = None) -> list[str]:
    """Texts of numbers `(n,)` in a notation; ``decimals``, at most, where it has no number of them.

    An infinite one is ``inf`` or ``-inf``.
    """
    to_marks = str.maketrans({",": notation.thousands, ".": notation.decimal})
    places = decimals if notation.decimals is None else notation.decimals
    texts = []
    for number in numbers.tolist():
        if not np.isfinite(number):
            texts.append(str(number))
            continue
        size = abs(number if places is None else round(number, places))
        if notation.decimals is None:
            digits = f"{Decimal(repr(size)):,f}".removesuffix(".0")
        else:
            digits = f"{size:,.{places}f}"
        affixes = notation.negative if number < 0 < size else (notation.prefix, notation.suffix)
        texts.append(digits.translate(to_marks).join(affixes))
    return texts


def why_none(
    texts: Sequence[str], counts: np.ndarray, decimal: str = "."
) -> tuple[str, list[int]] | None:
    """Why texts in ``counts`` rows each, numbers with a unit or separators, have no notation, and
    the places of examples; None of other texts.
    """
    known = [i for i, text in enumerate(texts) if counts[i] and not is_mark(text)]
    parsed = {i: cell_of(texts[i]) for i in known}
    cells = {i: cell for i, cell in parsed.items() if cell is not None}
    if not cells or counts[[*cells]].sum() < SHARE * counts[known].sum():
        return None
    if any(CODE.fullmatch(text) for text in texts):
        return None
    units: dict[tuple[str, ...], list[int]] = {}
    for i, cell in cells.items():
        units.setdefault(cell.unit, []).append(i)
    if len(units) == 1:
        if all(texts[i].isdecimal() for i in cells):
            return "digits that are not stored as numbers", [*cells][:1]
        why = _why_unclear([*cells.values()], counts[[*cells]], decimal)
        with_marks = [i for i, cell in cells.items() if not cell.digits.isdecimal()]
        return (why, (with_marks or [*cells])[:1]) if why else None
    if len(units) > MAX_UNITS or min(map(len, units.values())) < NUMBERS:  # as 1st, 2nd
        return None
    return "numbers of several units", sorted(places[0] for places in units.values())
