"""Presets with overrides: ``--set`` and other options."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nflow_cli.config.keys import is_within
from nflow_cli.config.preset_files import preset_label
from nflow_cli.config.presets import (
    Change,
    override,
    read_preset,
    shortened,
    validate,
)
from nflow_cli.config.schema import NAMED, SCHEMAS
from nflow_cli.config.strict import Strict
from nflow_cli.errors import ConfigError


def merged(command: str, path: Path, changes: Sequence[Change]) -> Any:
    """Config of a command's preset file with changes."""
    data, source = {"command": command, **read_preset(path)}, preset_label(path)
    if (other := data["command"]) != command and other in list(SCHEMAS):  # it may be anything
        raise ConfigError(f"{source}: a preset of `nflow {other}`, not of {command}")
    return resolve(data, source, changes, {command: SCHEMAS[command]})


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


def _check_dropped(change: Change, before: Iterable[Change]) -> None:
    for other in before:
        if other.path != change.path and is_within(other.path, change.path):
            raise ConfigError(
                f"{other.source} and {change.source}: expected one of the two, as the second "
                "replaces the first"
            )


def _opened(
    data: dict[str, Any], change: Change, source: str, before: Sequence[Change]
) -> dict[str, Any]:
    *above, _ = change.path.split(".")
    value: Any = data
    for depth, key in enumerate(above, start=1):
        path, value = ".".join(above[:depth]), value.get(key)
        if isinstance(value, str) and path in NAMED:
            value = {"name": value}
            data = override(data, {path: value})
        setters = [other.source for other in before if is_within(path, other.path)]
        if value is None and not setters:
            break
        if not isinstance(value, dict):
            raise ConfigError(
                f"{change.source}: expected a mapping at {path}. Received: {shortened(value)}, "
                f"from {[source, *setters][-1]}"
            )
    return data
