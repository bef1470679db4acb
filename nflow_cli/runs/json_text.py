"""Strict JSON, read from untrusted files and written for other programs."""

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_DIGITS = 300  # of a whole number


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; non-finite numbers become None.

    A ``ValueError`` if it is none, or holds a whole number too large for a float.
    """
    try:
        data = json.loads(text, **_NUMBERS)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object")
    return data


def json_text(data: Mapping[str, Any]) -> str:
    """Object as ASCII lines; non-finite numbers become null."""
    return json.dumps(with_nulls(data), indent=2)


def with_nulls(data: Any) -> Any:
    """Plain data of JSON, with None for non-finite numbers, which JSON lacks."""
    return json.loads(json.dumps(data), parse_constant=lambda _: None)


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise OverflowError(f"expected numbers of at most {MAX_DIGITS} digits")
    return int(digits)


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


# How numbers are read: non-finite ones as None.
_NUMBERS: dict[str, Any] = {"parse_int": _whole_number, "parse_float": _finite}
_NUMBERS["parse_constant"] = _finite  # NaN, Infinity
