"""What can be trained: a target, a log-density, a table or images: no other module asks which."""

from collections.abc import Mapping

from nflow_cli.config.schema import Config, FitConfig, InferConfig, VAEConfig
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.images import Images
from nflow_cli.experiments.infer import Inference
from nflow_cli.experiments.table import Table
from nflow_cli.experiments.table.points import Points
from nflow_cli.experiments.table.typed import TypedTable
from nflow_cli.experiments.target import Target

EXPERIMENTS: Mapping[str, type[Experiment]] = {
    e.name: e for e in (Target, Inference, Table, Images)
}


def of(config: Config) -> Experiment:
    """Return the experiment that a config describes."""
    if isinstance(config, VAEConfig):
        return Images(config)
    if isinstance(config, InferConfig):
        return Inference(config)
    if isinstance(config, FitConfig):
        return Table(config) if config.is_plain else TypedTable(config)
    return Target(config) if config.data is None else Points(config)
