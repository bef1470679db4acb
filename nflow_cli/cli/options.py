"""What the commands share: options, overrides, and what is no argument."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from nflow_cli import registry
from nflow_cli.constants import DPI
from nflow_cli.errors import ConfigError
from nflow_cli.layout import tell

THE_PRESETS = "Default: the preset's."  # for the help of options


class Command(click.Command):
    """A command that takes no empty text, which a variable of the shell is that was never set."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse empty ones."""
        rest = super().parse_args(ctx, args)
        for parameter in self.get_params(ctx):
            value = ctx.params.get(parameter.name or "")
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise click.BadParameter("expected a value. Received: ''", ctx, parameter)
        return rest


picture_formats = click.Choice(["png", "svg", "pdf"])
dpi_option = click.option(
    "--dpi",
    type=click.IntRange(30, 600),
    default=DPI,
    show_default=True,
    help="Dots an inch of the pictures, and of what is no line in .svg and .pdf.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _a_number(_: Any, __: Any, value: float | None) -> float | None:
    """Refuse NaN, which every range lets through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("'nan' is not a number.")
    return value


def _pattern(_: Any, __: Any, value: str | None) -> list[str] | None:
    """Split ``planar,radial`` and check each name."""
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name not in registry.FLOWS:
            known = ", ".join(registry.FLOWS)
            hint = registry.flow_hint(name)
            raise click.BadParameter(f"{name!r} is not a flow{hint}; known: {known}")
    return names


def flow_options(command: Any) -> Any:
    """Add the options of a flow stack to a command."""
    command = click.option(
        "--k", type=click.IntRange(0, 10_000), help=f"How many flows. {THE_PRESETS}"
    )(command)
    return pattern_option("--flow", "Flows, cycled, such as planar,radial.")(command)


def pattern_option(name: str, text: str) -> Callable[[Any], Any]:
    """Return a decorator that adds an option of the names of flows; ``text`` is its help."""
    about = f"{text} {THE_PRESETS}"
    return click.option(name, metavar="NAME[,NAME]", callback=_pattern, help=about)


def density_option(command: Any) -> Any:
    """Add the option that names the function of a run of ``nflow infer`` again."""
    text = "Of an infer run: the file that it was fitted to, which is run."
    return click.option("--density", metavar="FILE.py:FUNCTION", help=text)(command)


def data_of_run(experiment: Any, run: Any, density: str | None) -> Any:
    """Return what a run was trained on, or the function that ``--density`` names again."""
    if density is None:
        return experiment.data(run)
    if not experiment.takes_density:
        raise click.UsageError("--density: expected a run of `nflow infer`")
    from nflow_cli.backend import start_tensorflow

    start_tensorflow()  # before a file that imports it
    return experiment.density_again(density)


def common_options(batch: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of both trainings; ``batch`` is a help text."""
    options = [
        click.option("--preset", metavar="NAME|FILE", help="A preset by name, or a YAML file."),
        click.option("--batch-size", type=click.IntRange(1, 10**6), help=f"{batch} {THE_PRESETS}"),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, 1e6, min_open=True),
            callback=_a_number,
            help=f"Adam's learning rate. {THE_PRESETS}",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            help=f"Fixes the result bit for bit. {THE_PRESETS}",
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


def changes_of(options: Mapping[str, Any], keys: Mapping[str, str]) -> list[Any]:
    """Return what the options that were given change: ``keys`` are dotted, by name of option."""
    from nflow_cli.config.presets import Change

    return [
        Change(f"--{name.replace('_', '-')}", keys[name], value)
        for name, value in options.items()
        if value is not None
    ]


def resolve_config(
    command: str, preset: Path, assignments: Iterable[str], changes: Iterable[Any] = ()
) -> Any:
    """Merge option > ``--set`` > preset > default, and check the result.

    Args:
        command: Whose preset it must be.
        preset: The preset file.
        assignments: ``key.path=value`` texts.
        changes: Those of options.
    """
    from nflow_cli import experiments
    from nflow_cli.config import memory, overrides, presets
    from nflow_cli.config.schema import SCHEMAS

    data, source = presets.read_preset(preset), presets.preset_label(preset)
    if (other := data.get("command")) != command and other in list(SCHEMAS):  # it may be anything
        raise ConfigError(f"{source}: a preset of `nflow {other}`, not of {command}")
    changes = [*map(presets.parse_assignment, assignments), *changes]
    schemas = {command: SCHEMAS[command]}
    resolved = overrides.resolve(data, source, changes, schemas)
    resolved, annealing = overrides.in_proportion(resolved, data, changes, schemas)
    resolved, chunk = memory.bounded(resolved, experiments.of(resolved).footprint)
    for note in filter(None, (annealing, chunk)):
        tell(note)
    return resolved
