"""Noise of rows of whole numbers: a row's own, evenly spread, and independent between rows."""

import numpy as np
import pytest

from nflow_cli.data.dequantisation import NOISES, row_noise
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
