"""Kind of the runs of ``nflow evidence``."""

from nflow_cli.experiments.run import Checks, Data, Loading, Report, RunKind, Scoring, Training
from nflow_cli.inference.evidence.config import EvidenceConfig


class Evidence(RunKind[EvidenceConfig]):
    """Estimate of log Z from draws."""

    @property
    def data(self) -> Data[EvidenceConfig]:
        from nflow_cli.inference.evidence import data

        return data

    @property
    def training(self) -> Training[EvidenceConfig]:
        from nflow_cli.inference.evidence import training

        return training

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.inference.evidence import scoring

        return scoring

    @property
    def report(self) -> Report[EvidenceConfig]:
        from nflow_cli.inference.evidence import report

        return report

    @property
    def loading(self) -> Loading:
        from nflow_cli.inference.evidence import loading

        return loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.inference.evidence import checks

        return checks


EVIDENCE = Evidence()
