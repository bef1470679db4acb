"""Numbers in text: thousands separators, currencies, units, accounting negatives, gap marks.

A column has one notation: the same unit in all cells, and separators that have one meaning.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

import numpy as np

from nflow_cli.config.column_kinds import Notation
from nflow_cli.data.files.tables import MISSING, in_plain_form, is_mark

NUMBER_SHARE = 0.95  # of the cells that are no gap marks are numbers, at least
MAX_UNITS = 3  # that differ in a column, for a note,
NUMBERS_A_UNIT = 3  # and numbers of each at least
MAX_LETTERS = 60  # of a number in text
_NUMBER = re.compile(r"[+-]?(\d++(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.I)
MAX_AFFIX = 18  # letters before a number, and behind it
MAX_DECIMALS = 17  # of a notation: schema
KINDS_OF_SPACES = " \u00a0\u202f\u2009"
SEPARATORS = f".,{KINDS_OF_SPACES}'’"
MINUS_SIGNS = "-−–"
CURRENCY_SIGNS = "$€£¥₹₽₩₺₴₪₫₱฿₦₡₲₵₸₭₮₼₾¢"
CURRENCY_CODES = (
    "USD|EUR|GBP|CHF|JPY|CNY|RMB|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RUB|TRY|UAH|INR|AUD|CAD"
    "|NZD|SGD|HKD|TWD|KRW|THB|IDR|MYR|PHP|VND|BRL|MXN|ARS|CLP|COP|PEN|ZAR|NGN|KES|EGP|ILS"
    "|AED|SAR|XAF|XOF|kr|Kr|zł|Kč|Ft|lei|Fr|SFr|Rs"
)
CURRENCY = re.compile(rf"[A-Z]{{0,3}}[{CURRENCY_SIGNS}]|(?:{CURRENCY_CODES})\.?")
UNIT = re.compile(r"[^\W\d_]{1,12}[²³]?(?:[/·][^\W\d_]{1,5}[²³]?)?|[%‰°]|°[CF]")
# Numbers beside such texts are codes, too: A1, 136A, 007.
CODE_AMONG_NUMBERS = re.compile(r"[^\W\d_]\d+|\d+[^\W\d_]|0\d.*")
MONTH_OF_YEAR = re.compile(r"[01]?\d\.(?:19|20)\d\d")  # where commas are decimal marks
INDIAN_GROUPS = "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"  # 1,20,400
TWO_WAYS = "numbers that can be read in two ways"
# Sign, prefix, sign, digits, suffix, sign. Digits begin with a mark only where no letter is before.
NUMBER_WITH_AFFIXES = re.compile(
    rf"(\()?([{MINUS_SIGNS}+]?)([^0-9{MINUS_SIGNS}+(]*?)([{MINUS_SIGNS}]?)((?<![^\W\d_])[.,])?"
    rf"([0-9]+(?:[{SEPARATORS}][0-9]+)*)([^0-9)]*?)([{MINUS_SIGNS}]?)(\))?"
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


class NumberParts(NamedTuple):
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


def _unit_of_affixes(*affixes: str) -> tuple[str, ...]:
    """Unit of a number: its prefix and suffix, runs of any blanks as one plain space."""
    return tuple(re.sub(f"[{KINDS_OF_SPACES}]+", " ", affix) for affix in affixes)


def parts_of_number(text: str) -> NumberParts | None:
    """Parts of a text that is a number, with or without a currency or a unit; None of others."""
    match = NUMBER_WITH_AFFIXES.fullmatch(in_plain_form(text)) if len(text) <= MAX_LETTERS else None
    if match is None:
        return None
    opened, sign, prefix, inner_sign, first_mark, digits, suffix, end_sign, closed = match.groups(
        ""
    )
    signs = [part for part in (opened, sign.strip("+"), inner_sign, end_sign) if part]
    before = prefix.strip()
    suits_before = not before or CURRENCY.fullmatch(before)
    after = suffix.strip()
    suits_after = not after or CURRENCY.fullmatch(after) or UNIT.fullmatch(after)
    if not (suits_before and suits_after) or len(signs) > 1 or bool(opened) != bool(closed):
        return None
    # 50- is no negative number, but 50 or more.
    if max(len(prefix), len(suffix)) > MAX_AFFIX or (end_sign and digits.isdecimal()):
        return None
    negative = (opened + sign + prefix + inner_sign, suffix + end_sign + closed) if signs else None
    return NumberParts(
        prefix, suffix, _unit_of_affixes(prefix, suffix), negative, first_mark + digits
    )


class Separators(NamedTuple):
    """Meaning of the marks in digits: the thousands separator, "" without one, and the decimal
    mark.
    """

    thousands: str
    decimal: str

    @property
    def max_run(self) -> int:
        """Most digits without a separator, if all numbers are grouped; with spaces or apostrophes
        four, as 1234 may have none.
        """
        if not self.thousands:
            return MAX_LETTERS
        return 3 if self.thousands in ".," else 4

    def numbers(self, digits: Iterable[str], max_run: int = MAX_LETTERS) -> np.ndarray:
        """Numbers ``(n,)`` of texts of digits with these separators; NaN of others, and of those
        with more than ``max_run`` digits before the decimal mark and without a separator.
        """
        integer = rf"0|[1-9][0-9]{{0,{max_run - 1}}}"
        if self.thousands:
            integer += rf"|[1-9][0-9]{{0,2}}(?:{re.escape(self.thousands)}[0-9]{{3}})+"
        if self.thousands == ",":
            integer += INDIAN_GROUPS
        pattern = re.compile(rf"(?=.)({integer})?(?:{re.escape(self.decimal)}([0-9]+))?")
        return np.array([self._number(pattern.fullmatch(text)) for text in digits], float)

    def _number(self, match: re.Match[str] | None) -> float:
        """Number of a match of its integer part and its decimals; NaN of none."""
        if match is None:
            return np.nan
        integer, fraction = match.groups("0")
        return float(f"{integer.replace(self.thousands, '')}.{fraction}")


_Value = TypeVar("_Value", bound=Hashable)


def _most_frequent(pairs: Iterable[tuple[_Value, int]]) -> _Value:
    """Value of the most rows in all, of pairs of a value and a number of rows."""
    rows_of_value = Counter[_Value]()
    for value, rows in pairs:
        rows_of_value[value] += rows
    return max(rows_of_value, key=rows_of_value.__getitem__)


def readings_of_separators(
    digits: Sequence[str], counts: np.ndarray, decimal: str
) -> list[Separators]:
    """Readings of the separators with which the most rows are numbers: of texts ``digits``, each in
    ``counts`` rows.

    The first has the decimal mark of the table, if it fits; each leads to other numbers than all
    before it. Where none fits, all texts are NaN, and one reading is left.
    """
    marks_in_use = {mark for text in digits for mark in text} & {*SEPARATORS}
    candidates = [
        Separators(group, point)
        for point in sorted(".,", key=lambda mark: mark != decimal)
        for group in ["", *sorted(marks_in_use - {point})]
    ]
    numbers = {  # of each text, NaN if it does not fit; groups are of at most max_run digits
        separators: separators.numbers(digits, separators.max_run) for separators in candidates
    }
    rows = {separators: int(counts[~np.isnan(x)].sum()) for separators, x in numbers.items()}
    readings: list[Separators] = []
    for separators in candidates:
        is_new = not any(
            np.array_equal(numbers[separators], numbers[earlier], equal_nan=True)
            for earlier in readings
        )
        if rows[separators] == max(rows.values()) and is_new:
            readings.append(separators)
    return readings


def notation_of(
    texts: Sequence[str], counts: np.ndarray, decimal: str = ".", may_be_enclosed: bool = False
) -> Notation | None:
    """Notation of most of the distinct texts, in ``counts`` rows each; None if none fits them.

    ``decimal``, the mark of the table, decides what 1,204 is; not against a currency, whose numbers
    have no three decimals. Numbers that are all in parentheses are negative if they may be.
    """
    known = [i for i, text in enumerate(texts) if counts[i] and not is_mark(text)]
    parsed = {i: parts_of_number(texts[i]) for i in known}
    numbers = [(number, int(counts[i])) for i, number in parsed.items() if number is not None]
    if not numbers:
        return None
    unit = _most_frequent((number.unit, n) for number, n in numbers)
    numbers = [(number, n) for number, n in numbers if number.unit == unit]
    rows = np.array([n for _, n in numbers])
    if _why_unclear([number for number, _ in numbers], rows, decimal, may_be_enclosed):
        return None
    digits = [number.digits for number, _ in numbers]
    separators = readings_of_separators(digits, rows, decimal)[0]
    decimals = {len(text.partition(separators.decimal)[2]) for text in digits}
    prefix, suffix = _most_frequent(((number.prefix, number.suffix), n) for number, n in numbers)
    negative = ("-" + prefix, suffix)
    if any(number.negative for number, _ in numbers):
        negative = _most_frequent((number.negative, n) for number, n in numbers if number.negative)
    return Notation(
        prefix=prefix,
        suffix=suffix,
        thousands=separators.thousands,
        decimal="," if separators.decimal == "," else ".",
        decimals=decimals.pop() if len(decimals) == 1 and max(decimals) <= MAX_DECIMALS else None,
        negative=list(negative),
    )


def _why_unclear(
    numbers: Sequence[NumberParts], rows: np.ndarray, decimal: str, may_be_enclosed: bool = False
) -> str:
    """Why distinct numbers of one unit, in ``rows`` rows each, can be read in two ways, or "".

    ``decimal`` and ``may_be_enclosed`` as of :func:`notation_of`.
    """
    if not may_be_enclosed and all(n.negative and ")" in n.negative[1] for n in numbers):
        return f"{TWO_WAYS}, in parentheses as negative ones or as standard errors"
    digits = [number.digits for number in numbers]
    if decimal == "," and all(map(MONTH_OF_YEAR.fullmatch, digits)):
        return f"{TWO_WAYS}, with decimals or as months"
    separators, *others = readings_of_separators(digits, rows, decimal)
    decimals = {len(text.partition(separators.decimal)[2]) for text in digits}
    is_money = any(CURRENCY.fullmatch(affix.strip()) for affix in numbers[0].unit)
    if others and is_money and 3 in decimals <= {0, 3}:
        first = next(text for text in digits if not text.isdecimal())
        ways = [f"{reading.numbers([first])[0]:.15g}" for reading in (separators, others[0])]
        return f"{TWO_WAYS}, {first} as {' or '.join(ways)}"
    n_with_mark = rows[[separators.decimal in text for text in digits]].sum()
    if separators.decimal != decimal and 0 < n_with_mark < rows.sum() / 2:
        return f"{TWO_WAYS}, with decimals or as lists"
    return ""


def numbers_of(texts: Sequence[str], notation: Notation | None, decimal: str = ".") -> np.ndarray:
    """Numbers `(n,)` of texts in a notation, NaN of other texts; without a notation, of digits with
    the decimal mark ``decimal``.

    If no text has the notation's unit, numbers without a unit are read; digits alone always are.
    """
    plain = np.array([_plain_number(text, decimal) for text in texts], float)
    if notation is None:
        return plain
    parsed = [parts_of_number(text) for text in texts]
    unit = _unit_of_affixes(notation.prefix, notation.suffix)
    if not any(number and number.unit == unit for number in parsed):
        unit = ("", "")
    of_unit = {i: number for i, number in enumerate(parsed) if number and number.unit == unit}
    separators = Separators(notation.thousands, notation.decimal)
    sizes = separators.numbers(number.digits for number in of_unit.values())
    signs = np.where([number.negative is not None for number in of_unit.values()], -1.0, 1.0)
    numbers = np.full(len(texts), np.nan)
    numbers[[*of_unit]] = signs * sizes
    if unit == ("", ""):
        return np.where(np.isnan(numbers), plain, numbers)
    return numbers


def _plain_number(text: str, decimal: str) -> float:
    """Number of a text of digits with a decimal mark; NaN of other text, and of codes as 007."""
    text = in_plain_form(text)
    if not is_number(text, decimal) or CODE_AMONG_NUMBERS.fullmatch(text):
        return np.nan
    return float(text.replace(decimal, "."))


def are_numbers(values: np.ndarray, texts: Sequence[str], counts: np.ndarray) -> bool:
    """Whether distinct texts, in ``counts`` rows each, are a column of numbers: ``values``, NaN of
    no number, of 95 % of the cells that are no gap marks, and none of the others a code, as 136A.
    """
    known = ~np.isnan(values)
    others = [(i, text) for i, text in enumerate(texts) if not (known[i] or is_mark(text))]
    if any(CODE_AMONG_NUMBERS.fullmatch(text) for _, text in others):
        return False
    total = counts[known].sum() + counts[[i for i, _ in others]].sum()
    return bool(counts[known].sum() >= NUMBER_SHARE * total)


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
    rows = Counter(text for text in known if not MONTH_OF_YEAR.fullmatch(text))
    counts = np.array([*rows.values()], int)
    marks = {}  # that the cells have in a table of each decimal mark, if they are numbers there
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
    """Texts of numbers `(n,)` in a notation; if its decimals vary, with at most ``decimals``.

    An infinite number is ``inf`` or ``-inf``.
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


