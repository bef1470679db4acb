"""Effect sizes of drift, against known distributions."""

import numpy as np
import pytest

from nflow_cli.evaluation.drift import change_of_levels, change_of_numbers, change_of_rows, moved


def test_shift_and_spread_in_standard_deviations():
    """Of a lognormal column as of its logarithm; the standard errors are those of repeats."""
    rng = np.random.default_rng(0)
    found = [
        change_of_numbers(np.exp(rng.normal(size=1_000)), np.exp(rng.normal(0.3, 0.8, 1_000))).shift
        for _ in range(100)
    ]
    for key, expected in (("mean", 0.3), ("spread", 0.8)):
        values = np.array([getattr(one, key) for one in found])
        errors = np.array([getattr(one, f"{key}_standard_error") for one in found])
        assert values.mean() == pytest.approx(expected, abs=0.01)
        assert errors.mean() == pytest.approx(values.std(), rel=0.2)


def test_a_column_of_one_value_has_no_spread():
    found = change_of_numbers(np.ones(50), np.r_[np.ones(40), np.nan * np.ones(10)])
    assert found.shift.mean == 0 and found.shift.spread is None
    assert (found.missing_before, found.missing_after) == (0, 0.2)
    assert change_of_numbers(np.ones(50), np.full(50, np.nan)).shift is None


def test_shares_of_levels():
    before, after = (
        np.repeat([0.0, 1.0, np.nan], [60, 30, 10]),
        np.repeat([0.0, 1, -1], [30, 30, 40]),
    )
    found = change_of_levels(before, after, ["low", "high"])
    assert (found.share.level, found.share.before, found.share.after) == ("new level", 0, 0.4)
    assert found.share.standard_error == pytest.approx(np.sqrt(0.4 * 0.6 / 100))
    assert (found.missing_before, found.missing_after, found.n_new_levels) == (0.1, 0, 40)


def test_impossible_rows_are_a_change_of_their_own():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 500))
    found = change_of_rows(before, np.where(np.arange(500) < 20, -np.inf, after), 3)
    error = np.sqrt(before.var(ddof=1) / 500 + after[20:].var(ddof=1) / 480)
    assert found.difference == pytest.approx(after[20:].mean() - before.mean())
    assert found.standard_error == pytest.approx(error)
    assert (found.n_impossible, found.n_impossible_held_out, found.n_unknown) == (20, 0, 3)
    assert found.p_value < 1e-3 < change_of_rows(before, after).p_value
    nothing = change_of_rows(np.full(9, -np.inf), np.full(9, -np.inf))
    assert nothing.difference is None and nothing.p_value == pytest.approx(1)


def test_changes_are_named_by_bonferroni_the_clearest_first():
    changes = {"a": 0.006, "b": 0.004, "c": 0.001}
    zero = change_of_numbers(np.zeros(2), np.zeros(2))
    every = {name: zero.model_copy(update={"p_value": p}) for name, p in changes.items()}
    assert moved(every, 10) == ["c", "b"] and moved(every, 1) == ["c", "b", "a"]
