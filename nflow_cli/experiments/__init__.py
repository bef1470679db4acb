"""Kinds of runs: a named density, a log-density, a table or images is trained and judged."""

from pathlib import Path
from typing import Any

from nflow_cli.backend.start import start_keras


def load(path: str | Path) -> Any:
    """Load the trained density or VAE of a run directory.

    Raises:
        NflowError: The run has no model yet, or a file of it is damaged.
    """
    from nflow_cli.experiments.run import Run

    run = Run.open(path)
    run.expect_trained()
    if run.config.is_of_flows:
        start_keras()
    return run.trained
