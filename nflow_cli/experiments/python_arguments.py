"""Arguments of ``fit`` and ``infer`` in Python, as a preset has them. ``None`` stays as it is.

Each function raises a :class:`~nflow_cli.errors.ConfigError` of one line for another type.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from nflow_cli.errors import ConfigError

PATTERN, SETTINGS = '["planar", "radial"]', '{"train.batch_size": 512}'  # examples
_NAMES, _INTERVALS = '["a", "b"]', '{"a": (0, None)}'


def list_of(name: str, value: Any, example: str = _NAMES) -> list[Any] | None:
    """Return the list that an argument is; an index and an array are one, a text is none."""
    if value is None:
        return None
    if not _is_list(value):
        raise _expected("a list", name, value, example)
    return [str(one) if isinstance(one, str) else one for one in value]  # NumPy's text among them


def mapping_of(name: str, value: Any, example: str) -> dict[str, Any] | None:
    """Return the mapping of names that an argument is."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _expected("a mapping", name, value, example)
    return dict(value)


def intervals_of(name: str, value: Any) -> dict[str, list[Any]] | None:
    """Return the ends by column that an argument is."""
    intervals = mapping_of(name, value, _INTERVALS)
    if intervals is None:
        return None
    if not all(map(_is_list, intervals.values())):
        raise _expected("a mapping to pairs", name, value, _INTERVALS)
    return {column: list(ends) for column, ends in intervals.items()}


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _expected(what: str, name: str, value: Any, example: str) -> ConfigError:
    return ConfigError(f"{name}: expected {what}, such as {example}. Received: {value!r:.70}")
