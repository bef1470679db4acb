"""Work of many processes on this machine or a cluster, as of a table of many files."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from nflow_cli.backend.start import CPU, GPU, Machine, cores, gpus
from nflow_cli.cli.options import Whole, expect_replaceable
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.terminal.output import tell

WORK = "nflow_cli.sweeps.parts:work_off"
TRIES = 3  # of a part whose process dies
SHOWN = 20  # failed parts


def pool_options(what: str, work: str) -> Callable[[Any], Any]:
    """Decorator for ``--workers`` and ``--scheduler``."""

    def added(command: Any) -> Any:
        text = f"{work} on the workers of a Dask scheduler instead."
        command = click.option("--scheduler", metavar="ADDRESS", help=text)(command)
        text = f"Concurrent {what}; default: one per core or GPU."
        return click.option("--workers", type=Whole(1, 1024), help=text)(command)

    return added


def expect_one_pool(scheduler: str | None, workers: int | None) -> None:
    """Refuse workers of this machine beside those of a cluster."""
    if scheduler and workers:
        raise click.UsageError(
            "--workers: expected none with --scheduler, whose cluster has its own"
        )


def cards_of(scheduler: str | None, machine: Machine) -> Sequence[str]:
    """GPUs of this machine to work on; none of a cluster's."""
    return gpus(machine.device) if machine.is_gpu and not scheduler else []


def pool_of(
    scheduler: str | None, workers: int | None, cards: Sequence[str], count: int
) -> AbstractContextManager[Any]:
    """Pool for ``count`` pieces of work."""
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


def work_off(
    work: Iterable[tuple[Any, Mapping[str, Any]]], pool: Any, report: Any, tries: int = 1
) -> None:
    """Do pieces of work, each with its request, in this order, and report their ends.

    One whose process died is tried again, up to ``tries`` times in all.
    """
    from nflow_cli.sweeps.workers import DIED

    futures: dict[Future[Any], tuple[Any, Any, int]] = {}
    pending: set[Future[Any]] = set()
    try:
        for item, request in work:
            futures[pool.submit(request)] = item, request, 1
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=1.0, return_when="FIRST_COMPLETED")
            for future in done:
                item, request, tried = futures.pop(future)
                outcome = outcome_of(future)
                if outcome["status"] == DIED and tried < tries:
                    again = pool.submit(request)
                    futures[again] = item, request, tried + 1
                    pending.add(again)
                else:
                    report.end(item, outcome)
            report.show()
    except Interrupted as interruption:
        report.stopping()
        _stop(pool, pending, interruption.number)
        raise


def outcome_of(future: Future[Any]) -> dict[str, str]:
    """Outcome of a piece of work, a failure if it was lost."""
    from nflow_cli.sweeps.workers import FAILED

    try:
        return future.result()
    except CancelledError:
        return {"status": FAILED, "message": "cancelled by the cluster"}
    except Exception as error:  # of a cluster: its workers died, or lack nflow
        return {"status": FAILED, "message": one_line(error)}


def _stop(pool: Any, pending: set[Any], number: int) -> None:
    for _ in range(2):
        pool.interrupt(number)
        try:
            while pending and pool.slots():  # queued runs end too, at once
                _, pending = wait(pending, timeout=1.0)
            return
        except Interrupted:
            continue


def tell_failures(failures: Mapping[str, str], most: int | None = None) -> None:
    """Print the reason of each failure, of at most some."""
    names: Sequence[str] = [*failures][:most]
    width = max(map(len, names), default=0)
    for name in names:
        tell(failures[name], head=f"failed: {name:<{width}}  ")
    if len(names) < len(failures):
        tell(f"failed: {len(failures) - len(names):,} others")


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
    run: Any,
    data: str,
    output: str,
    question: Mapping[str, Any],
    judge: Callable[[Any, str], Any],
    machine: Machine,
    scheduler: str | None,
    workers: int | None,
) -> Any:
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


def _concluded(parts: Any, folder: Any, failures: dict[str, str], data: str, judge: Any) -> Any:
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