def why_no_notation(
    texts: Sequence[str], counts: np.ndarray, decimal: str = "."
) -> tuple[str, list[int]] | None:
    """Why distinct texts, in ``counts`` rows each, that are numbers with a unit or separators have
    no notation, and the indices of examples; None if they are other texts.
    """
    known = [i for i, text in enumerate(texts) if counts[i] and not is_mark(text)]
    parsed = {i: parts_of_number(texts[i]) for i in known}
    numbers = {i: number for i, number in parsed.items() if number is not None}
    if not numbers or counts[[*numbers]].sum() < NUMBER_SHARE * counts[known].sum():
        return None
    if any(CODE_AMONG_NUMBERS.fullmatch(text) for text in texts):
        return None
    indices_by_unit: dict[tuple[str, ...], list[int]] = {}
    for i, number in numbers.items():
        indices_by_unit.setdefault(number.unit, []).append(i)
    if len(indices_by_unit) == 1:
        if all(texts[i].isdecimal() for i in numbers):
            return "digits that are not stored as numbers", [*numbers][:1]
        why = _why_unclear([*numbers.values()], counts[[*numbers]], decimal)
        with_marks = [i for i, number in numbers.items() if not number.digits.isdecimal()]
        return (why, (with_marks or [*numbers])[:1]) if why else None
    n_least = min(map(len, indices_by_unit.values()))
    if len(indices_by_unit) > MAX_UNITS or n_least < NUMBERS_A_UNIT:  # as 1st, 2nd
        return None
    return "numbers of several units", sorted(indices[0] for indices in indices_by_unit.values())
