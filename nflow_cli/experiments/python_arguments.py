"""Keyword arguments of ``fit`` and ``infer`` in Python, converted to preset changes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config.forms import INTERVALS, NAMES, PATTERN, STEPS
from nflow_cli.config.key_options import options_of
from nflow_cli.config.keys import LENGTHS
from nflow_cli.config.presets import Change
from nflow_cli.errors import ConfigError
from nflow_cli.registry import nearest

SETTINGS = "KEY=VALUE,…"
_EXAMPLES = {  # by form
    NAMES: '["a", "b"]',
    PATTERN: '["planar", "radial"]',
    STEPS: '["a", "b"]',
    INTERVALS: '{"a": (0, None)}',
    SETTINGS: '{"train.batch_size": 512}',
}


def changes_of(command: str, options: Mapping[str, Any]) -> list[Change]:
    """Preset changes of keyword arguments."""
    changes, known = [], options_of(command)
    for name, given in options.items():
        if name not in known:
            raise ConfigError(f"{name}: no argument of {command}{nearest(name, list(known))}")
        key, value = known[name].key, _read(name, given, known[name].form)
        changes += [] if value is None else [Change(key, key, value)]
    return changes


def expect_one_length(due: float | None, changes: Iterable[Change]) -> None:
    """Refuse ``minutes`` beside changes of the length of a training."""
    for change in changes:
        if due is not None and change.path in LENGTHS:
            raise ConfigError(f"minutes and {change.source}: expected one of the two")


def settings_of(settings: Any) -> list[Change]:
    """Preset changes of ``settings``; ``None`` is null."""
    values = _read("settings", settings, SETTINGS) or {}
    return [Change(key, key, value) for key, value in values.items()]


def _read(name: str, value: Any, form: str) -> Any:
    if value is None or form not in _EXAMPLES:
        return str(value) if isinstance(value, Path) else value
    if form in (NAMES, PATTERN) or (form == STEPS and not isinstance(value, Mapping)):
        values = list_of(name, value, _EXAMPLES[form])
        return dict.fromkeys(values, 1.0) if form == STEPS else values
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _expected("a mapping", name, value, _EXAMPLES[form])
    if form != INTERVALS:
        return dict(value)
    if not all(map(_is_list, value.values())):
        raise _expected("a mapping to pairs", name, value, _EXAMPLES[form])
    return {column: list(ends) for column, ends in value.items()}


def list_of(name: str, value: Any, example: str) -> list[Any]:
    """List of an argument; a text is not one."""
    if not _is_list(value):
        raise _expected("a list", name, value, example)
    return [str(one) if isinstance(one, str) else one for one in value]  # NumPy's text among them


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _expected(what: str, name: str, value: Any, example: str) -> ConfigError:
    return ConfigError(f"{name}: expected {what}, such as {example}. Received: {value!r:.70}")
