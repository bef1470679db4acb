"""Draws of a density of cells, of rows and of unknown cells, against its probabilities."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cells import (
    BETWEEN,
    TAILS,
    a_sample,
    day,
    grid,
    levels,
    number,
    ordered,
    products,
    random_density,
    values_of,
)
from scipy import stats

from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.outliers import Outliers
from nflow_cli.tables.cells.proposals import DEGREES, _t_draws, metropolis_steps, proposals
from nflow_cli.tables.cells.unmixing import Unmixing, component
from nflow_cli.tables.scores.pit import pit

N = 30_000
COUNTED = {
    "levels in order": [ordered("a", 4, missing=True), levels("b", 2), ordered("c", 3)],
    "levels": [levels("a", 3), levels("b", 5, missing=True)],
    "a grid": [levels("a", 2, missing=True), grid("b", step=2.0, atoms=[0.0, 6.0], missing=True)],
    "date": [day("a", spread=1.0, missing=True), grid("b", step=2.0)],
    "bounds": [
        grid("a", step=5.0, offset=2.5, maps=TAILS, atoms=[7.5]),
        grid("b", step=1.0, maps=BETWEEN, bounds=[0, 9]),
    ],
}
MIXED = [
    levels("a", 3, missing=True),
    number("b", maps=TAILS, atoms=[0.5, -2.0], missing=True),
    grid("c", step=0.25, offset=0.05, atoms=[1.05]),
    number("d", decimals=None),
    levels("e", 2),
    grid("f", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=True),
]


def drawn(density, n, seed=0, **options):
    at = np.full((n, len(density.columns)), np.nan)
    return density.draw(at, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("case", COUNTED)
def test_frequencies_are_the_probabilities(case):
    columns = COUNTED[case]
    density = random_density(columns, members=2, seed=len(case), new=0.1)
    rows = products(*map(values_of, columns))
    expected = np.exp(density.log_prob(rows))
    assert expected.sum() == pytest.approx(1, abs=1e-9)
    counts = Counter(map(tuple, np.nan_to_num(drawn(density, N, with_new=True), nan=1e9)))
    found = np.array([counts[row] for row in map(tuple, np.nan_to_num(rows, nan=1e9))])
    assert found.sum() == N
    common = N * expected > 20
    off = np.abs(found - N * expected) / np.sqrt(N * expected * (1 - expected))
    assert off[common].max() < 4
    assert abs(found[~common].sum() - N * expected[~common].sum()) < 4 * np.sqrt(
        N * expected[~common].sum() + 1
    )


@pytest.mark.parametrize("members", [1, 2])
def test_the_pit_of_draws_is_uniform(members):
    density = random_density(MIXED, members=members, seed=members, new=0.1)
    rows, n = drawn(density, 10_000, seed=1, with_new=True), 10_000
    u = density.pit(rows, np.random.default_rng(2))
    for column in pit(u, "abcdef").columns.values():
        assert column.n == n and column.p_value > 1e-4
    assert np.abs(np.corrcoef(u.T) - np.eye(6)).max() < 4 / np.sqrt(n)


def test_draws_are_such_rows_as_the_table_has_and_a_seed_fixes_them():
    density = random_density(MIXED, members=2, seed=2)
    rows = drawn(density, 5_000)
    np.testing.assert_array_equal(drawn(density, 5_000), rows)
    assert not np.array_equal(drawn(density, 5_000, 4), rows, equal_nan=True)
    assert np.isfinite(density.log_prob(rows)).all()
    a, b, c, d, e, f = rows.T
    assert set(np.unique(a[~np.isnan(a)])) == {0, 1, 2} and set(np.unique(e)) == {0, 1}
    assert np.isnan(a).any() and np.isnan(b).any() and not np.isnan(rows[:, 2:]).any()
    present = b[~np.isnan(b)]
    np.testing.assert_array_equal(present, np.round(present, 3))
    np.testing.assert_array_equal(c, np.round(c, 2))
    assert np.abs(c - (0.05 + 0.25 * np.rint((c - 0.05) / 0.25))).max() < 1e-9
    assert len(np.unique(d)) == len(d) and set(np.unique(f)) == set(range(10))
    assert (present == 0.5).mean() > 0.01 and (c == 1.05).mean() > 0.01


def test_draws_leave_out_outliers():
    columns = [replace(number("a"), outliers=Outliers(1.0, 1e4))]
    density = random_density(columns, seed=1, new=0.1)
    few, every = (np.abs(drawn(density, 2_000, with_new=new)).max() for new in (False, True))
    assert few < 100 < every


def test_what_is_given_stays_and_draws_are_given_it():
    density = random_density(MIXED, n_given=2, seed=5, new=0.1)
    (given,) = a_sample(MIXED, 1, 8)
    at = np.tile(given, (N, 1))
    rows = density.draw(at.copy(), np.random.default_rng(0), with_new=True)
    np.testing.assert_array_equal(rows[:, :2], at[:, :2])
    last = [[*given[:4], level, 5.0] for level in (0, 1, -1)]
    p = np.exp(density.cell_log_probs(np.array(last))[:, 2])
    assert p.sum() == pytest.approx(1)
    u = density.pit(rows, np.random.default_rng(1))[:, :2]
    assert min(column.p_value for column in pit(u, "cd").columns.values()) > 1e-4


# Proposals for unknown cells, and steps of them.
M = 8_000


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
    every = products(*(np.arange(len(column.coded_values)) for column in columns))
    row, at = every[17], np.full((M, 4), np.nan)
    at[:, known] = row[known]
    values = every[(every[:, known] == row[known]).all(axis=1)]
    check_shares(random_density(columns, members=2), at, values, 1)


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_a_proposal_of_numbers_has_the_density_of_scipys_t(dim):
    root = np.tril(np.random.default_rng(dim).normal(size=(dim, dim))) + 3 * np.eye(dim)
    drawn, log_density = _t_draws(root, 500, np.random.default_rng(0))
    law = stats.multivariate_t(shape=root @ root.T, df=DEGREES)
    np.testing.assert_allclose(log_density, law.logpdf(drawn), 1e-10)


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
    check_shares(density, np.tile([np.nan, 0.3], (M, 1)), rows, 2)


def test_unmixed_columns_have_the_moments_of_the_unknown_one():
    columns, matrix = [number("a", maps=TAILS), number("b")], np.array([[1.0, 0.6], [-0.4, 1.1]])
    found = random_density([component(i, 0.05, -6.0, 6.0) for i in range(2)])
    parts = found.columns, found.layout, found.marginals, found.networks, found.shares
    unmixing = Unmixing(columns, matrix)
    density = CellDensity(*parts, [], unmixing, random_density(columns, shares=0.0))
    ends = columns[0].values_at(np.linspace(-12, 12, 20_001))
    grid = np.column_stack([(ends[1:] + ends[:-1]) / 2, np.full(20_000, 0.3)])
    truth = np.exp(density.log_prob(grid)) * np.diff(ends)
    mean = truth @ grid[:, 0] / truth.sum()
    at = np.tile([np.nan, 0.3], (M, 1))
    rows, log_weights = proposals(density, at, np.isnan(at), np.random.default_rng(3))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    for power in (1, 2):
        expected = truth @ (grid[:, 0] - mean) ** power / truth.sum()
        values = (rows[:, 0] - mean) ** power
        error = np.sqrt(np.square(weights) @ np.square(values - expected))
        assert abs(weights @ values - expected) < 4 * error


STEPPED = [grid("a", step=1.0, missing=True), levels("b", 3, missing=True), levels("c", 4)]
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
    density, n = random_density(STEPPED, shares=1.0), 1_000
    rows = np.where(np.isnan(row), 0.0, np.tile(row, (n, 1)))
    tallies, rng = np.zeros((2, 3)), np.random.default_rng(0)
    tallies[0] = tried
    unknown = np.isnan(np.tile(row, (n, 1)))
    found = metropolis_steps(density, rows, unknown, 40, rng, tallies)
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
    found = metropolis_steps(density, rows, unknown, *by)[:, 0]
    values = np.arange(-40, 40, 0.01)
    p = np.exp(density.log_prob(np.column_stack([values, np.full(len(values), 0.3)])))
    mean = p @ values / p.sum()
    sd = np.sqrt(p @ (values - mean) ** 2 / p.sum())
    assert abs(found.mean() - mean) < 4 * sd / np.sqrt(n)
    assert abs(found.std() / sd - 1) < 4 * np.sqrt(2 / n)
