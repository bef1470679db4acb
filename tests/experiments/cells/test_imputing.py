"""Imputations, by the density summed over all values of the gaps."""

import numpy as np
import pytest
from cells import grid, levels, number, products, random_density

from nflow_cli.experiments.cells.completions import completions
from nflow_cli.experiments.cells.imputing import imputed

COLUMNS = [grid("a", step=1.0), levels("b", 3, missing=True), levels("c", 4)]
EVERY = products(np.arange(-30.0, 31), np.arange(3), np.arange(4))
ROWS = np.array([[np.nan, 1, np.nan], [2.0, np.nan, np.nan], [np.nan, np.nan, 3], [1.0, 0, 2]])


def conditional(density, row):
    """Return all rows that agree with the known cells of a row, and their probabilities."""
    rows = EVERY[((row == EVERY) | np.isnan(row)).all(axis=1)]
    p = np.exp(density.log_prob(rows))
    return rows, p / p.sum()


def test_a_gap_is_filled_by_the_mean_of_a_number_and_the_likeliest_level():
    density = random_density(COLUMNS, members=2, shares=1.0)
    found = imputed(density, np.repeat(ROWS, 50, axis=0), None, seed=0).rows[0]
    for row, filled in zip(ROWS, found.reshape(4, 50, 3)):
        rows, p = conditional(density, row)
        if np.isnan(row[0]):
            mean, sd = p @ rows[:, 0], np.sqrt(p @ rows[:, 0] ** 2 - (p @ rows[:, 0]) ** 2)
            assert np.abs(filled[:, 0] - mean).max() < 0.5 + 5 * sd / np.sqrt(32)
        for j in (1, 2):
            shares = np.array([p[rows[:, j] == level].sum() for level in range(4)])
            assert shares[np.median(filled[:, j]).astype(int)] > shares.max() - 0.1


def test_draws_have_the_joint_distribution_of_the_gaps():
    density, row = random_density(COLUMNS, members=2, shares=1.0), ROWS[0]
    n, each = 100, 100
    draws = imputed(density, np.tile(row, (n, 1)), each, seed=1).rows.reshape(-1, 3)
    rows, p = conditional(density, row)
    found = np.array([(draws == one).all(axis=1).mean() for one in rows])
    # A row's draws are chosen among 32 effective ones.
    assert (np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / (32 * n)) + 1 / (32 * n)).all()


def test_gaps_beside_a_value_off_its_grid_are_as_if_that_were_unknown():
    density = random_density([*COLUMNS, grid("d", step=1.0)], members=2, shares=1.0)
    row = np.array([np.nan, np.nan, 1.0, 0.3])
    found = imputed(density, np.tile(row, (100, 1)), 100, seed=1).rows[:, :, :2].reshape(-1, 2)
    every = density.draw(np.full((100_000, 4), np.nan), np.random.default_rng(0))
    expected = every[(every[:, 2] == 1) & ~np.isnan(every[:, 1]), 1]
    for level in range(4):
        p = np.mean(expected == level)
        error = np.sqrt(p * (1 - p) * (1 / 3_200 + 1 / len(expected)))
        assert abs(np.mean(found[:, 1] == level) - p) < 5 * error + 1e-3


def test_known_cells_and_given_gaps_stay():
    columns = [levels("g", 2, missing=True), levels("a", 3), number("b")]
    density = random_density(columns, n_given=1)
    rows = np.array([[np.nan, np.nan, 0.5], [1, 2, np.nan], [0, 1, 0.25]])
    found = imputed(density, rows, 3, seed=0)
    known = ~np.isnan(rows)
    assert all((one[known] == rows[known]).all() for one in found.rows)
    assert np.isnan(found.rows[:, 0, 0]).all() and not np.isnan(found.rows[:, :, 1:]).any()
    assert np.isnan(found.effective[2]) and found.gaps.sum() == 2


def test_one_gap_is_completed_by_quadrature_and_a_needle_is_found():
    columns = [number("a"), number("b", resolution=1e-4, decimals=4)]
    density = random_density(columns)
    rows = np.array([[np.nan, 0.2]])
    (found,) = completions(density, rows, np.isnan(rows), seed=0)
    assert found.effective == pytest.approx(128)
    ends = columns[0].values_at(np.linspace(-8, 8, 40_001))
    grid = np.column_stack([(ends[1:] + ends[:-1]) / 2, np.full(40_000, 0.2)])
    p = np.exp(density.log_prob(grid)) * np.diff(ends)
    p /= p.sum()
    for q in (0.1, 0.5, 0.9):
        expected = grid[np.searchsorted(np.cumsum(p), q), 0]
        assert np.quantile(found.draws[0, :, 0], q) == pytest.approx(expected, abs=0.05)
