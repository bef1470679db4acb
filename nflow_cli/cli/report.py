"""``nflow report``: write the page of a run again."""

import click

from nflow_cli.cli import completion
from nflow_cli.cli.options import Command
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument("run_dir", metavar="RUN_DIR", shell_complete=completion.runs)
def report(run_dir: str) -> None:
    """Write report.html again: a run on one page.

    It is made from the files there and the pictures in plots/, and loads no other file. Prints its
    path.
    """
    from nflow_cli.experiments.report import write_report
    from nflow_cli.runs.directory import RunDirectory

    run = RunDirectory.open(run_dir)
    with run.locked():
        path = write_report(run)
    click.echo(printable(path))
