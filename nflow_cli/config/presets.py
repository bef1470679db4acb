"""Presets: found by name or path, parsed from YAML, overridden, validated, dumped; run names."""

import contextlib
import hashlib
import json
import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nflow_cli.config.flows import Flow, pattern_name
from nflow_cli.config.keys import is_within
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.schema import NAMED, preset_schemas, run_schemas, schema_of
from nflow_cli.config.schema_options import shipped_presets
from nflow_cli.config.strict import Strict, models_in
from nflow_cli.errors import ConfigError
from nflow_cli.registry import POINT_SETS, nearest

MAX_BYTES = 2**20  # of a preset file
FEWER = "exclude columns, of text above all, to shorten it: --exclude"
MAX_DEPTH = 20  # presets have up to seven levels
MAX_VALUES = 50_000  # 1,000 columns take 30,000
MAX_KEY = 500  # letters of a key, which may be the name of a column
MAX_DIGITS = 100  # of a whole number
MAX_LABEL = 40  # characters of a value in a folder's name
# Keys of an experiment, other than training and evaluation.
EXPERIMENT: Any = {
    "command": True,
    "target": True,
    "base": True,
    "model": True,
    "flow": True,
    "cells": True,
    "prior": True,
    "density": True,
    "data": {"name", "binarization"},
}


class Change(NamedTuple):
    """Value for a dotted key of a preset; ``source`` in errors, such as ``--set flow.k``."""

    source: str
    path: str
    value: Any


# That of C is five times as fast.
_LOADER_NAME = "CSafeLoader" if yaml.__with_libyaml__ else "SafeLoader"


