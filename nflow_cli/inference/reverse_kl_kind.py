"""Kind of the runs of ``nflow fit-2d`` and ``nflow infer``."""

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
from nflow_cli.inference.fit_2d_config import Fit2DConfig
from nflow_cli.inference.infer_config import InferConfig


class FitsToDensities(RunKind[Fit2DConfig | InferConfig]):
    """Fit of flows to a density, by reverse KL."""

    @property
    def data(self) -> Data[Fit2DConfig | InferConfig]:
        from nflow_cli.inference import reverse_kl_data

        return reverse_kl_data

    @property
    def training(self) -> Training[Fit2DConfig | InferConfig]:
        from nflow_cli.inference import reverse_kl_training

        return reverse_kl_training

    @property
    def trial(self) -> Trial[Fit2DConfig | InferConfig]:
        from nflow_cli.inference import reverse_kl_training

        return reverse_kl_training

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.inference import reverse_kl_scoring

        return reverse_kl_scoring

    @property
    def report(self) -> Report[Fit2DConfig | InferConfig]:
        from nflow_cli.inference import reverse_kl_report

        return reverse_kl_report

    @property
    def loading(self) -> Loading:
        from nflow_cli.inference import reverse_kl_loading

        return reverse_kl_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.inference import reverse_kl_checks

        return reverse_kl_checks


FITS_TO_DENSITIES = FitsToDensities()
