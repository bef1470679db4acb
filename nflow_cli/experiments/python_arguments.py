"""Python's side of commands: keyword arguments as preset changes, messages in its words."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic_core import to_jsonable_python

from nflow_cli.config.keys import LENGTHS
from nflow_cli.config.presets import Change, shortened
from nflow_cli.config.schema_options import STEPS, options_of
from nflow_cli.deadline import Deadline
from nflow_cli.errors import ConfigError, NflowError
from nflow_cli.registry import nearest
from nflow_cli.terminal.output import worded

_OPTION = re.compile(r"`[^`]*`|--set |(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*)")


def changes_of(command: str, options: Mapping[str, Any]) -> list[Change]:
    """Preset changes of keyword arguments."""
    changes, known = [], options_of(command)
    for name, given in options.items():
        if name not in known:
            raise ConfigError(f"{name}: no argument of {command}{nearest(name, list(known))}")
        key, value = known[name].key, _plain(name, given)
        if known[name].form == STEPS and isinstance(value, list):
            value = {str(column): 1.0 for column in value}
        changes += [] if value is None else [Change(key, key, value)]
    return changes


def expect_one_length(deadline: Deadline | None, changes: Iterable[Change]) -> None:
    """Refuse ``minutes`` beside changes of the length of a training."""
    for change in changes:
        if deadline is not None and change.path in LENGTHS:
            raise ConfigError(f"minutes and {change.source}: expected one of the two")


def settings_of(settings: Any) -> list[Change]:
    """Preset changes of ``settings``; ``None`` is null."""
    values = _plain("settings", settings or {})
    if not isinstance(values, dict):
        raise ConfigError(f"settings: expected a mapping. Received: {shortened(settings)}")
    return [Change(key, key, value) for key, value in values.items()]


def _plain(name: str, value: Any) -> Any:
    """Value of an argument in the types of YAML; whatever can be iterated over is a list."""
    try:
        return to_jsonable_python(value, fallback=_as_list)
    except ValueError:
        expected = "expected numbers, text, lists and mappings"
        raise ConfigError(f"{name}: {expected}. Received: {shortened(value)}") from None


def _as_list(value: Any) -> Any:
    if hasattr(value, "tolist"):  # of NumPy and pandas
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Iterable) else repr(value)


def in_python(text: str) -> str:
    """Message with names of arguments for options; commands in backticks stay."""
    return _OPTION.sub(_argument, text)


def _argument(match: re.Match[str]) -> str:
    if match["name"]:
        return match["name"].replace("-", "_") + ("=False" if match["no"] else "")
    return "" if match[0] == "--set " else match[0]


@contextmanager
def python_words() -> Iterator[None]:
    """Convert notes and errors of a block for Python users."""
    with worded(in_python):
        try:
            yield
        except NflowError as error:
            error.args = (in_python(error.in_python),)
            raise
