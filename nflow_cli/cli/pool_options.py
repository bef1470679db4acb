"""Options of work by many processes, and the answer for a table of many files."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nflow_cli.backend.start import CPU, GPU, Machine
from nflow_cli.cli.options import Whole, expect_replaceable
from nflow_cli.errors import NflowError
from nflow_cli.sweeps.pool import cards_of, pool_of, tell_failures, work_off

if TYPE_CHECKING:  # which load more than help needs
    from nflow_cli.evaluation.tallies import Tally
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.summary import Judgement
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.tables.many_files import Part

WORK = "nflow_cli.tables.many_files:work_off"
TRIES = 3  # of a part whose process dies
SHOWN = 20  # failed parts


def pool_options(noun: str, work: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator for ``--workers`` and ``--scheduler``."""

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        text = f"{work} on the workers of a Dask scheduler instead."
        command = click.option("--scheduler", metavar="ADDRESS", help=text)(command)
        text = f"Concurrent {noun}; default: one per core or GPU."
        return click.option("--workers", type=Whole(1, 1024), help=text)(command)

    return with_options


def expect_one_pool(scheduler: str | None, workers: int | None) -> None:
    """Refuse workers of this machine beside those of a cluster."""
    if scheduler and workers:
        raise click.UsageError(
            "--workers: expected none with --scheduler, whose cluster has its own"
        )


def expect_parts(
    are_parts: bool, scheduler: str | None, workers: int | None, **options: object
) -> None:
    """Refuse ``options`` of one file for many, and those of many files for one."""
    if not are_parts and (scheduler or workers):
        raise click.UsageError(
            "--workers and --scheduler: expected --data of many files, a pattern or a folder"
        )
    expect_one_pool(scheduler, workers)
    for name, value in options.items():
        if are_parts and value:
            raise click.UsageError(f"--{name}: expected one file as --data. Received: many")


def judged_parts(
    run: "Run",
    data: str,
    output: str,
    question: Mapping[str, object],
    judge: Callable[["Tally", str], "Judgement"],
    machine: Machine,
    scheduler: str | None,
    workers: int | None,
) -> "Judgement":
    """Write the output of each part that has none yet; judge all of them together."""
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.sweeps.sweep_progress import PartsReport
    from nflow_cli.tables.many_files import claim, identity, parts_of

    if output == "-":
        raise click.UsageError("-o: of many files, expected a folder. Received: -")
    parts = parts_of(data, Path(output))
    command = identity(run, question)
    outputs = [part.paths(Path(output))[1] for part in parts]
    expect_replaceable("-o", [output, *outputs], run, [str(part.path) for part in parts])
    folder = RunDirectory.at(output)
    failures: dict[str, str] = {}
    cards = cards_of(scheduler, machine)
    with folder.locked("folder"):
        claim(folder, command, parts)
        left = [part for part in parts if part.tally(folder.path) is None]
        if left:
            device = GPU if machine.is_gpu else CPU
            shared = {
                "work": WORK,
                "run": str(run.path),
                "command": command,
                "cwd": os.getcwd(),
                "device": device,
                "threads": machine.threads,
            }
            requests = ({"paths": part.paths(folder.path), **shared} for part in left)
            with (
                pool_of(scheduler, workers, cards, len(left)) as pool,
                PartsReport(len(parts), left, failures, folder.path, pool.slots) as report,
            ):
                work_off(zip(left, requests), pool, report, TRIES)
        tally = _merged_tally(parts, folder, failures, data)
        judgement = judge(tally, data)
        rows = [("parts", f"{len(parts):,}"), *judgement.rows]
        return judgement._replace(scores={"parts": len(parts), **judgement.scores}, rows=rows)


def _merged_tally(
    parts: "Sequence[Part]", folder: "RunDirectory", failures: dict[str, str], data: str
) -> "Tally":
    """Sums over the rows of all parts, of which none may have failed."""
    from nflow_cli.evaluation.tallies import Tally

    tallies = []
    for part in parts:
        tally = part.tally(folder.path)
        if tally is None:
            failures.setdefault(part.name, "it has changed since it was read")
        else:
            tallies.append(tally)
    if failures:
        tell_failures(failures, SHOWN)
        raise NflowError(
            f"{folder.path}: {len(failures):,} of {len(parts):,} parts failed; the same command "
            "tries them again, and no others"
        )
    merged = Tally.merged(tallies)
    if not merged.counts.get("n") and not merged.counts.get("n_missing"):
        raise NflowError(f"{data}: expected rows, received none in any of {len(parts):,} parts")
    return merged
