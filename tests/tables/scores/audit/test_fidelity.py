"""Likeness of draws to rows, against tables counted by hand."""

import numpy as np
import pytest

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.tables.scores.audit.fidelity import outside, score_of, tables_of

LEVELS = ColumnKind(kind="levels", type="text", levels=["x", "y"])
NUMBER = ColumnKind(kind="number", type="decimal", resolution=0.01)


def test_likeness_is_one_minus_the_total_variation_distance():
    train = np.array([[0.0, 0.0]] * 5 + [[1.0, 1.0]] * 5)
    draws = np.array([[0.0, 1.0]] * 5 + [[1.0, 0.0]] * 5)
    half = np.array([[0.0, 0.0]] * 7 + [[1.0, 1.0]] * 3)
    found = tables_of({"a": LEVELS, "b": LEVELS}, train, [draws, half], train)
    assert found.columns.draws == pytest.approx((1 + 0.8) / 2)
    assert found.pairs.draws == pytest.approx((0 + 0.8) / 2)
    assert found.pairs.standard_error == pytest.approx(0.4)
    assert (found.columns.holdout, found.pairs.holdout) == (1, 1)
    assert found.worst_pairs == [("a", "b", pytest.approx(0.4))]


def test_cells_outside_are_beyond_numbers_new_levels_and_gaps():
    train = np.array([[0.0, 1.0], [1.0, 3.0]])
    rows = np.array([[-1.0, 3.5], [0.0, np.nan], [1.0, 1.0], [1.0, 2.0]])
    assert outside({"a": LEVELS, "b": NUMBER}, train, rows) == 3 / 8


def test_one_set_of_draws_has_no_error():
    assert score_of([0.5], 0.75).standard_error is None
    assert score_of([0.5, 0.7], 0.75).standard_error == pytest.approx(0.1)
