"""The distribution of one cell given all others, by the probabilities of whole rows."""

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
    quadrature,
    random_density,
    values_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nflow_cli.arrays import log_ndtr, logsumexp
from nflow_cli.mixtures import log_cdf
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, conditional
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.marginal import Normals, normal_cdf
from nflow_cli.tables.cells.unmixing import Unmixing, component

P = np.array([0.001, 0.05, 0.5, 0.95, 0.999])
COUNTED = {
    "levels in order": [ordered("a", 4, missing=True), levels("b", 3), ordered("c", 5)],
    "levels": [levels("a", 3), levels("b", 5, missing=True), levels("c", 2)],
    "grids": [grid("a", atoms=[0.0, 2.5], missing=True), levels("b", 2), grid("c", step=1.0)],
    "bounds": [
        grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9], missing=True),
        grid("b", step=1.0, maps=BETWEEN, bounds=[0, 9], atoms=[9.0]),
        levels("c", 2, missing=True),
    ],
}
NUMBERS = [
    number("a", atoms=[0.5], missing=True, resolution=1e-7, decimals=None),
    levels("b", 3),
    number("c", maps=TAILS, resolution=1e-7, decimals=None),
    number("d", resolution=1e-7, decimals=None),
]


def drawn(density, n, seed=0):
    empty = np.full((n, len(density.columns)), np.nan)
    return density.draw(empty, np.random.default_rng(seed))


def log_joint(density, rows, j, values):
    """Return the log-probability of each row with each value of cell j ``(n, V)``."""
    every = np.repeat(rows, len(values), axis=0)
    every[:, j] = np.tile(values, len(rows))
    return density.log_prob(every).reshape(len(rows), -1)


def exactly(density, rows, j, values, weights=1.0):
    """Return the shares of values of cell j given the others ``(n, V)``, and their log-total."""
    log_q = log_joint(density, rows, j, values) + np.log(weights)
    log_total = logsumexp(log_q, 1, np)
    return np.exp(log_q - log_total[:, None]), log_total


def assert_quantiles(found, values, shares, slack):
    """Check ``P(X < q) <= p <= P(X <= q)`` of quantiles of values with shares ``(n, V)``."""
    for row, share, some in zip(found, shares, np.broadcast_to(slack, len(found))):
        below = np.array([share[values < q].sum() for q in row])
        up_to = np.array([share[values <= q].sum() for q in row])
        assert (below <= P + some).all() and (P - some <= up_to).all()


def assert_ends(found, own, values, shares, slack):
    """Check ``P(X < x)`` and ``P(X <= x)`` of the rows' own x, of values with shares ``(n, V)``."""
    below = (shares * (values < own[:, None])).sum(axis=1)
    up_to = (shares * (values <= own[:, None])).sum(axis=1)
    known = ~np.isnan(own)
    assert (np.abs(found.below - below) <= slack)[known].all()
    assert (np.abs(found.below + found.at - up_to) <= slack)[known].all()
    assert np.isnan(found.below[~known]).all() and np.isnan(found.at[~known]).all()


@pytest.mark.parametrize("members", [0, 1, 2])
@pytest.mark.parametrize("case", COUNTED)
def test_probabilities_are_those_of_all_values_in_the_row(case, members):
    density = random_density(COUNTED[case], members=members or 1, seed=len(case))
    rows, exact = drawn(density, 20), {"rtol": 0, "atol": 1e-9}
    density = density if members else density.marginal_density
    for j, column in enumerate(density.columns):
        found, values = conditional(density, rows, j, P), np.round(values_of(column, 40.0), 2)
        shares, log_total = exactly(density, rows, j, values)
        gaps = np.isnan(values)
        np.testing.assert_allclose(found.missing, shares[:, gaps].sum(axis=1), **exact)
        np.testing.assert_allclose(found.log_prob, density.log_prob(rows) - log_total, **exact)
        assert not found.error.any()
        if column.has_levels:
            np.testing.assert_allclose(found.levels, shares[:, : len(column.levels)], **exact)
        if column.has_numbers:
            values = values[~gaps]
            shares = shares[:, ~gaps] / shares[:, ~gaps].sum(axis=1, keepdims=True)
            assert_quantiles(found.quantiles, values, shares, 1e-9)
            assert_ends(found, rows[:, j], values, shares, 1e-9)


@pytest.mark.parametrize("j", [0, 1])
def test_mean_and_deviation_are_those_of_all_values_in_the_row(j):
    density = random_density([grid("a"), grid("b", step=1.0)], shares=1.0, seed=3)
    rows, values = drawn(density, 20), values_of(density.columns[j], 40.0)
    found, (shares, _) = conditional(density, rows, j, P), exactly(density, rows, j, values)
    mean = shares @ values
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    variance = shares @ np.square(values) - mean**2
    np.testing.assert_allclose(np.square(found.sd), variance, atol=1e-7)