class _Loader(getattr(yaml, _LOADER_NAME)):
    """A safe YAML loader that refuses repeated keys, and numbers that are not what they seem."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not is_key(key):
                raise _refusal(key_node, f"keys must be {A_KEY}. Received: {shortened(key)}")
            if key in keys:
                raise _refusal(key_node, f"duplicate key {key!r}")
            keys.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number of a length that Python can print."""
        if len(node.value) > MAX_DIGITS:
            raise _refusal(node, f"a whole number of more than {MAX_DIGITS} digits")
        return super().construct_yaml_int(_decimal(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return super().construct_yaml_float(_decimal(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
A_KEY = f"text of at most {MAX_KEY} letters, all printable"


def is_key(key: object) -> bool:
    """Whether a config may have this key."""
    return isinstance(key, str) and len(key) <= MAX_KEY and key.isprintable()


def _decimal(node: yaml.ScalarNode) -> yaml.ScalarNode:
    """Number that is decimal: YAML 1.1 reads 2:30 as 150, which is refused."""
    if ":" in node.value:
        raise _refusal(node, f"{node.value} is a number to the base 60; quotes make it text")
    return node


def _refusal(place: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def _expect_small(text: str) -> None:
    """Refuse deep or large documents, and aliases, which could multiply values without limit.

    By events, of which none is kept: before any value is built.
    """
    depth = 0
    values = 0
    for event in yaml.parse(text, _Loader):
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if not isinstance(event, yaml.NodeEvent):
            continue
        depth += isinstance(event, yaml.CollectionStartEvent)
        values += 1
        if event.anchor:
            mark = "*" if isinstance(event, yaml.AliasEvent) else "&"
            problem = "expected values written out, no anchors and aliases. Received: "
            raise _refusal(event, f"{problem}{shortened(mark + event.anchor)}")
        if depth > MAX_DEPTH:
            raise _refusal(event, f"nested deeper than {MAX_DEPTH} levels")
        if values > MAX_VALUES:
            raise _refusal(event, f"more than {MAX_VALUES:,} values")


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely, with limits on depth and size; errors name ``source`` and line."""
    try:
        _expect_small(text)
        return yaml.load(text, _Loader)  # a SafeLoader: builds plain data only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}:{place} {error.problem or 'not valid YAML'}") from None
    except Exception as error:  # PyYAML passes on any error of a bad tag: `!!bool no way`
        lines = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"{source}: not valid YAML: {lines[0]}") from None


def preset_text(path: Path) -> str:
    """Text of a preset file of at most ``MAX_BYTES``."""
    return _text(_content(path), str(path))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: expected a preset of at most {MAX_BYTES:,} bytes")
    return content


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: not a text file; expected a preset in YAML") from None


def read_preset(path: Path) -> dict[str, Any]:
    """Read a preset file as a plain mapping, not validated."""
    return parse_preset(_content(path), str(path))


def parse_preset(content: bytes, source: str) -> dict[str, Any]:
    """Parse a preset to a plain mapping; ``source`` names it in errors."""
    data = parse_yaml(_text(content, source), source)
    if not isinstance(data, dict):
        received = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ConfigError(f"{source}: expected a mapping of preset keys. Received: {received}")
    return data


def parse_assignment(assignment: str) -> Change:
    """Parse ``key.path=value``; the value is YAML."""
    key, value = _split(assignment, "--set expects key.path=value")
    return Change(f"--set {key}", key, parse_yaml(value, f"--set {key}"))


def parse_variations(variations: Iterable[str]) -> dict[str, Any]:
    """Parse each ``key.path=value,value``, items of a YAML list."""
    values_by_key: dict[str, Any] = {}
    for variation in variations:
        key, values = _split(variation, "--vary expects key.path=value,value")
        if key in values_by_key:
            raise ConfigError(f"--vary {key}: given twice; its values go into one, {key}=A,B")
        values_by_key[key] = parse_yaml(f"[{values}]", f"--vary {key}")
    return values_by_key


def _split(text: str, expected: str) -> tuple[str, str]:
    """Dotted key and value of ``key.path=value``."""
    key, equals, value = text.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not equals or not all(parts) or not all(map(is_key, parts)) or len(parts) > MAX_DEPTH:
        raise ConfigError(f"{expected}. Received: {shortened(text)}")
    return key, value


def override(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` with the value of each dotted path in ``changes``."""
    result = dict(data)
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if rest:
            inner = result.get(head)
            if not isinstance(inner, dict):
                inner = {}
            value = override(inner, {rest: value})
        result[head] = value
    return result


def validate(
    data: Mapping[str, Any],
    source: str,
    schemas: Mapping[str, type[Strict]] | None = None,
    changes: Sequence[Change] = (),
) -> Any:
    """Validate ``data`` by the schema of its ``command``, and freeze it.

    Errors are one line: the source, or that of the ``changes``, already in ``data``, that caused
    them; dotted path, expected, received. ``schemas``: those by command that it may have; ``None``:
    any.
    """
    schemas = preset_schemas() if schemas is None else schemas
    command = data.get("command")
    if not isinstance(command, str) or command not in schemas:
        known = ", ".join(schemas)
        if len(schemas) > 1:
            known = f"one of {known}{nearest(str(command), list(schemas))}"
        problem = f"missing; expected {known}"
        if "command" in data:
            problem = f"expected {known}. Received: {shortened(command)}"
        raise ConfigError(f"{_blamed(source, changes, 'command')}: {problem}")
    return checked(schema_of(data), data, source, changes)


def checked(
    schema: type[Strict], data: Mapping[str, Any], source: str, changes: Sequence[Change] = ()
) -> Any:
    """:func:`validate` by one schema."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        path, problem = _explain(first, schema)
        place = _blamed(source, changes, path, first["type"])
        raise ConfigError(f"{place}: {problem}") from None


def _blamed(source: str, changes: Sequence[Change], path: str, error_type: str = "") -> str:
    """Place of an error: the change that caused it, or the source with the dotted path."""
    for change in reversed(changes):
        if path == change.path:
            return change.source
        # Keys below an unknown key are unknown as well.
        if is_within(path, change.path) or (
            error_type == "extra_forbidden" and is_within(change.path, path)
        ):
            return f"{change.source}: {path}"
    if error_type == "value_error" and changes:  # inconsistent keys, perhaps by a change
        sources = dict.fromkeys(change.source for change in changes)
        source = f"{source} with {', '.join(sources)}"
    return f"{source}: {path}"


def dump(config: Strict) -> str:
    """Config as YAML that loads to an equal config."""
    # Without allow_unicode: PyYAML would turn a line separator such as U+0085 into a space.
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def expect_readable(config: Strict, source: str) -> None:
    """Check that a run's config can be read again."""
    text = dump(config).encode(errors="replace")
    try:
        parse_preset(text, source)
    except ConfigError as error:
        raise ConfigError(f"{error}, in the config of a run; {FEWER}") from None
    if len(text) > MAX_BYTES:
        received = f"{len(text):,}"
        raise ConfigError(
            f"{source}: expected a config of at most {MAX_BYTES:,} bytes, received {received}; "
            f"{FEWER}"
        )


def fingerprint(config: Strict | Mapping[str, Any]) -> str:
    """SHA-256 of a config's content, independent of its YAML."""
    data = config.model_dump(mode="json") if isinstance(config, Strict) else config
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _explain(error: ErrorDetails, schema: type[BaseModel]) -> tuple[str, str]:
    """Validation error of a key: its dotted path, and the expected and received values in words."""
    path = list(error["loc"])
    error_type = error["type"]
    unions = schema.unions if issubclass(schema, Strict) else {}
    if len(path) > 1 and path[0] in unions:
        schema = unions[str(path[0])][str(path.pop(1))]  # the tag of a union, not a key
    dotted = ".".join(str(part) for part in path) or "a key"
    received = error["input"]
    if error_type == "extra_forbidden":
        known = _keys_at(schema, path[:-1])
        return dotted, f"unknown key{nearest(str(path[-1]), known)}; known: {', '.join(known)}"
    if error_type == "missing":
        return dotted, "missing; expected a value"
    expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error_type in _EXPECTED:
        expected = _EXPECTED[error_type].format(**error.get("ctx", {}))
    hint = ""
    if error_type in ("int_type", "float_type"):
        hint = _number_hint(received, is_int=error_type == "int_type")
    if error_type == "literal_error":
        hint = nearest(str(received), re.findall("'(.*?)'", expected))
    return dotted, f"expected {expected}{hint}. Received: {shortened(received)}"


# Messages for pydantic's error types.
_EXPECTED = {
    "model_type": "a mapping",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "string_unicode": "text that UTF-8 can encode",
    "list_type": "a list",
    "dict_type": "a mapping",
    "invalid-json-value": "a number, text, a list or a mapping",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number not less than {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number not greater than {le}",
    "string_too_short": "text of {min_length} or more letters",
    "string_too_long": "text of at most {max_length} letters",
    "too_short": "{min_length} or more items",
    "too_long": "{max_length} items, no more",
}

# A value may be a mebibyte long.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = 80
_SHORT.maxother = 80


def shortened(value: object) -> str:
    """``repr`` of a value, shortened to part of a line."""
    return _SHORT.repr(value)


def _number_hint(received: object, is_int: bool) -> str:
    """Hint for a number that was received as text, or ""."""
    if not isinstance(received, str):
        return ""
    try:
        number = float(received)
    except ValueError:
        return ""
    if not math.isfinite(number) or (is_int and not number.is_integer()):
        return ""
    spelled = yaml.safe_dump(int(number) if is_int else number).split()[0]
    return f" (received as text: write it as {spelled})"


def _keys_at(schema: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Keys that a schema has at a path."""
    model = schema
    for part in path:
        if part in model.model_fields and part != "target":  # else an index, or a column's name
            model = next(models_in(model.model_fields[part].annotation))
    return list(model.model_fields)


def preset_label(path: Path) -> str:
    """Name of a preset in errors; of a file its path."""
    return path.stem if shipped_presets().get(path.stem) == path else str(path)


def find_preset(name_or_path: str) -> Path:
    """Path of a preset given by name or path."""
    shipped = shipped_presets()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    with contextlib.suppress(OSError, ValueError):  # a name too long, or invalid: "\0"
        if path.is_file():
            return path
    raise ConfigError(
        f"no preset named {name_or_path!r}, and no such file{nearest(name_or_path, list(shipped))}"
        "; `nflow presets` lists them"
    )


def run_name(resolved: RunConfig, preset: Path) -> str:
    """Name of a run: the preset's for the same experiment, else :func:`made_name`."""
    return preset.stem if _same_experiment(resolved, preset) else made_name(resolved)


def made_name(resolved: RunConfig, varied: Iterable[str] = ()) -> str:
    """Name of target or data, flows and K, such as ``two-moons-planar-k32``.

    A VAE's prior follows (``prior-affine-coupling-k4``). Parts that the dotted keys ``varied``
    change are left out.
    """
    flow = resolved.flow
    prior = getattr(resolved, "prior", None)
    words = {resolved.subject_key: _subject(resolved)}
    if flow is None:
        words["cells"] = "cells"
    else:
        if flow.k != 0:
            words["flow.pattern"] = _pattern(flow)
        if flow.k is not None:  # else by the size of the table
            words["flow.k"] = f"k{flow.k}"
    if prior:
        words["prior"] = f"prior-{_pattern(prior)}-k{prior.k}"
    return "-".join(word for key, word in words.items() if not touches(varied, key))


def touches(keys: Iterable[str], path: str) -> bool:
    """Whether a dotted key is at ``path``, below it or above it."""
    return any(is_within(key, path) or is_within(path, key) for key in keys)


def _pattern(flow: Flow) -> str:
    """Pattern of a stack in a name; "mixed" for a long one."""
    pattern = "-".join(map(pattern_name, flow.pattern))
    return pattern if len(pattern) <= MAX_LABEL else "mixed"


def _subject(resolved: RunConfig) -> str:
    name = resolved.subject
    if resolved.subject_key != "data" or name in POINT_SETS:
        return text_of(name)[:MAX_LABEL]
    return text_of(Path(name).stem)[:MAX_LABEL] or "data"


def _same_experiment(resolved: RunConfig, preset: Path) -> bool:
    try:
        unchanged = validate(read_preset(preset), str(preset), run_schemas())
    except ConfigError:  # incomplete without the changes
        return False
    return unchanged.model_dump(include=EXPERIMENT) == resolved.model_dump(include=EXPERIMENT)


def text_of(value: object) -> str:
    """Value as text that is valid in file names; "" for a mapping."""
    if isinstance(value, Mapping):
        return ""
    if isinstance(value, list):
        return "+".join(map(text_of, value))
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return re.sub(r"[^\w.+-]+", "_", str(value)).strip("._")


def merged(command: str, path: Path, changes: Sequence[Change]) -> Any:
    """Config of a command's preset file with changes."""
    data = {"command": command, **read_preset(path)}
    source = preset_label(path)
    preset_command = data["command"]
    schemas = preset_schemas()
    if preset_command != command and preset_command in list(schemas):  # it may be unhashable
        raise ConfigError(f"{source}: a preset of `nflow {preset_command}`, not of {command}")
    return resolve(data, source, changes, {command: schemas[command]})


def resolve(
    preset: Mapping[str, Any],
    source: str,
    changes: Sequence[Change],
    schemas: Mapping[str, type[Strict]],
) -> Any:
    """Validated config of a preset with changes, the later ones over the earlier.

    The preset's description is kept if only the seed differs. Errors name the preset's ``source``,
    or the change; a change must not drop another or a value of the preset.
    """
    data = dict(preset)
    for n, change in enumerate(changes):
        _check_dropped(change, changes[:n])
        data = _opened(data, change, source, changes[:n])
        data = override(data, {change.path: change.value})
    resolved = validate(data, source, schemas, changes)
    is_new = any(change.path == "description" for change in changes)
    if is_new or {**data, "seed": 0} == {**preset, "seed": 0}:
        return resolved
    return resolved.model_copy(update={"description": ""})


def _check_dropped(change: Change, earlier: Iterable[Change]) -> None:
    """Refuse a change that drops an earlier one."""
    for dropped in earlier:
        if dropped.path != change.path and is_within(dropped.path, change.path):
            raise ConfigError(
                f"{dropped.source} and {change.source}: expected one of the two, as the second "
                "replaces the first"
            )


def _opened(
    data: dict[str, Any], change: Change, source: str, earlier: Sequence[Change]
) -> dict[str, Any]:
    """Data in which a change has mappings above it: a bare name becomes one."""
    parents = change.path.split(".")[:-1]
    value: Any = data
    for depth, key in enumerate(parents, start=1):
        path = ".".join(parents[:depth])
        value = value.get(key)
        if isinstance(value, str) and path in NAMED:
            value = {"name": value}
            data = override(data, {path: value})
        setters = [setter.source for setter in earlier if is_within(path, setter.path)]
        if value is None and not setters:
            break
        if not isinstance(value, dict):
            origin = setters[-1] if setters else source
            raise ConfigError(
                f"{change.source}: expected a mapping at {path}. Received: {shortened(value)}, "
                f"from {origin}"
            )
    return data
