"""Dates and times in text: detection of their format, and conversion to numbers.

Dates are days, dates with a time seconds since 1970-01-01 (UTC, or without a time zone); times of
day seconds since midnight.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, product
from typing import Literal

import numpy as np

from nflow_cli.data.files.tables import in_plain_form

DAY = 86_400
UNITS = {"f": 1e-6, "S": 1.0, "M": 60.0, "H": 3_600.0, "I": 3_600.0}  # seconds of a last part
SHARE = 0.95  # of the cells that are no gap marks have the format, at least
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONG_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August")
LONG_MONTHS += ("September", "October", "November", "December")
HALVES = ("AM", "PM")

# Parts of strftime formats, and their patterns. %f is a fraction with its point; - lacks a leading
# zero, ^ is in capitals and # in small letters.
CASES: dict[str, Callable[[str], str]] = {"": str, "^": str.upper, "#": str.lower}
WORDS = {
    f"%{flag}{letter}": tuple(map(case, names))
    for flag, case in CASES.items()
    for letter, names in (("b", MONTHS), ("B", LONG_MONTHS), ("p", HALVES))
}
PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{2})",
    "%d": r"(?P<d>\d{2})",
    "%-m": r"(?P<m>\d{1,2})",
    "%-d": r"(?P<d>\d{1,2})",
    "%H": r"(?P<H>[01]\d|2[0-3])",
    "%-H": r"(?P<H>1\d|2[0-3]|\d)",
    "%I": r"(?P<I>0[1-9]|1[0-2])",
    "%-I": r"(?P<I>1[0-2]|[1-9])",
    "%M": r"(?P<M>[0-5]\d)",
    "%-M": r"(?P<M>[1-5]\d|\d)",
    "%S": r"(?P<S>[0-5]\d)",
    "%f": r"(?P<f>\.\d{1,9})",
    **{part: f"(?P<{part[-1]}>{'|'.join(names)})" for part, names in WORDS.items()},
}
_PART = re.compile(r"%[-^#]?[A-Za-z]")
# Layouts of the numbers and names in a text, and the forms that dates and times of these have.
_DATES = ("Ymd", "dmY", "mdY", "dmy", "mdy", "ymd", "mY", "Ym")
_TIMES = ("HM", "HMS", "HMSf")
_LAYOUTS = [*_DATES, *_TIMES, *map("".join, product(_DATES, _TIMES))]
_LAYOUTS += [f"{layout.replace('H', 'I')}p" for layout in _LAYOUTS if "H" in layout]
_BY_NUMBERS = r"%[Yymd](?P<joint>[-/.]|\.? )%[md](?P=joint)%[Yymd]\.?"
_BY_NUMBERS += r"|%Y[^\W\d_] ?%m[^\W\d_] ?%d[^\W\d_]?|%[mb][-/. ]%Y|%Y[-/. ]%[mb]"
_BY_NAMES = r"%[dY][-/. ]{0,2}%b[-/. ]{0,2}%[dYy]|%b[-. ]{1,2}%d,? %Y"
_CLOCK = r"%[HI]:%M(:%S(\.%f)?)?( ?%p)?"
_SHAPE = re.compile(
    rf"({_BY_NUMBERS}|{_BY_NAMES})(([ T:,_-]|, | - ){_CLOCK}(Z| ?UTC|[+-]00:?00)?)?|{_CLOCK}"
)
# Orders that are not usual, and months without a day; and 1.2.03 may be a number of a chapter.
_DOUBTFUL = re.compile(
    r"^(?=.*%Y)(?!.*d)|^(%-?m[. ]+%-?d|%y([./ ]|-%[\^#]?[bB])|%-d\.%-m\.%y|%-?d %-?m )"
)
_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")
_ZONE = re.compile(r"[+-]00:?00$")
_OF_PYTHON = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59", "us")
_YEAR_2050 = 29_220  # its first day; 58 may be 1958
_EXAMPLES = 100  # texts for a first try of a format
# A day, the name of a month in any language, and a year.
_NAMED = re.compile(r"(?:0?[1-9]|[12]\d|3[01])\W{0,2}([^\W\d_]{3,10})\W{0,2}(?:19|20)\d\d(?:\D.*)?")


def forms_of(texts: Sequence[str], counts: Sequence[int] | np.ndarray | None = None) -> list[str]:
    """Formats of dates or times that fit all distinct texts, in ``counts`` rows each; without any,
    those that fit 95 % of the rows.

    03/04/2020 alone fits two.
    """
    rows = np.ones(len(texts), int) if counts is None else np.asarray(counts)
    first = Counter[str]()
    for text, count in zip(texts[:_EXAMPLES], rows.tolist()):
        first[_skeleton(text)] += count
    if not first:
        return []
    skeleton, count = first.most_common(1)[0]
    if 2 * count < first.total():
        return []
    fits = [spelling_and_rows_of(form, texts, rows) for form in _shapes(skeleton)]
    complete = [form for form, fit in fits if fit == rows.sum()]
    return complete or [form for form, fit in fits if fit >= SHARE * rows.sum()]


def form_of(texts: Sequence[str], counts: Sequence[int] | np.ndarray | None = None) -> str | None:
    """The only usual format of :func:`forms_of`, or None; years of two digits are before 2050."""
    forms = [form for form in forms_of(texts, counts) if not _DOUBTFUL.search(form)]
    if len(forms) != 1:
        return None
    form = forms[0]
    if "%y" in form:
        last = np.nanmax(numbers_of(texts, form))
        day = 1 if kind_of_form(form) == "date" else DAY
        return None if last / day >= _YEAR_2050 else form
    return form


def plain(form: str) -> str:
    """A format of a column as Python's strptime has it."""
    return re.sub("%[-^#]", "%", form).replace("%S%f", "%S.%f")


