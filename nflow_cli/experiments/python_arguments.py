"""Arguments of ``fit`` and ``infer`` in Python, as a preset has them. ``None`` stays as it is.

Each function raises a :class:`~nflow_cli.errors.ConfigError` of one line for another type.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config import key_options
from nflow_cli.config.presets import Change
from nflow_cli.errors import ConfigError
from nflow_cli.registry import nearest

_NAMES, _PATTERN, _SETTINGS = '["a", "b"]', '["planar", "radial"]', '{"train.batch_size": 512}'
_INTERVALS, _STEPS = '{"a": (0, None)}', '{"a": 0.01}'


def changes_of(
    command: str, options: Mapping[str, Any], settings: Mapping[str, Any] | None
) -> list[Change]:
    """Return what keyword arguments change of a preset, and ``settings`` by their keys.

    Raises:
        ConfigError: The command has no such option, or it takes another type.
    """
    values, known = {}, key_options.options_of(command)
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"{name}: no argument of {command}{nearest(name, list(known))}")
        read = _READERS.get(known[name].form)
        values[known[name].key] = read(name, value) if read else value
    values |= _mapping_of("settings", settings, _SETTINGS) or {}
    return [Change(key, key, value) for key, value in values.items() if value is not None]


def list_of(name: str, value: Any, example: str = _NAMES) -> list[Any] | None:
    """Return the list that an argument is; an index and an array are one, a text is none."""
    if value is None:
        return None
    if not _is_list(value):
        raise _expected("a list", name, value, example)
    return [str(one) if isinstance(one, str) else one for one in value]  # NumPy's text among them


def _pattern_of(name: str, value: Any) -> list[Any] | None:
    return list_of(name, value, _PATTERN)


def _path_of(_: str, value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _mapping_of(name: str, value: Any, example: str) -> dict[str, Any] | None:
    """Return the mapping of names that an argument is."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _expected("a mapping", name, value, example)
    return dict(value)


def _steps_of(name: str, value: Any) -> dict[str, Any] | None:
    """Return the steps by column that an argument is; 1 of each in a list."""
    if isinstance(value, Mapping):
        return _mapping_of(name, value, _STEPS)
    columns = list_of(name, value)
    return dict.fromkeys(columns, 1.0) if columns else None


def _intervals_of(name: str, value: Any) -> dict[str, list[Any]] | None:
    """Return the ends by column that an argument is."""
    intervals = _mapping_of(name, value, _INTERVALS)
    if intervals is None:
        return None
    if not all(map(_is_list, intervals.values())):
        raise _expected("a mapping to pairs", name, value, _INTERVALS)
    return {column: list(ends) for column, ends in intervals.items()}


_READERS: dict[str, Callable[[str, Any], Any]] = {
    key_options.NAMES: list_of,
    key_options.PATTERN: _pattern_of,
    key_options.STEPS: _steps_of,
    key_options.INTERVALS: _intervals_of,
    key_options.FILE: _path_of,
}


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _expected(what: str, name: str, value: Any, example: str) -> ConfigError:
    return ConfigError(f"{name}: expected {what}, such as {example}. Received: {value!r:.70}")
