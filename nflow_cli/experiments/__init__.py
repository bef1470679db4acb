"""What can be trained: a target, a log-density, a table or images: no other module asks which."""

from pathlib import Path
from typing import Any

from nflow_cli.config.schema import CellsConfig, Config, FitConfig, InferConfig, VAEConfig
from nflow_cli.experiments.experiment import Experiment

NAMES = ("target", "inference", "table", "images")  # in the order of their tables


def of(config: Config) -> Experiment:
    """Return the experiment that a config describes; the others are not imported."""
    if isinstance(config, VAEConfig):
        from nflow_cli.experiments.images import Images

        return Images(config)
    if isinstance(config, InferConfig):
        from nflow_cli.experiments.infer import Inference

        return Inference(config)
    if isinstance(config, CellsConfig):
        from nflow_cli.experiments.cells import WholeTable

        return WholeTable(config)
    if isinstance(config, FitConfig):
        from nflow_cli.experiments.table import Table

        return Table(config)
    from nflow_cli.experiments.density_2d import Target

    return Target(config)


def load(run: str | Path) -> Any:
    """Load the trained density or VAE of a run.

    Args:
        run: A run directory.

    Raises:
        NflowError: In one line, if it is no run directory, the run has no model yet, or a file of
            it is damaged.
    """
    from nflow_cli.backend.start import start_keras
    from nflow_cli.runs.directory import RunDirectory

    directory = RunDirectory.open(str(run))
    experiment = of(directory.read_config())
    experiment.expect_trained(directory)
    if experiment.needs_tensorflow:
        start_keras()
    return experiment.load(directory)
