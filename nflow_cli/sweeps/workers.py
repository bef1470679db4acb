"""Worker processes of a sweep or of the parts of a table, on this machine or on a Dask cluster.

Each run, or part, has its own process, so runs share only compiled programs on disk. Every pool
calls :meth:`Workers.train`, so a run gives the same bits on a cluster.
"""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any

from nflow_cli.backend.start import VISIBLE
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.terminal.signals import NUMBERS

COMPLETED = "completed"
FAILED = "failed"
INTERRUPTED = "interrupted"
DIED = "died"  # its process did: a failure that need not come again
ENDS = {0: COMPLETED, 1: FAILED, **{128 + number: INTERRUPTED for number in NUMBERS}}  # exit codes
# Without -P, modules of the current folder would shadow installed ones.
COMMAND = ("-P", "-m", "nflow_cli.sweeps.worker")
END_SECONDS = 10  # seconds for a process to end
LOG_TAIL = 8_192  # bytes of a log that hold its last line
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

Outcome = dict[str, str]  # "status", and the "message" of a run that failed


class Workers:
    """Processes of one sweep, one per running training.

    ``gpus`` are values of ``CUDA_VISIBLE_DEVICES``: a process gets the GPU with the fewest; without
    any, this process's devices.
    """

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._processes: dict[subprocess.Popen[bytes], str | None] = {}  # and the GPU of each
        self._gpus = gpus
        self._stopped = False

    def train(self, request: Mapping[str, Any]) -> Outcome:
        """Train a run, or do other work, in a new process, and wait for it.

        ``request``: ``work``, the ``module:function`` to call, and its arguments. What the process
        prints goes to the log of its ``folder``, if it has one.
        """
        with ExitStack() as stack:
            with self._lock:
                if self._stopped:
                    return {"status": INTERRUPTED}
                folder = request.get("folder")
                open_log = RunDirectory.at(folder).open_log if folder else TemporaryFile
                log = stack.enter_context(open_log())
                process = self._begin(log)
            try:
                with suppress(OSError, ValueError):  # it has ended
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    process.stdin.flush()
                code = process.wait()
            finally:
                _end(process)
                with self._lock:
                    del self._processes[process]
            if code == 1:
                return _failure(FAILED, _last_line(log))
        if code in ENDS:
            return {"status": ENDS[code]}
        if self._stopped:
            return {"status": INTERRUPTED}
        return _failure(DIED, f"its process died (exit code {code})")

    def _begin(self, log: IO[bytes]) -> Any:
        """Start a process that prints to ``log``, on the GPU that has the fewest."""
        process_counts = Counter(self._processes.values())
        gpu = min(self._gpus, key=lambda gpu: process_counts[gpu], default=None)
        environment = {**os.environ, **ENVIRONMENT}
        if gpu:
            environment[VISIBLE] = gpu
        process = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it once, through `interrupt`
        )
        self._processes[process] = gpu
        return process

    def interrupt(self, number: int) -> None:
        """Send a signal to the processes, and start no other.

        A run saves its training at the first signal, and ends at once at the second.
        """
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.send_signal(number)

    def close(self) -> None:
        """End the processes; a running training is saved if there is time."""
        with self._lock:
            self._stopped = True
            processes = list(self._processes)
        for process in processes:
            _end(process)


def _failure(status: str, message: str) -> Outcome:
    return {"status": status, "message": message} if message else {"status": status}


def _last_line(log: IO[bytes]) -> str:
    """Message of an error, the last that was printed."""
    log.seek(max(log.seek(0, os.SEEK_END) - LOG_TAIL, 0))
    lines = log.read().decode(errors="replace").strip().split("\n")
    return lines[-1].removeprefix("nflow: error: ")


def _end(process: Any) -> None:
    with suppress(OSError):  # a request that it never read
        process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Pool:
    """Place where runs of a sweep are trained; valid inside its context.

    ``submit`` takes a request and returns the future of its outcome; ``interrupt`` is
    :meth:`Workers.interrupt` on all machines; ``slots``: number of concurrent runs.
    """

    submit: Callable[[Mapping[str, Any]], Future[Outcome]]
    interrupt: Callable[[int], None]
    slots: Callable[[], int]


@contextmanager
def local_pool(slots: int, gpus: Sequence[str] = ()) -> Iterator[Pool]:
    """Train on this machine, ``slots`` runs at once, on ``gpus`` if there are some."""
    with ThreadPoolExecutor(slots) as executor, closing(Workers(gpus)) as workers:
        yield Pool(partial(executor.submit, workers.train), workers.interrupt, lambda: slots)
