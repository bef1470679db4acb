"""``nflow check``: verify a saved model by itself."""

from contextlib import suppress

import click

from nflow_cli.backend.start import Machine, start_tensorflow
from nflow_cli.cli.options import Command, device_option, json_option, run_argument
from nflow_cli.errors import NflowError
from nflow_cli.runs.json_text import json_text
from nflow_cli.terminal.layout import hanging


@click.command(cls=Command)
@run_argument
@device_option
@json_option
def check(run_dir: str, machine: Machine, as_json: bool) -> None:
    """Verify a run: its model by mathematics, its scores by its own draws.

    Prints one line for each check, with its scores; exits 1 if any fails.
    """
    from nflow_cli.experiments.checks import check_run
    from nflow_cli.experiments.comparison import Outcome
    from nflow_cli.experiments.run import Run

    run = Run.open(run_dir)  # a wrong name is reported before TensorFlow starts
    with suppress(NflowError):  # a damaged config is a check that fails
        if run.config.is_of_flows:
            start_tensorflow(machine)

    checks = []
    for finding in check_run(run_dir):
        outcome, name = str(finding.outcome), finding.name
        detail = " ".join(finding.detail.split())
        checks.append({"check": name, "outcome": outcome, "detail": detail})
        if not as_json:
            click.echo(hanging(f"{outcome:<10} {name:<14} ", detail))
    failed = sum(check["outcome"] == Outcome.FAIL for check in checks)
    if as_json:
        click.echo(json_text({"run": run_dir, "failed": failed, "checks": checks}))
    if failed:
        raise NflowError(f"{run_dir}: {failed} of {len(checks)} checks failed")
