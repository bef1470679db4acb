"""Kind of the runs of ``nflow evidence``."""

from nflow_cli.experiments.run import Checks, Data, Loading, Report, RunKind, Scoring, Training
from nflow_cli.inference.evidence.evidence_config import EvidenceConfig


class Evidence(RunKind[EvidenceConfig]):
    """Estimate of log Z from draws."""

    @property
    def data(self) -> Data[EvidenceConfig]:
        from nflow_cli.inference.evidence import evidence_data

        return evidence_data

    @property
    def training(self) -> Training[EvidenceConfig]:
        from nflow_cli.inference.evidence import evidence_training

        return evidence_training

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.inference.evidence import evidence_scoring

        return evidence_scoring

    @property
    def report(self) -> Report[EvidenceConfig]:
        from nflow_cli.inference.evidence import evidence_report

        return evidence_report

    @property
    def loading(self) -> Loading:
        from nflow_cli.inference.evidence import evidence_loading

        return evidence_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.inference.evidence import evidence_checks

        return evidence_checks


EVIDENCE = Evidence()