@pytest.mark.parametrize(("missing", "seed"), [(False, 2), (True, 7)])  # 3 to 14 % missing
def test_a_long_grid_with_many_atoms_has_its_conditional(missing, seed):
    """What follows an atom differs from what follows the values beside it."""
    atoms = [float(x) for x in np.round(np.arange(-32, 32) * 0.02, 3)]
    long = grid("a", step=0.005, atoms=atoms, decimals=3, missing=missing)
    columns = [long, levels("b", 3), grid("c"), levels("d", 4)]
    density = random_density(columns, shares=1.0, seed=seed)
    rows, values = drawn(density, 3), np.round(np.arange(-4_000, 4_001) * 0.005, 3)
    found, (shares, _) = conditional(density, rows, 0, P), exactly(density, rows, 0, values)
    assert (found.error < 1e-3).all()
    assert_quantiles(found.quantiles, values, shares, found.error + 2e-3)
    assert_ends(found, rows[:, 0], values, shares, found.error + 3e-3)
    own = (shares * (values == rows[:, :1])).sum(axis=1)
    np.testing.assert_allclose(found.at, own, rtol=UNRESOLVED)


def test_a_date_has_its_conditional_day_by_day():
    """What follows a Sunday differs from what follows the days beside it."""
    columns = [day("a", spread=100.0), levels("b", 3), grid("c")]
    density = random_density(columns, seed=3)
    rows, values = drawn(density, 3), 18_300.0 + np.arange(-2_000, 2_001)
    found, (shares, log_total) = conditional(density, rows, 0, P), exactly(density, rows, 0, values)
    assert not found.error.any()
    np.testing.assert_allclose(found.log_prob, density.log_prob(rows) - log_total, atol=1e-6)
    assert_quantiles(found.quantiles, values, shares, 1e-6)
    assert_ends(found, rows[:, 0], values, shares, 1e-6)


def test_values_beyond_bounds_have_their_probability():
    bounded = grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=True)
    density = random_density([bounded, levels("b", 3)], seed=2)
    rows = drawn(density, 20)
    _, log_total = exactly(density, rows, 0, values_of(bounded))
    found = conditional(density, rows, 0, P)
    np.testing.assert_allclose(found.log_prob, density.log_prob(rows) - log_total, atol=1e-7)


@pytest.mark.parametrize(
    ("columns", "j", "members"),
    [
        (NUMBERS, 0, 0),
        (NUMBERS, 0, 1),
        (NUMBERS, 0, 3),
        (NUMBERS, 2, 3),
        (NUMBERS, 3, 3),
        (NUMBERS[::-1], 3, 3),
    ],
    ids=["alone", "first-1", "first-3", "third-3", "last-3", "last of atoms-3"],
)
def test_numbers_are_as_by_dense_quadrature_to_the_stated_error(columns, j, members):
    density = random_density(columns, members=members or 1, seed=7)
    rows, column = drawn(density, 8), density.columns[j]
    density = density if members else density.marginal_density
    found = conditional(density, rows, j, P)
    values, weights = quadrature(column, 400)
    shares, log_total = exactly(density, rows, j, values, weights)
    gaps, slack = np.isnan(values), found.error + 1e-5
    assert (slack < UNRESOLVED).all() and (j < 3 or not found.error.any())
    assert (np.abs(found.missing - shares[:, gaps].sum(axis=1)) <= slack).all()
    assert (np.abs(found.log_prob - density.log_prob(rows) + log_total) <= 4 * slack).all()
    shares = shares[:, ~gaps] / shares[:, ~gaps].sum(axis=1, keepdims=True)
    # The nodes of this quadrature have a share each.
    assert_quantiles(found.quantiles, values[~gaps], shares, slack + 4e-3)
    own = (shares * (values[~gaps] == rows[:, j, None])).sum(axis=1)  # of a step, up to its middle
    assert_ends(found, rows[:, j], values[~gaps], shares, slack + 4e-3 + own / 2)


