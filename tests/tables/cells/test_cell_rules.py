"""Cells cut to the values that rules allow, against sums over all values."""

import numpy as np
import pytest
from cells import BETWEEN, TAILS, drawn, grid, levels, number, products, random_density, values_of
from scipy import stats

from nflow_cli.config.declared_rules import Rule
from nflow_cli.tables.cells.cell_conditional import conditional
from nflow_cli.tables.cells.latents import latents, rows_at

SMALL = [0, 9]  # bounds of a grid


def rule(form, first, second, rows=998):
    return Rule(rule=form, columns=[first, second], rows=rows)


def small(name, **options):
    return grid(name, step=1.0, maps=BETWEEN, bounds=SMALL, **options)


CASES = {
    "an order": ([small("a"), small("b")], [rule("order", "a", "b")]),
    "an order of the first": ([small("a"), small("b")], [rule("order", "b", "a")]),
    "two in one cell": (
        [small("a"), small("b", missing=True), small("c")],
        [rule("order", "a", "c"), rule("order", "c", "b"), rule("order", "a", "b")],
    ),
    "three in one cell": (
        [small("a"), small("b", missing=True), small("c", atoms=[0.0, 4.0], missing=True)],
        [rule("order", "a", "c"), rule("zero", "a", "c"), rule("gap", "b", "c")],
    ),
    "zeros": (
        [small("a", missing=True), small("b", atoms=[0.0]), small("c")],
        [rule("zero", "a", "b"), rule("zero", "c", "b")],
    ),
    "gaps of levels": (
        [levels("a", 3, missing=True), levels("b", 4, missing=True), small("c", missing=True)],
        [rule("gap", "a", "b"), rule("gap", "a", "c")],
    ),
    "new values": (
        [small("a", is_open=True), small("b", is_open=True)],
        [rule("order", "a", "b")],
    ),
}


def ruled(case, seed=5, **options):
    columns, rules = CASES[case]
    uncut = random_density(columns, members=2, seed=seed, new=0.05, **options)
    return uncut, uncut.ruled(rules)


def all_rows(density):
    return products(*map(values_of, density.columns))


def allowed_rows(density, rows):
    return ~density.rules.are_broken(rows).any(axis=1)


@pytest.mark.parametrize("case", CASES)
def test_all_rows_have_sum_1_and_none_is_impossible(case):
    uncut, density = ruled(case)
    rows = all_rows(density)
    p = np.exp(density.log_prob(rows))
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p[np.exp(uncut.log_prob(rows)) > 0].min() > 0
    broken = ~allowed_rows(density, rows)
    assert 0 < p[broken].sum() < 0.01 < np.exp(uncut.log_prob(rows))[broken].sum()


def test_a_cell_is_the_cut_one_renormalised_and_a_little_of_the_uncut():
    uncut, density = ruled("an order")
    rows = all_rows(density)
    p = np.exp(uncut.cell_log_probs(rows))[:, 1]
    is_allowed = rows[:, 0] <= rows[:, 1]
    for a in range(10):
        of_a = rows[:, 0] == a
        mass = p[of_a & is_allowed].sum()
        e = 0.001 if mass > 0.001 else 1.0  # else it is not cut
        expected = np.where(is_allowed, (1 - e) / mass + e, e) * p
        received = np.exp(density.cell_log_probs(rows))[:, 1]
        np.testing.assert_allclose(received[of_a], expected[of_a], rtol=1e-7)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_number_has_integral_1_and_draws_of_the_cut_density(first):
    columns = [number("a", decimals=None, resolution=1e-9), number("b", maps=TAILS, decimals=None)]
    rules = [rule("order", first, "b" if first == "a" else "a")]
    uncut = random_density(columns, members=2, seed=3, new=1e-6)
    density = uncut.ruled(rules)
    a = 0.3

    b = np.sort(np.append(np.linspace(-40, 40, 400_001), a + np.linspace(-1e-3, 1e-3, 2_001)))
    p = np.exp(density.cell_log_probs(np.column_stack([np.full(len(b), a), b])))[:, 1]
    assert np.trapezoid(p, b) == pytest.approx(1, abs=2e-4)
    rows = density.draw(np.full((4_000, 2), np.nan), np.random.default_rng(1))
    assert not density.rules.are_broken(rows).any()
    pit = density.pit(
        density.draw(rows, np.random.default_rng(2), with_new=True), np.random.default_rng(3)
    )
    assert (stats.kstest(pit, "uniform").pvalue > 1e-3).all()


@pytest.mark.parametrize("case", CASES)
def test_draws_are_of_the_law_and_keep_the_rules(case):
    _, density = ruled(case)
    rows = all_rows(density)
    p = np.exp(density.log_prob(rows))
    p_values = []
    for seed in range(5):
        draws = density.draw(
            np.full((4_000, rows.shape[1]), np.nan), np.random.default_rng(seed), with_new=True
        )
        keys, counts = np.unique(np.nan_to_num(draws, nan=-9), axis=0, return_counts=True)
        of_rows = {tuple(key): count for key, count in zip(keys.tolist(), counts.tolist())}
        observed = np.array(
            [of_rows.get(tuple(r), 0) for r in np.nan_to_num(rows, nan=-9).tolist()]
        )
        is_large = p * 4_000 > 5
        expected = np.append(p[is_large], 1 - p[is_large].sum()) * 4_000
        seen = np.append(observed[is_large], 4_000 - observed[is_large].sum())
        p_values.append(stats.chisquare(seen, expected).pvalue)
        plain = density.draw(np.full((500, rows.shape[1]), np.nan), np.random.default_rng(seed))
        assert not density.rules.are_broken(plain).any()
    assert min(p_values) > 1e-4


@pytest.mark.parametrize("case", CASES)
def test_a_cell_given_all_others_is_that_of_the_sum(case):
    _, density = ruled(case)
    rows = density.draw(np.full((20, len(density.columns)), np.nan), np.random.default_rng(4))
    for j, column in enumerate(density.columns):
        posterior = conditional(density, rows, j, np.array([0.1, 0.5, 0.9]))
        values = values_of(column)
        expected = []
        for row in rows:
            others = np.tile(row, (len(values), 1))
            others[:, j] = values
            log_p = density.log_prob(others)
            own = density.log_prob(row[None])[0]
            expected.append(own - np.logaddexp.reduce(log_p))
        np.testing.assert_allclose(posterior.log_prob, expected, atol=2e-3)
        if column.has_numbers:
            for quantile in posterior.quantiles.T:
                filled = rows.copy()
                filled[:, j] = quantile
                filled = filled[~np.isnan(rows[:, j]) & ~np.isnan(quantile)]
                assert not density.rules.are_broken(filled).any()


@pytest.mark.parametrize("case", CASES)
def test_rows_come_back_from_latents(case):
    _, density = ruled(case)
    rows = density.draw(np.full((200, len(density.columns)), np.nan), np.random.default_rng(6))
    np.testing.assert_array_equal(rows_at(density, latents(density, rows), rows), rows)


def test_an_unknown_cell_allows_all():
    uncut, density = ruled("an order", n_given=1)
    rows = drawn(uncut, 50)
    rows[:, 0] = np.nan
    np.testing.assert_array_equal(density.log_prob(rows), uncut.log_prob(rows))


def test_a_row_for_which_no_value_is_left_is_drawn_again():
    columns = [grid("a", step=1.0), levels("b", 2), grid("c", step=1.0)]
    uncut = random_density(columns, seed=1)
    density = uncut.ruled([rule("order", "a", "c")])
    a = np.array([[1e6, 0.0, np.nan]])
    c = np.array([[1e6, 0.0, 0.0]])
    assert density.log_prob(c) == uncut.log_prob(c)
    assert density.draw(np.repeat(a, 3, axis=0), np.random.default_rng(0)).shape == (3, 3)
