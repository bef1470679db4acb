"""What the commands share: options and overrides."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nflow_cli.errors import ConfigError


def _a_number(_: Any, __: Any, value: float | None) -> float | None:
    """Refuse NaN, which every range lets through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("'nan' is not a number.")
    return value


def common_options(batch: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of both trainings; ``batch`` is a help text."""
    options = [
        click.option("--preset", metavar="NAME|FILE", help="A preset by name, or a YAML file."),
        click.option("--batch-size", type=click.IntRange(1, 10**6), help=batch),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, 1e6, min_open=True),
            callback=_a_number,
            help="Adam's learning rate.",
        ),
        click.option(
            "--seed", type=click.IntRange(0, 2**32 - 1), help="Fixes the result bit for bit."
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Change a preset's key.",
        ),
        click.option("--output", metavar="DIR", help="A new or empty folder for the run."),
    ]

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def resolve_config(
    command: str,
    preset: Path,
    assignments: tuple[str, ...],
    options: dict[str, Any],
    replaced: tuple[str, ...] = (),
) -> Any:
    """Merge option > ``--set`` > preset > default, and check the result.

    Args:
        command: Whose preset it must be.
        preset: The preset file.
        assignments: ``key.path=value`` texts.
        options: Values by dotted path; ``None`` for an option that was not given.
        replaced: Keys of the preset that options stand for, beside their own.
    """
    from nflow_cli import config

    changes = dict(config.parse_assignment(text) for text in assignments)
    given = {path: value for path, value in options.items() if value is not None}
    data = config.override(config.read_preset(preset), changes)
    data = config.override(data, {**dict.fromkeys(replaced), **given})
    resolved = config.validate(data, f"{preset}{' with --set' if changes else ''}")
    if resolved.command != command:
        raise ConfigError(f"{preset}: a preset of `nflow {resolved.command}`, not of {command}")
    return resolved
