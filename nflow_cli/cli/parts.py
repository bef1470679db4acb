"""``nflow evaluate`` and ``nflow predict`` of a table of many files, its parts."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nflow_cli.backend.start import CPU, GPU, Machine
from nflow_cli.cli.options import expect_replaceable
from nflow_cli.cli.pool import cards_of, expect_one_pool, pool_of, tell_failures, work_off
from nflow_cli.errors import NflowError

if TYPE_CHECKING:
    from nflow_cli.evaluation.tallies import Tally
    from nflow_cli.experiments.rows import Judgement
    from nflow_cli.experiments.run import Run
    from nflow_cli.runs.directory import RunDirectory

WORK = "nflow_cli.sweeps.parts:work_off"
TRIES = 3  # of a part whose process dies
SHOWN = 20  # failed parts


def expect_parts(
    are_parts: bool, scheduler: str | None, workers: int | None, **others: Any
) -> None:
    """Refuse options of one file for many, and the reverse."""
    if not are_parts and (scheduler or workers):
        raise click.UsageError(
            "--workers and --scheduler: expected --data of many files, a pattern or a folder"
        )
    expect_one_pool(scheduler, workers)
    for name, value in others.items():
        if are_parts and value:
            raise click.UsageError(f"--{name}: expected one file as --data. Received: many")


def judged_parts(
    run: "Run",
    data: str,
    output: str,
    question: Mapping[str, Any],
    judge: "Callable[[Tally, str], Judgement]",
    machine: Machine,
    scheduler: str | None,
    workers: int | None,
) -> "Judgement":
    """Write the output of each part that has none yet; judge all of them together."""
    from nflow_cli.cli.sweep_report import PartsReport
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.sweeps.parts import claim, identity, parts_of

    if output == "-":
        raise click.UsageError("-o: of many files, expected a folder. Received: -")
    parts, asked = parts_of(data, Path(output)), identity(run, question)
    outputs = [part.paths(Path(output))[1] for part in parts]
    expect_replaceable("-o", [output, *outputs], run, [str(part.path) for part in parts])
    folder = RunDirectory.at(output)
    place = {"device": GPU if machine.is_gpu else CPU, "threads": machine.threads}
    shared = {"work": WORK, "run": str(run.path), "asked": asked, "cwd": os.getcwd(), **place}
    failures: dict[str, str] = {}
    cards = cards_of(scheduler, machine)
    with folder.locked("folder"):
        claim(folder, asked, parts)
        left = [part for part in parts if part.tally(folder.path) is None]
        if left:
            requests = ({"paths": part.paths(folder.path), **shared} for part in left)
            with (
                pool_of(scheduler, workers, cards, len(left)) as pool,
                PartsReport(len(parts), left, failures, folder.path, pool.slots) as report,
            ):
                work_off(zip(left, requests), pool, report, TRIES)
        return _concluded(parts, folder, failures, data, judge)


def _concluded(
    parts: Any, folder: "RunDirectory", failures: dict[str, str], data: str, judge: Any
) -> "Judgement":
    from nflow_cli.evaluation.tallies import Tally

    tallies = {part.name: part.tally(folder.path) for part in parts}
    for name in [name for name, found in tallies.items() if found is None]:
        failures.setdefault(name, "it has changed since it was read")
    if failures:
        tell_failures(failures, SHOWN)
        raise NflowError(
            f"{folder.path}: {len(failures):,} of {len(parts):,} parts failed; the same command "
            "tries them again, and no others"
        )
    found = Tally.merged([*tallies.values()])
    if not any(found.counts.get(name) for name in ("n", "n_missing")):
        raise NflowError(f"{data}: expected rows, received none in any of {len(parts):,} parts")
    judged = judge(found, data)
    rows = [("parts", f"{len(parts):,}"), *judged.rows]
    return judged._replace(scores={"parts": len(parts), **judged.scores}, rows=rows)
