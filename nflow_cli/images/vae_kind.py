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
from nflow_cli.images.vae_config import VAEConfig


class Images(RunKind[VAEConfig]):
    """VAE of images."""

    @property
    def data(self) -> Data[VAEConfig]:
        from nflow_cli.images import image_data

        return image_data

    @property
    def training(self) -> Training[VAEConfig]:
        from nflow_cli.images import vae_training

        return vae_training

    @property
    def trial(self) -> Trial[VAEConfig]:
        from nflow_cli.images import vae_training

        return vae_training

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.images import vae_scoring

        return vae_scoring

    @property
    def report(self) -> Report[VAEConfig]:
        from nflow_cli.images import vae_report

        return vae_report

    @property
    def loading(self) -> Loading:
        from nflow_cli.images import vae_loading

        return vae_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.images import vae_checks

        return vae_checks


IMAGES = Images()
