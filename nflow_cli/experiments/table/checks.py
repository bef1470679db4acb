"""Checks of a fit of flows to a table."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.evaluation.scores import log_q_of_rows
from nflow_cli.evaluation.truth import gap_to_the_truth
from nflow_cli.evaluation.verdicts import Outcome, Verdict, passed
from nflow_cli.experiments import density_checks
from nflow_cli.experiments.checked_flows import CheckedDensity
from nflow_cli.experiments.checked_run import Checks, agree, differences, unlike
from nflow_cli.experiments.density_checks import AS_GIVEN
from nflow_cli.experiments.table.records import is_gone, skip_gone, unlike_records
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES
from nflow_cli.runs.directory import EVALUATION, RUN, SUMMARY

if TYPE_CHECKING:
    from nflow_cli.experiments.table import Table

DISTANCE_TOLERANCE = 1e-3  # of a KS distance: a few rows may change places


class CheckedTable(CheckedDensity):
    """A run of ``nflow fit --flow`` to check."""

    experiment: "Table"

    @property
    def is_gone(self) -> bool:
        """Whether the table cannot be read again."""
        return is_gone(self)

    @property
    def data_checks(self) -> Checks:
        """Checks of the data."""
        return {"data": skip_gone if self.is_gone else check_rows}

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        is_of_two = self.config.dim == 2 and not self.experiment.config.given
        mass: Checks = {"mass": density_checks.check_mass} if is_of_two else {}
        if self.is_gone:
            return mass
        scores: Checks = {**mass, "summary": check_held_out, "test rows": check_test_rows}
        if not self.experiment.is_in_the_plane:
            return {**scores, "arrays": check_arrays_of_rows}
        rows = SHOWN_SAMPLES if self.experiment.keeps_rows else 0
        in_the_plane = partial(density_checks.check_arrays_of_points, rows=rows)
        return {**scores, "arrays": in_the_plane}

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return the best update."""
        return {"best_update": self.best_of_members()}, []


def check_rows(run: CheckedTable) -> Verdict:
    """Reload the rows; compare sizes, checksum, columns and units."""
    data = run.data
    expected = {**data.sizes, "data": {"name": data.name, "sha256": data.sha256}}
    wrong = differences(SUMMARY, expected, run.summary)
    columns = {key: names for key, names in data.record().items() if key == "columns"}
    wrong += differences(RUN, columns, run.record["data"])
    wrong += unlike_records(RUN, data.record()["units"], run.record["data"]["units"])
    text = f"{sum(data.sizes.values()):,} rows found again"
    return passed(not wrong), "; ".join(wrong) or text


def check_held_out(run: CheckedTable) -> Verdict:
    """Recompute the summary's scores from the test rows, and from fresh ones."""
    scores = run.experiment.scores_of(run.trained, run.data)
    wrong = unlike_normality(scores.pop("normality"), run.summary["normality"])
    outcome, detail = _check_scores(run, scores)
    if not wrong:
        return outcome, detail
    return Outcome.FAIL, "; ".join([*wrong, *([detail] if outcome == Outcome.FAIL else [])])


def _check_scores(run: CheckedTable, scores: Mapping[str, Any]) -> Verdict:
    data = run.data
    gap = gap_to_the_truth(run.trained.log_prob, data.name, run.config.seed, data.modelled)
    source = "from the test rows" if gap["gap"] is None else "from the test rows and fresh points"
    return agree(run, {**scores, **gap}, source)


def check_test_rows(run: CheckedTable) -> Verdict:
    """Recompute the log-density of each test row."""
    if not run.experiment.keeps_rows:
        return Outcome.UNKNOWN, f"{EVALUATION} holds no rows, by evaluate.keep_rows"
    wrong = []
    for key, expected in log_q_of_rows(run.trained, run.data).items():
        name, nats = f"{EVALUATION}: {key}", key == "test_log_q"
        wrong += unlike(name, expected, run.arrays[key], nats)
    return passed(not wrong), "; ".join(wrong) or f"{len(run.data.test):,} log-densities"


def check_arrays_of_rows(run: CheckedTable) -> Verdict:
    """Recompute the arrays of the pictures."""
    expected = run.experiment.arrays_of(run.trained, run.data)
    wrong = []
    for key in ("rows", "samples", "latents"):
        wrong += run.unlike(key, expected[key])
    for key in ("columns_shown", "axis_1"):
        if key in expected and not np.array_equal(expected[key], run.arrays[key]):
            wrong.append(f"{EVALUATION}: {key}: expected others")
    if "log_q" in expected:
        name = f"{EVALUATION}: log_q"
        wrong += unlike(name, expected["log_q"], run.arrays["log_q"], nats=True)
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def unlike_normality(expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    """Return errors for distances of latents from ``N(0, I)`` that differ."""
    return [
        f"{SUMMARY}: normality: {key}: expected {value}, received {received.get(key)!r:.40}"
        for key, value in expected.items()
        if not is_near(value, received.get(key), DISTANCE_TOLERANCE)
    ]


def is_near(expected: Any, received: Any, tolerance: float) -> bool:
    """Return whether two values are equal, or two numbers within a tolerance."""
    if not isinstance(expected, float) or not isinstance(received, float | int):
        return expected == received
    return math.isclose(expected, received, rel_tol=0, abs_tol=tolerance)
