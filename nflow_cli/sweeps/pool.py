"""Work of many processes on this machine or a cluster, as of a table of many files."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from nflow_cli.backend.start import Machine, cores, gpus
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.terminal.output import tell

if TYPE_CHECKING:
    from nflow_cli.sweeps.sweep_progress import SweepReport
    from nflow_cli.sweeps.workers import Outcome, Pool


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
