"""Command-line options that set keys of presets, by fields of the schema; shipped presets.

Options are read from the shipped JSON schema in a millisecond: help loads no pydantic.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nflow_cli.config.forms import NUMBER, WHOLE

PRESETS_ALONE = " Null: "  # the rest of a description explains null in presets
_Function = TypeVar("_Function", bound=Callable[..., Any])


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
