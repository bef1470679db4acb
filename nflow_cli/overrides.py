"""Presets under the changes that ``--set`` and options make to them. No Keras here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nflow_cli.config import Change, is_within, override, shortened, validate
from nflow_cli.errors import ConfigError
from nflow_cli.schema import NAMED, Strict


def resolve(
    preset: Mapping[str, Any],
    source: str,
    changes: Sequence[Change],
    schemas: Mapping[str, type[Strict]],
) -> Any:
    """Return the checked config of a preset, each change made over those before it.

    Its description stays where nothing but the seed is another one than it was written for.

    Args:
        preset: Its keys and values.
        source: What to call it in errors.
        changes: Such as those of ``--set``, then those of options.
        schemas: By command, as :func:`~nflow_cli.config.validate` takes them.

    Raises:
        ConfigError: One line that names who asked for the value that is wrong: the preset, or a
            change. A change that would drop another, or a value of the preset, is wrong too.
    """
    data = dict(preset)
    for n, change in enumerate(changes):
        _check_dropped(change, changes[:n])
        data = _opened(data, change, source, changes[:n])
        data = override(data, {change.path: change.value})
    resolved = validate(data, source, schemas, changes)
    is_new = any(change.path == "description" for change in changes)
    if is_new or _describes(preset, schemas, resolved):
        return resolved
    return resolved.model_copy(update={"description": ""})


def _check_dropped(change: Change, before: Iterable[Change]) -> None:
    """Refuse to replace a mapping that another change reaches into."""
    for other in before:
        if other.path != change.path and is_within(other.path, change.path):
            raise ConfigError(
                f"{other.source} and {change.source}: one replaces what the other changes; give "
                "one of the two"
            )


def _opened(
    data: dict[str, Any], change: Change, source: str, before: Sequence[Change]
) -> dict[str, Any]:
    """Return ``data`` where each key above ``change`` holds a mapping, or nothing yet.

    Raises:
        ConfigError: If one holds something else, which the change would drop.
    """
    *above, _ = change.path.split(".")
    value: Any = data
    for depth, key in enumerate(above, start=1):
        path, value = ".".join(above[:depth]), value.get(key)
        if isinstance(value, str) and path in NAMED:
            value = {"name": value}
            data = override(data, {path: value})
        if value is None:
            break
        if not isinstance(value, dict):
            setters = [other.source for other in before if is_within(path, other.path)]
            raise ConfigError(
                f"{change.source}: expected a mapping at {path}. Received: {shortened(value)}, "
                f"from {[source, *setters][-1]}"
            )
    return data


def _describes(preset: Mapping[str, Any], schemas: Any, resolved: Any) -> bool:
    """Return whether a config is a preset's own, perhaps with another seed."""
    try:
        alone = validate(preset, "", schemas)
    except ConfigError:  # it needs the changes
        return False
    return resolved == alone.model_copy(update={"seed": resolved.seed})
