"""Checks of a fit of flows to a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.config.table_schema import FitConfig
from nflow_cli.evaluation.scores import table_scores
from nflow_cli.experiments.checked_flows import CheckedDensity, check_mass
from nflow_cli.experiments.checked_run import Checks
from nflow_cli.experiments.table.checked_rows import CheckedRows
from nflow_cli.experiments.table.fit import arrays_of


class CheckedTable(CheckedRows, CheckedDensity):
    """A run of ``nflow fit --flow`` to check."""

    config: FitConfig

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures; of a density of two columns its mass."""
        return {**({"mass": check_mass} if self.config.is_of_two else {}), **super().score_checks}

    @property
    def scores(self) -> Mapping[str, Any]:
        """The scores of the summary, recomputed."""
        return table_scores(self.trained, self.data, self.config.seed)

    @property
    def shown(self) -> Mapping[str, np.ndarray]:
        """The arrays of the pictures, recomputed."""
        return arrays_of(self.config, self.trained, self.data)
