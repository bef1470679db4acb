"""Worker processes that train the runs of a sweep: here, or on the machines of a Dask cluster.

Each trains one run at a time on one thread, and is used again: TensorFlow takes seconds to start.
A process for each run took 1.55 times as long in all for nine fits of 3 s, two at a time; as long
for six of 20 s, with 4 restarts each.
Whatever the pool, its tasks call :meth:`Workers.train`, which keeps a worker process for each
thread that calls it; so a run makes the same bits on a cluster as here.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, cast

from nflow_cli.backend import VISIBLE

COMPLETED, FAILED, INTERRUPTED = "completed", "failed", "interrupted"
# Without -P, whatever lies in the current folder would be imported for a module of that name.
COMMAND = ("-P", "-m", "nflow_cli.sweeps.worker")
PATIENCE = 10  # seconds that an idle process gets to end
RUNS_EACH = 8  # of a process: each leaves some 100 MB behind
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
}

Outcome = dict[str, str]  # "status", and the "message" of a run that failed


class Worker:
    """A worker process, and how many runs it was asked for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # A session of its own: Ctrl-C reaches it once, through `Workers.interrupt`.
        self.process = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, **environment},
            start_new_session=True,
        )
        self.requests = cast(IO[bytes], self.process.stdin)
        self.answers = cast(IO[bytes], self.process.stdout)
        self.asked, self.busy = 0, False

    @property
    def is_spent(self) -> bool:
        """Whether it has ended, or had better: TensorFlow frees no program that it compiled."""
        return self.process.poll() is not None or self.asked >= RUNS_EACH

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send it a request; an answer will come, or the end of ``answers``."""
        self.asked, self.busy = self.asked + 1, True
        with suppress(OSError):  # it has ended
            self.requests.write(json.dumps(request).encode() + b"\n")
            self.requests.flush()

    def rest(self) -> None:
        """Take note that an answer came, or never will."""
        self.busy = False

    def end(self) -> None:
        """Let it end, by the end of what it reads, and see to it that it does."""
        with suppress(OSError):  # a request that it never read
            self.requests.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()


class Workers:
    """Worker processes for the runs of one sweep, one for each thread that asks for a run.

    Args:
        gpus: Those that the processes get in turn, one each, as ``CUDA_VISIBLE_DEVICES`` has them;
            none: the processes see what this one sees.
    """

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self.gpus = gpus
        self._lock = threading.Lock()
        self._workers: dict[int, Worker] = {}
        self._environments: dict[int, dict[str, str]] = {}
        self._stopped = False

    def train(self, request: Mapping[str, Any]) -> Outcome:
        """Let this thread's worker train a run, and wait for it.

        Args:
            request: ``folder`` of the run, ``config``, and the ``argv`` and ``cwd`` of the command.
        """
        with self._lock:
            if self._stopped:
                return {"status": INTERRUPTED}
            worker = self._of_this_thread()
            worker.ask(request)
        answer = worker.answers.readline()
        with self._lock:
            worker.rest()
        if answer.endswith(b"\n"):
            return json.loads(answer)
        if self._stopped:
            return {"status": INTERRUPTED}
        return {
            "status": FAILED,
            "message": f"its process died (exit code {worker.process.wait()})",
        }

    def _of_this_thread(self) -> Worker:
        thread = threading.get_ident()
        worker = self._workers.get(thread)
        if worker and worker.is_spent:
            worker.end()
            worker = None
        self._workers[thread] = worker or Worker(self._environment(thread))
        return self._workers[thread]

    def _environment(self, thread: int) -> dict[str, str]:
        """Return what a thread's processes have for their own, one after the other: a GPU."""
        turn = len(self._environments)
        gpu = {VISIBLE: self.gpus[turn % len(self.gpus)]} if self.gpus else {}
        return self._environments.setdefault(thread, gpu)

    def interrupt(self, number: int) -> None:
        """Send a signal to those that are training, and let no other run begin.

        At a first signal a run saves what it has learnt; at a second it ends at once.
        """
        with self._lock:
            self._stopped = True
            for worker in self._workers.values():
                if worker.busy:
                    worker.process.send_signal(number)

    def close(self) -> None:
        """End the processes; one that still trains saves first if there is time."""
        with self._lock:
            self._stopped = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.end()


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
