"""Number of updates, or epochs, by the minutes that a command may take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nflow_cli import experiments
from nflow_cli.backend.start import Machine, memory_errors, start_tensorflow
from nflow_cli.config import memory
from nflow_cli.config.schema import Config
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.terminal.layout import tell
from nflow_cli.training.progress import about_left, ending, phase


@contextmanager
def in_time(
    config: Config, data: Any, machine: Machine | None, due: float | None
) -> Iterator[Experiment]:
    """Experiment of a settled config, with the length of training that ends the command in time.

    A model is built, compiled and timed for some updates, and reset: the recorded config alone
    gives the same weights. ``due``: :func:`time.monotonic` at the end of the command; ``None``: the
    length of the config.
    """
    if due is None:
        yield experiments.of(config)
        return
    doing = f"compiling, and timing some updates{about_left(due - time.monotonic())}"
    start_tensorflow(machine and machine.with_threads(config.threads))
    with phase(doing), memory_errors(memory.remedy(config)):
        cost, built = experiments.of(config).trial(data)
    seconds, key = due - time.monotonic(), config.train.length_key
    length = cost.updates(seconds, config.train.chunk if key == "steps" else 1)
    needed, config = cost.seconds(length), config.of_length(length)
    if needed > seconds:
        tell(
            f"--minutes: about {(needed - seconds) / 60:.1f} minutes too few for the least training"
        )
    tell(f"--minutes: --{key} {length}, as the run records{about_left(needed)}")
    with ending(due, cost.after):
        yield experiments.of(config, built)
