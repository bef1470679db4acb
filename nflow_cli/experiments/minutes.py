"""Number of updates, or epochs, by the minutes that a command may take."""

import time
from typing import Any

from nflow_cli import experiments
from nflow_cli.backend.start import Machine, memory_errors, start_tensorflow
from nflow_cli.config import memory
from nflow_cli.config.schema import Config
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.terminal.layout import tell


def in_time(config: Config, data: Any, machine: Machine | None, due: float | None) -> Experiment:
    """Experiment of a settled config, with the length of training that ends the command in time.

    A model is built, compiled and timed for some updates, and reset: the recorded config alone
    gives the same weights. ``due``: :func:`time.monotonic` at the end of the command; ``None``: the
    length of the config.
    """
    if due is None:
        return experiments.of(config)
    from nflow_cli.training.progress import left_text, phase

    start_tensorflow(machine and machine.with_threads(config.threads))
    with phase("compiling, and timing some updates"), memory_errors(memory.remedy(config)):
        cost, built = experiments.of(config).trial(data)
    seconds, key = due - time.monotonic(), config.train.length_key
    length = cost.updates(seconds, config.train.chunk if key == "steps" else 1)
    config = config.of_length(length)
    if (late := cost.seconds(length) - seconds) > 0:
        tell(f"--minutes: too few by about {late / 60:.1f} for the shortest training")
    tell(f"--minutes: --{key} {length}, as the run records{left_text(seconds)}")
    return experiments.of(config, built)
