"""Dates and times in text: detection of their format, and conversion to numbers.

Dates are days, dates with a time seconds since 1970-01-01 (UTC, or without a time zone); times of
day seconds since midnight.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

DAY = 86_400
UNITS = {"%f": 1e-6, "%S": 1.0, "%M": 60.0, "%H": 3_600.0}  # seconds of the last part of a time
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONG_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August")
LONG_MONTHS += ("September", "October", "November", "December")

# Parts of strftime formats, and their patterns. %f is a fraction with its point.
PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%m": r"(?P<m>\d{2})",
    "%d": r"(?P<d>\d{2})",
    "%-m": r"(?P<m>\d{1,2})",
    "%-d": r"(?P<d>\d{1,2})",
    "%b": f"(?P<b>{'|'.join(MONTHS)})",
    "%B": f"(?P<B>{'|'.join(LONG_MONTHS)})",
    "%H": r"(?P<H>[01]\d|2[0-3])",
    "%M": r"(?P<M>[0-5]\d)",
    "%S": r"(?P<S>[0-5]\d)",
    "%f": r"(?P<f>\.\d{1,9})",
}
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y")
DATES += ("%m-%d-%Y", "%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y", "%d %b %Y", "%d-%b-%Y")
DATES += ("%-d %b %Y", "%-d %B %Y", "%b %-d, %Y", "%B %-d, %Y")
TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S%f")
JOINTS = {"%Y-%m-%d": ("T", " "), "%Y/%m/%d": (" ",)}
ENDS = ("", "Z", "+00:00")
FORMS = (
    *DATES,
    *TIMES,
    *(
        date + joint + time + end
        for date, joints in JOINTS.items()
        for joint in joints
        for time in TIMES
        for end in ENDS
    ),
)
EXAMPLES = 100  # texts for a first try of a format


def form_of(texts: Sequence[str]) -> str | None:
    """The only format of dates or times that fits all texts, or None.

    03/04/2020 alone fits two, hence none.
    """
    found = [form for form in FORMS if _has(texts[:EXAMPLES], form) and _has(texts, form)]
    # 01.02.2003 is also in the loose form.
    found = [form for form in found if "%-" not in form or form.replace("%-", "%") not in found]
    return found[0] if len(found) == 1 else None


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
    if "%H" not in form:
        return "date"
    return "time" if "%Y" in form else "clock"


def unit_of_form(form: str) -> float:
    """The least step that a format of dates tells, in days, or one of times, in seconds."""
    return next((unit for part, unit in UNITS.items() if part in form), 1.0)


def numbers_of(texts: Sequence[str], form: str) -> np.ndarray:
    """Numbers of texts in a format, `(n,)`; ValueError if a text has another."""
    matches = [*map(_pattern(form).fullmatch, texts)]
    if not all(matches):
        raise ValueError(f"dates or times as in {form}")
    times = np.array([_iso(match.groupdict()) for match in matches if match], "datetime64[us]")
    if kind_of_form(form) == "date":
        return times.astype("datetime64[D]").astype(float)
    return times.astype(np.int64) / 10**6


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
    return [_written(text, form, digits) for text in np.datetime_as_string(times).tolist()]


def _has(texts: Sequence[str], form: str) -> bool:
    try:
        return len(texts) > 0 and len(numbers_of(texts, form)) > 0
    except ValueError:
        return False


def _pattern(form: str) -> re.Pattern[str]:
    pieces = re.split(r"(%-?[A-Za-z])", form)
    return re.compile("".join(PARTS.get(piece) or re.escape(piece) for piece in pieces), re.ASCII)


def _iso(found: Mapping[str, str]) -> str:
    parts = {"Y": "1970", "m": "1", "d": "1", "H": "00", "M": "00", "S": "00", "f": "", **found}
    if name := found.get("b") or found.get("B"):
        parts["m"] = str(MONTHS.index(name[:3]) + 1)
    return "{Y}-{m:0>2}-{d:0>2}T{H}:{M}:{S}{f}".format(**parts)


def _written(time: str, form: str, digits: int) -> str:
    date, _, clock = time.partition("T")
    year, month, day = date.rsplit("-", 2)
    hour, minute, second = clock[:8].split(":") if clock else ("00", "00", "00")
    parts = {
        "%Y": year.zfill(4),
        "%m": month,
        "%d": day,
        "%-m": str(int(month)),
        "%-d": str(int(day)),
        "%b": MONTHS[int(month) - 1],
        "%B": LONG_MONTHS[int(month) - 1],
        "%H": hour,
        "%M": minute,
        "%S": second,
        "%f": clock[8 : 9 + digits],
    }
    return re.sub(r"%-?[A-Za-z]", lambda part: parts[part[0]], form)
