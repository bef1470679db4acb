"""Command-line options that set keys of presets, parsers of their values; shipped presets.

Options are read from the shipped JSON schema in a millisecond: help loads no pydantic. Items of a
list are separated by commas; its option may be repeated.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nflow_cli import registry
from nflow_cli.errors import ConfigError

PRESETS_ALONE = " Null: "  # the rest of a description explains null in presets
_Function = TypeVar("_Function", bound=Callable[..., Any])
# Shown in help.
NAMES, PATTERN, INTERVALS, STEPS = "NAME,…", "FLOW,…", "NAME=LOW:HIGH,…", "NAME[:STEP],…"
VALUES, FORMATS = "[NAME=]VALUE,…", "NAME=FORMAT,…"
NAME, FILE, WHOLE, NUMBER = "NAME", "FILE", "N", "X"
_BETWEEN = re.compile("(=[^=:,]*(?::[^=:,]*)+),")  # between intervals
_BETWEEN_FORMATS = re.compile("(=[^,]*%[^=]*),(?=[^=]*=)")


class KeyOption(NamedTuple):
    """Option that sets a key.

    Attributes:
        key: Dotted, such as ``flow.pattern``.
        form: Of its value, such as ``NAME,…``; "" for a choice and for a flag.
        about: Its help, a sentence.
        field: JSON schema of its value.
    """

    key: str
    flags: list[str]
    form: str
    about: str
    field: Mapping[str, Any]


@cache
def options_of(command: str) -> dict[str, KeyOption]:
    """Options of a command by argument name, ``seed`` last."""
    text = (presets_folder() / "nflow.schema.json").read_text(encoding="utf-8")
    models = json.loads(text)["$defs"]
    found: dict[str, KeyOption] = {}
    for model in models.values():
        if model.get("properties", {}).get("command", {}).get("const") == command:
            for one in _within(model, models, ""):
                found.setdefault(one.flags[0].removeprefix("--").replace("-", "_"), one)
    return dict(sorted(found.items(), key=lambda item: item[0] == "seed"))


def _within(model: Mapping[str, Any], models: Any, prefix: str) -> Iterator[KeyOption]:
    for name, field in model.get("properties", {}).items():
        key, parts = f"{prefix}{name}", [field, *field.get("anyOf", ())]  # the last may be null
        for part in parts:
            if "$ref" in part:
                inner = models[part["$ref"].removeprefix("#/$defs/")]
                yield from _within(inner, models, f"{key}.")
        whole = {k: v for part in reversed(parts) for k, v in part.items()}
        if cli := whole.get("cli"):
            flags = cli["flags"] or [f"--{name.replace('_', '-')}"]
            form = cli["form"] or {"integer": WHOLE, "number": NUMBER}.get(whole["type"], "")
            about = whole["description"].partition(PRESETS_ALONE)[0]
            yield KeyOption(key, flags, form, about, whole)


def with_keywords(function: _Function) -> _Function:
    """Replace ``**options`` by a command's options, in signature and docstring."""
    options, signature = options_of(function.__name__), inspect.signature(function)
    *named, _ = signature.parameters.values()
    keywords = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None) for n in options]
    function.__signature__ = signature.replace(parameters=[*named, *keywords])  # pyright: ignore[reportFunctionMemberAccess]
    head, returns, tail = inspect.cleandoc(function.__doc__ or "").partition("\n\nReturns:")
    lines = (f"\n    {name}: {option.about}" for name, option in options.items())
    function.__doc__ = f"{head}{''.join(lines)}{returns}{tail}"
    return function


def presets_folder() -> Path:
    """Folder of the shipped presets: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def shipped_presets() -> dict[str, Path]:
    """Shipped presets by name."""
    return {path.stem: path for path in sorted(presets_folder().glob("*.yaml"))}


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


def _formats(texts: str) -> Iterable[tuple[str, str]]:
    """Parse ``NAME=FORMAT``; commas in formats need no backslash here."""
    for text in _BETWEEN_FORMATS.sub("\\1\0", texts).split("\0"):
        name, equals, form = text.replace("\\,", ",").strip().rpartition("=")
        if not (name and equals and "%" in form):
            raise ConfigError(f"{text!r}: expected NAME=FORMAT, such as day=%d.%m.%y")
        yield name, form


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
    VALUES: _names,
    FORMATS: _formats,
}


def items_of(form: str, texts: Sequence[str]) -> Any:
    """Parse texts of a form: a list, or a mapping by name; None without any."""
    items = [item for text in texts for item in LISTS[form](text)]
    if form in (NAMES, PATTERN, VALUES):
        return items or None
    for i, (name, _) in enumerate(items):
        if name in dict(items[:i]):
            raise ConfigError(f"{name!r} is given twice")
    return dict(items) or None
