"""Checks of a fit to a whole table."""

from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.densities.cells import network
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.verdicts import Verdict, passed
from nflow_cli.experiments.cells.loading import TrainedCells
from nflow_cli.experiments.cells.scoring import judged
from nflow_cli.experiments.checks import Checks, Weights
from nflow_cli.experiments.summary import Judged
from nflow_cli.experiments.table.checked_rows import CheckedRows
from nflow_cli.experiments.table.weights import blocks_of
from nflow_cli.random_streams import stream
from nflow_cli.runs.weights_file import sha256_of

DRAWS = 2_000
TOLERANCE = 1e-6  # of a sum of probabilities
UNLIKELY = 1e-6  # smallest p-value accepted


class Checked(CheckedRows):
    """Run of ``nflow fit`` on a whole table to check."""

    config: CellsConfig
    trained: TrainedCells

    @property
    def checks(self) -> Checks:
        of_density: Checks = {"masses": check_masses, "own draws": check_own_draws}
        return {**super().checks, **of_density, **self.score_checks}

    @cached_property
    def weights(self) -> Weights:
        """Weights that were saved; of the networks the numbers are counted."""
        arrays = self.trained.arrays
        trained = network.shapes(self.trained.layout, blocks_of(arrays))
        numbers = sum(arrays[name].size for name in trained)
        return Weights("density of cells", len(arrays), numbers, sha256_of(arrays))

    @property
    def data_facts(self) -> dict[str, Any]:
        return {**super().data_facts, "measure": self.data.measure, "columns": self.data.scored}

    @cached_property
    def judged(self) -> Judged:
        return judged(self.config, self.trained, self.data)


def check_masses(run: Checked) -> Verdict:
    """Sum the probabilities of all levels of each categorical column, at draws."""
    density, worst = run.trained, 0.0
    rows = density.draw(run_conditions(run, 50), stream(run.config.seed, "check"))
    for j, column in enumerate(density.scored):
        if column.has_numbers:
            continue
        total = np.zeros(len(rows))
        for value in [*range(len(column.first)), -1.0, *([np.nan] * (column.missing is not None))]:
            changed = rows.copy()
            changed[:, density.n_given + j] = value
            total += np.exp(density.cell_log_probs(changed)[:, j])
        worst = max(worst, float(np.abs(total - 1).max()))
    return passed(worst < TOLERANCE), f"levels sum to 1 within {worst:.1e}"


def run_conditions(run: Checked, n: int) -> np.ndarray:
    """Return n rows whose given columns are those of test rows, if these can be read."""
    density = run.trained
    if density.n_given and not run.is_gone:
        return np.resize(run.data.test, (n, len(density.columns)))
    return np.full((n, len(density.columns)), np.nan)


def check_own_draws(run: Checked) -> Verdict:
    """Score draws: finite log-densities, and a uniform PIT of each column."""
    density = run.trained
    rng = stream(run.config.seed, "check-draws")
    rows = density.draw(run_conditions(run, DRAWS), rng, with_new=True)
    lost = int((~np.isfinite(density.log_prob(rows))).sum())
    judged = pit(density.pit(rows, stream(run.config.seed, "check-pit")), density.cell_names)
    p_value = 1.0 if judged.p_value is None else judged.p_value
    text = f"{DRAWS:,} draws: {lost:,} without a finite density; PIT uniform, p = {p_value:.2g}"
    return passed(not lost and p_value > UNLIKELY), text
