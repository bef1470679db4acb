"""Distinct numbers of a column as written: decimals and resolution."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

DIGITS = 12  # significant; numbers equal to these are one value
EXACT = 2.0**53  # float64 has all whole numbers below
WHOLE = 2.0**63  # whole numbers below have all digits that float64 has
SHARE = 0.75  # of the distinct values are multiples of the resolution
LEAST = 1e-150  # resolution relative to the largest value, at least
# Numbers whose step is below this part of a typical value have all digits of their type.
FULL = {np.float64: 10.0 ** (1 - DIGITS), np.float32: 2e-7}
STORED = 0  # form of single precision: as a type,
SHORTEST = 1  # and the digits that it needs
FEW = 7  # significant digits that single precision has of any number
FORMS = (SHORTEST, *range(FEW + 1, 18))  # and significant digits, of text
SEARCHED = 100  # values by which a form is chosen
MOST = 1e38  # of single precision, about
LAST = 1e-14  # relative error of the last digits of text
LIKELY = 13.8  # nats for single precision: chance below 1e-6


@dataclass(frozen=True, eq=False)
class DistinctNumbers:
    """Distinct values of a column.

    Attributes:
        values: `(m,)`, ascending, float64.
        counts: `(m,)`, rows of each.
        places: Decimals that all values need (negative: zeros before the point); None if all digits
            of their type.
        resolution: Step of most written values.
        single: Form of single precision, as of :func:`in_single`; None: double precision.
        merged: Numbers that are equal to others to 12 digits.
    """

    values: np.ndarray
    counts: np.ndarray
    places: int | None
    resolution: float
    single: int | None = None
    merged: int = 0

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    @property
    def decimals(self) -> int | None:
        """Decimals; None: all digits of the type."""
        return None if self.places is None or self.places > 17 else max(0, self.places)

    @cached_property
    def typical(self) -> float:
        """Median size of a nonzero value."""
        return typical_size(self.values)

    def steps_at(self, values: np.ndarray) -> np.ndarray:
        """Steps between written numbers near some values."""
        if self.decimals is not None:
            return np.full(len(values), min(self.resolution, 10.0**-self.decimals))
        return self.resolution * spacing(values, self.typical)


def distinct_numbers(numbers: np.ndarray, is_float32: bool = False) -> DistinctNumbers:
    """Distinct finite numbers, at least one."""
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    values = values + 0.0  # no negative zero
    if _is_whole(values).all():
        return DistinctNumbers(values, counts, 0, 1.0)
    single = STORED if is_float32 else single_form(values)
    digits = significant(values) if single is None else _shortest(values)
    first = np.flatnonzero(np.r_[True, np.diff(digits) > 0])
    merged = len(values) - len(first) if single is None else 0
    values = digits[first] + 0.0
    counts = np.add.reduceat(counts, first)
    kind = np.float64 if single is None else np.float32
    places, resolution = _places(values, FULL[kind], float(np.finfo(kind).eps))
    return DistinctNumbers(values, counts, places, resolution, single, merged)


def as_written(numbers: np.ndarray, is_single: bool = False, is_whole: bool = False) -> np.ndarray:
    """Numbers without noise in their last digits, `(n,)`, as in :func:`distinct_numbers`.

    ``is_whole``: of a column of whole numbers, which keep their digits beside others; a file has
    them below 2^63.
    """
    if is_whole:
        largest = np.nextafter(WHOLE, 0)
        numbers = np.clip(numbers, -largest, largest)
    written = numbers + 0.0
    finite = np.isfinite(numbers)
    written[finite] = _digits(written[finite], is_single)
    return np.where(_is_whole(numbers), numbers + 0.0, written) if is_whole else written


def reach_of(values: np.ndarray, part: float, least: float) -> np.ndarray:
    """Distance ``(n,)`` within which a number is the same as a value: a part of it, at least some
    of a step; of a whole number, which is exact, that of the step.
    """
    return np.where(_is_whole(values), least, np.maximum(part * np.abs(values), least))


def _digits(values: np.ndarray, is_single: bool) -> np.ndarray:
    if is_single:
        return _shortest(values)
    digits = significant(values)
    if np.all(_is_whole(values) | (values == digits)):
        return values if np.all(_is_whole(values)) else digits + 0.0
    return _shortest(values) if (single_form(values) or 0) > DIGITS else digits + 0.0


def _shortest(values: np.ndarray) -> np.ndarray:
    return np.where(_is_whole(values), values, in_single(values, SHORTEST))


@np.errstate(over="ignore")
def in_single(values: np.ndarray, form: int) -> np.ndarray:
    """Numbers of single precision nearest to values `(n,)`, in double precision as read from text
    of a number of significant digits, or of the fewest that tell them apart.
    """
    single = values.astype(np.float32)
    if form in (STORED, SHORTEST):
        return single.astype("U32").astype(float)
    return np.array([float(f"{number:.{form}g}") for number in single.tolist()], float)


def single_form(values: np.ndarray) -> int | None:
    """Form of numbers of single precision in text, 122.300003051758 for 122.3; None of others.

    All must be in it, with more digits than decimals of double precision would be by chance.
    """
    with np.errstate(over="ignore"):
        are_exact = values == values.astype(np.float32)  # as 123456.75, to 12 digits no evidence
    long = values[_has_more(values, FEW) & ~(are_exact & ~_has_more(values, DIGITS))]
    if not len(long):
        return None
    sample = long[:: len(long) // SEARCHED + 1]
    matches = {form: _matches(sample, form) for form in FORMS}
    form = max(matches, key=matches.__getitem__)
    if matches[form].near < len(sample) or _nats(long) < LIKELY:
        return None
    return form if _matches(values, form).near == len(values) else None


class _Matches(NamedTuple):
    """Numbers of values that are near to those of single precision, and equal."""

    near: int
    equal: int


def _matches(values: np.ndarray, form: int) -> _Matches:
    distances = np.abs(values - in_single(values, form))
    near = distances <= LAST * np.abs(values)
    return _Matches(int(near.sum()), int((distances == 0).sum()))


def _has_more(values: np.ndarray, digits: int) -> np.ndarray:
    return np.abs(significant(values, digits) - values) > LAST * np.abs(values)


def _nats(values: np.ndarray) -> float:
    """-log of the chance that decimals of as many digits, above 7, are all of single precision."""
    size = np.abs(values)
    gaps = np.spacing(np.minimum(size, MOST).astype(np.float32)).astype(float)
    digits = FEW + sum(_has_more(size, fewer).astype(int) for fewer in range(FEW, 15))
    log_steps = (np.floor(np.log10(size)) + 1 - digits) * np.log(10)
    return float(np.maximum(np.log(gaps) - log_steps, 0.0).sum())


def typical_size(values: np.ndarray) -> float:
    """Median size of nonzero values, to divide others by; 1 without any."""
    size = np.abs(values)
    return max(float(np.median(size[size > 0])), LEAST * float(size.max())) if size.any() else 1.0


def spacing(values: np.ndarray, typical: float) -> np.ndarray:
    """Spacing of floating-point numbers at values, relative to a typical one; at most twice too
    large.
    """
    return np.maximum(1.0, 2 * np.abs(values) / typical)


def shifted(values: Any, places: int) -> Any:
    """`values * 10**places`, rounded once."""
    return values * 10.0**places if places >= 0 else values / 10.0**-places


def significant(values: np.ndarray, digits: int | np.ndarray = DIGITS) -> np.ndarray:
    """Round values to a number of significant digits."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        exponents = np.where(size > 0, np.floor(np.log10(size)), 0.0)
    places = np.clip(digits - 1 - exponents, -300, 300)
    up = 10.0 ** np.maximum(places, 0)
    down = 10.0 ** np.maximum(-places, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.rint(values * up / down) / up * down
    return np.where(np.isfinite(rounded), rounded, values)


def _is_whole(values: np.ndarray) -> np.ndarray:
    return (values == np.rint(values)) & (np.abs(values) < WHOLE)


def _places(values: np.ndarray, full: float, eps: float) -> tuple[int | None, float]:
    size = np.abs(values)
    most = math.floor(math.log10(size.max())) if size.any() else 0
    start = 13 - most if most > 13 else min(max(0, -most), 290)
    left = values
    resolution = None
    for places in range(start, start + DIGITS + 6):
        scaled = shifted(left, places)
        left = left[np.abs(scaled - np.rint(scaled)) > 4e-15 * np.abs(scaled)]
        if resolution is None and len(left) <= (1 - SHARE) * len(values):
            resolution = 10.0**-places
        if not len(left):
            break
    typical = typical_size(values)
    if resolution is None or resolution < full * typical:
        return None, max(eps * typical, LEAST * float(size.max()), 1e-300)
    if len(left) or size.max() * 10.0**places >= EXACT:
        return None, resolution
    return places, resolution
