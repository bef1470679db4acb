"""Process of one run of a sweep, or one part of a table, started by ``nflow_cli.sweeps.workers``.

The request is a line of JSON on stdin, the answer one on stdout; output of a run goes to
``log.txt``. At the end of stdin the process saves and ends, as at SIGTERM.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from nflow_cli.backend.start import machine_of
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.registry import resolve
from nflow_cli.runs.directory import LOG, RunDirectory
from nflow_cli.sweeps.workers import COMPLETED, FAILED, INTERRUPTED, Outcome
from nflow_cli.terminal import output
from nflow_cli.terminal.signals import Raised, interruption_line

# Seconds for another process that trains the run, whose parent died, to save and end.
PATIENCE = 120


def main() -> None:
    """Do the work requested on stdin, and answer."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    output.prepare(output.Log)
    Raised().start()
    with contextlib.suppress(Interrupted, BrokenPipeError):
        request = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        print(json.dumps(_outcome(request)), file=answers, flush=True)


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not by sys.stdin: its lock would outlive the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _outcome(request: dict[str, Any]) -> Outcome:
    log = f"; see {LOG} in its folder" if "folder" in request else ""
    try:
        resolve(request.pop("work"))(**request)
    except Interrupted:
        return {"status": INTERRUPTED}
    except (NflowError, OSError) as error:
        return {"status": FAILED, "message": one_line(error)}
    except Exception as error:
        return {"status": FAILED, "message": f"{error!r:.200}{log}"}
    return {"status": COMPLETED}


def train(
    folder: str, config: dict[str, Any], argv: list[str], cwd: str, device: str, threads: int | None
) -> None:
    """Train or resume a run in its folder."""
    from nflow_cli.config.presets import validate
    from nflow_cli.experiments.running import carry_on

    os.chdir(cwd)  # relative paths of data start here
    resolved = validate(config, folder)
    run = RunDirectory.at(folder)
    with _logged(run, argv):
        machine = machine_of(device).of(threads)
        carry_on(resolved, run, argv, machine, PATIENCE)


@contextlib.contextmanager
def _logged(run: RunDirectory, argv: list[str]) -> Iterator[None]:
    saved = [os.dup(1), os.dup(2)]
    with run.open_log() as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    except Interrupted as interruption:
        print(interruption_line(interruption, argv), file=sys.stderr)
        raise
    except NflowError as error:
        print(f"nflow: error: {one_line(error)}", file=sys.stderr)
        raise
    except Exception:
        traceback.print_exc()
        raise
    finally:
        for stream, descriptor in zip((sys.stdout, sys.stderr), saved):
            stream.flush()
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)


if __name__ == "__main__":
    main()
