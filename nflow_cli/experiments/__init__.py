"""Experiments: a named density, a log-density, a table or images is trained and judged."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nflow_cli.registry import resolve

if TYPE_CHECKING:
    from nflow_cli.config.schema import Config
    from nflow_cli.experiments.experiment import Experiment


def of(config: "Config", built: Any = None) -> "Experiment":
    """Experiment that a config describes; the others are not imported.

    ``built``: its model, of a trial.
    """
    return resolve(config.experiment)(config, built)


def load(run: str | Path) -> Any:
    """Load the trained density or VAE of a run directory.

    Raises:
        NflowError: The run has no model yet, or a file of it is damaged.
    """
    from nflow_cli.backend.start import start_keras
    from nflow_cli.runs.directory import RunDirectory

    directory = RunDirectory.open(str(run))
    experiment = of(directory.read_config())
    experiment.expect_weights(directory)
    if experiment.loads_tensorflow(directory):
        start_keras()
    return experiment.load(directory)
