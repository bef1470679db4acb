"""Imputations, and gaps of training rows, filled by draws of the density."""

import numpy as np
import pytest
from cells import grid, levels, number, products, random_density

from nflow_cli.tables import cells_trainer
from nflow_cli.tables.answers.impute import imputed
from nflow_cli.tables.cells_trainer import packed_rows
from nflow_cli.tables.given import completions
from nflow_cli.tables.table_rows import TableRows
from nflow_cli.training.observers import StateError

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
    found = imputed(TableRows(density, np.repeat(ROWS, 50, axis=0)), None, seed=0).rows[0]
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
    draws = imputed(TableRows(density, np.tile(row, (n, 1))), each, seed=1).rows.reshape(-1, 3)
    rows, p = conditional(density, row)
    found = np.array([(draws == one).all(axis=1).mean() for one in rows])
    # A row's draws are chosen among 32 effective ones.
    assert (np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / (32 * n)) + 1 / (32 * n)).all()


def test_gaps_beside_a_value_off_its_grid_are_as_if_that_were_unknown():
    density = random_density([*COLUMNS, grid("d", step=1.0)], members=2, shares=1.0)
    row = np.array([np.nan, np.nan, 1.0, 0.3])
    found = (
        imputed(TableRows(density, np.tile(row, (100, 1))), 100, seed=1)
        .rows[:, :, :2]
        .reshape(-1, 2)
    )
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
    found = imputed(TableRows(density, rows), 3, seed=0)
    known = ~np.isnan(rows)
    assert all((one[known] == rows[known]).all() for one in found.rows)
    assert np.isnan(found.rows[:, 0, 0]).all() and not np.isnan(found.rows[:, :, 1:]).any()
    assert np.isnan(found.effective[2]) and found.gaps.sum() == 2


def test_one_gap_is_completed_by_quadrature_and_a_needle_is_found():
    columns = [number("a"), number("b", resolution=1e-4, decimals=4)]
    density = random_density(columns, seed=2)
    rows = np.array([[np.nan, 0.2]])
    (found,) = completions(TableRows(density, rows), np.isnan(rows), seed=0)
    assert found.effective == pytest.approx(128)
    ends = columns[0].values_at(np.linspace(-8, 8, 40_001))
    grid = np.column_stack([(ends[1:] + ends[:-1]) / 2, np.full(40_000, 0.2)])
    p = np.exp(density.log_prob(grid)) * np.diff(ends)
    p /= p.sum()
    for q in (0.1, 0.5, 0.9):
        expected = grid[np.searchsorted(np.cumsum(p), q), 0]
        assert np.quantile(found.draws[0, :, 0], q) == pytest.approx(expected, abs=0.05)


WITH_GAPS = [grid("a", step=1.0, missing=True), levels("b", 3, missing=True), levels("c", 4)]


def test_known_cells_and_gaps_of_given_columns_stay():
    columns = [levels("g", 2, missing=True), levels("a", 3, missing=True), number("b")]
    density = random_density(columns, n_given=1)
    rows = np.array([[np.nan, np.nan, 0.5], [1, 2, 0.1], [0, 1, 0.25]])
    _, found = cells_trainer.filled_start(density, rows, None, 0)
    known = ~np.isnan(rows)
    assert (found[known] == rows[known]).all()
    assert np.isnan(found[0, 0]) and not np.isnan(found[:, 1:]).any()


def test_filled_rows_have_the_regression_of_the_whole_table_in_any_order():
    """Complete rows alone have slopes that are 0.1 too small: y decides what is missing."""
    rng, n = np.random.default_rng(0), 20_000
    x, z, noise = rng.standard_normal((3, n))
    y = 2 * x - z + noise
    lost = rng.random(n) < 1 / (1 + np.exp(0.7 - 0.6 * y))
    rows = np.column_stack([x, np.where(lost, np.nan, z), y])
    density = random_density([number("x"), number("z", missing=True), number("y")])
    _, found = cells_trainer.filled_start(density, rows, None, 0)
    slopes = np.linalg.lstsq(found[:, :2], found[:, 2], rcond=None)[0]
    assert np.abs(slopes - [2, -1]).max() < 0.04


def test_rows_with_filled_gaps_are_marked_and_make_up_their_share_of_a_batch():
    rows = np.arange(8.0).reshape(4, 2)
    chunks = cells_trainer.FilledChunks(0.75, 1, rows, [3, 5], 40, 20, 50)
    chunks.filled = {seed: -np.float32([4 * [1.0], 4 * [seed]]) for seed in (3, 5)}
    drawn = chunks[1][0]
    assert drawn.shape == (20, 2, 4, 50)
    for r, seed in enumerate((3, 5)):
        filled = drawn[:, r, 3] == 1
        assert abs(filled.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / filled.size)
        assert (drawn[:, r, 1][filled] == -seed).all() and (drawn[:, r, 1][~filled] >= 0).all()


def test_a_network_that_has_diverged_moves_no_fill_and_the_others_do():
    density = random_density(WITH_GAPS, members=2, shares=1.0)
    kept = density.networks[1]
    lost = {name: np.full_like(array, np.nan) for name, array in kept.items()}
    rows, filled = np.array([[1.0, np.nan, 2], [2.0, 1, 3]]), np.array([[1.0, 0, 2], [2.0, 1, 3]])
    rows, filled = np.tile(rows, (20, 1)), np.tile(filled, (20, 1))
    chunks = cells_trainer.FilledChunks(0.5, 3, packed_rows(density, rows), [3, 5], 40, 20, 50)
    moves = cells_trainer.Filling(density, lambda: [lost, kept], rows, filled, chunks)
    moves.fill(0)
    assert (packed_rows(density, filled) == chunks.filled[3].T).all() and not moves.tallies[0].any()
    assert set(moves.fills[0]) == {0.0} != set(moves.fills[1])
    assert 0 < moves.acceptance["b"] < 1 and list(moves.acceptance) == ["b"]


def test_fills_of_a_checkpoint_are_those_of_the_rows():
    density = random_density(WITH_GAPS)
    rows, filled = np.array([[1.0, np.nan, 2], [2.0, 1, 3]]), np.array([[1.0, 0, 2], [2.0, 1, 3]])
    chunks = cells_trainer.FilledChunks(0.5, 3, packed_rows(density, rows), [3], 40, 20, 50)
    moves = cells_trainer.Filling(density, list, rows, filled, chunks)
    moves.restore({**moves.state(), "fills": [np.array([2.0])]})
    expected = packed_rows(density, np.array([[1.0, 2, 2], [2.0, 1, 3]]))
    assert (expected == chunks.filled[3].T).all()
    with pytest.raises(StateError, match="fills: expected others"):
        moves.restore({**moves.state(), "fills": [np.zeros(2)]})
