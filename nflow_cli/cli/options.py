"""What the commands share: options, overrides, and a quiet TensorFlow."""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from nflow_cli.cli.stopping import signals_wait
from nflow_cli.errors import ConfigError, NflowError


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


def start_tensorflow() -> None:
    """Import Keras on TensorFlow, whatever ``keras.json`` says, without its native chatter."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with signals_wait(), _silent_stderr():
        try:
            import keras
            import tensorflow as tf
        except (ImportError, ValueError) as error:  # ValueError: keras.json holds nonsense
            raise NflowError(f"TensorFlow or Keras cannot be imported: {error}") from None
        tf.zeros(())  # the first operation looks for devices, and says so
    keras.config.set_floatx("float32")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: native code writes there, past ``sys.stderr``."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
