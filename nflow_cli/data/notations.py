"""Numbers in text: thousands separators, currencies, units, accounting negatives, gap marks.

A column has one notation: the same unit in all cells, and separators that have one meaning.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.kinds import Notation
from nflow_cli.data.tables import MISSING, in_plain_form, is_mark

SHARE = 0.95  # of the cells that are no gap marks are numbers, at least
MAX_UNITS, NUMBERS = 3, 3  # that differ in a column, and numbers of each at least, for a note
LONGEST = 60  # letters of a number
_NUMBER = re.compile(r"[+-]?(\d++(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
MAX_AFFIX, MAX_DECIMALS = 18, 17
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
    found = CELL.fullmatch(in_plain_form(text)) if len(text) <= LONGEST else None
    if found is None:
        return None
    opened, sign, prefix, inner, mark, digits, suffix, behind, closed = found.groups("")
    before, after = prefix.strip(), suffix.strip()
    signs = [part for part in (opened, sign.strip("+"), inner, behind) if part]
    is_money = not before or CURRENCY.fullmatch(before)
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
        return LONGEST if not self.thousands else 3 if self.thousands in ".," else 4

    def numbers(self, digits: Iterable[str], most: int = LONGEST) -> np.ndarray:
        """Numbers of digits, NaN where these have other marks, or more than ``most`` in a row."""
        group, point = re.escape(self.thousands), re.escape(self.decimal)
        whole = rf"0|[1-9][0-9]{{0,{most - 1}}}"
        if group:
            whole += rf"|[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+"
        if self.thousands == ",":
            whole += LAKHS
        pattern = re.compile(rf"(?=.)({whole})?(?:{point}([0-9]+))?")
        found = (pattern.fullmatch(text) for text in digits)
        return np.array([self._number(one) if one else np.nan for one in found], float)

    def _number(self, found: re.Match[str]) -> float:
        whole, fraction = found.groups("0")
        return float(f"{whole.replace(self.thousands, '')}.{fraction}")


def _most(values: Iterable[Any], counts: Iterable[int]) -> Any:
    """The most frequent value."""
    tally = Counter[Any]()
    for value, count in zip(values, counts):
        tally[value] += count
    return max(tally, key=tally.__getitem__)


def marks_of(digits: Sequence[str], counts: np.ndarray, decimal: str) -> list[Marks]:
    """Meanings of the separators of distinct digits, in ``counts`` rows, that fit most of them.

    The first has the decimal mark of the table; each of the others leads to other numbers.
    """
    seen = {mark for text in digits for mark in text} & {*SEPARATORS}
    points = sorted(".,", key=lambda mark: mark != decimal)
    every = [Marks(group, point) for point in points for group in ["", *sorted(seen - {point})]]
    ways = {marks: marks.numbers(digits, marks.most) for marks in every}
    fits = {marks: int(counts[~np.isnan(numbers)].sum()) for marks, numbers in ways.items()}
    best = [marks for marks in every if fits[marks] == max(fits.values())]
    found: list[Marks] = []
    for marks in best:
        if not any(np.array_equal(ways[marks], ways[one], equal_nan=True) for one in found):
            found.append(marks)
    return found


def notation_of(
    texts: Sequence[str], counts: np.ndarray, decimal: str = ".", may_be_enclosed: bool = False
) -> Notation | None:
    """Notation of most of the distinct texts, in ``counts`` rows each; None if none fits them.

    ``decimal``, the mark of the table, decides what 1,204 is; not against a currency, whose numbers
    have no three decimals. Numbers that are all in parentheses are negative if they may be.
    """
    rows = {text: int(n) for text, n in zip(texts, counts) if n and not is_mark(text)}
    cells = {text: cell for text in rows if (cell := cell_of(text))}
    if not cells:
        return None
    unit = _most((cell.unit for cell in cells.values()), map(rows.__getitem__, cells))
    cells = {text: cell for text, cell in cells.items() if cell.unit == unit}
    some = np.array([*map(rows.__getitem__, cells)])
    if _why_unclear([*cells.values()], some, decimal, may_be_enclosed):
        return None
    digits = [cell.digits for cell in cells.values()]
    marks = marks_of(digits, some, decimal)[0]
    decimals = {len(text.partition(marks.decimal)[2]) for text in digits}
    signs = {text: cell.negative for text, cell in cells.items() if cell.negative}
    prefix, suffix = _most(((cell.prefix, cell.suffix) for cell in cells.values()), some)
    negative = ("-" + prefix, suffix)
    if signs:
        negative = _most(signs.values(), map(rows.__getitem__, signs))
    return Notation(
        prefix=prefix,
        suffix=suffix,
        thousands=marks.thousands,
        decimal="," if marks.decimal == "," else ".",
        decimals=decimals.pop() if len(decimals) == 1 and max(decimals) <= MAX_DECIMALS else None,
        negative=list(negative),
    )


def _why_unclear(
    cells: Sequence[Cell], some: np.ndarray, decimal: str, may_be_enclosed: bool = False
) -> str:
    """Why the numbers of distinct cells of one unit, in ``some`` rows each, are unclear, or ""."""
    if not may_be_enclosed and all(cell.negative and ")" in cell.negative[1] for cell in cells):
        return f"{TWO_WAYS}, in parentheses as negative ones or as standard errors"
    digits = [cell.digits for cell in cells]
    if decimal == "," and all(map(MONTH.fullmatch, digits)):
        return f"{TWO_WAYS}, with decimals or as months"
    marks, *others = marks_of(digits, some, decimal)
    decimals = {len(text.partition(marks.decimal)[2]) for text in digits}
    is_money = any(CURRENCY.fullmatch(affix.strip()) for affix in cells[0].unit)
    if others and is_money and 3 in decimals <= {0, 3}:
        first = next(text for text in digits if not text.isdecimal())
        ways = [f"{way.numbers([first])[0]:.15g}" for way in (marks, others[0])]
        return f"{TWO_WAYS}, {first} as {' or '.join(ways)}"
    with_mark = some[[marks.decimal in text for text in digits]].sum()
    if marks.decimal != decimal and 0 < with_mark < some.sum() / 2:
        return f"{TWO_WAYS}, with decimals or as lists"
    return ""


def numbers_of(texts: Sequence[str], notation: Notation | None, decimal: str = ".") -> np.ndarray:
    """Numbers of texts `(n,)`, NaN of those in another notation; None: digits with the mark
    ``decimal``.

    Texts that all lack the unit are read without.
    """
    plain = [_plain_number(text, decimal) for text in texts]
    if notation is None:
        return np.array(plain, float)
    cells = [cell_of(text) for text in texts]
    unit = _unit(notation.prefix, notation.suffix)
    if not any(cell and cell.unit == unit for cell in cells):
        unit = ("", "")
    marks = Marks(notation.thousands, notation.decimal)
    known = [cell if cell and cell.unit == unit else None for cell in cells]
    sizes = marks.numbers(cell.digits if cell else "" for cell in known)
    signs = np.array([-1.0 if cell and cell.negative else 1.0 for cell in known])
    return np.where(np.isnan(sizes) & (unit == ("", "")), plain, signs * sizes)


def _plain_number(text: str, decimal: str) -> float:
    text = in_plain_form(text)
    is_one = is_number(text, decimal) and not CODE.fullmatch(text)
    return float(text.replace(decimal, ".")) if is_one else np.nan


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
    found = notation_of(texts, counts, decimal, may_be_enclosed)
    ways = [(numbers_of(texts, way, decimal), way) for way in ([None, found] if found else [None])]
    known = [counts[~np.isnan(numbers)].sum() for numbers, _ in ways]
    numbers, way = ways[int(np.argmax(known))]
    return (numbers, way) if max(known) and are_numbers(numbers, texts, counts) else None


def decimal_of(cells: Iterable[str]) -> str | None:
    """Decimal mark of a column of numbers, "" if comma and point may be; None of other text."""
    some = (text for text in map(str.strip, cells) if text.lower() not in MISSING)
    rows = Counter(text for text in some if not MONTH.fullmatch(text))
    texts, counts = [*rows], np.array([*rows.values()], int)
    ways = {mark: way for mark in ".," if (way := read_numbers(texts, counts, mark))}
    marks = {mark: way.decimal if way else mark for mark, (_, way) in ways.items()}
    found = marks.get(".", "")  # the comma of 4,6 among 4 and 6 is none for certain
    return (found if marks.get(",", found) == found else "") if ways else None


def texts_of(numbers: np.ndarray, notation: Notation, decimals: int | None = None) -> list[str]:
    """Texts of numbers `(n,)` in a notation; ``decimals``, at most, where it has no number of them.

    An infinite one is ``inf`` or ``-inf``.
    """
    to_marks = str.maketrans({",": notation.thousands, ".": notation.decimal})
    found = []
    for number in numbers.tolist():
        if not np.isfinite(number):
            found.append(str(number))
            continue
        places = decimals if notation.decimals is None else notation.decimals
        size = abs(number if places is None else round(number, places))
        exact = f"{Decimal(repr(size)):,f}".removesuffix(".0")
        digits = exact if notation.decimals is None else f"{size:,.{places}f}"
        affixes = notation.negative if number < 0 < size else (notation.prefix, notation.suffix)
        found.append(digits.translate(to_marks).join(affixes))
    return found


def why_none(
    texts: Sequence[str], counts: np.ndarray, decimal: str = "."
) -> tuple[str, list[int]] | None:
    """Why texts in ``counts`` rows each, numbers with a unit or separators, have no notation, and
    the places of examples; None of other texts.
    """
    rows = {i: int(n) for i, n in enumerate(counts) if n and not is_mark(texts[i])}
    cells = {i: cell for i in rows if (cell := cell_of(texts[i]))}
    if not cells or sum(map(rows.__getitem__, cells)) < SHARE * sum(rows.values()):
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
