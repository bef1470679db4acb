"""Proposals for unknown cells, against the density summed over all their values."""

import numpy as np
import pytest
from cells import TAILS, grid, levels, number, products, random_density, values_of

from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.proposals import proposals
from nflow_cli.densities.cells.unmixing import Unmixing, component

N = 8_000


def check_shares(density, at, values, seed):
    """Check the weighted shares of proposals against the density, to five standard errors."""
    rows, log_weights = proposals(density, at, np.isnan(at), np.random.default_rng(seed))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    found = np.array([weights[(rows == one).all(axis=1)].sum() for one in values])
    p = np.exp(density.log_prob(values))
    p /= p.sum()
    error = np.sqrt(p * (1 - p) * np.square(weights).sum())
    assert found.sum() == pytest.approx(1) and error.max() < 0.02
    assert (np.abs(found - p) < 5 * error + 1e-3).all()


@pytest.mark.parametrize("known", [[0], [2], [1, 3], [3]])
def test_weighted_proposals_have_the_exact_conditional_of_levels(known):
    columns = [levels("a", 3), levels("b", 2, missing=True), levels("c", 4), levels("d", 2)]
    every = products(*(np.arange(len(column.first)) for column in columns))
    row, at = every[17], np.full((N, 4), np.nan)
    at[:, known] = row[known]
    values = every[(every[:, known] == row[known]).all(axis=1)]
    check_shares(random_density(columns, members=2), at, values, 1)


def test_cells_known_before_all_unknown_ones_stay_and_give_equal_weights():
    density = random_density([grid("a"), levels("b", 3), number("c")])
    at = np.tile([0.5, np.nan, np.nan], (100, 1))
    rows, log_weights = proposals(density, at, np.isnan(at), np.random.default_rng(0))
    assert (rows[:, 0] == 0.5).all() and not np.isnan(rows).any()
    assert np.ptp(log_weights) < 1e-12
    of_a_gap = random_density([levels("g", 2, missing=True), levels("a", 3)], n_given=1)
    at, unknown = np.full((10, 2), np.nan), np.tile([False, True], (10, 1))
    rows, log_weights = proposals(of_a_gap, at, unknown, np.random.default_rng(0))
    assert np.isnan(rows[:, 0]).all() and not np.isnan(rows[:, 1]).any()
    assert np.allclose(log_weights, 0)


def test_a_number_known_behind_an_unknown_one_weighs_by_its_density():
    columns = [grid("a", step=0.5), number("b")]
    density = random_density(columns, shares=1.0)  # a draw is no outlier
    values = values_of(columns[0])
    rows = np.column_stack([values, np.full(len(values), 0.3)])
    check_shares(density, np.tile([np.nan, 0.3], (N, 1)), rows, 2)


def test_unmixed_columns_have_the_moments_of_the_unknown_one():
    columns, matrix = [number("a", maps=TAILS), number("b")], np.array([[1.0, 0.6], [-0.4, 1.1]])
    found = random_density([component(i, 0.05, -6.0, 6.0) for i in range(2)])
    parts = found.cells, found.layout, found.marginal, found.networks
    unmixing = Unmixing(columns, matrix)
    density = CellDensity(*parts, [], unmixing, random_density(columns, shares=0.0))
    ends = columns[0].values_at(np.linspace(-12, 12, 20_001))
    grid = np.column_stack([(ends[1:] + ends[:-1]) / 2, np.full(20_000, 0.3)])
    truth = np.exp(density.log_prob(grid)) * np.diff(ends)
    mean = truth @ grid[:, 0] / truth.sum()
    at = np.tile([np.nan, 0.3], (N, 1))
    rows, log_weights = proposals(density, at, np.isnan(at), np.random.default_rng(3))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    for power in (1, 2):
        expected = truth @ (grid[:, 0] - mean) ** power / truth.sum()
        values = (rows[:, 0] - mean) ** power
        error = np.sqrt(np.square(weights) @ np.square(values - expected))
        assert abs(weights @ values - expected) < 4 * error
