"""Checks of a fit to a whole table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.densities.cells import network
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.verdicts import Verdict, passed
from nflow_cli.experiments.cells import judge
from nflow_cli.experiments.cells.arrays import mean_shares, pictures
from nflow_cli.experiments.cells.loaded import TrainedCells
from nflow_cli.experiments.cells.memorised import memorised
from nflow_cli.experiments.cells.weights_arrays import blocks_of
from nflow_cli.experiments.checked_run import CheckedRun, Checks, differences, unlike
from nflow_cli.experiments.table.records import is_gone, skip_gone, unlike_records
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import EVALUATION, RUN, SUMMARY
from nflow_cli.runs.weights_file import sha256_of

if TYPE_CHECKING:
    from nflow_cli.experiments.cells import WholeTable

DRAWS = 2_000
TOLERANCE = 1e-6  # times 1 + a score: sums of many rows differ between machines
UNLIKELY = 1e-6  # smallest p-value accepted


class CheckedCells(CheckedRun):
    """A run of ``nflow fit`` on a whole table to check."""

    trained: TrainedCells
    experiment: "WholeTable"

    @property
    def is_gone(self) -> bool:
        """Whether the table cannot be read again."""
        return is_gone(self)

    @property
    def data_checks(self) -> Checks:
        """Checks of the data."""
        return {"data": skip_gone if self.is_gone else check_rows}

    @property
    def model_checks(self) -> Checks:
        """Checks of the density."""
        return {"masses": check_masses, "own draws": check_own_draws}

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        return {} if self.is_gone else {"summary": check_scores, "arrays": check_arrays}

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return "density of cells"

    @property
    def n_parameters(self) -> int:
        """Number of network weights."""
        names = network.shapes(self.trained.layout, blocks_of(self.trained.arrays))
        return sum(self.trained.arrays[name].size for name in names)

    @property
    def n_arrays(self) -> int:
        """Number of weight arrays."""
        return len(self.trained.arrays)

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""
        return sha256_of(self.trained.arrays)

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return the best update."""
        return {"best_update": self.best_of_members()}, []


def check_rows(run: CheckedCells) -> Verdict:
    """Reload the rows; compare sizes, checksum, measure and units."""
    data, trained = run.data, run.trained
    expected = {**data.sizes, "data": {"name": data.name, "sha256": data.sha256}}
    expected |= {"measure": data.measure, "columns": data.scored}
    wrong = differences(SUMMARY, expected, run.summary)
    recorded = {c.name: [m.record() for m in c.maps] for c in trained.row if c.has_numbers}
    wrong += unlike_records(RUN, data.record()["units"], recorded)
    text = f"{sum(data.sizes.values()):,} rows found again"
    return passed(not wrong), "; ".join(wrong) or text


def check_masses(run: CheckedCells) -> Verdict:
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


def run_conditions(run: CheckedCells, n: int) -> np.ndarray:
    """Return n rows whose given columns are those of test rows, if these can be read."""
    density = run.trained
    if density.n_given and not run.is_gone:
        return np.resize(run.data.test, (n, len(density.columns)))
    return np.full((n, len(density.columns)), np.nan)


def check_own_draws(run: CheckedCells) -> Verdict:
    """Score draws: finite log-densities, and a uniform PIT of each column."""
    density = run.trained
    rng = stream(run.config.seed, "check-draws")
    rows = density.draw(run_conditions(run, DRAWS), rng, with_new=True)
    lost = int((~np.isfinite(density.log_prob(rows))).sum())
    judged = pit(density.pit(rows, stream(run.config.seed, "check-pit")), density.cell_names)
    p_value = 1.0 if judged.p_value is None else judged.p_value
    text = f"{DRAWS:,} draws: {lost:,} without a finite density; PIT uniform, p = {p_value:.2g}"
    return passed(not lost and p_value > UNLIKELY), text


def check_scores(run: CheckedCells) -> Verdict:
    """Recompute the summary's scores from the rows."""
    data, config = run.data, run.config
    estimated = judge.estimates(run.trained, data.test, config.seed)
    scores = judge.scores(run.trained, estimated, data.weights.test).model_dump()
    scores |= judge.gap(run.trained, data.name, config.seed)
    scores["memorisation"] = memorised(run.trained, data, config.seed).model_dump()
    scores["shares"] = mean_shares(run.trained)
    wrong = [
        f"{SUMMARY}: {key}: expected {expected!r:.40}, received {received!r:.40}"
        for key, expected, received in _leaves(scores, run.summary)
        if not _are_near(expected, received)
    ]
    text = f"log_likelihood {scores['log_likelihood']:.5f} from the test rows"
    return passed(not wrong), "; ".join(wrong[:3]) or text


def _leaves(
    expected: Mapping[str, Any], received: Any, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key, value in expected.items():
        there = received.get(key) if isinstance(received, Mapping) else None
        if isinstance(value, Mapping):
            yield from _leaves(value, there, f"{path}{key}.")
        else:
            yield f"{path}{key}", value, there


def _are_near(expected: Any, received: Any) -> bool:
    if not isinstance(expected, float) or not isinstance(received, int | float):
        return expected == received
    return abs(expected - received) <= TOLERANCE * (1 + abs(expected))


def check_arrays(run: CheckedCells) -> Verdict:
    """Recompute the arrays of the pictures, and the log-density of each test row."""
    data, config = run.data, run.config
    estimated = judge.estimates(run.trained, data.test, config.seed)
    expected = pictures(run.trained, data, estimated, config.seed, run.experiment.keeps_rows)
    wrong = []
    for key, values in expected.items():
        wrong += unlike(f"{EVALUATION}: {key}", values, run.arrays[key], key == "test_log_q")
    return passed(not wrong), "; ".join(wrong) or "as given"
