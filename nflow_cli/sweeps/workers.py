"""The processes that train the runs of a sweep: here, or on the machines of a Dask cluster.

Each run has a process of its own, on one thread unless told otherwise: nothing that one leaves
behind, in memory or in TensorFlow, is there for the next. What it compiles the next finds on disk.
Whatever the pool, its tasks call :meth:`Workers.train`; so a run makes the same bits on a cluster
as here.
"""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from nflow_cli.backend import VISIBLE

COMPLETED, FAILED, INTERRUPTED = "completed", "failed", "interrupted"
# Without -P, whatever lies in the current folder would be imported for a module of that name.
COMMAND = ("-P", "-m", "nflow_cli.sweeps.worker")
PATIENCE = 10  # seconds that a process gets to end
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
}

Outcome = dict[str, str]  # "status", and the "message" of a run that failed


class Workers:
    """The processes of one sweep, one for each run that is being trained.

    Args:
        gpus: As ``CUDA_VISIBLE_DEVICES`` has them: a process gets that of the fewest processes.
            Without any, the processes see what this one sees.
    """

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._processes: dict[subprocess.Popen[bytes], str | None] = {}  # and the GPU of each
        self._gpus = gpus
        self._stopped = False

    def train(self, request: Mapping[str, Any]) -> Outcome:
        """Train a run in a process of its own, and wait for it.

        Args:
            request: ``folder`` of the run, ``config``, and the ``argv`` and ``cwd`` of the command.
        """
        with self._lock:
            if self._stopped:
                return {"status": INTERRUPTED}
            process = self._begin()
        try:
            with suppress(OSError, ValueError):  # it has ended, or was let end
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            _end(process)
            process.stdout.close()
            with self._lock:
                del self._processes[process]
        if answer.endswith(b"\n"):
            return json.loads(answer)
        if self._stopped:
            return {"status": INTERRUPTED}
        return {"status": FAILED, "message": f"its process died (exit code {process.returncode})"}

    def _begin(self) -> Any:
        """Start a process, which waits for a request."""
        taken = Counter(self._processes.values())
        gpu = min(self._gpus, key=lambda gpu: taken[gpu], default=None)
        process = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, **({VISIBLE: gpu} if gpu else {})},
            start_new_session=True,  # Ctrl-C reaches it once, through `interrupt`
        )
        self._processes[process] = gpu
        return process

    def interrupt(self, number: int) -> None:
        """Send a signal to the processes, and let no other run begin.

        At a first signal a run saves what it has learnt; at a second it ends at once.
        """
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.send_signal(number)

    def close(self) -> None:
        """End the processes; one that still trains saves first if there is time."""
        with self._lock:
            self._stopped = True
            processes = list(self._processes)
        for process in processes:
            _end(process)


def _end(process: Any) -> None:
    """Let a process end, by the end of what it reads, and see to it that it does."""
    with suppress(OSError):  # a request that it never read
        process.stdin.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Pool:
    """Where the runs of a sweep are trained, while the block lasts that opened it.

    Attributes:
        submit: Takes a request; returns the future of the run's outcome.
        interrupt: Takes the number of a signal: what :meth:`Workers.interrupt` does, everywhere.
        slots: Returns how many runs train at once.
    """

    submit: Callable[[Mapping[str, Any]], Future[Outcome]]
    interrupt: Callable[[int], None]
    slots: Callable[[], int]


@contextmanager
def local_pool(slots: int, gpus: Sequence[str] = ()) -> Iterator[Pool]:
    """Train on this machine, ``slots`` runs at once, on ``gpus`` if there are some."""
    with ThreadPoolExecutor(slots) as executor, closing(Workers(gpus)) as workers:
        yield Pool(partial(executor.submit, workers.train), workers.interrupt, lambda: slots)
