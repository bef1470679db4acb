"""``nflow report``: write the page of a run again."""

import click

from nflow_cli.cli.options import Command
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument("run_dir", metavar="RUN_DIR")
def report(run_dir: str) -> None:
    """Write report.html again: a run on one page, from its files and the pictures in plots/.

    It is one file that loads no other. Prints its path.
    """
    from nflow_cli.experiments.report import write_report
    from nflow_cli.runs.directory import RunDirectory

    run = RunDirectory.open(run_dir)
    with run.locked():
        path = write_report(run)
    click.echo(printable(path))
