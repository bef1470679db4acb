"""A run or preset looked at: ``nflow check``, ``plot``, ``report`` and ``presets``."""

import json
from contextlib import suppress

import click

from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    Command,
    Whole,
    device_option,
    dpi_option,
    json_option,
    picture_formats,
    run_argument,
)
from nflow_cli.errors import NflowError
from nflow_cli.runs.json_text import json_text
from nflow_cli.terminal.output import hanging
from nflow_cli.text import printable


@click.command(cls=Command)
@run_argument
@device_option
@json_option
def check(run_dir: str, machine: Machine, as_json: bool) -> None:
    """Verify a run: its model by mathematics, its scores by its own draws.

    Prints one line for each check, with its scores; exits 1 if any fails.
    """
    from nflow_cli.experiments.comparison import Outcome
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.run_checks import check_run

    run = Run.open(run_dir)  # a wrong name is reported before TensorFlow starts
    with suppress(NflowError):  # a damaged config is a check that fails
        if run.config.is_of_flows:
            start_tensorflow(machine)

    checks = []
    for finding in check_run(run_dir):
        outcome = str(finding.outcome)
        detail = " ".join(finding.detail.split())
        checks.append({"check": finding.name, "outcome": outcome, "detail": detail})
        if not as_json:
            click.echo(hanging(f"{outcome:<10} {finding.name:<14} ", detail))
    failed = sum(check["outcome"] == Outcome.FAIL for check in checks)
    if as_json:
        click.echo(json_text({"run": run_dir, "failed": failed, "checks": checks}))
    if failed:
        raise NflowError(f"{run_dir}: {failed} of {len(checks)} checks failed")


@click.command(cls=Command)
@run_argument
@click.option(
    "--format",
    "format_",
    type=picture_formats,
    default="png",
    show_default=True,
    help="File format of the pictures.",
)
@dpi_option
@click.option("--only", multiple=True, metavar="NAME", help="A picture to draw; repeatable.")
@click.option(
    "--flow-at",
    "flows",
    type=Whole(min=1),
    multiple=True,
    metavar="K",
    help="Draw the K-th flow of a 2-D density; repeatable.",
)
@click.option(
    "--animate",
    is_flag=True,
    help="Animate the base through all flows of a 2-D density, as .gif and .webp.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Write live.html: a page on which the flows of a 2-D density can be run and changed.",
)
def plot(
    run_dir: str,
    format_: str,
    dpi: int,
    only: tuple[str, ...],
    flows: tuple[int, ...],
    animate: bool,
    live: bool,
) -> None:
    """Redraw the pictures of a run from its saved arrays.

    All of them, unless --only, --flow-at, --animate or --live choose some; the last three need the
    model, and a density in two dimensions. Prints the path of each picture.
    """
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.run_report import draw

    run = Run.open(run_dir)
    run.expect_trained()
    paths = []
    with run.directory.locked():
        if only or not (flows or animate or live):
            paths += draw(run, format_, dpi, only)
        if flows or animate or live:
            start_tensorflow()
            from nflow_cli.experiments import flow_pictures

            if flows:
                paths += flow_pictures.draw_flows(run, flows, format_, dpi)
            if animate:
                paths += flow_pictures.animate(run)
            if live:
                from nflow_cli.experiments.live_page import write_live

                paths += write_live(run)
    for path in paths:
        click.echo(printable(path))


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=completion.presets)
@click.option("--schema", is_flag=True, help="Print the JSON schema of presets, for editors.")
def presets(name: str | None, schema: bool) -> None:
    """List the presets with one line each, or print the preset NAME."""
    from nflow_cli.config import presets
    from nflow_cli.config.schema import json_schema

    if schema:
        if name is not None:
            raise click.UsageError("--schema is of all presets; expected no NAME")
        click.echo(json.dumps(json_schema()))
        return

    if name is not None:
        lines = presets.preset_text(presets.find_preset(name)).split("\n")
        click.echo("\n".join(printable(line.rstrip("\r")) for line in lines), nl=False)
        return
    shipped = presets.shipped_presets()
    width = max(len(preset) for preset in shipped)
    for preset, path in shipped.items():
        data = presets.read_preset(path)
        click.echo(hanging(f"{preset:<{width}}  {data['command']:<9}  ", data["description"]))


@click.command(cls=Command)
@run_argument
def report(run_dir: str) -> None:
    """Rewrite report.html: a run on one page.

    It is made from the files of the run and the pictures in plots/, and loads no other file. Prints
    its path.
    """
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.run_report import write_report

    run = Run.open(run_dir)
    with run.directory.locked():
        path = write_report(run)
    click.echo(printable(path))
