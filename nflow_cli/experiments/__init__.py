"""What can be trained: a target, a log-density, a table or images: no other module asks which."""

from nflow_cli.config.schema import Config, FitConfig, InferConfig, VAEConfig
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
    if isinstance(config, FitConfig):
        from nflow_cli.experiments.table import Table
        from nflow_cli.experiments.table.typed import TypedTable

        return Table(config) if config.is_plain else TypedTable(config)
    if config.data is not None:
        from nflow_cli.experiments.table.points import Points

        return Points(config)
    from nflow_cli.experiments.target import Target

    return Target(config)
