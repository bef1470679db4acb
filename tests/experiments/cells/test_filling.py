"""Gaps of training rows, filled by draws of the density."""

import keras
import numpy as np
import pytest
from cells import grid, levels, number, products, random_density

from nflow_cli.experiments.cells import filling
from nflow_cli.experiments.cells.training import packed
from nflow_cli.random_streams import stream

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the chunk trainer compiles with TensorFlow"
)
COLUMNS = [grid("a", step=1.0, missing=True), levels("b", 3, missing=True), levels("c", 4)]
EVERY = products(np.arange(-30.0, 31), np.arange(3), np.arange(4))


@pytest.mark.parametrize("row", [[1.0, np.nan, 2], [np.nan, 1, 2], [np.nan, np.nan, 3]])
def test_gaps_are_drawn_given_the_known_cells_of_their_row(monkeypatch, row):
    monkeypatch.setattr(filling, "TRIES", 200)
    density, n = random_density(COLUMNS, shares=1.0), 2_000
    found = filling.with_filled_gaps(density, np.tile(row, (n, 1)), stream(0, "gaps"))
    rows = EVERY[((row == EVERY) | np.isnan(row)).all(axis=1)]
    p = np.exp(density.log_prob(rows))
    p = p / p.sum()
    share = np.array([(found == one).all(axis=1).mean() for one in rows])
    assert share.sum() == pytest.approx(1)
    assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / n) + 0.01).all()


def test_known_cells_and_gaps_of_given_columns_stay():
    columns = [levels("g", 2, missing=True), levels("a", 3, missing=True), number("b")]
    density = random_density(columns, n_given=1)
    rows = np.array([[np.nan, np.nan, 0.5], [1, 2, 0.1], [0, 1, 0.25]])
    found = filling.with_filled_gaps(density, rows, stream(0, "gaps"))
    known = ~np.isnan(rows)
    assert (found[known] == rows[known]).all()
    assert np.isnan(found[0, 0]) and not np.isnan(found[:, 1:]).any()


def test_rows_with_filled_gaps_are_marked_and_make_up_their_share_of_a_batch():
    rows = np.arange(8.0).reshape(4, 2)
    chunks = filling.FilledChunks(0.75, 1, rows, [3, 5], 40, 20, 50)
    chunks.filled = {seed: -np.float32([[1.0], [seed]]) for seed in (3, 5)}
    drawn = chunks[1][0]
    assert drawn.shape == (20, 2, 4, 50)
    for r, seed in enumerate((3, 5)):
        filled = drawn[:, r, 3] == 1
        assert abs(filled.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / filled.size)
        assert (drawn[:, r, 1][filled] == -seed).all() and (drawn[:, r, 1][~filled] >= 0).all()


def test_a_network_that_has_diverged_fills_nothing_and_the_others_do():
    density = random_density(COLUMNS, members=2, shares=1.0)
    lost, kept = (one._replace(weight=1.0) for one in density.networks)
    lost = lost._replace(weights={k: np.full_like(a, np.nan) for k, a in lost.weights.items()})
    rows = np.array([[1.0, np.nan, 2], [2.0, 1, 3]])
    chunks = filling.FilledChunks(0.5, 3, packed(density, rows), [3, 5], 40, 20, 50)
    filling.Filling(density, lambda: [lost, kept], rows, None, chunks).fill(0)
    of_lost, of_kept = (sorted(chunks.filled[seed].T.tolist()) for seed in (3, 5))
    assert of_lost == sorted(packed(density, rows).tolist()) != of_kept
