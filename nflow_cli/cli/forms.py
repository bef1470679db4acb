"""The forms of options' values: numbers, and lists, whose options may be repeated."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.config import key_options

_BETWEEN = re.compile("(=[^=:,]*:[^=:,]*),")  # two intervals


def names(text: str) -> list[str]:
    """Split ``a,b``; a backslash keeps a comma in a name."""
    found = [name.replace("\0", ",").strip() for name in text.replace("\\,", "\0").split(",")]
    if not all(found):
        raise click.BadParameter(f"{text!r}: expected names with a comma between them")
    return found


def pattern(text: str) -> list[str]:
    """Split ``planar,radial`` and check each name."""
    for name in (flows := names(text)):
        if name not in registry.FLOWS:
            known, hint = ", ".join(registry.FLOWS), registry.flow_hint(name)
            raise click.BadParameter(f"{name!r} is not a flow{hint}; known: {known}")
    return flows


def steps(texts: str) -> Iterable[tuple[str, float]]:
    """Read ``NAME`` or ``NAME:STEP``, with commas between; a step is 1 if none is given."""
    for text in names(texts):
        name, _, step = text.rpartition(":") if ":" in text else (text, ":", "1")
        size = _end(step)
        if not name or size is None or not 0 < size < math.inf:
            raise click.BadParameter(f"{text!r}: expected NAME or NAME:STEP, such as price:0.01")
        yield name, size


def intervals(texts: str) -> Iterable[tuple[str, list[float | None]]]:
    """Read ``NAME=LOW:HIGH``, with commas between; one of the ends, or both, may be left out.

    A comma in a name needs no backslash, as one stands behind an interval alone; it may have it.
    """
    for text in _BETWEEN.sub("\\1\0", texts).split("\0"):
        name, equals, interval = text.replace("\\,", ",").strip().rpartition("=")
        low, colon, high = interval.partition(":")
        ends = [_end(low), _end(high)]
        if not (name and equals and colon) or any(end != end for end in ends):
            raise click.BadParameter(
                f"{text!r}: expected NAME=LOW:HIGH, such as price=0: or share=0:1"
            )
        yield name, ends


def _end(text: str) -> float | None:
    """Read an end of an interval; ``None`` where there is none, NaN where it is no number."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return math.nan


LISTS: dict[str, Callable[[str], Iterable[Any]]] = {
    key_options.NAMES: names,
    key_options.PATTERN: pattern,
    key_options.STEPS: steps,
    key_options.INTERVALS: intervals,
}


def gathered(_: Any, option: click.Parameter, values: Sequence[str]) -> Any:
    """Return the items of an option that may be repeated: a list, or a mapping of each name."""
    read = LISTS[str(option.metavar)]
    items = [item for value in values for item in read(value)]
    if read in (names, pattern):
        return items or None
    for i, (name, _) in enumerate(items):
        if name in dict(items[:i]):
            raise click.BadParameter(f"{name!r} is given twice")
    return dict(items) or None


def a_number(_: Any, __: Any, value: float | None) -> float | None:
    """Refuse NaN, which every range lets through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("'nan' is not a number.")
    return value
