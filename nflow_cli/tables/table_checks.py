"""Checks of a fit to a table."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.constants import RUN
from nflow_cli.data.files.table_files import IN_PYTHON, STDIN
from nflow_cli.experiments.comparison import (
    Outcome,
    Tolerance,
    Verdict,
    agreement,
    differences,
    passed,
)
from nflow_cli.experiments.run_checks import OF_SCORES, CheckedRun, Checks, Weights
from nflow_cli.experiments.summary import Judged
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import SUMMARY
from nflow_cli.runs.weights_file import sha256_of
from nflow_cli.tables.cells import network
from nflow_cli.tables.scores.pit import pit
from nflow_cli.tables.table_data import facts_of
from nflow_cli.tables.table_scoring import judged

DRAWS = 2_000
TOLERANCE = 1e-6  # of a sum of probabilities
UNLIKELY = 1e-6  # smallest p-value accepted
# Of a Kolmogorov distance and its p-value: rounding may change the places of a few rows.
PIT_OF_FLOWS = Tolerance(1e-3, scaled=0.1, scale=lambda _, values, keys: keys[-1] == "p_value")


class Checked(CheckedRun):
    """Run of ``nflow fit`` to check; its table need not be readable again."""

    config: CellsConfig | FitConfig
    source = "from the test rows"

    @property
    def tolerances(self) -> Mapping[str, Tolerance]:
        return {"pit": PIT_OF_FLOWS} if self.config.is_of_flows else {}

    @property
    def is_gone(self) -> bool:
        return self.config.subject in (STDIN, IN_PYTHON)

    @property
    def checks(self) -> Checks:
        """Checks of the data, of the density, and if the data are there of scores and pictures."""
        of_data: Checks = {"data": skip_gone} if self.is_gone else {"data": check_rows}
        of_density: Checks = {"masses": check_masses, "own draws": check_own_draws}
        if isinstance(self.config, FitConfig):
            of_density = _flow_checks().OF_FLOWS
            if self.config.is_of_two:
                of_density = {**of_density, "mass": _flow_checks().check_mass}
        of_scores = {} if self.is_gone else OF_SCORES
        return {**of_data, **of_density, **of_scores}

    @cached_property
    def flows(self) -> Any:
        """Flows in float64, and points to check them at."""
        return _flow_checks().flows_of(self.trained, self.config.seed)

    @cached_property
    def weights(self) -> Weights:
        """Weights that were saved; of the networks of cells the numbers are counted."""
        if self.config.is_of_flows:
            return _flow_checks().weights_of(self.trained.trained)
        arrays = self.trained.arrays
        trained = network.shapes(self.trained.density.layout, network.count_blocks(arrays))
        numbers = sum(arrays[name].size for name in trained)
        return Weights("density of cells", len(arrays), numbers, sha256_of(arrays))

    @property
    def data_facts(self) -> dict[str, Any]:
        return facts_of(self.data)

    @property
    def training(self) -> dict[str, Any]:
        """Latest update whose weights are kept: the last, or that of the lowest validation loss of
        a member.
        """
        if self.config.train.early_update:
            return {"best_update": self.length}
        members = self.config.train.members
        tails = [""] if members == 1 else [f"_{r}" for r in range(1, members + 1)]
        return {"best_update": max(self.best_at(f"validation_loss{tail}") for tail in tails)}

    @cached_property
    def judged(self) -> Judged:
        return judged(self.trained.table_model, self.config, self.trained.density, self.data)


def _flow_checks() -> Any:
    """The checks of flows, with Keras."""
    from nflow_cli.experiments import flow_checks

    return flow_checks


def skip_gone(run: Checked) -> Verdict:
    """Report that the table cannot be read again."""
    source = "standard input" if run.config.subject == STDIN else "Python"
    text = f"the table came from {source} and cannot be read again: no scores, no pictures checked"
    return Outcome.UNKNOWN, text


def check_rows(run: Checked) -> Verdict:
    """Reload the rows; compare sizes, checksum, columns and units."""
    record = run.data.record()
    recorded = {key: record[key] for key in ("columns", "units", "straight_units") if key in record}
    wrong = differences(SUMMARY, run.data_facts, run.facts)
    wrong += differences(RUN, recorded, run.record["data"])
    return agreement(wrong, f"{sum(run.data.sizes.values()):,} rows found again")


def check_masses(run: Checked) -> Verdict:
    """Sum the probabilities of all levels of each categorical column, at draws."""
    density = run.trained.density
    worst = 0.0
    rows = density.draw(run_conditions(run, 50), stream(run.config.seed, "check"))
    for j, column in enumerate(density.scored_columns):
        if not column.has_levels:
            continue
        values = [*range(len(column.levels)), -1.0]
        if column.missing_code is not None:
            values.append(np.nan)
        total = np.zeros(len(rows))
        for value in values:
            changed = rows.copy()
            changed[:, density.n_given + j] = value
            total += np.exp(density.cell_log_probs(changed)[:, j])
        worst = max(worst, float(np.abs(total - 1).max()))
    return passed(worst < TOLERANCE), f"levels sum to 1 within {worst:.1e}"


def run_conditions(run: Checked, n: int) -> np.ndarray:
    """Return n rows whose given columns are those of test rows, if these can be read."""
    trained = run.trained
    if trained.given and not run.is_gone:
        return np.resize(run.data.test, (n, len(trained.columns)))
    return np.full((n, len(trained.columns)), np.nan)


def check_own_draws(run: Checked) -> Verdict:
    """Score draws: finite log-densities, and a uniform PIT of each column."""
    density = run.trained.density
    rng = stream(run.config.seed, "check-draws")
    rows = density.draw(run_conditions(run, DRAWS), rng, with_new=True)
    n_impossible = int((~np.isfinite(density.log_prob(rows))).sum())
    values = density.pit(rows, stream(run.config.seed, "check-pit"))
    p_value = pit(values, density.cell_names).p_value
    if p_value is None:
        p_value = 1.0
    draws = f"{DRAWS:,} draws: {n_impossible:,} without a finite density"
    text = f"{draws}; PIT uniform, p = {p_value:.2g}"
    return passed(not n_impossible and p_value > UNLIKELY), text
