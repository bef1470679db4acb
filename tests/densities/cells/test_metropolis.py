"""Metropolis steps of unknown cells, against the density summed over all their values."""

import numpy as np
import pytest
from cells import grid, levels, number, products, random_density

from nflow_cli.densities.cells.metropolis import moved

COLUMNS = [grid("a", step=1.0, missing=True), levels("b", 3, missing=True), levels("c", 4)]
EVERY = products(np.arange(-30.0, 31), np.arange(3), np.arange(4))
SELDOM_ACCEPTED = 1e9  # proposals so far, so that half of those to come are near


@pytest.mark.parametrize(
    ("row", "tried"),
    [
        ([1.0, np.nan, 2], SELDOM_ACCEPTED),
        ([np.nan, 1, 2], SELDOM_ACCEPTED),
        ([np.nan, np.nan, 3], 0),
    ],
)
def test_many_steps_from_anywhere_have_the_conditional_of_grids_and_levels(row, tried):
    density, n = random_density(COLUMNS, shares=1.0), 1_000
    rows = np.where(np.isnan(row), 0.0, np.tile(row, (n, 1)))
    tallies, rng = np.zeros((2, 3)), np.random.default_rng(0)
    tallies[0] = tried
    unknown = np.isnan(np.tile(row, (n, 1)))
    found = moved(density, density.networks[0], rows, unknown, 40, rng, tallies)
    assert (found[~unknown] == rows[~unknown]).all()
    values = EVERY[((row == EVERY) | np.isnan(row)).all(axis=1)]
    p = np.exp(density.log_prob(values))
    p = p / p.sum()
    share = np.array([(found == one).all(axis=1).mean() for one in values])
    assert share.sum() == pytest.approx(1)
    assert (np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / n) + 1e-3).all()


@pytest.mark.parametrize("tried", [0, SELDOM_ACCEPTED])
def test_many_steps_have_the_mean_and_deviation_of_a_number(tried):
    density, n = random_density([number("a"), number("b")], shares=1.0), 1_500
    rows, unknown = np.tile([0.0, 0.3], (n, 1)), np.tile([True, False], (n, 1))
    tallies = np.array([[tried, 0], [0, 0]], float)
    by = 40, np.random.default_rng(1), tallies
    found = moved(density, density.networks[0], rows, unknown, *by)[:, 0]
    values = np.arange(-40, 40, 0.01)
    p = np.exp(density.log_prob(np.column_stack([values, np.full(len(values), 0.3)])))
    mean = p @ values / p.sum()
    sd = np.sqrt(p @ (values - mean) ** 2 / p.sum())
    assert abs(found.mean() - mean) < 4 * sd / np.sqrt(n)
    assert abs(found.std() / sd - 1) < 4 * np.sqrt(2 / n)
