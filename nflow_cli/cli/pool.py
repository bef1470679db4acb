"""Work of many processes on this machine or a cluster: options, pools, the loop until its end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from typing import Any

import click

from nflow_cli.backend.start import Machine, cores, gpus
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.terminal.layout import tell


def pool_options(what: str, work: str) -> Callable[[Any], Any]:
    """Decorator for ``--workers`` and ``--scheduler``."""

    def added(command: Any) -> Any:
        text = f"{work} on the workers of a Dask scheduler instead."
        command = click.option("--scheduler", metavar="ADDRESS", help=text)(command)
        text = f"Concurrent {what}; default: one per core or GPU."
        return click.option("--workers", type=click.IntRange(1, 1024), help=text)(command)

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
