"""The command line: options become overrides, errors become one line. No maths here."""

import errno
import io
import sys
from typing import Any

import click

from nflow_cli import __version__
from nflow_cli.cli.check import check
from nflow_cli.cli.compare import compare
from nflow_cli.cli.evaluate import evaluate
from nflow_cli.cli.fit_2d import fit_2d
from nflow_cli.cli.plot import plot
from nflow_cli.cli.presets import presets
from nflow_cli.cli.resume import resume
from nflow_cli.cli.sample import sample
from nflow_cli.cli.stopping import stopped_by_signals
from nflow_cli.cli.sweep import sweep
from nflow_cli.cli.train_vae import train_vae
from nflow_cli.errors import DivergenceError, NflowError, one_line


class _Group(click.Group):
    """A group that prints a user's or the disk's error as one line and sets the exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with stopped_by_signals():
                return super().invoke(ctx)
        except (NflowError, OSError) as error:  # OSError: stdout is a full disk, or closed
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of a pipe has gone
            click.echo(f"nflow: error: {one_line(error)}", err=True)
            ctx.exit(3 if isinstance(error, DivergenceError) else 1)


# "\b" keeps click from filling the lines that follow it.
HELP = """Train normalizing flows: exact, fast, and measured in nats.

\b
nflow fit-2d --flow planar --k 8     two modes from one Gaussian, in seconds
nflow train-vae --flows 16           digits, through a posterior of 16 flows
nflow resume RUN_DIR                 go on with a run that was stopped
nflow plot RUN_DIR                   the pictures of a run again
nflow sweep figure3                  a grid of runs, on all cores
nflow sample RUN_DIR -n 1000 -o points.csv
"""


@click.group(cls=_Group, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nflow")
def main() -> None:
    """Set up the output that every command writes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal has no ±


main.add_command(fit_2d)
main.add_command(train_vae)
main.add_command(resume)
main.add_command(plot)
main.add_command(presets)
main.add_command(sample)
main.add_command(evaluate)
main.add_command(check)
main.add_command(sweep)
main.add_command(compare)
