"""Process of one run of a sweep, or one part of a table, started by ``nflow_cli.sweeps.workers``.

The request is a line of JSON on stdin; the exit code is the outcome, and the last line of stderr
the message of a failure. At the end of stdin the process saves and ends, as at SIGTERM.
"""

import json
import os
import signal
import sys
import threading
from typing import Any

from nflow_cli.backend.start import machine_of
from nflow_cli.config.presets import validate
from nflow_cli.errors import Interrupted, NflowError, one_line
from nflow_cli.experiments.running import carry_on
from nflow_cli.registry import resolve
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.terminal import output
from nflow_cli.terminal.signals import RaisedSignals, interruption_line

# Seconds for another process that trains the run, whose parent died, to save and end.
BUSY_SECONDS = 120


def main() -> None:
    """Do the work requested on stdin."""
    output.prepare(output.Log)
    RaisedSignals().start()
    request: dict[str, Any] = {}
    try:
        request = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        resolve(request.pop("work"))(**request)
    except Interrupted as interruption:
        print(interruption_line(interruption, request.get("argv", [])), file=sys.stderr)
        sys.exit(128 + interruption.number)
    except (NflowError, OSError) as error:
        sys.exit(f"nflow: error: {one_line(error)}")


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not by sys.stdin: its lock would outlive the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def train(
    folder: str, config: dict[str, Any], argv: list[str], cwd: str, device: str, threads: int | None
) -> None:
    """Train or resume a run in its folder."""
    os.chdir(cwd)  # relative paths of data start here
    machine = machine_of(device).of(threads)
    carry_on(validate(config, folder), RunDirectory.at(folder), argv, machine, BUSY_SECONDS)


if __name__ == "__main__":
    main()
