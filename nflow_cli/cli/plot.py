"""``nflow plot``: draw the pictures of a run again."""

import click

from nflow_cli.cli.options import Command, run_argument
from nflow_cli.text import printable


@click.command(cls=Command)
@run_argument
@click.option(
    "--format",
    "format_",
    type=click.Choice(["png", "svg", "pdf"]),
    default="png",
    show_default=True,
    help="File format of the pictures.",
)
def plot(run_dir: str, format_: str) -> None:
    """Draw the pictures of a run again, from the arrays it saved.

    Prints the path of each picture.
    """
    from nflow_cli.experiments.drawing import draw
    from nflow_cli.runs.directory import RunDirectory

    run = RunDirectory.open(run_dir)
    with run.locked():
        paths = draw(run, format_)
    for path in paths:
        click.echo(printable(path))
