"""``nflow report``: rewrite the report page of a run."""

import click

from nflow_cli.cli.options import Command, run_argument
from nflow_cli.text import printable


@click.command(cls=Command)
@run_argument
def report(run_dir: str) -> None:
    """Rewrite report.html: a run on one page.

    It is made from the files of the run and the pictures in plots/, and loads no other file. Prints
    its path.
    """
    from nflow_cli.experiments.report import write_report
    from nflow_cli.experiments.run import Run

    run = Run.open(run_dir)
    with run.directory.locked():
        path = write_report(run)
    click.echo(printable(path))