def test_a_narrow_peak_is_found():
    """y is x and an error of 0.003, so x given y is 300 times as narrow as x."""
    columns = [number(name, resolution=1e-7, maps=(), decimals=None) for name in "xy"]
    density = random_density(columns, shares=1.0, width=4)
    weights = {name: np.zeros_like(array) for name, array in density.networks[0].items()}
    bias = np.zeros((2, 3, 3))
    bias[0, 2], bias[1, 2] = 0.0, np.log(0.003)
    weights["mixtures_bias"] = bias.reshape(-1, 1)
    weights["means_skip_kernel"] = np.zeros_like(weights["means_skip_kernel"])
    weights["means_skip_kernel"][1, density.layout.inputs.tolist().index(0, 2)] = 1.0
    narrow = [replace(column, least_scale=1e-9) for column in columns]
    density = CellDensity(narrow, density.layout, density.marginals).with_one(weights)
    y = np.linspace(-3, 3, 61)
    found = conditional(density, np.column_stack([np.full(61, np.nan), y]), 0, P)
    variance = 1 / (1 + 1 / 0.003**2)
    mean, sd = y * variance / 0.003**2, np.sqrt(variance)
    at = normal_cdf((found.quantiles - mean[:, None]) / sd)
    assert (found.error < UNRESOLVED).all()
    np.testing.assert_allclose(at, np.broadcast_to(P, at.shape), atol=UNRESOLVED)
    np.testing.assert_allclose(found.mean, mean, atol=0.01 * sd)
    np.testing.assert_allclose(found.sd, sd, rtol=0.01)


@pytest.mark.parametrize("j", [0, 2])
def test_columns_that_are_unmixed_have_their_conditional(j):
    columns = [number(name, resolution=1e-6, decimals=None) for name in "abc"]
    matrix = np.array([[1.0, 0.8, -0.5], [0.3, -1.2, 0.4], [0.6, 0.2, 0.9]])
    parts = random_density([component(i, 0.02, -6.0, 6.0) for i in range(3)], members=2)
    marginals = random_density(columns, seed=1)
    alone = CellDensity(columns, marginals.layout, marginals.marginals)
    found = parts.columns, parts.layout, parts.marginals, parts.networks, parts.shares
    density = CellDensity(*found, [], Unmixing(columns, matrix), alone)
    rows, column = drawn(density, 4), density.row_columns[j]
    found = conditional(density, rows, j, P)
    t = np.linspace(-3.5, 3.5, 4_001)
    x, width = np.sinh(t), np.cosh(t) * (t[1] - t[0])
    for one in reversed(column.maps):
        x, log_slope = one.outside(x)
        width = width * np.exp(log_slope)
    shares, log_total = exactly(density, rows, j, x, width)
    slack = found.error + 1e-4
    assert (slack < UNRESOLVED).all()
    assert (np.abs(found.log_prob - density.log_prob(rows) + log_total) <= 4 * slack).all()
    assert_quantiles(found.quantiles, x, shares, slack + 4e-3)


@given(st.integers(0, 10**6), st.sampled_from([0, 2, 3]))
@settings(max_examples=6, deadline=None)
def test_quantiles_never_cross(seed, j):
    density = random_density(NUMBERS, members=1 + seed % 2, seed=seed)
    rows = a_sample(NUMBERS, 6, seed)
    found = conditional(density, rows, j, np.linspace(0.01, 0.99, 30))
    known = found.error <= UNRESOLVED
    assert (np.diff(found.quantiles[known]) >= 0).all()


def test_quantiles_of_values_that_repeat_are_such_values():
    """Incomes in brackets have no incomes between them."""
    column = number("a", atoms=[0.5], resolution=1e-7, decimals=None)
    masses = column.normal_scores.masses * (1 - 1e-9) / column.normal_scores.masses.sum()
    column = replace(column, normal_scores=replace(column.normal_scores, masses=masses))
    density = random_density([column, levels("b", 3), levels("c", 4)], seed=3)
    found = conditional(density, drawn(density, 40), 0, np.linspace(0.02, 0.98, 25))
    assert np.isin(found.quantiles, column.normal_scores.values).all()


def test_the_own_value_changes_only_its_probability():
    density = random_density(NUMBERS, members=2, seed=5)
    rows = drawn(density, 10)
    for j in range(4):
        others = rows.copy()
        others[:, j] = np.nan
        found, expected = conditional(density, rows, j, P), conditional(density, others, j, P)
        for name in ("levels", "missing", "mean", "sd", "quantiles", "error"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert np.isnan(expected.log_prob).all() == (density.columns[j].missing_code is None)
        assert np.isnan(expected.below).all() and np.isnan(expected.at).all()


def test_tables_of_a_normal_and_of_a_marginal_are_their_distribution_functions():
    z = np.linspace(-12, 12, 10_001)
    np.testing.assert_allclose(normal_cdf(z), np.exp(log_ndtr(z, np)), rtol=0, atol=1e-12)
    mixture = np.log([0.5, 0.3, 0.2]), np.array([0.0, 3.0, -1.0]), np.array([1e-3, 0.5, 20.0])
    u = np.concatenate([np.linspace(-150, 150, 5_000), np.linspace(-0.01, 0.01, 5_000)])
    expected = np.exp(log_cdf(u, *mixture, np))
    np.testing.assert_allclose(Normals(*mixture).cdf(u), expected, atol=1e-9)
