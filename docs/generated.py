"""What the pages are completed with: keys of presets, commands, Python names, live pages.

A page has marks, such as ``<!-- keys fit-2d -->``, which a reader of the plain file does not see: a
sentence above them names the command that prints the same.
"""

import inspect
import pydoc
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from nflow_cli.cli import main
from nflow_cli.config.schema import cells_schema, preset_schemas

MARK = re.compile(r"^<!-- (keys|command|python|live) (\S+)(?: (.+))? -->$", re.M)
PREFIX = "#/$defs/"
SCHEMAS = {**preset_schemas(), "cells": cells_schema()}  # of `fit` without flows


def complete(text: str) -> str:
    """Return a page with what its marks ask for."""
    makers = {"keys": keys, "command": command, "python": python, "live": live}
    return MARK.sub(lambda mark: makers[mark[1]](*filter(None, mark.groups()[1:])) + "\n", text)


def navigation(text: str) -> str:
    """Return the tables of contents that the lists of an index are, one for each heading."""
    parts = re.split(r"^## (.*)$", text, flags=re.M)[1:]
    trees = []
    for title, part in zip(parts[::2], parts[1::2]):
        if pages := "\n".join(re.findall(r"^- \[[^\]]+\]\(([\w-]+)\.md\)", part, re.M)):
            trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n")
    return "".join(trees)


def live(name: str) -> str:
    """Return the live page of a recorded run, in a frame and by itself."""
    address = f"live/{name}.html"
    return (
        f'<iframe class="live" src="{address}" title="{name}" loading="lazy"></iframe>\n\n'
        f'<p><a href="{address}">The page by itself</a></p>\n'
    )


def keys(name: str) -> str:
    """Return a table of the keys of a command's presets: values, default, meaning."""
    schema = SCHEMAS[name].model_json_schema()
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for row in _rows(schema, schema.get("$defs", {})):
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    return "\n".join(lines)


def _rows(
    schema: Mapping[str, Any],
    models: Mapping[str, Any],
    prefix: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each key of a mapping, and those of the mappings in it."""
    required = schema.get("required", ())
    for key, field in schema["properties"].items():
        inner = _mappings(field, models)
        default = (defaults or {}).get(key, field.get("default"))
        about = field.get("description") or "".join(m["description"] for m in inner[:1])
        shown = "required" if key in required and not defaults else _default(field, default)
        text = " ".join(about.split("\n\n")[0].split()).replace("``", "`")
        yield f"`{prefix}{key}`", _values(field, models), shown, text
        for model in inner:
            below = default if isinstance(default, Mapping) else None
            item = "[]" if "items" in field else ""
            yield from _rows(model, models, f"{prefix}{key}{item}.", below)


def _mappings(field: Mapping[str, Any], models: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the models that a value may be a mapping of."""
    if "$ref" in field:
        model = models[field["$ref"].removeprefix(PREFIX)]
        return [model] if "properties" in model else []
    parts = [*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())]
    items = field.get("items")
    if isinstance(items, Mapping) and "$ref" in items:
        parts.append(items)
    return [model for part in parts for model in _mappings(part, models)]


def _default(field: Mapping[str, Any], default: Any) -> str:
    if isinstance(default, Mapping):
        return "" if default else "`{}`"
    if default is None and "default" not in field:
        return ""
    return f"`{_yaml(default)}`"


def _yaml(value: Any) -> str:
    """Write a plain value as a preset would."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return '""' if value == "" else str(value)


def _values(field: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return in words what a key may hold."""
    if "$ref" in field:
        model = models[field["$ref"].removeprefix(PREFIX)]
        return "mapping" if "properties" in model else _values(model, models)
    if parts := field.get("anyOf") or field.get("oneOf") or field.get("allOf"):
        return " or ".join(dict.fromkeys(_values(part, models) for part in parts))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type")
    if kind == "array":
        items = _values(field["items"], models)
        return "list of " + re.sub(r"^(whole number|number|list)\b", r"\1s", items)
    if kind in ("integer", "number"):
        return _number("whole number" if kind == "integer" else "number", field)
    names = {"null": "`null`", "boolean": "`true`, `false`", "string": "text", "object": "mapping"}
    return names.get(str(kind), "any value")


def _number(words: str, field: Mapping[str, Any]) -> str:
    """Return what a number is, and between which ends."""
    low, above, high = map(field.get, ("minimum", "exclusiveMinimum", "maximum"))
    if low is None and above is None:
        return words
    start = _short(low) if low is not None else f"above {_short(above)}"
    if high is not None:
        return f"{words}, {start} to {_short(high)}"
    return f"{words}, {start}" if low is None else f"{words}, {start} or more"


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) and number < 10**12 else f"{number:g}"


def command(name: str) -> str:
    """Return what a command does and takes, as its help says it."""
    entry: Any = main.get_command(None, name)
    context = click.Context(entry, info_name=f"nflow {name}")
    usage = " ".join(entry.collect_usage_pieces(context))
    about = inspect.cleandoc((entry.help or "").replace("\b\n", ""))
    lines = [f"### `nflow {name}`", "", f"    nflow {name} {usage}", "", about, ""]
    options = [p.get_help_record(context) for p in entry.params if isinstance(p, click.Option)]
    lines += ["| option | |", "|---|---|"] if options else []
    lines += [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in filter(None, options)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def python(name: str, path: str | None = None) -> str:
    """Return the signature and the docstring of what a path, or the name, leads to."""
    from sphinx.ext.napoleon import Config, GoogleDocstring

    public = pydoc.locate(path or name)
    signature = inspect.signature(public)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    signature = inspect.Signature(plain)
    style = Config(napoleon_use_rtype=False)
    lines = str(GoogleDocstring(inspect.getdoc(public) or "", style)).splitlines()
    body = "\n".join(f"   {line}".rstrip() for line in lines)
    rule = "class" if inspect.isclass(public) else "function"
    return f"```{{eval-rst}}\n.. py:{rule}:: {name}{signature}\n   :no-index:\n\n{body}\n```"
