"""Parsers of options' values: lists of names, flows, steps and intervals.

Items are separated by commas; an option may be repeated.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nflow_cli import registry
from nflow_cli.errors import ConfigError

# Shown in help.
NAMES, PATTERN, INTERVALS, STEPS = "NAME,…", "FLOW,…", "NAME=LOW:HIGH,…", "NAME[:STEP],…"
NAME, FILE, WHOLE, NUMBER = "NAME", "FILE", "N", "X"
_BETWEEN = re.compile("(=[^=:,]*(?::[^=:,]*)+),")  # between intervals


def escaped(name: str) -> str:
    """Name with a backslash before each comma, for lists."""
    return name.replace(",", "\\,")


def _names(text: str) -> list[str]:
    found = [name.replace("\0", ",").strip() for name in text.replace("\\,", "\0").split(",")]
    if not all(found):
        raise ConfigError(f"{text!r}: expected names with a comma between them")
    return found


def _pattern(text: str) -> list[str]:
    for name in (flows := _names(text)):
        if name not in registry.FLOWS:
            known, hint = ", ".join(registry.FLOWS), registry.flow_hint(name)
            raise ConfigError(f"{name!r} is not a flow{hint}; known: {known}")
    return flows


def _steps(texts: str) -> Iterable[tuple[str, float]]:
    for text in _names(texts):
        name, _, step = text.rpartition(":") if ":" in text else (text, ":", "1")
        size = _end(step)
        if not name or size is None or not 0 < size < math.inf:
            raise ConfigError(f"{text!r}: expected NAME or NAME:STEP, such as price:0.01")
        yield name, size


def _intervals(texts: str) -> Iterable[tuple[str, list[float | None]]]:
    """Parse ``NAME=LOW:HIGH``; commas in names need no backslash here."""
    for text in _BETWEEN.sub("\\1\0", texts).split("\0"):
        name, equals, interval = text.replace("\\,", ",").strip().rpartition("=")
        ends = [_end(end) for end in interval.split(":")]
        has_scale = len(ends) == 3 and ends[1] is None and ends[2] is not None
        if not (name and equals and (len(ends) == 2 or has_scale)) or any(e != e for e in ends):
            raise ConfigError(f"{text!r}: expected NAME=LOW:HIGH, such as price=0: or share=0:1")
        yield name, ends


def _end(text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return math.nan


LISTS: dict[str, Callable[[str], Iterable[Any]]] = {
    NAMES: _names,
    PATTERN: _pattern,
    STEPS: _steps,
    INTERVALS: _intervals,
}


def items_of(form: str, texts: Sequence[str]) -> Any:
    """Parse texts of a form: a list, or a mapping by name; None without any."""
    items = [item for text in texts for item in LISTS[form](text)]
    if form in (NAMES, PATTERN):
        return items or None
    for i, (name, _) in enumerate(items):
        if name in dict(items[:i]):
            raise ConfigError(f"{name!r} is given twice")
    return dict(items) or None
