"""Checks of an estimate of log Z from draws."""

from functools import cached_property
from typing import Any

from nflow_cli.constants import RUN
from nflow_cli.experiments.comparison import Verdict, agreement, differences
from nflow_cli.experiments.flow_checks import CheckedDensity
from nflow_cli.experiments.run_checks import OF_SCORES, Checks
from nflow_cli.experiments.summary import Judged
from nflow_cli.inference.evidence.evidence_config import EvidenceConfig
from nflow_cli.inference.evidence.evidence_scoring import judged


class Checked(CheckedDensity):
    """Run of ``nflow evidence`` to check."""

    config: EvidenceConfig
    source = "from the draws"

    @property
    def checks(self) -> Checks:
        return {"data": check_draws, **super().checks, **OF_SCORES}

    @cached_property
    def judged(self) -> Judged:
        return judged(self.trained, self.data)

    @property
    def training(self) -> dict[str, Any]:
        """Last update at which a fold's validation loss was lowest."""
        folds = range(1, (self.config.data.folds or 0) + 1)
        return {"best_update": max(self.best_at(f"validation_loss_{fold}") for fold in folds)}


def check_draws(run: Checked) -> Verdict:
    """Reload the draws; compare checksum, parameters and units."""
    record = run.data.record()
    recorded = {key: record[key] for key in ("sha256", "columns", "units")}
    wrong = differences(RUN, recorded, run.record["data"])
    return agreement(wrong, f"{len(run.data.rows):,} draws found again")
