"""``nflow sweep``: train a grid of runs, on all cores or on a cluster."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nflow_cli.backend.start import CPU, Machine, machine_of
from nflow_cli.cli import completion
from nflow_cli.cli.compare import present
from nflow_cli.cli.options import (
    Command,
    assignments_option,
    named_device,
    output_option,
    preset_option,
    threads_option,
)
from nflow_cli.cli.pool_options import expect_one_pool, pool_options
from nflow_cli.errors import (
    BusyError,
    ConfigError,
    NflowError,
    RunDirectoryError,
    TakenError,
    one_line,
)
from nflow_cli.registry import nearest
from nflow_cli.sweeps.pool import cards_of, pool_of, tell_failures, work_off
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.signals import hinted
from nflow_cli.text import command_line, printable

if TYPE_CHECKING:  # which load schemas
    from nflow_cli.config.sweep_config import SweepConfig
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.sweeps.plan import PlannedRun
    from nflow_cli.sweeps.workers import Pool

TRAIN = "nflow_cli.sweeps.worker:train"
ALONE = "--workers and --scheduler: expected neither with --commands or --only"
MISSING = "expected one of SWEEP, a preset of `nflow sweep`, and --preset, a preset to vary"


@click.command(cls=Command)
@click.argument("sweep", required=False, shell_complete=completion.presets)
@preset_option("A preset to vary, in place of SWEEP.")
@click.option(
    "--vary",
    "variations",
    multiple=True,
    metavar="KEY.PATH=VALUE,...",
    help="Train with each of these values; several of these options make a grid.",
)
@click.option(
    "--seeds", metavar="FIRST:END[:STEP]|SEED,...", help="Train with each of these seeds."
)
@assignments_option("Set a key of every run.")
@output_option("The folder of the runs; default: outputs/<sweep>.")
@pool_options("runs", "Train")
@named_device("gpu is all GPUs, one worker each. Default: cpu")
@threads_option("1")
@click.option(
    "--commands", is_flag=True, help="Print a command per run, for a job queue; train none."
)
@click.option("--only", metavar="NAME", help="Train only this run of those that --commands prints.")
@click.pass_obj
def sweep(
    argv: list[str],
    sweep: str | None,
    output: str | None,
    workers: int | None,
    scheduler: str | None,
    device: str | None,
    threads: int | None,
    commands: bool,
    only: str | None,
    **options: Any,
) -> None:
    """Train a grid of runs, each in its own folder, on all cores.

    SWEEP is a preset of `nflow sweep`, by name or as a YAML file. The same command resumes an
    interrupted sweep. A failed run stops no other. At the end the scores of all runs are printed
    and drawn as by `nflow compare`; the last line is the folder.
    """
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.sweeps.plan import claim, claim_beside_others, overlap, plan

    if (sweep is None) == (options["preset"] is None):
        raise click.UsageError(MISSING)
    expect_one_pool(scheduler, workers)
    if (commands or only) and (scheduler or workers):
        raise click.UsageError(ALONE)
    machine = Machine(device or CPU).of(threads)
    resolved, source, name = _resolved(sweep, **options)
    runs = plan(resolved, source)
    folder = RunDirectory.at(output or str(Path("outputs") / name))
    hint = f"to go on: {command_line(['nflow', *argv])}"
    with hinted(lambda: hint):
        if commands or only:
            claim_beside_others(folder, resolved)
            _one_by_one(folder.path, runs, only, argv, machine)
            return
        cards = cards_of(scheduler, machine)
        with folder.locked("sweep"):
            claim(folder, resolved)
            left, failures = _unfinished(runs, folder.path)
            _check_data(left)
            if left:
                restarts = max(run.config.train.restarts for run in runs)
                notes = [note for run in left for note in run.notes]
                notes.append(overlap(resolved.seeds, restarts))
                for note in filter(None, dict.fromkeys(notes)):
                    tell(note)
                with pool_of(scheduler, workers, cards, len(left)) as pool:
                    _train(runs, left, failures, folder.path, pool, argv, machine)
            _conclude(folder, failures, [run.name for run in runs])


def _one_by_one(
    folder: Path, runs: Sequence["PlannedRun"], only: str | None, argv: list[str], machine: Machine
) -> None:
    """Train the run named ``only``; without one, print the command of each run."""
    if only:
        train_only(only, runs, folder, argv, machine)
        return
    _check_data(_unfinished(runs, folder)[0])
    words = [word for word in argv if word != "--commands"]
    for run in runs:  # line N is always the same run
        click.echo(command_line(["nflow", *words, "--only", run.name]))


def _resolved(
    sweep: str | None,
    preset: str | None,
    variations: tuple[str, ...],
    seeds: str | None,
    assignments: tuple[str, ...],
) -> tuple["SweepConfig", str, str]:
    """Sweep of the options, its source in errors, and the name of its folder."""
    from nflow_cli.config import presets
    from nflow_cli.sweeps.plan import resolve

    if sweep is not None:
        path = presets.find_preset(sweep)
        data = presets.read_preset(path)
        source = presets.preset_label(path)
        folder = path.parent
    else:
        path = presets.find_preset(preset or "")
        data = {"command": "sweep", "presets": [preset]}
        source = f"--preset {preset}"
        folder = Path()
    settings = [presets.parse_assignment(assignment) for assignment in assignments]
    _add_changes(data, "set", {change.path: change.value for change in settings})
    _add_changes(data, "vary", presets.parse_variations(variations))
    if seeds is not None:
        data["seeds"] = seeds if ":" in seeds else presets.parse_yaml(f"[{seeds}]", "--seeds")
    resolved = resolve(data, source, folder)
    name = path.stem if sweep is not None else f"{path.stem}-{presets.fingerprint(resolved)[:8]}"
    return resolved, source, name


def _add_changes(data: dict[str, Any], key: str, changes: dict[str, Any]) -> None:
    """Add changes to the mapping at a key of a sweep's preset."""
    if not changes:
        return
    values = data.get(key, {})
    if isinstance(values, dict):  # a wrong value in the file stays, to be reported
        data[key] = {**values, **changes}
    data.pop("description", None)  # of the file's own runs


