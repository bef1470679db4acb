"""A fit to a table with given columns, categories or whole numbers that is checked."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import Bin, bin_record
from nflow_cli.evaluation.caveats import Summary, number
from nflow_cli.evaluation.flow_checks import Verdict, passed
from nflow_cli.experiments.checked_run import Checks, agree
from nflow_cli.experiments.density_checks import AS_GIVEN, OF_A_TARGET
from nflow_cli.experiments.table.checks import (
    CheckedTable,
    check_points,
    check_test_rows,
    is_near,
    tell_gone,
    unlike_normality,
    unlike_records,
)
from nflow_cli.runs.directory import EVALUATION, RUN, SUMMARY

# Draws that rounding moved may change places with rows: of shares of rows, and how many of few.
COVERAGE_TOLERANCE, ROWS_MOVED = 5e-3, 1.5
CALIBRATION_KEYS = (
    *("distance", "band", "pit_distance", "pit_band"),
    *("worst_column", "n", "n_effective", "n_lost", "n_bins"),
)


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
        return {
            "summary": check_scores,
            "test rows": check_test_rows,
            "calibration": check_calibration,
            "arrays": check_arrays,
        }


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
    scores, arrays = run.judged
    expected, received = scores["calibration"], run.summary.get("calibration")
    if not isinstance(received, Mapping):
        return passed(False), f"{SUMMARY}: calibration: missing"
    allowed = max(COVERAGE_TOLERANCE, ROWS_MOVED / max(expected["n_effective"], 1))
    wrong = _unlike_records("", {k: expected[k] for k in CALIBRATION_KEYS}, received, allowed)
    if not _is_off_by(received, expected["distance"], allowed):
        wrong.append(
            f"{SUMMARY}: calibration: level, covered: expected what is off by the distance"
        )
    regions = received.get("coverage")
    if not isinstance(regions, list) or len(regions) != len(expected["coverage"]):
        wrong.append(f"{SUMMARY}: calibration: coverage: expected {len(expected['coverage'])}")
        regions = []
    for region, other in zip(expected["coverage"], regions):
        name = f"coverage of {region['level']}: "
        wrong += _unlike_records(name, region, other, allowed)
    if not _is_a_bin(received.get("worst_bin"), arrays["coverage_bins"], run.trained.roles):
        wrong.append(f"{SUMMARY}: calibration: worst_bin: expected one of the bins")
    covered = ", ".join(f"{region['covered']:.3f}" for region in expected["coverage"])
    return passed(not wrong), "; ".join(wrong) or f"regions of 50, 90, 99 % cover {covered}"


def _unlike_records(name: str, expected: Summary, received: Any, allowed: float) -> list[str]:
    """Say which values of a record are not those expected, but for so much."""
    received = received if isinstance(received, Mapping) else {}
    return [
        f"{SUMMARY}: calibration: {name}{key}: expected {value}, received {received.get(key)!r:.40}"
        for key, value in expected.items()
        if not is_near(value, received.get(key), allowed)
    ]


def _is_off_by(received: Summary, distance: float | None, allowed: float) -> bool:
    """Return whether a level and what it covers are a distance apart."""
    level, covered = number(received, "level"), number(received, "covered")
    if distance is None or level is None or covered is None:
        return distance is None and (level, covered) == (None, None)
    return abs(abs(covered - level) - distance) <= allowed


def _is_a_bin(record: Any, bins: np.ndarray, roles: Roles) -> bool:
    """Return whether a record says one of the bins ``(b, 8)``; none, where there are none."""
    if record is None or not len(bins):
        return record is None and not len(bins)
    if not isinstance(record, Mapping):
        return False
    expected = (bin_record(Bin(*one), roles) for one in bins.tolist())
    return any(
        all(is_near(value, record.get(key), _moved(one["n"])) for key, value in one.items())
        for one in expected
    )


def _moved(n: float) -> float:
    """Return by how much rows that change places change the share of n."""
    return max(COVERAGE_TOLERANCE, ROWS_MOVED / n)


def check_arrays(run: CheckedTyped) -> Verdict:
    """Compute again what the pictures are drawn from."""
    (_, expected), wrong = run.judged, []
    drawn = ("rows", "samples", "latents", "condition_rows", "condition_draws")
    for key in expected.keys() & set(drawn):
        wrong += run.unlike(key, expected[key])
    moved = _moved(len(run.data.test))
    for key in ("coverage", "pit"):
        near = np.allclose(expected[key], run.arrays[key], rtol=0, atol=moved, equal_nan=True)
        wrong += [] if near else [f"{EVALUATION}: {key}: expected others"]
    if not _are_alike(expected["coverage_bins"], run.arrays["coverage_bins"]):
        wrong.append(f"{EVALUATION}: coverage_bins: expected others")
    if not np.array_equal(expected["columns_shown"], run.arrays["columns_shown"]):
        wrong.append(f"{EVALUATION}: columns_shown: expected others")
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def _are_alike(expected: np.ndarray, received: np.ndarray) -> bool:
    """Return whether bins are the same, but for what they cover where rows change places."""
    if expected.shape != received.shape:
        return False
    covered = list(map(Bin._fields.index, ("covered", "standard_error")))
    moved = np.maximum(COVERAGE_TOLERANCE, ROWS_MOVED / expected[:, -1:])
    near = np.abs(received - expected)[:, covered] <= moved
    others = (np.delete(bins, covered, axis=1) for bins in (expected, received))
    return bool(near.all()) and np.allclose(*others, rtol=1e-9, atol=0)
