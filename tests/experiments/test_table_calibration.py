import numpy as np
import pytest
from pydantic import ValidationError

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import Ranks, calibration
from nflow_cli.experiments.table.calibration import Calibration, damage, shapes_of
from nflow_cli.experiments.table.rows import rows_of_calibration

ROLES = Roles(["x"], given_numbers=["z"], given_categories={"c": ["no", "yes\x1b[0m"]})
REGION = {"standard_error": 0.0108, "chance_low": 0.87, "chance_high": 0.93}
FACTS = {
    **{"distance": 0.0123, "band": 0.0304, "level": 0.42, "covered": 0.4077},
    **{"worst_column": "x", "pit_distance": 0.02, "pit_band": 0.03},
    "coverage": [
        {**REGION, "level": level, "covered": level - 0.007} for level in (0.5, 0.9, 0.99)
    ],
    "worst_bin": {**REGION, "column": "z", "low": 0.1, "high": 0.3, "category": None}
    | {"covered": 0.8712},
}


def test_the_rows_tell_coverage_beside_what_chance_does():
    assert rows_of_calibration(FACTS) == [
        ("coverage", "0.493, 0.893, 0.983 of the 50, 90 and 99 % regions (± 0.011, 0.011, 0.011)"),
        (
            "",
            "0.0123 of the rows fewer than claimed at most, at level 0.42; by chance up to 0.0304",
        ),
        (
            "worst bin",
            "0.871 of the 90 % regions, where z is in 0.1..0.3; by chance 0.870 to 0.930",
        ),
        ("PIT", "0.0200 from uniform at most, of x; by chance up to 0.0300"),
    ]


def test_a_level_of_a_category_is_named_and_does_no_more_than_appear():
    worst = FACTS["worst_bin"] | {"column": "c", "low": 1, "high": 1, "category": "yes\x1b[0m"}
    row = dict(rows_of_calibration(FACTS | {"worst_bin": worst}))["worst bin"]
    assert r"where c is yes\x1b[0m; by chance" in row


def judged(n=300):
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.zeros(n), rng.random(n), rng.integers(2, size=n)])
    return calibration(Ranks(rng.random(n), rng.random((n, 1))), rows, ROLES)


@pytest.mark.parametrize("n", [0, 300])
def test_what_is_judged_has_the_form_and_the_shapes_of_its_pictures(n):
    figures, arrays = judged(n)
    Calibration.model_validate(figures["calibration"])
    assert damage(arrays, ROLES) == ""
    shapes = shapes_of(ROLES)
    for name, array in arrays.items():
        assert all(
            length in (axis, "b") or axis == "b" for axis, length in zip(shapes[name], array.shape)
        )
    if not n:
        assert rows_of_calibration(figures["calibration"]) == [
            ("coverage", "unknown: no row has a log-density")
        ]


def test_a_figure_that_is_no_number_is_refused():
    with pytest.raises(ValidationError, match="distance"):
        Calibration.model_validate({**judged()[0]["calibration"], "distance": "far"})


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0.0), (0, 7.0), (0, 1.5), (3, np.nan), (5, 0.9), (6, 0.9)]
)
def test_bins_of_other_columns_are_damaged(at, value):
    arrays = judged()[1]
    arrays["coverage_bins"][0, at] = value
    assert "coverage_bins: expected finite numbers of given columns" in damage(arrays, ROLES)


@pytest.mark.parametrize(("name", "value"), [("coverage", 1.1), ("pit", -0.1)])
def test_shares_beyond_0_and_1_are_damaged(name, value):
    arrays = judged()[1]
    arrays[name][3] = value
    assert damage(arrays, ROLES).endswith("damaged: coverage: expected shares from 0 to 1")


def test_conditions_that_are_not_finite_are_damaged():
    arrays = judged()[1] | {"condition_rows": np.array([[np.nan, 1.0, 0.0]])}
    assert damage(arrays, ROLES).endswith("condition_rows: expected finite numbers")


@pytest.mark.parametrize("level", [2.0, 0.5, -2.0])
def test_levels_that_a_category_does_not_have_are_damaged(level):
    arrays = judged()[1] | {"condition_rows": np.array([[0.0, 1.0, level]])}
    assert damage(arrays, ROLES).endswith("damaged: expected levels of 'c'")
    arrays["condition_rows"][0, 2] = -1
    assert damage(arrays, ROLES) == ""
    arrays["coverage_bins"][-1, 1] = 3
    assert damage(arrays, ROLES).endswith("damaged: expected levels of 'c'")