def _unfinished(
    runs: Sequence["PlannedRun"], folder: Path
) -> tuple[list["PlannedRun"], dict[str, str]]:
    """Runs that have not finished, and by name why others cannot be read."""
    left = []
    damaged = {}
    for run in runs:
        try:
            if not run.is_finished(folder):
                left.append(run.as_begun(folder))
        except (ConfigError, RunDirectoryError) as error:
            damaged[run.name] = str(error)
    return left, damaged


def _check_data(runs: Sequence["PlannedRun"]) -> None:
    """Refuse runs whose data cannot be read or do not fit; equal data are read once."""
    from nflow_cli.experiments.run import kind_of

    loaded: dict[str, Any] = {}
    for run in runs:
        key = repr(run.config.model_dump(include={"data", "density"}))
        if key not in loaded:
            loaded[key] = kind_of(run.config).data.load(run.config)
        run.config.expect_fits(loaded[key])


def _train(
    runs: Sequence["PlannedRun"],
    left: Sequence["PlannedRun"],
    failures: dict[str, str],
    folder: Path,
    pool: "Pool",
    argv: list[str],
    machine: Machine,
) -> None:
    from nflow_cli.sweeps.sweep_progress import SweepReport

    shared = {
        "work": TRAIN,
        "argv": argv,
        "cwd": os.getcwd(),
        "device": machine.device,
        "threads": machine.threads,
    }
    # The longest first, so that none is left at the end.
    longest = sorted(left, key=lambda run: -run.work)
    requests = (
        {
            "folder": str(folder.resolve() / run.name),
            "config": run.config.model_dump(mode="json"),
            **shared,
        }
        for run in longest
    )
    with SweepReport(len(runs), left, failures, folder, pool.slots) as report:
        work_off(zip(longest, requests), pool, report)


def _conclude(folder: "RunDirectory", failures: dict[str, str], names: Sequence[str]) -> None:
    """Print the failures, and compare the other runs."""
    tell_failures(failures)
    finished = [str(folder.path / name) for name in names if name not in failures]
    if finished:
        present(finished, sweep=folder.path)
    click.echo(printable(folder.path))
    if failures:
        raise NflowError(
            f"{folder.path}: {len(failures)} of {len(names)} runs failed; each has a log.txt"
        )


def train_only(
    name: str, runs: Sequence["PlannedRun"], folder: Path, argv: Sequence[str], machine: Machine
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
    machine = machine_of(machine.device).of(machine.threads).with_threads(1)
    for note in run.notes:
        tell(note)
    directory = RunDirectory.at(str(folder / run.name))
    try:
        carry_on(run.as_begun(folder).config, directory, argv, machine)
    except BusyError as error:
        raise TakenError(one_line(error)) from None
