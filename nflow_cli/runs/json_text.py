"""JSON: that a stranger may have written, and that another program is to read. No Keras here."""

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_DIGITS = 300  # of a whole number


def json_object(text: str) -> dict[str, Any]:
    """Return the object that a text holds; a number that is not finite is None.

    Raises:
        ValueError: It is no object, or holds a number that no float can.
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
    """Return an object as ASCII lines; a number that is not finite is null."""
    return json.dumps(with_nulls(data), indent=2)


def with_nulls(data: Any) -> Any:
    """Return data for JSON, which has no numbers but finite ones: the others are None."""
    if isinstance(data, Mapping):
        return {key: with_nulls(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [with_nulls(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _whole_number(digits: str) -> int:
    """Read a whole number that a float can hold too: what is computed with it stays a number."""
    if len(digits) > MAX_DIGITS:
        raise OverflowError(f"expected numbers of at most {MAX_DIGITS} digits")
    return int(digits)


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


# How numbers are read; `write_json` writes null for one that is not finite.
_NUMBERS: dict[str, Any] = {"parse_int": _whole_number, "parse_float": _finite}
_NUMBERS["parse_constant"] = _finite  # NaN, Infinity
