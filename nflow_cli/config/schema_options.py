"""Command-line options that set keys of presets, parsers of their values; shipped presets.

Options are read from the shipped JSON schema in a millisecond: help loads no pydantic. Items of a
list are separated by commas; its option may be repeated.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nflow_cli import registry
from nflow_cli.errors import ConfigError

HELP_FOR_PRESETS = " Null: "  # begins the rest of a description, which is for presets alone
_Function = TypeVar("_Function", bound=Callable[..., Any])
# Forms of values, shown in help.
NAMES = "NAME,…"
PATTERN = "FLOW,…"
INTERVALS = "NAME=LOW:HIGH,…"
STEPS = "NAME[:STEP],…"
VALUES = "[NAME=]VALUE,…"
FORMATS = "NAME=FORMAT,…"
LEVELS = "NAME=LEVEL,…"
NAME = "NAME"
RULE = "RULE"
FILE = "FILE"
WHOLE = "N"
NUMBER = "X"
_COMMA_BEHIND_INTERVAL = re.compile("(=[^=:,]*(?::[^=:,]*)+),")
_COMMA_BEHIND_FORMAT = re.compile("(=[^,]*%[^=]*),(?=[^=]*=)")
Items = list[str] | dict[str, object] | None


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
    options: dict[str, KeyOption] = {}
    for model in models.values():
        if model.get("properties", {}).get("command", {}).get("const") == command:
            for option in _options_of_model(model, models, ""):
                options.setdefault(option.flags[0].removeprefix("--").replace("-", "_"), option)
    return dict(sorted(options.items(), key=lambda item: item[0] == "seed"))


def _options_of_model(
    model: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]], prefix: str
) -> Iterator[KeyOption]:
    """Options of the keys of a model and of the models below it, all in JSON schema.

    ``models``: the schema's, by name; ``prefix``: before the model's keys, such as ``flow.``.
    """
    for name, field in model.get("properties", {}).items():
        key = f"{prefix}{name}"
        schemas = [field, *field.get("anyOf", ())]  # and of its types, of which null is the last
        for schema in schemas:
            if "$ref" in schema:
                model_below = models[schema["$ref"].removeprefix("#/$defs/")]
                yield from _options_of_model(model_below, models, f"{key}.")
        # Of a keyword in several, such as "type", the first counts: the field's, then its types'.
        schema = {word: value for part in reversed(schemas) for word, value in part.items()}
        cli = schema.get("cli")  # as `strict.option` writes it: keys without one set no option
        if cli:
            flags = cli["flags"] or [f"--{name.replace('_', '-')}"]
            form = cli["form"] or {"integer": WHOLE, "number": NUMBER}.get(schema["type"], "")
            about = schema["description"].partition(HELP_FOR_PRESETS)[0]
            yield KeyOption(key, flags, form, about, schema)


def with_keywords(function: _Function) -> _Function:
    """Replace ``**options`` of a function by the options of the command of its name, in signature
    and docstring.
    """
    options = options_of(function.__name__)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[:-1]
    for name in options:
        keyword = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters.append(keyword)
    function.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    # Options go behind the arguments, before "Returns:".
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


def _name_list(text: str) -> list[str]:
    """Parse names, ``NAME,NAME``, where a comma in a name has a backslash before it."""
    names = [name.replace("\0", ",").strip() for name in text.replace("\\,", "\0").split(",")]
    if not all(names):
        raise ConfigError(f"{text!r}: expected names with a comma between them")
    return names


def _flow_names(text: str) -> list[str]:
    """Parse names of flows, ``FLOW,FLOW``."""
    flows = _name_list(text)
    for name in flows:
        if name not in registry.FLOWS:
            known = ", ".join(registry.FLOWS)
            raise ConfigError(f"{name!r} is not a flow{registry.flow_hint(name)}; known: {known}")
    return flows


def _named_steps(texts: str) -> Iterator[tuple[str, float]]:
    """Parse steps by name, ``NAME:STEP,…``, of 1 where none is written."""
    for text in _name_list(texts):
        name = text
        step: float | None = 1.0
        if ":" in text:
            name, _, step_text = text.rpartition(":")
            step = _number_or_none(step_text)
        if not name or step is None or not 0 < step < math.inf:
            raise ConfigError(f"{text!r}: expected NAME or NAME:STEP, such as price:0.01")
        yield name, step


def _named_intervals(texts: str) -> Iterator[tuple[str, list[float | None]]]:
    """Parse intervals by name, ``NAME=LOW:HIGH,…`` or ``NAME=LOW::SCALE``, as lists of ends, None
    where one is empty; commas in names need no backslash here.
    """
    # A NUL takes the place of each comma that ends an interval.
    for text in _COMMA_BEHIND_INTERVAL.sub("\\1\0", texts).split("\0"):
        name, equals, interval = text.replace("\\,", ",").strip().rpartition("=")
        ends = [_number_or_none(end) for end in interval.split(":")]
        is_low_and_scale = len(ends) == 3 and ends[1] is None and ends[2] is not None
        is_interval = len(ends) == 2 or is_low_and_scale
        is_nan = any(end is not None and math.isnan(end) for end in ends)
        if not (name and equals and is_interval) or is_nan:
            raise ConfigError(f"{text!r}: expected NAME=LOW:HIGH, such as price=0: or share=0:1")
        yield name, ends


def _named_formats(texts: str) -> Iterator[tuple[str, str]]:
    """Parse formats by name, ``NAME=FORMAT,…``; commas in formats need no backslash here."""
    # A NUL takes the place of each comma that ends a format.
    for text in _COMMA_BEHIND_FORMAT.sub("\\1\0", texts).split("\0"):
        name, equals, form = text.replace("\\,", ",").strip().rpartition("=")
        if not (name and equals and "%" in form):
            raise ConfigError(f"{text!r}: expected NAME=FORMAT, such as day=%d.%m.%y")
        yield name, form


def _named_levels(text: str) -> Iterator[tuple[str, list[str]]]:
    """Parse the levels of a column in order, ``NAME=LEVEL,…``, of one column."""
    name, equals, levels = text.partition("=")
    if not (name and equals and levels):
        raise ConfigError(f"{text!r}: expected NAME=LEVEL,…, such as size=small,medium,large")
    yield name.replace("\\,", ",").strip(), _name_list(levels)


def _number_or_none(text: str) -> float | None:
    """Number of a text; None if it is empty, NaN if it is no number."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return math.nan


# Parsers by the form of a text, of lists and of mappings by name.
LISTS: dict[str, Callable[[str], list[str]]] = {
    NAMES: _name_list,
    PATTERN: _flow_names,
    VALUES: _name_list,
    RULE: lambda text: [text],
}
MAPPINGS: dict[str, Callable[[str], Iterator[tuple[str, object]]]] = {
    STEPS: _named_steps,
    INTERVALS: _named_intervals,
    FORMATS: _named_formats,
    LEVELS: _named_levels,
}


def items_of(form: str, texts: Sequence[str]) -> Items:
    """Parse texts of a form: a list, or a mapping by name; None without any."""
    if form in LISTS:
        return [item for text in texts for item in LISTS[form](text)] or None
    pairs = [pair for text in texts for pair in MAPPINGS[form](text)]
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise ConfigError(f"{name!r} is given twice")
        values[name] = value
    return values or None