def have_named_months(texts: Sequence[str], counts: np.ndarray) -> bool:
    """Whether distinct texts, in ``counts`` rows each, are a day, a month's name in any language
    and a year.
    """
    matches = [*map(_NAMED.fullmatch, texts)]
    names = {match[1].lower() for match in matches if match}
    rows = sum(count for match, count in zip(matches, counts.tolist()) if match)
    return 1 < len(names) <= 12 and rows >= SHARE * counts.sum()


def _skeleton(text: str) -> str:
    """Text with %n for its numbers, %b for months and %p for halves of a day."""
    text = in_plain_form(text)
    zone = _ZONE.search(text)
    end = zone[0] if zone else ""
    return "" if "%" in text else _TOKEN.sub(_slot, text.removesuffix(end)) + end


def _slot(token: re.Match[str]) -> str:
    word = token[0].lower()
    if word.isdigit():
        return "%n"
    if word in map(str.lower, (*MONTHS, *LONG_MONTHS)):
        return "%b"
    return "%p" if word in map(str.lower, HALVES) else token[0]


def _shapes(skeleton: str) -> Iterator[str]:
    """Formats in all layouts that have the numbers and names of a text."""
    slots = re.findall("%[nbp]", skeleton)
    for layout in _LAYOUTS:
        if len(layout) != len(slots):
            continue
        names = {"m": "%b", "p": "%p"}
        if any(slot not in ("%n", names.get(part)) for part, slot in zip(layout, slots)):
            continue
        parts = [slot if slot == "%b" else f"%{part}" for part, slot in zip(layout, slots)]
        literals = re.split("%[nbp]", skeleton)
        form = "".join(chain.from_iterable(zip(literals, [*parts, ""])))
        if _SHAPE.fullmatch(form):
            yield form.replace(".%f", "%f")


def spelling_and_rows_of(form: str, texts: Sequence[str], counts: np.ndarray) -> tuple[str, int]:
    """The spelling of a strftime format that fits most rows of distinct texts, and these rows: with
    leading zeros or without, and its names in capitals or small letters.
    """
    fits: dict[str, int] = {}
    for spelled in _spellings(form.replace(".%f", "%f")):
        first = _fit(texts[:_EXAMPLES], counts[:_EXAMPLES], spelled)
        is_likely = 2 * first >= counts[:_EXAMPLES].sum()
        fits[spelled] = _fit(texts, counts, spelled) if is_likely else 0
    best = max(fits, key=fits.__getitem__)
    return best, fits[best]


def _fit(texts: Sequence[str], counts: np.ndarray, form: str) -> int:
    return int(counts[~np.isnan(numbers_of(texts, form))].sum())


def _spellings(form: str) -> dict[str, None]:
    loose = re.sub(r"%([mdHI]|(?<=^%)M)", r"%-\1", form)
    return {
        re.sub("%b", f"%{case}{name}", way).replace("%p", f"%{case}p"): None
        for way, name, case in product((form, loose), "bB", CASES)
    }


def iso_form(texts: Sequence[str], kind: Literal["date", "time"]) -> str:
    """Format of ISO dates or times like these texts: the only one that fits them; else of times
    with a zone in UTC, with a fraction of seconds if one has it.
    """
    form = form_of(texts)
    if form is not None and kind_of_form(form) == kind:
        return form
    if kind == "date":
        return "%Y-%m-%d"
    zone = "Z" if any(re.search(r"(Z|\d[+-]\d\d(:?\d\d)?)$", text) for text in texts) else ""
    fraction = "%f" if any(re.search(r":\d\d\.\d", text) for text in texts) else ""
    joint = "T" if any("T" in text for text in texts) else " "
    return f"%Y-%m-%d{joint}%H:%M:%S{fraction}{zone}"


def kind_of_form(form: str) -> Literal["date", "time", "clock"]:
    """Dates, dates with times, or times of day."""
    letters = {part[-1] for part in _PART.findall(form)}
    if not letters & {*"YyGxc"}:
        return "clock"
    return "time" if letters & {*"HIXc"} else "date"


