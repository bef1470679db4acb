"""Gaps of training rows, filled by draws of the density."""

import numpy as np
import pytest
from cells import grid, levels, number, products, random_density

from nflow_cli.experiments.cells import filling
from nflow_cli.experiments.cells.training import packed
from nflow_cli.training.saved_state import StateError

COLUMNS = [grid("a", step=1.0, missing=True), levels("b", 3, missing=True), levels("c", 4)]
EVERY = products(np.arange(-30.0, 31), np.arange(3), np.arange(4))


def test_known_cells_and_gaps_of_given_columns_stay():
    columns = [levels("g", 2, missing=True), levels("a", 3, missing=True), number("b")]
    density = random_density(columns, n_given=1)
    rows = np.array([[np.nan, np.nan, 0.5], [1, 2, 0.1], [0, 1, 0.25]])
    _, found = filling.filled_start(density, rows, None, 0)
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
    _, found = filling.filled_start(density, rows, None, 0)
    slopes = np.linalg.lstsq(found[:, :2], found[:, 2], rcond=None)[0]
    assert np.abs(slopes - [2, -1]).max() < 0.04


def test_rows_with_filled_gaps_are_marked_and_make_up_their_share_of_a_batch():
    rows = np.arange(8.0).reshape(4, 2)
    chunks = filling.FilledChunks(0.75, 1, rows, [3, 5], 40, 20, 50)
    chunks.filled = {seed: -np.float32([4 * [1.0], 4 * [seed]]) for seed in (3, 5)}
    drawn = chunks[1][0]
    assert drawn.shape == (20, 2, 4, 50)
    for r, seed in enumerate((3, 5)):
        filled = drawn[:, r, 3] == 1
        assert abs(filled.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / filled.size)
        assert (drawn[:, r, 1][filled] == -seed).all() and (drawn[:, r, 1][~filled] >= 0).all()


def test_a_network_that_has_diverged_moves_no_fill_and_the_others_do():
    density = random_density(COLUMNS, members=2, shares=1.0)
    lost, kept = (one._replace(weight=1.0) for one in density.networks)
    lost = lost._replace(weights={k: np.full_like(a, np.nan) for k, a in lost.weights.items()})
    rows, filled = np.array([[1.0, np.nan, 2], [2.0, 1, 3]]), np.array([[1.0, 0, 2], [2.0, 1, 3]])
    rows, filled = np.tile(rows, (20, 1)), np.tile(filled, (20, 1))
    chunks = filling.FilledChunks(0.5, 3, packed(density, rows), [3, 5], 40, 20, 50)
    moves = filling.Filling(density, lambda: [lost, kept], rows, filled, chunks)
    moves.fill(0)
    assert (packed(density, filled) == chunks.filled[3].T).all() and not moves.tallies[0].any()
    assert set(moves.fills[0]) == {0.0} != set(moves.fills[1])
    assert 0 < moves.acceptance["b"] < 1 and list(moves.acceptance) == ["b"]


def test_fills_of_a_checkpoint_are_those_of_the_rows():
    density = random_density(COLUMNS)
    rows, filled = np.array([[1.0, np.nan, 2], [2.0, 1, 3]]), np.array([[1.0, 0, 2], [2.0, 1, 3]])
    chunks = filling.FilledChunks(0.5, 3, packed(density, rows), [3], 40, 20, 50)
    moves = filling.Filling(density, list, rows, filled, chunks)
    moves.restore({**moves.state(), "fills": [np.array([2.0])]})
    expected = packed(density, np.array([[1.0, 2, 2], [2.0, 1, 3]]))
    assert (expected == chunks.filled[3].T).all()
    with pytest.raises(StateError, match="fills: expected others"):
        moves.restore({**moves.state(), "fills": [np.zeros(2)]})
