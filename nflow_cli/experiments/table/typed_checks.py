"""A fit to a table with given columns, categories or whole numbers that is checked."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.evaluation.flow_checks import Verdict, passed
from nflow_cli.experiments.checked_run import Checks, agree
from nflow_cli.experiments.density_checks import AS_GIVEN, OF_A_TARGET
from nflow_cli.experiments.table.checks import (
    CheckedTable,
    check_points,
    is_near,
    tell_gone,
    unlike_normality,
    unlike_records,
)
from nflow_cli.runs.directory import EVALUATION, RUN, SUMMARY

COVERAGE_TOLERANCE = 5e-3  # of shares of rows: draws that rounding moved may change places


class CheckedTyped(CheckedTable):
    """A run on the rows of such a table."""

    @cached_property
    def judged(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Its scores and the arrays of its pictures, computed again."""
        return self.likelihood.judge(self.trained, self.data)

    @property
    def data_checks(self) -> Checks:
        """Checks of what it was trained on, by name."""
        return {"data": tell_gone if self.is_gone else check_rows}

    @property
    def score_checks(self) -> Checks:
        """Checks of its scores and pictures, by name."""
        if self.is_gone:
            return {}
        return {"summary": check_scores, "calibration": check_calibration, "arrays": check_arrays}


def check_rows(run: CheckedTyped) -> Verdict:
    """Find the rows again, and the units that they give."""
    outcome, text = check_points(run)
    expected, received = run.data.given_units.record(), run.trained.given_units.record()
    wrong = unlike_records(RUN, expected, received)
    return (passed(False), "; ".join(wrong)) if wrong else (outcome, text)


def check_scores(run: CheckedTyped) -> Verdict:
    """Compute the summary's scores again, from the test rows."""
    scores = dict(run.judged[0])
    wrong = unlike_normality(scores.pop("normality"), run.summary)
    del scores["calibration"]
    outcome, detail = agree(run, scores | dict.fromkeys(OF_A_TARGET), "from the test rows")
    return (passed(False), "; ".join(wrong)) if wrong else (outcome, detail)


def check_calibration(run: CheckedTyped) -> Verdict:
    """Draw again at what is given in the test rows, and count what regions cover."""
    expected = run.judged[0]["calibration"]
    received: Any = run.summary.get("calibration")
    if not isinstance(received, Mapping):
        return passed(False), f"{SUMMARY}: calibration: missing"
    wrong = [
        f"{SUMMARY}: calibration: {key}: expected {expected[key]}, received {received.get(key)}"
        for key in ("n", "distance", "pit_distance")
        if not is_near(expected[key], received.get(key), COVERAGE_TOLERANCE)
    ]
    shares = [[r["covered"] for r in judged["coverage"]] for judged in (expected, received)]
    if not np.allclose(*shares, rtol=0, atol=COVERAGE_TOLERANCE):
        wrong.append(f"{SUMMARY}: calibration: expected to cover {shares[0]}, not {shares[1]}")
    covered = ", ".join(f"{share:.3f}" for share in shares[0])
    return passed(not wrong), "; ".join(wrong) or f"regions of 50, 90, 99 % cover {covered}"


def check_arrays(run: CheckedTyped) -> Verdict:
    """Compute again what the pictures are drawn from."""
    (_, expected), wrong = run.judged, []
    drawn = ("rows", "samples", "latents", "condition_rows", "condition_draws")
    for key in expected.keys() & set(drawn):
        wrong += run.unlike(key, expected[key])
    for key in ("coverage", "pit"):
        near = np.allclose(expected[key], run.arrays[key], rtol=0, atol=COVERAGE_TOLERANCE)
        wrong += [] if near else [f"{EVALUATION}: {key}: expected others"]
    if not np.array_equal(expected["columns_shown"], run.arrays["columns_shown"]):
        wrong.append(f"{EVALUATION}: columns_shown: expected others")
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN
