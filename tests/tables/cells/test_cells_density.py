"""A density of cells by what it must be: of sum 1, in order, and a mixture of its members."""

from functools import cache

import numpy as np
import pytest
from cells import (
    BETWEEN,
    POSITIVE,
    TAILS,
    a_sample,
    grid,
    levels,
    number,
    products,
    quadrature,
    random_density,
    values_of,
)

from nflow_cli.data.column_maps import Logit
from nflow_cli.tables.cells.cells_density import CellScores

COUNTED = {
    "levels": [levels("a", 3), levels("b", 5, missing=True), levels("c", 1)],
    "grids with atoms and gaps": [
        levels("a", 2, missing=True),
        grid("b", atoms=[0.0, 2.5], missing=True),
        grid("c", step=1.0, offset=0.25),
    ],
    "heavy tails": [grid("a", step=2.0, maps=TAILS, atoms=[2.0]), levels("b", 2)],
    "a bound": [grid("a", step=1.0, maps=POSITIVE, bounds=[0, None], atoms=[0.0]), levels("b", 2)],
    "bounds": [levels("a", 2), grid("b", step=1.0, maps=BETWEEN, bounds=[0, 9], missing=True)],
    "a bound that was found": [
        grid("a", step=1.0, maps=POSITIVE, bounds=[0, None], is_open=True, missing=True),
        levels("b", 2),
    ],
    "bounds that are on no grid": [
        grid("a", step=2.0, offset=1.0, maps=(Logit(-1.0, 10.5),), bounds=[0, 9.5]),
        grid("b", step=4.0, offset=3.0, maps=(Logit(-1.0, 10.5),), bounds=[0, 9.5]),
    ],
    "bounds that were found": [
        levels("a", 2),
        grid("b", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=True, atoms=[9.0]),
    ],
}
MIXED = [
    levels("a", 3, missing=True),
    number("b", atoms=[0.5, -2.0], missing=True),
    grid("c", atoms=[1.0]),
    number("d"),
    levels("e", 2),
]


@cache
def mixed(n_given=0, members=1):
    return random_density(MIXED, n_given, members, seed=7)


def alone(density):
    """Return the densities of each network, and that of the marginals."""
    none = np.zeros(density.shares.shape)
    none[-1] = 1.0
    return [*map(density.with_one, density.networks), density.with_networks(density.networks, none)]


@pytest.mark.parametrize("case", COUNTED)
def test_all_rows_that_there_may_be_have_sum_1(case):
    columns = COUNTED[case]
    density = random_density(columns, members=2, seed=len(case) + 3, new=0.1)
    rows = products(*map(values_of, columns))
    total = np.exp(density.log_prob(rows)).sum()
    assert total == pytest.approx(1, abs=1e-9)


def test_levels_gaps_atoms_and_numbers_have_integral_1():
    columns = [
        levels("a", 2),
        number("b", maps=TAILS, atoms=[0.5], missing=True, resolution=1e-9, decimals=None),
        number("c", decimals=None),
    ]
    density = random_density(columns, members=2, seed=3, new=0.1)
    values, weights = zip(*(quadrature(column, 14) for column in columns))
    log_q = density.log_prob(products(*values))
    assert products(*weights).prod(axis=1) @ np.exp(log_q) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("n_given", [0, 2])
def test_a_cell_depends_on_all_columns_before_it_and_on_no_other(n_given):
    density = mixed(n_given)
    rows, others = a_sample(MIXED, 200, 1), a_sample(MIXED, 200, 2)
    before = density.cell_log_probs(rows)
    assert before.shape == (200, 5 - n_given)
    for j in range(5):
        changed = rows.copy()
        changed[:, j] = others[:, j]
        same = np.isclose(density.cell_log_probs(changed), before, rtol=1e-9, atol=1e-9)
        for k in range(n_given, 5):
            column = same[:, k - n_given]
            assert column.all() if k < j else column.mean() < 0.6, (j, k)


@pytest.mark.parametrize("members", [1, 3])
def test_a_cell_is_a_mixture_of_the_networks_and_the_marginal(members):
    """Of a column with gaps presence is mixed, and then the values of cells that are present."""
    density, rows = mixed(members=members), a_sample(MIXED, 300, 5)
    gaps = np.where([column.missing_code is None for column in MIXED], rows, np.nan)
    cells = np.array([np.exp(one.cell_log_probs(rows)) for one in alone(density)])
    assert cells.std(axis=0).mean() > 0.01
    v = density.shares[:, None]
    found = np.exp(density.cell_log_probs(rows))
    for j, column in enumerate(MIXED):
        expected = (v * cells)[:, :, j].sum(axis=0)
        if column.missing_code is not None:
            at = rows.copy()
            at[:, j] = gaps[:, j]
            missing = np.array([np.exp(one.cell_log_probs(at)[:, j]) for one in alone(density)])
            of_new = np.exp(density.marginals[j].log_p_new)
            present, all_present = (1 - of_new - missing), 1 - of_new - v[:, :, j].T @ missing
            values = (v[:, :, j] * cells[:, :, j] / present).sum(axis=0) * all_present[0]
            expected = np.where(np.isnan(rows[:, j]), expected, values)
        usual = density.outlier_shares(rows)[:, j] < 1e-9
        np.testing.assert_allclose(found[usual, j], expected[usual], rtol=1e-6, err_msg=str(j))


def test_a_marginal_depends_on_no_other_cell():
    of_marginals = alone(mixed())[-1]
    rows = a_sample(MIXED, 300, 5)
    changed = rows.copy()
    changed[:, 0] = a_sample(MIXED, 300, 6)[:, 0]
    np.testing.assert_allclose(
        of_marginals.cell_log_probs(changed)[:, 1:], of_marginals.cell_log_probs(rows)[:, 1:]
    )


def test_a_value_beyond_bounds_has_no_probability_unless_they_were_found():
    rows = np.array([[-1.0], [-0.8], [-7.0], [10.0], [300.0]])
    for is_open in (True, False):
        column = grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=is_open)
        log_q = random_density([column], members=2).log_prob(rows)
        assert (log_q[[1]] == -np.inf).all()
        assert (np.isfinite(log_q[[0, 2, 3, 4]]) == is_open).all()
        assert log_q[0] > log_q[2] or not is_open


def test_a_value_on_no_grid_has_no_probability():
    density, rows = mixed(members=2), a_sample(MIXED, 50)
    before = density.cell_log_probs(rows)
    rows[:, 2] += 0.1  # of a step of 0.5
    cells = density.cell_log_probs(rows)
    assert (density.log_prob(rows) == -np.inf).all()
    assert (cells[:, 2] == -np.inf).all()
    np.testing.assert_array_equal(cells[:, :2], before[:, :2])


def test_a_gap_where_training_had_none_is_left_out():
    density, rows = mixed(members=2), a_sample(MIXED, 50)
    rows[:, [2, 4]] = np.nan
    known = density.are_known(rows)
    np.testing.assert_array_equal(known, np.tile([True, True, False, True, False], (50, 1)))
    np.testing.assert_array_equal(density.cell_log_probs(rows)[~known], 0)
    pit = density.pit(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(pit), ~known)
    (nothing,) = density.log_prob(np.full((1, 5), np.nan))
    assert np.isfinite(nothing)


def test_no_rows_are_no_rows():
    density, none = mixed(members=2), np.zeros((0, 5))
    rng = np.random.default_rng(0)
    assert density.log_prob(none).shape == (0,)
    assert density.cell_log_probs(none).shape == density.pit(none, rng).shape == (0, 5)
    assert density.draw(none, rng).shape == (0, 5)


def test_columns_that_are_given_may_have_other_numbers_of_levels():
    columns = [levels("a", 9), grid("b", missing=True), levels("c", 2)]
    density = random_density(columns, n_given=2, seed=1)
    rows = products([3.0], [1.5], values_of(columns[2]))
    assert np.exp(density.log_prob(rows)).sum() == pytest.approx(1, abs=1e-12)
    assert density.draw(rows, np.random.default_rng(0)).shape == (3, 3)


@pytest.mark.parametrize("columns", [[number("a")], [levels("a", 2)], [grid("a")] * 2])
def test_columns_of_one_sort_are_enough(columns):
    density = random_density(columns, members=2)
    draws = density.draw(np.full((100, len(columns)), np.nan), np.random.default_rng(0))
    assert np.isfinite(density.log_prob(draws)).all()


class Constant:
    """A generator all of whose uniform numbers are one."""

    def __init__(self, value):
        self.value = value

    def random(self, shape):
        return np.full(shape, self.value)


def test_the_pit_of_a_value_on_no_grid_is_between_its_neighbours_by_an_ensemble_too():
    density, rows = mixed(members=2), a_sample(MIXED, 50)
    rows[:, 2] = 1.5
    low, high = (density.pit(rows, Constant(v)) for v in (0.0, 1.0))
    rows[:, 2] = 1.6
    off = density.pit(rows, Constant(0.5))
    assert (low[:, :3] < off[:, :3]).all() and (off[:, :3] < high[:, :3]).all()
    assert ((off >= 0) & (off <= 1)).all()


def test_far_values_are_unlikely_and_that_is_all():
    columns = [number("a"), grid("b", step=1.0), number("c", maps=TAILS), levels("d", 2)]
    density = random_density(columns, members=2)
    for x in (1e6, 1e100, 1e155, 1e300, -1e308):
        rows = np.where(np.eye(3, 4) > 0, x, [1.0, 1.0, 1.0, 0.0])
        log_q, pit = density.log_prob(rows), density.pit(rows, Constant(0.5))
        assert (log_q < -50).all()
        np.testing.assert_allclose(np.diag(pit), x > 0, atol=1e-12)
        assert not np.isnan(pit).any()


def test_what_no_training_row_is_tells_the_columns_after_it_nothing():
    """A network never saw it: the weights that would be of it are as random as they began."""
    columns = [
        levels("a", 3),
        grid("b", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=True),
        levels("c", 4),
    ]
    density = random_density(columns, members=1, shares=1.0)
    new, unknown = products([-1.0], [30.0], range(4)), products([np.nan], [np.nan], range(4))
    cells = [density.cell_log_probs(rows)[:, 2] for rows in (new, unknown)]
    np.testing.assert_allclose(*cells, rtol=1e-12)


IN_ORDER = {
    "levels": levels("a", 4, missing=True),
    "grid": grid("a", atoms=[0.5, -3.0], missing=True),
    "heavy tails": grid("a", step=2.0, maps=TAILS, atoms=[2.0]),
    "a bound": grid("a", step=1.0, maps=POSITIVE, bounds=[0, None], atoms=[0.0], missing=True),
    "bounds": grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9]),
}


@pytest.mark.parametrize("case", IN_ORDER)
def test_the_pit_is_the_sum_of_the_masses_below(case):
    column = IN_ORDER[case]
    density = random_density([column, levels("b", 2)], members=2, seed=2, new=0.1)
    values = values_of(column)
    # Levels or numbers in their order, a gap above them, a new level above that.
    is_known = column.has_numbers | (values >= 0)
    place = np.where(np.isnan(values), 1e9, np.where(is_known, values, 2e9))
    rows = np.column_stack([values[np.argsort(place)], np.zeros(len(values))])
    masses = np.exp(density.cell_log_probs(rows)[:, 0])
    at_most = np.cumsum(masses)
    for v in (0.0, 0.25, 1.0):
        u = density.pit(rows, Constant(v))[:, 0]
        np.testing.assert_allclose(u, at_most - (1 - v) * masses, atol=1e-9)


def test_the_pit_of_a_number_is_the_integral_of_its_density_and_its_steps():
    column = number("a", maps=TAILS, atoms=[0.5, 2.0], missing=True, resolution=1e-4, decimals=4)
    density, steps = random_density([column], seed=3, new=0.1), column.normal_scores.values
    at = np.array([-6.0, 0.4, 0.5, 0.7, 2.0, 9.0])
    x = np.arange(-300, 300, 1e-2) + 1.7e-3
    f = np.exp(density.log_prob(x[:, None])) * 1e-2 / column.step
    masses = np.exp(density.log_prob(steps[:, None]))
    below = [f[x < a].sum() + masses[steps < a].sum() for a in at]
    u = density.pit(at[:, None], Constant(0.0))[:, 0]
    np.testing.assert_allclose(u, below, atol=2e-3)
    whole = density.pit(at[[2, 4]][:, None], Constant(1.0))[:, 0]
    np.testing.assert_allclose(whole - u[[2, 4]], masses[np.isin(steps, [0.5, 2.0])], atol=1e-12)


@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_behind_a_column_cells_have_the_probabilities_of_the_whole_density(j):
    columns = [*MIXED[1:3], levels("g", 3), levels("h", 5, missing=True), *MIXED[2:4]]
    density, rows = random_density(columns, n_given=1, members=2), a_sample(columns, 50)
    last = density.suffix(j)
    expected = density.cell_log_probs(rows)[:, j - 1 :]
    np.testing.assert_allclose(last.cell_log_probs(rows), expected, rtol=1e-12)


# Missing cells are mixed apart from values.
GAPPED = [
    levels("a", 4),
    number("b", atoms=[0.5], missing=True),
    levels("c", 3, missing=True),
    grid("d", step=1.0, bounds=[-9, 9], is_open=True, missing=True),
]


@pytest.mark.parametrize("j", range(1, 5))
def test_scores_of_rows_with_other_values_are_those_of_these_rows(j):
    density = mixed(1, members=2)
    rows, others = a_sample(MIXED, 8, seed=1), a_sample(MIXED, 20, seed=2)
    which = np.arange(20) % 8
    changed = rows[which]
    changed[:, j] = others[:, j]
    scores = CellScores(density, rows).with_values(which, j, others[:, j])
    expected = CellScores(density, changed)
    np.testing.assert_allclose(scores.log_q, expected.log_q, rtol=1e-13)
    np.testing.assert_allclose(scores.by_marginals, expected.by_marginals, rtol=1e-13)


def with_shares(density, share):
    shares = np.tile([[share], [1 - share]], len(density.modelled_columns))
    return density.with_networks(density.networks, shares)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_value_of_a_present_cell_has_the_weight_of_the_network_however_seldom_it_is(share):
    density = random_density(GAPPED, seed=3)
    for name in ("logits_kernel", "logits_skip_kernel"):
        density.networks[0][name][...] *= 5  # gaps are likely, or seldom
    mixed, network, marginal = (with_shares(density, w) for w in (share, 1.0, 0.0))
    rows = a_sample(GAPPED, 300, 5)
    rows[:10, 2], rows[10:20, 3] = -1, [12.0, -11.0] * 5  # new ones
    least = 1.0
    for column in range(1, len(GAPPED)):
        gap = rows.copy()
        gap[:, column] = np.nan
        own, other, found = (
            np.exp([one.cell_log_probs(part)[:, column] for part in (rows, gap)])
            for one in (network, marginal, mixed)
        )
        np.testing.assert_allclose(found[1], share * own[1] + (1 - share) * other[1], rtol=1e-9)
        code = GAPPED[column].encode(rows[:, column]).codes
        is_value = ~np.isnan(rows[:, column]) & (code != GAPPED[column].new_code)
        new = np.exp(density.log_p_learnt)[column]
        present = [new - one[1] for one in (own, other)]
        is_value &= present[0] > 1e-9  # else the difference has few digits
        value = share * own[0] / present[0] + (1 - share) * other[0] / present[1]
        total = share * present[0] + (1 - share) * present[1]
        np.testing.assert_allclose(found[0][is_value], (total * value)[is_value], rtol=1e-5)
        least = min(least, present[0].min())
    assert least < 0.01


def test_a_gap_has_one_probability_in_scores_pit_prior_and_draws():
    density = random_density(GAPPED, members=2, seed=3, shares=0.6)
    rows = a_sample(GAPPED, 200, 7)
    rows[:, 1:] = np.where(np.random.default_rng(0).random((200, 3)) < 0.5, np.nan, rows[:, 1:])
    scores, block = np.exp(density.cell_log_probs(rows)), CellScores(density, rows)
    ends = [block.pit(np.full((200, 4), noise)) for noise in (0.0, 1.0)]
    gaps = np.isnan(rows)
    np.testing.assert_allclose((ends[1] - ends[0])[gaps], scores[gaps], rtol=1e-9)
    for j, column in enumerate(GAPPED[1:], 1):
        prior = block.distribution(j).p_outcomes
        np.testing.assert_allclose(prior.sum(axis=0), 1.0, rtol=1e-12)
        np.testing.assert_allclose(prior[column.missing_code][gaps[:, j]], scores[gaps[:, j], j])
    one = np.repeat(rows[:1], 20_000, axis=0)
    drawn = density.draw(np.full_like(one, np.nan), np.random.default_rng(1), with_new=True)
    gap = drawn.copy()
    gap[:, 3] = np.nan
    expected = np.exp(density.cell_log_probs(gap)[:, 3])  # of a gap, given the cells before
    error = np.sqrt(np.mean(expected * (1 - expected)) / 20_000)
    assert abs(np.isnan(drawn[:, 3]).mean() - expected.mean()) < 4 * error
