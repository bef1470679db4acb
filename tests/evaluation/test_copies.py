"""Copies of training rows, by comparison row by row."""

import numpy as np
import pytest

from nflow_cli.evaluation.copies import copies


def test_rows_are_compared_cell_by_cell_with_gaps_equal():
    train = np.array([[1.0, np.nan], [2.0, 3.0], [2.0, 3.0], [-0.0, 1.0]])
    draws = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 3.0], [np.nan, 1.0], [2.0, 3.0]])
    found = copies(train, draws, draws[2:4])
    assert found is not None
    assert (found.drawn, found.held_out) == (0.6, 0.0)
    assert (found.n_drawn, found.n_held_out) == (5, 2)
    assert copies(train, draws[:0], draws) is None


def test_the_excess_is_within_its_standard_error_where_rows_are_alike():
    rng = np.random.default_rng(0)
    excesses = []
    for _ in range(300):
        train, draws, held_out = (rng.poisson(4, (n, 2)).astype(float) for n in (20, 400, 200))
        found = copies(train, draws, held_out)
        assert found is not None
        excesses.append(found.excess / found.standard_error)
    assert np.mean(excesses) == pytest.approx(0, abs=4 / np.sqrt(300))
    assert np.std(excesses) == pytest.approx(1, abs=0.2)
