"""The command line: options become config overrides, errors become one line."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from nflow_cli import __version__
from nflow_cli.backend.start import memory_errors
from nflow_cli.errors import (
    DeviceError,
    DivergenceError,
    Interrupted,
    NflowError,
    TakenError,
    one_line,
)
from nflow_cli.registry import nearest, resolve
from nflow_cli.terminal import output
from nflow_cli.terminal.signals import RaisedSignals, interruption_line, set_handlers

# Of NumPy's matrix products: rows are scored on one core each, and idle threads spin.
ONE_THREAD = "OPENBLAS_NUM_THREADS"
EXIT_CODES = {DeviceError: 2, DivergenceError: 3, TakenError: 4}  # of other errors 1

TRAINING = "nflow_cli.cli.training"
COMMANDS = {  # by name, as the pages list them
    "fit-2d": f"{TRAINING}:fit_2d",
    "infer": f"{TRAINING}:infer",
    "fit": f"{TRAINING}:fit",
    "evidence": f"{TRAINING}:evidence",
    "train-vae": f"{TRAINING}:train_vae",
    "resume": "nflow_cli.cli.resume:resume",
    "plot": "nflow_cli.cli.runs:plot",
    "report": "nflow_cli.cli.runs:report",
    "presets": "nflow_cli.cli.runs:presets",
    "sample": "nflow_cli.cli.sample:sample",
    "evaluate": "nflow_cli.cli.evaluate:evaluate",
    "predict": "nflow_cli.cli.rows:predict",
    "impute": "nflow_cli.cli.rows:impute",
    "drift": "nflow_cli.cli.rows:drift",
    "audit": "nflow_cli.cli.audit:audit",
    "check": "nflow_cli.cli.runs:check",
    "sweep": "nflow_cli.cli.sweep:sweep",
    "compare": "nflow_cli.cli.compare:compare",
}


class _Group(click.Group):
    """A group that imports the command it runs, prints an error as one line and sets the exit code.

    An error is one of the user or of the system.
    """

    def list_commands(self, _: click.Context) -> list[str]:
        """Names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Command of a name, if there is one."""
        if name not in COMMANDS and not context.resilient_parsing:
            context.fail(f"No such command {name!r}{nearest(name, [*COMMANDS])}.")
        return resolve(COMMANDS[name]) if name in COMMANDS else None

    def __call__(self, *args: Any, **extra: Any) -> Any:
        set_handlers(signal.SIG_IGN)  # after the command
        os.environ.setdefault(ONE_THREAD, "1")
        output.prepare()
        try:
            return self.main(*args, **extra)
        finally:
            gc.freeze()  # no garbage collection at exit

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:
        """Run a command; signals stop it until it ends, and are ignored afterwards.

        The typed arguments are the context's object: recorded, and printed after an interruption.
        """
        argv = sys.argv[1:] if args is None else list(args)
        signals = RaisedSignals()
        try:
            signals.start()
            with memory_errors("fewer samples or rows take less"):
                return super().main(args, obj=argv, **extra)
        except (NflowError, OSError) as error:
            click.echo(f"nflow: error: {one_line(error)}", err=True)
            sys.exit(EXIT_CODES.get(type(error), 1))
        except Interrupted as interruption:
            signals.over = True  # first, as a second one could come in any call
            click.echo(interruption_line(interruption, argv), err=True)
            sys.exit(128 + interruption.number)
        finally:
            signals.over = True
            signals.stop()


# "\b" keeps click from filling the lines that follow it.
HELP = """Train normalizing flows: exact, fast, and measured in nats.

\b
nflow fit-2d --flow planar --k 8     two modes from one Gaussian, in seconds
nflow infer FILE.py:FN --dim 3       fit your own log-density
nflow fit TABLE                      fit the density of a table's rows
nflow train-vae --flows 16           a VAE of digits with 16 flows
nflow resume RUN_DIR                 continue an interrupted run
nflow plot RUN_DIR                   redraw the pictures of a run
nflow report RUN_DIR                 a run on one page, report.html
nflow sweep figure3                  a grid of runs, on all cores
nflow sample RUN_DIR -n 1000 -o points.csv
nflow predict RUN_DIR --data new.csv -o out.csv
nflow impute RUN_DIR --data gaps.csv -o filled.csv
nflow drift RUN_DIR --data new.csv
nflow audit draws.csv --real train.csv --holdout other.csv
"""


@click.group(cls=_Group, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nflow")
def main() -> None:
    """Choose a command."""
