"""``nflow sweep``: train a grid of runs, on all cores or on a cluster."""

import os
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from nflow_cli.backend.start import CPU, Machine, cores, gpus
from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    Command,
    assignments_option,
    named_device,
    output_option,
    preset_option,
    threads_option,
)
from nflow_cli.terminal.layout import tell
from nflow_cli.text import command_line, printable

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
@click.option(
    "--workers", type=click.IntRange(1, 1024), help="Concurrent runs; default: one per core or GPU."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Train on the workers of a Dask scheduler instead."
)
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
    from nflow_cli.sweeps.plan import claim, plan
    from nflow_cli.terminal.signals import hinted

    if (sweep is None) == (options["preset"] is None):
        raise click.UsageError(MISSING)
    _expect_one_way(scheduler, workers, commands or bool(only))
    machine = Machine(device or CPU).of(threads)
    resolved, source, name = _resolved(sweep, **options)
    runs = plan(resolved, source)
    folder = RunDirectory.at(output or str(Path("outputs") / name))
    hint = f"to go on: {command_line(['nflow', *argv])}"
    with hinted(lambda: hint):
        if commands or only:
            _one_by_one(folder, resolved, runs, only, argv, machine)
            return
        cards = gpus(machine.device) if machine.is_gpu and not scheduler else []
        with folder.locked("sweep"):
            claim(folder, resolved)
            left, failures = _unfinished(runs, folder.path)
            _check_data(left)
            if left:
                _tell_notes(runs, left, resolved.seeds)
                with _pool(scheduler, workers, cards, len(left)) as pool:
                    _train(runs, left, failures, folder.path, pool, argv, machine)
            _conclude(folder, failures, [run.name for run in runs])


def _expect_one_way(scheduler: str | None, workers: int | None, one_by_one: bool) -> None:
    if scheduler and workers:
        raise click.UsageError(
            "--workers: expected none with --scheduler, whose cluster has its own"
        )
    if one_by_one and (scheduler or workers):
        raise click.UsageError(ALONE)


def _one_by_one(
    folder: Any, resolved: Any, runs: Sequence[Any], only: str | None, argv: list[str], machine: Any
) -> None:
    from nflow_cli.cli.sweep_only import print_commands, train_only
    from nflow_cli.sweeps.plan import claim_beside_others

    claim_beside_others(folder, resolved)
    if only:
        train_only(only, runs, folder.path, argv, machine)
    else:
        _check_data(_unfinished(runs, folder.path)[0])
        print_commands(runs, argv)


def _tell_notes(runs: Sequence[Any], left: Sequence[Any], seeds: Sequence[int]) -> None:
    from nflow_cli.sweeps.plan import overlap

    for note in dict.fromkeys(note for run in left for note in run.notes):
        tell(note)
    if note := overlap(seeds, max(run.experiment.config.train.restarts for run in runs)):
        tell(note)


def _resolved(
    sweep: str | None,
    preset: str | None,
    variations: tuple[str, ...],
    seeds: str | None,
    assignments: tuple[str, ...],
) -> tuple[Any, str, str]:
    from nflow_cli.config import preset_files, presets
    from nflow_cli.sweeps.plan import resolve

    if sweep is not None:
        path = preset_files.find_preset(sweep)
        data, source = presets.read_preset(path), preset_files.preset_label(path)
        folder = path.parent
    else:
        path = preset_files.find_preset(preset or "")
        data = {"command": "sweep", "presets": [preset]}
        source, folder = f"--preset {preset}", Path()
    changes = {
        "set": {change.path: change.value for change in map(presets.parse_assignment, assignments)},
        "vary": presets.parse_variations(variations),
    }
    for key, overriding in changes.items():
        if overriding:  # a wrong value in the file stays, to be reported
            below = data.get(key, {})
            data = {**data, key: {**below, **overriding} if isinstance(below, dict) else below}
            data.pop("description", None)  # of the file's own runs
    if seeds is not None:
        data = {
            **data,
            "seeds": seeds if ":" in seeds else presets.parse_yaml(f"[{seeds}]", "--seeds"),
        }
    resolved = resolve(data, source, folder)
    name = path.stem if sweep is not None else f"{path.stem}-{presets.fingerprint(resolved)[:8]}"
    return resolved, source, name


