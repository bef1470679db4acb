"""Kind of the runs of ``nflow train-vae``."""

from nflow_cli.experiments.run import (
    Checks,
    Data,
    Loading,
    Report,
    RunKind,
    Scoring,
    Training,
    Trial,
)
from nflow_cli.images.config import VAEConfig


class Images(RunKind[VAEConfig]):
    """VAE of images."""

    @property
    def data(self) -> Data[VAEConfig]:
        from nflow_cli.images import run_data

        return run_data

    @property
    def training(self) -> Training[VAEConfig]:
        from nflow_cli.images import training

        return training

    @property
    def trial(self) -> Trial[VAEConfig]:
        from nflow_cli.images import training

        return training

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.images import scoring

        return scoring

    @property
    def report(self) -> Report[VAEConfig]:
        from nflow_cli.images import report

        return report

    @property
    def loading(self) -> Loading:
        from nflow_cli.images import loading

        return loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.images import checks

        return checks


IMAGES = Images()
