import numpy as np
import pytest

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.conditions import place_text, short_text, spread_conditions


def test_conditions_lie_far_apart_in_order_and_ignore_the_scale_and_the_tails():
    roles = Roles(["x"], given_numbers=["a"])
    a = np.exp(30 * np.random.default_rng(0).random(1_000))
    rows = np.column_stack([np.zeros(1_000), a])
    ranks = np.searchsorted(np.sort(a), a[spread_conditions(rows, roles)]) / 1_000
    assert np.all(np.diff(ranks) > 0.15)
    assert ranks[0] <= 0.1 and ranks[-1] >= 0.9


def test_levels_of_categories_are_all_shown_before_one_is_shown_twice():
    roles = Roles(["x"], given_categories={"c": list("pqrst")})
    c = np.array([0, 0, 0, 0, 1, 2, 0, 1, 3.0])
    rows = np.column_stack([np.arange(9), c])
    np.testing.assert_array_equal(c[spread_conditions(rows, roles)], [0, 1, 2, 3])
    np.testing.assert_array_equal(c[spread_conditions(rows[:5], roles)], [0, 1])


def test_numbers_and_categories_both_tell_conditions_apart():
    roles = Roles(["x"], given_numbers=["a"], given_categories={"c": ["p", "q"]})
    rng = np.random.default_rng(1)
    rows = np.column_stack([np.zeros(500), rng.normal(size=500), rng.integers(2, size=500)])
    a, c = rows[spread_conditions(rows, roles), 1:].T
    assert np.ptp(a) > 2.4 and set(c) == {0, 1}


def test_rows_that_lack_a_value_are_no_conditions():
    roles = Roles(["x"], given_numbers=["a"])
    rows = np.array([[np.nan, 1], [0, np.nan], [0, 2.0], [0, 3.0]])
    assert spread_conditions(rows, roles) == [2, 3]
    assert spread_conditions(rows[:2], roles) == []
    assert spread_conditions(rows[[2, 2]], roles) == [0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (0.123456, "0.123"),
        (-0.00123456, "-0.00123"),
        (2019.0, "2019"),
        (1234567.8, "1234568"),
        (1.23456e12, "1.23e+12"),
        (1.23456e-7, "1.23e-07"),
    ],
)
def test_numbers_are_short_and_whole_before_the_point(value, text):
    assert short_text(value) == text


def test_the_ends_of_a_bin_are_told_apart():
    assert place_text(0.1, 0.3456, None) == "0.1..0.346"
    assert place_text(2019.24, 2019.26, None) == "2019.2..2019.3"
    assert place_text(3.0, 3.0, None) == "3"
    assert place_text(1.0, np.nextafter(1.0, 2), None) == "1..1.0000000000000002"
    assert place_text(1.0, 1.0, "a\x1b[0m") == r"a\x1b[0m"