def _unfinished(runs: Sequence[Any], folder: Path) -> tuple[list[Any], dict[str, str]]:
    from nflow_cli.errors import RunDirectoryError

    left, damaged = [], {}
    for run in runs:
        try:
            if not run.is_finished(folder):
                left.append(run.as_begun(folder))
        except RunDirectoryError as error:
            damaged[run.name] = str(error)
    return left, damaged


def _check_data(runs: Sequence[Any]) -> None:
    loaded: dict[str, Any] = {}
    for run in runs:
        key = repr(run.config.model_dump(include={"data", "density"}))
        if key not in loaded:
            loaded[key] = run.experiment.data()
        run.experiment.expect_fits(loaded[key])


def _pool(
    scheduler: str | None, workers: int | None, cards: Sequence[str], count: int
) -> AbstractContextManager[Any]:
    from nflow_cli.errors import NflowError
    from nflow_cli.sweeps.workers import local_pool

    if scheduler is None:
        if cards:
            tell(f"computing on {len(cards)} GPU{'s' if len(cards) > 1 else ''}")
        return local_pool(min(workers or len(cards) or cores(), count), cards)
    try:
        from nflow_cli.sweeps.cluster import cluster_pool
    except ImportError:
        raise NflowError(
            "--scheduler needs Dask; install it in nflow's checkout with: pip install '.[cluster]'"
        ) from None
    return cluster_pool(scheduler)


def _train(
    runs: Sequence[Any],
    left: Sequence[Any],
    failures: dict[str, str],
    folder: Path,
    pool: Any,
    argv: list[str],
    machine: Machine,
) -> None:
    from nflow_cli.cli.sweep_report import SweepReport
    from nflow_cli.errors import Interrupted

    place = {"device": machine.device, "threads": machine.threads}
    shared = {"argv": argv, "cwd": os.getcwd(), **place}
    futures: dict[Future[Any], Any] = {}
    pending: set[Future[Any]] = set()
    with SweepReport(len(runs), left, failures, folder, pool.slots) as report:
        try:
            # The longest first, so that none is left at the end.
            for run in sorted(left, key=lambda run: -run.work):
                path = str(folder.resolve() / run.name)
                request = {"folder": path, "config": run.config.model_dump(mode="json"), **shared}
                futures[pool.submit(request)] = run
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=1.0, return_when="FIRST_COMPLETED")
                for future in done:
                    report.end(futures[future], _outcome(future))
                report.show()
        except Interrupted as interruption:
            report.stopping()
            _stop(pool, pending, interruption.number)
            raise


def _outcome(future: Future[Any]) -> dict[str, str]:
    from nflow_cli.errors import one_line
    from nflow_cli.sweeps.workers import FAILED

    try:
        return future.result()
    except CancelledError:
        return {"status": FAILED, "message": "cancelled by the cluster"}
    except Exception as error:  # of a cluster: its workers died, or lack nflow
        return {"status": FAILED, "message": one_line(error)}


def _stop(pool: Any, pending: set[Any], number: int) -> None:
    from nflow_cli.errors import Interrupted

    for _ in range(2):
        pool.interrupt(number)
        try:
            while pending and pool.slots():  # queued runs end too, at once
                _, pending = wait(pending, timeout=1.0)
            return
        except Interrupted:
            continue


def _conclude(folder: Any, failures: dict[str, str], names: Sequence[str]) -> None:
    from nflow_cli.cli.compare import present
    from nflow_cli.errors import NflowError

    width = max(map(len, failures), default=0)
    for name, message in failures.items():
        tell(message, head=f"failed: {name:<{width}}  ")
    if ended := [str(folder.path / name) for name in names if name not in failures]:
        present(ended, sweep=folder.path)
    click.echo(printable(folder.path))
    if failures:
        raise NflowError(
            f"{folder.path}: {len(failures)} of {len(names)} runs failed; each has a log.txt"
        )
