"""``nflow report``: write the page of a run or a sweep again."""

from pathlib import Path

import click

from nflow_cli.cli import completion
from nflow_cli.cli.options import Command
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument("run_dir", metavar="RUN_DIR|SWEEP_DIR", shell_complete=completion.runs_and_sweeps)
def report(run_dir: str) -> None:
    """Write report.html again: a run, or a sweep, on one page.

    It is made from the files there and the pictures in plots/, and loads no other file; that of a
    sweep links to its runs', and can be written while it is trained. Prints its path.
    """
    from nflow_cli.constants import SWEEP
    from nflow_cli.runs.directory import RunDirectory

    sweep = RunDirectory(Path(run_dir))
    if sweep.has(SWEEP):
        from nflow_cli.sweeps.report import write_sweep_report

        click.echo(printable(write_sweep_report(sweep)))
        return
    from nflow_cli.experiments.report import write_report

    run = RunDirectory.open(run_dir)
    with run.locked():
        path = write_report(run)
    click.echo(printable(path))
