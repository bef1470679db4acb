"""Runs of a sweep one at a time, for a job queue."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nflow_cli.backend.start import Machine, machine_of
from nflow_cli.errors import BusyError, TakenError, one_line
from nflow_cli.registry import nearest
from nflow_cli.terminal.layout import tell
from nflow_cli.text import command_line, printable


def print_commands(runs: Sequence[Any], argv: Sequence[str]) -> None:
    """Print one shell command a run; line N is always the same run."""
    words = [word for word in argv if word != "--commands"]
    for run in runs:
        click.echo(command_line(["nflow", *words, "--only", run.name]))


def train_only(
    name: str, runs: Sequence[Any], folder: Path, argv: Sequence[str], machine: Machine
) -> None:
    """Train or resume one run by name."""
    from nflow_cli.experiments.running import carry_on
    from nflow_cli.runs.directory import RunDirectory

    run = next((run for run in runs if run.name == name), None)
    if run is None:
        hint = nearest(name, [run.name for run in runs])
        raise click.BadParameter(f"{name!r} is no run of this sweep{hint}", param_hint="'--only'")
    if run.is_finished(folder):
        tell(f"{run.name}: finished already")
        click.echo(printable(folder / run.name))
        return
    found = machine_of(machine.device).of(machine.threads)
    for note in run.notes:
        tell(note)
    directory = RunDirectory.at(str(folder / run.name))
    try:
        carry_on(run.as_begun(folder).config, directory, argv, found.with_threads(1))
    except BusyError as error:
        raise TakenError(one_line(error)) from None
