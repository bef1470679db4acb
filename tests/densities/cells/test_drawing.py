"""Draws of a density of cells against its probabilities, summed and integrated."""

from collections import Counter

import numpy as np
import pytest
from cells import (
    BETWEEN,
    TAILS,
    a_sample,
    grid,
    levels,
    number,
    products,
    random_density,
    values_of,
)

from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.evaluation.pit import pit

N = 30_000
COUNTED = {
    "levels": [levels("a", 3), levels("b", 5, missing=True)],
    "a grid": [levels("a", 2, missing=True), grid("b", step=2.0, atoms=[0.0, 6.0], missing=True)],
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
    at = np.full((n, len(density.cells)), np.nan)
    return density.draw(at, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("case", COUNTED)
def test_frequencies_are_the_probabilities(case):
    columns = COUNTED[case]
    density = random_density(columns, members=2, seed=len(case))
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
    density = random_density(MIXED, members=members, seed=members)
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


def test_draws_leave_out_the_broad_normal_of_a_marginal():
    columns = [number("a")]
    density = random_density(columns, seed=1)
    far = np.where(np.arange(3) == 2, 1e4, 1.0).reshape(1, 3, 1)
    marginal = density.marginal._replace(scales=far * density.marginal.scales)
    alone = [Member(density.networks[0].weights, np.zeros(1))]
    density = CellDensity(density.cells, density.layout, marginal, alone)
    assert (
        np.abs(drawn(density, 2_000)).max()
        < 100
        < np.abs(drawn(density, 2_000, with_new=True)).max()
    )


def test_what_is_given_stays_and_draws_are_given_it():
    density = random_density(MIXED, n_given=2, seed=5)
    (given,) = a_sample(MIXED, 1, 8)
    at = np.tile(given, (N, 1))
    rows = density.draw(at.copy(), np.random.default_rng(0), with_new=True)
    np.testing.assert_array_equal(rows[:, :2], at[:, :2])
    last = [[*given[:4], level, 5.0] for level in (0, 1, -1)]
    p = np.exp(density.cell_log_probs(np.array(last))[:, 2])
    assert p.sum() == pytest.approx(1)
    u = density.pit(rows, np.random.default_rng(1))[:, :2]
    assert min(column.p_value for column in pit(u, "cd").columns.values()) > 1e-4
