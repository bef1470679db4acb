"""Noise of rows of whole numbers: a row's own, evenly spread, and independent between rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nflow_cli.data.dequantisation import (
    MOST_STEPS,
    NOISES,
    are_whole,
    nearest_multiples,
    row_noise,
)
from nflow_cli.evaluation.normality import band, distance

ROWS = np.random.default_rng(0).integers(-50, 50, (4_000, 3)).astype(np.float64)


def test_a_row_has_its_noise_wherever_it_stands():
    order = np.random.default_rng(1).permutation(len(ROWS))[:100]
    np.testing.assert_array_equal(row_noise(ROWS[order], 2, 3), row_noise(ROWS, 2, 3)[order])


def test_zero_and_minus_zero_are_one_value():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0]])
    first, second = row_noise(rows, 1, 0)
    assert first == second


@pytest.mark.parametrize("number", [0, 1, NOISES - 1])
def test_noise_is_uniform_over_rows_and_uncorrelated_between_columns(number):
    noise = row_noise(ROWS, 3, number)
    assert 0 < noise.min() <= noise.max() < 1
    rows = np.unique(ROWS, axis=0)
    noise = row_noise(rows, 3, number)
    for column in noise.T:
        assert distance(column) < 1.5 * band(len(rows))
    off = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    assert np.abs(off).max() < 4 / np.sqrt(len(rows))


def test_the_noises_of_a_row_fill_the_cell_evenly():
    noise = np.stack([row_noise(ROWS[:200], 1, number)[:, 0] for number in range(NOISES)])
    gaps = np.diff(np.sort(noise, axis=0), axis=0)
    assert gaps.max() < 3 / NOISES
    assert np.abs(noise.mean(axis=0) - 0.5).max() < 1 / NOISES


@given(st.integers(-(10**6), 10**6), st.integers(0, 4), st.floats(-0.49, 0.49))
def test_the_nearest_multiple_is_the_number_that_is_written_so(k, digits, off):
    step = float(f"1e-{digits}")
    value = nearest_multiples(np.array([[(k + off) * step]]), np.array([step]))[0, 0]
    assert value == float(f"{k}e-{digits}")
    assert not np.signbit(value) or value < 0


def test_multiples_of_other_steps_and_far_values_stay_multiples():
    values = np.array([[7.4, 1.1, 1e300], [-0.4, -1.1, -1e300]])
    got = nearest_multiples(values, np.array([5.0, 0.75, 1.0]))
    np.testing.assert_array_equal(got, [[5.0, 0.75, MOST_STEPS], [0.0, -0.75, -MOST_STEPS]])


@pytest.mark.parametrize(("step", "expected"), [(1, True), (3, True), (0.5, False), (1e9, False)])
def test_whole_numbers_are_told_by_their_step(step, expected):
    assert are_whole(step) == expected
