"""Checks of a fit of flows to a table."""

from functools import cached_property

from nflow_cli.config.table import FitConfig
from nflow_cli.experiments.checks import Checks
from nflow_cli.experiments.flow_checks import CheckedDensity, check_mass
from nflow_cli.experiments.summary import Judged
from nflow_cli.experiments.table.checked_rows import CheckedRows
from nflow_cli.experiments.table.training import judged


class Checked(CheckedRows, CheckedDensity):
    """Run of ``nflow fit --flow`` to check."""

    config: FitConfig

    @property
    def checks(self) -> Checks:
        """Checks of data, flows, scores and pictures; in the plane of the mass."""
        mass: Checks = {"mass": check_mass} if self.config.is_of_two else {}
        return {**super().checks, **mass, **self.score_checks}

    @cached_property
    def judged(self) -> Judged:
        return judged(self.config, self.trained, self.data)
