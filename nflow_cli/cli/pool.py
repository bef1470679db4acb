"""Work of many processes on this machine or a cluster, as of a table of many files."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from nflow_cli.backend.start import CPU, GPU, Machine, cores, gpus
from nflow_cli.cli.options import Whole, expect_replaceable
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.terminal.output import tell

if TYPE_CHECKING:  # which load more than help needs
    from nflow_cli.evaluation.tallies import Tally
    from nflow_cli.experiments.run import Run
    from nflow_cli.experiments.summary import Judgement
    from nflow_cli.runs.directory import RunDirectory
    from nflow_cli.sweeps.parts import Part
    from nflow_cli.sweeps.report import SweepReport
    from nflow_cli.sweeps.workers import Outcome, Pool

WORK = "nflow_cli.sweeps.parts:work_off"
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


def cards_of(scheduler: str | None, machine: Machine) -> Sequence[str]:
    """GPUs of this machine to work on; none of a cluster's."""
    return gpus(machine.device) if machine.is_gpu and not scheduler else []


def pool_of(
    scheduler: str | None, workers: int | None, cards: Sequence[str], count: int
) -> AbstractContextManager["Pool"]:
    """Pool for ``count`` pieces of work."""
    from nflow_cli.sweeps.workers import local_pool

    if scheduler is None:
        if cards:
            noun = "GPUs" if len(cards) > 1 else "GPU"
            tell(f"computing on {len(cards)} {noun}")
        return local_pool(min(workers or len(cards) or cores(), count), cards)
    try:
        from nflow_cli.sweeps.cluster import cluster_pool
    except ImportError:
        raise NflowError(
            "--scheduler needs Dask; install it in nflow's checkout with: pip install '.[cluster]'"
        ) from None
    return cluster_pool(scheduler)


def work_off(
    work: Iterable[tuple[Any, Mapping[str, Any]]],
    pool: "Pool",
    report: "SweepReport",
    tries: int = 1,
) -> None:
    """Do pieces of work, each with its request, in this order, and report their ends.

    One whose process died is tried again, up to ``tries`` times in all.
    """
    from nflow_cli.sweeps.workers import DIED

    attempts: dict[Future[Any], Attempt] = {}
    pending: set[Future[Any]] = set()
    try:
        for piece, request in work:
            attempts[pool.submit(request)] = Attempt(piece, request, 1)
        pending = set(attempts)
        while pending:
            done, pending = wait(pending, timeout=1.0, return_when="FIRST_COMPLETED")
            for future in done:
                attempt = attempts.pop(future)
                outcome = outcome_of(future)
                if outcome["status"] == DIED and attempt.number < tries:
                    future = pool.submit(attempt.request)
                    attempts[future] = attempt._replace(number=attempt.number + 1)
                    pending.add(future)
                else:
                    report.end(attempt.piece, outcome)
            report.show()
    except Interrupted as interruption:
        report.stopping()
        _stop(pool, pending, interruption.number)
        raise


class Attempt(NamedTuple):
    """Piece of work that a process does, and the number of the attempt, from 1."""

    piece: Any
    request: Mapping[str, Any]
    number: int


def outcome_of(future: "Future[Outcome]") -> "Outcome":
    """Outcome of a piece of work, a failure if it was lost."""
    from nflow_cli.sweeps.workers import FAILED

    try:
        return future.result()
    except CancelledError:
        return {"status": FAILED, "message": "cancelled by the cluster"}
    except Exception as error:  # of a cluster: its workers died, or lack nflow
        return {"status": FAILED, "message": one_line(error)}


def _stop(pool: "Pool", pending: "set[Future[Outcome]]", number: int) -> None:
    """Interrupt the work of a pool and wait for its end; a second signal ends it at once."""
    for _ in range(2):
        pool.interrupt(number)
        try:
            while pending and pool.slots():  # queued runs end too, at once
                _, pending = wait(pending, timeout=1.0)
            return
        except Interrupted:
            continue


def tell_failures(failures: Mapping[str, str], most: int | None = None) -> None:
    """Print the reason of each failure, of at most ``most``."""
    names = list(failures)[:most]
    width = max((len(name) for name in names), default=0)
    for name in names:
        tell(failures[name], head=f"failed: {name:<{width}}  ")
    if len(names) < len(failures):
        tell(f"failed: {len(failures) - len(names):,} others")


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
    from nflow_cli.sweeps.parts import claim, identity, parts_of
    from nflow_cli.sweeps.report import PartsReport

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
