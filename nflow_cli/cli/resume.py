"""``nflow resume``: continue an interrupted run."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from nflow_cli.backend.start import Machine, machine_of, recorded
from nflow_cli.cli.options import (
    FIRST_GPU,
    THREADS_BY_SIZE,
    Command,
    Whole,
    data_of_run,
    density_option,
    named_device,
    run_argument,
    threads_option,
)
from nflow_cli.errors import ConfigError, DeviceError, RunDirectoryError
from nflow_cli.terminal.output import tell
from nflow_cli.text import printable

if TYPE_CHECKING:  # which load schemas
    from nflow_cli.config.run_config import RunConfig
    from nflow_cli.experiments.run import Run


@click.command(cls=Command)
@run_argument
@click.option(
    "--steps",
    metavar="N",
    type=Whole(1, 10**9),
    help="Extend a run to N updates; not of train-vae.",
)
@click.option(
    "--epochs",
    metavar="N",
    type=Whole(1, 10**6),
    help="Extend a train-vae run to N epochs.",
)
@click.option(
    "--finish", is_flag=True, help="End the training at its last checkpoint: score and draw."
)
@density_option
@named_device(f"{FIRST_GPU}. Default: that of the run")
@threads_option(f"those of the run, or {THREADS_BY_SIZE}")
@click.pass_obj
def resume(
    argv: list[str],
    run_dir: str,
    steps: int | None,
    epochs: int | None,
    finish: bool,
    density: str | None,
    device: str | None,
    threads: int | None,
) -> None:
    """Continue an interrupted run from its last checkpoint.

    It ends as a run that was never stopped, bit for bit on the same processor. --steps or --epochs
    larger than before extend it, under the schedule of the new total. --finish ends it where it
    stopped, with its best weights so far; of a VAE at the end of that epoch.
    The function of an infer run is named again by --density.
    """
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.running import execute, show

    run = Run.open(run_dir)
    if finish and (steps or epochs):
        raise click.UsageError("--finish: expected no --steps and no --epochs")
    resolved = _ended(run) if finish else _extended(run.config, steps, epochs)
    extended = resolved != run.config
    if run.record.get("status") == "completed" and not extended:
        tell(f"{run.path}: finished already")
        click.echo(printable(run.path))
        return
    machine = _machine(run.record, device, threads)
    data = data_of_run(run, density, machine)
    if extended and not finish:
        option = "--steps" if steps else "--epochs"
        tell(
            f"{option}: the rest follows the schedule of the new total; a run of that length from "
            "the start ends differently"
        )
    run.config = resolved
    execute(run, data, machine, argv)
    show(run)


def _machine(record: dict[str, Any], device: str | None, threads: int | None) -> Machine:
    """Machine that the options name, by default that of the run."""
    from nflow_cli.runs.directory import MACHINES

    before = recorded(record.get(MACHINES))
    if device is not None and device != before.device:
        return machine_of(device).of(threads)
    try:
        machine = machine_of(before.device)
    except DeviceError as error:
        raise DeviceError(f"{error}; the run's own; --device cpu continues without it") from None
    return machine.of(threads or before.threads)


def _ended(run: "Run") -> "RunConfig":
    """Config of the length that the last checkpoint has reached."""
    from nflow_cli.runs.checkpoints import Checkpoints

    if run.record.get("status") == "completed":
        return run.config
    length = 0
    checkpoint = Checkpoints(run.directory).load()
    with suppress(KeyError, TypeError, IndexError, ZeroDivisionError):  # of a damaged state
        if checkpoint is not None:
            updates = checkpoint.state["Clock"]["updates"][-1]
            planned = checkpoint.state["steps"]
            length = -(-updates * run.config.length // planned)  # of a VAE, epochs
    if not length:
        raise RunDirectoryError(f"{run.path}: expected a checkpoint to end at. Received: none yet")
    return run.config.of_length(min(length, run.config.length))


def _extended(config: "RunConfig", steps: int | None, epochs: int | None) -> "RunConfig":
    """Config of the length that an option sets, which may not be smaller."""
    totals = {"steps": steps, "epochs": epochs}
    key = config.train.length_key
    total = totals.pop(key)
    if any(totals.values()):
        raise ConfigError(f"a run of `nflow {config.command}` is extended by --{key}")
    if total is None:
        return config
    before = getattr(config.train, key)
    if total < before:
        raise ConfigError(f"--{key}: expected {before} or more. Received: {total}")
    return config if total == before else config.of_length(total)
