"""``nflow check``: verify a saved model by itself."""

import click

from nflow_cli.cli.options import Command
from nflow_cli.layout import hanging


@click.command(cls=Command)
@click.argument("run_dir", metavar="RUN_DIR")
def check(run_dir: str) -> None:
    """Verify what a run saved: its model by mathematics, its scores by fresh draws.

    Prints one line for each check, with its scores; exits 1 if any fails.
    """
    from nflow_cli.backend import start_tensorflow
    from nflow_cli.errors import NflowError
    from nflow_cli.runs.directory import RunDirectory

    RunDirectory.open(run_dir)  # a wrong name is reported before TensorFlow starts
    failed = count = 0
    start_tensorflow()
    from nflow_cli.evaluation.flow_checks import Outcome
    from nflow_cli.experiments.check import check_run

    for finding in check_run(run_dir):
        count, failed = count + 1, failed + (finding.outcome == Outcome.FAIL)
        detail = " ".join(finding.detail.split())
        click.echo(hanging(f"{finding.outcome:<8} {finding.name:<14} ", detail))
    if failed:
        raise NflowError(f"{run_dir}: {failed} of {count} checks failed")