def span_of_form(form: str) -> int:
    """Range in seconds of the times in a format: a day, or an hour of minutes and seconds."""
    return DAY if {part[-1] for part in _PART.findall(form)} & {*"HIX"} else DAY // 24


def unit_of_form(form: str) -> float:
    """The least step that a format of dates tells, in days, or one of times, in seconds."""
    letters = {part[-1] for part in _PART.findall(form)}
    return next((unit for letter, unit in UNITS.items() if letter in letters), 1.0)


def numbers_of(texts: Sequence[str], form: str) -> np.ndarray:
    """Numbers of texts in a format, `(n,)`; NaN of others."""
    iso = [*map(_parser(form), map(in_plain_form, texts))]
    try:
        times = np.array(iso, "datetime64[us]")
    except ValueError:  # February 30
        times = np.array([*map(_time, iso)], "datetime64[us]")
    if kind_of_form(form) == "date":
        numbers = times.astype("datetime64[D]").astype(float)
    else:
        numbers = times.astype(np.int64) / 10**6
    return np.where(np.isnat(times), np.nan, numbers)


def without_fractions(times: list[str]) -> list[str]:
    """Times of day as Arrow writes them, without fractions of a second that are 0 in all."""
    are_whole = all(not time[8:].strip(".0") for time in times)
    return [time[:8] for time in times] if are_whole else times


def texts_of(numbers: np.ndarray, form: str, decimals: int = 0) -> list[str]:
    """Texts of finite numbers `(n,)` in a format.

    ``decimals``, at most six, are of seconds, at least one where the format has them.
    """
    digits = min(max(decimals, 1), 6) if "%f" in form else 0
    if kind_of_form(form) == "date":
        times = np.rint(numbers).astype("datetime64[D]")
    else:
        ticks = np.rint(numbers * 10.0**digits).astype(np.int64) * 10 ** (6 - digits)
        times = ticks.astype("datetime64[us]")
    if _is_known(form):
        return [_written(text, form, digits) for text in np.datetime_as_string(times).tolist()]
    times = np.clip(times.astype("datetime64[us]"), *_OF_PYTHON).tolist()
    return [time.replace(tzinfo=UTC).strftime(form) for time in times]


def _is_known(form: str) -> bool:
    return all(part in PARTS for part in _PART.findall(form)) and "%%" not in form


def _parser(form: str) -> Callable[[str], str]:
    """From a text to the time in ISO 8601, or NaT: by Python's strptime where PARTS lack a part."""
    if not _is_known(form):
        return lambda text: _by_python(text, form)
    pieces = re.split(rf"({_PART.pattern})", form)
    pattern = re.compile(
        "".join(PARTS.get(piece) or re.escape(piece) for piece in pieces), re.ASCII
    )

    def parse(text: str) -> str:
        match = pattern.fullmatch(text)
        return _iso(match.groupdict()) if match else "NaT"

    return parse


def _by_python(text: str, form: str) -> str:
    try:
        time = datetime.strptime(text, form)
    except ValueError:
        return "NaT"
    if time.tzinfo:
        time = time.astimezone(UTC)
    return time.replace(tzinfo=None).isoformat()


def _time(iso: str) -> np.datetime64:
    try:
        return np.datetime64(iso, "us")
    except ValueError:
        return np.datetime64("NaT")


def _iso(groups: Mapping[str, str]) -> str:
    """Time in ISO 8601, of its parts by their letters."""
    parts = {"Y": "1970", "m": "1", "d": "1", "H": "00", "M": "00", "S": "00", "f": "", **groups}
    if year := groups.get("y"):
        century = 19 if int(year) >= 69 else 20  # as of POSIX
        parts["Y"] = f"{century}{year}"
    if name := groups.get("b") or groups.get("B"):
        parts["m"] = str(1 + MONTHS.index(name[:3].title()))
    if hour := groups.get("I"):
        parts["H"] = str(int(hour) % 12 + 12 * (groups["p"].upper() == "PM"))
    return "{Y}-{m:0>2}-{d:0>2}T{H:0>2}:{M:0>2}:{S}{f}".format(**parts)


def _written(time: str, form: str, digits: int) -> str:
    date, _, clock = time.partition("T")
    year, month, day = date.rsplit("-", 2)
    hour, minute, second = clock[:8].split(":") if clock else ("00", "00", "00")
    numbers = {"m": month, "d": day, "H": hour, "I": f"{(int(hour) - 1) % 12 + 1:02}"}
    at = {"b": int(month) - 1, "B": int(month) - 1, "p": int(hour) // 12}
    parts = {
        "%Y": year.zfill(4),
        "%y": year[-2:],
        "%M": minute,
        "%-M": str(int(minute)),
        "%S": second,
        "%f": clock[8 : 9 + digits],
        **{f"%{letter}": number for letter, number in numbers.items()},
        **{f"%-{letter}": str(int(number)) for letter, number in numbers.items()},
        **{part: names[at[part[-1]]] for part, names in WORDS.items()},
    }
    return _PART.sub(lambda part: parts[part[0]], form)
