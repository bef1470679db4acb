"""Estimates and their standard errors, as text."""

import math


def in_decimals(value: float | None, decimals: int = 5) -> str:
    """Score as text; "not finite" where JSON has none."""
    return "not finite" if value is None or value != value else f"{value:z.{decimals}f}"


def rounded(value: float, scale: float) -> str:
    """Number to the second significant digit of a scale above 0, such as its standard error."""
    places = 1 - _exponent(scale)
    if -9 <= places <= 12:
        return f"{round(value, places):z,.{max(places, 0)}f}"
    return f"{value:.{max(_exponent(value) + places, 0)}e}"


def with_error(value: float | None, error: float | None, decimals: int = 5) -> str:
    """Estimate ± its standard error, both to two significant digits of the error.

    Without an error, or with one of 0, the estimate is in ``decimals``; or "not finite".
    """
    if value is None or value != value or error is None or not math.isfinite(error):
        return in_decimals(value, decimals)
    if error == 0:
        return f"{in_decimals(value, decimals)} ± 0"
    return f"{rounded(value, error)} ± {rounded(error, error)}"


def or_withheld(value: float | None, error: float | None, k: float | None, scale: float) -> str:
    """Estimate ± its standard error; without one to the digits of a scale, and the k-hat that says
    why.
    """
    if value is None or error is not None:
        return with_error(value, error)
    return f"{rounded(value, scale)} (no error: k-hat {in_decimals(k, 2)})"


def _exponent(number: float) -> int:
    """Power of 10 of the first of two significant digits."""
    return int(f"{number:.1e}".partition("e")[2])
