"""The surprise of cells given all others, by the probabilities of whole rows."""

from dataclasses import replace

import numpy as np
import pytest
from cells import BETWEEN, drawn, grid, levels, number, random_density, random_marginal, values_of

from nflow_cli.arrays import log_ndtr, logsumexp
from nflow_cli.config.column_kinds import Relation
from nflow_cli.tables.answers.explain import (
    LARGEST_SURPRISE,
    explained,
    largest_surprises,
    surprises,
)
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed

COUNTED = {
    "levels": [levels("a", 3), levels("b", 5, missing=True), levels("c", 2)],
    "grids": [grid("a", atoms=[0.0, 2.5], missing=True), levels("b", 2), grid("c", step=1.0)],
    "beyond bounds": [
        grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9], is_open=True, missing=True),
        levels("b", 3),
    ],
}


def nats(density, rows):
    return np.column_stack([one.nats for one in surprises(density, rows)])


def of_usual(density, rows, j):
    """Return the log-density of rows of which cell j is no outlier."""
    share = density.outlier_shares(rows)[:, j]
    with np.errstate(divide="ignore"):  # of one that is nothing else
        return density.log_prob(rows) + np.log1p(-np.minimum(share, 1.0))


def at_least_as_odd(column, own, values, shares, usual):
    """Return the probability of a cell at least as odd, of values with shares ``(V,)``, a part
    ``usual`` of which is that of no outliers.
    """
    gaps = np.isnan(values)
    missing, is_gap = shares[gaps].sum(), np.isnan(own)
    if not column.has_numbers:
        at = gaps if is_gap else values == own
        return shares[shares <= shares[at] * (1 + 1e-9)].sum()
    if is_gap:
        return missing if missing < 0.5 else 1.0
    p = min(usual[values <= own].sum(), usual[values >= own].sum()) / usual[~gaps].sum()
    return max(
        min(1.0, 2 * p) * (1.0 if missing <= 0.5 else 1 - missing), np.exp(-LARGEST_SURPRISE)
    )


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("case", COUNTED)
def test_it_is_the_probability_of_a_cell_at_least_as_odd(case, members):
    density = random_density(COUNTED[case], members=members, seed=len(case))
    rows = drawn(density, 60)
    if case == "beyond bounds":
        rows[:4, 0] = [density.columns[0].outliers.centre, 0.0, 9.0, 5.0]
    found = nats(density, rows)
    for j, column in enumerate(density.columns):
        values = np.round(values_of(column, 40.0), 2)
        every = np.repeat(rows, len(values), axis=0)
        every[:, j] = np.tile(values, len(rows))
        log_q = density.log_prob(every).reshape(len(rows), -1)
        shares = np.exp(log_q - logsumexp(log_q, 1, np)[:, None])
        usual = np.exp(of_usual(density, every, j).reshape(len(rows), -1))
        usual = usual if column.has_numbers else shares
        of_rows = zip(rows[:, j], shares, usual)
        p = [at_least_as_odd(column, own, values, *some) for own, *some in of_rows]
        np.testing.assert_allclose(found[:, j], -np.log(p), rtol=1e-6, atol=1e-6)


def on_a_line(noise, resolution=1e-7, maps=()):
    """Return the density of x from N(0, 1), and y = x + noise times N(0, 1)."""
    columns = [number(name, resolution=resolution, maps=maps, decimals=None) for name in "xy"]
    density = random_density(columns, shares=1.0, width=4)
    weights = {name: np.zeros_like(array) for name, array in density.networks[0].items()}
    bias = np.zeros((2, 3, 3))
    bias[1, 2] = np.log(noise)
    weights["mixtures_bias"] = bias.reshape(-1, 1)
    weights["means_skip_kernel"][1, density.layout.inputs.tolist().index(0, 2)] = 1.0
    columns = [replace(column, least_scale=1e-9) for column in columns]
    return CellDensity(columns, density.layout, density.marginals).with_one(weights)


@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_numbers_have_the_tail_of_a_normal_distribution(noise):
    z, y = np.linspace(-4, 4, 33), np.tile([-1.0, 0.0, 0.5], 11)
    sd = noise / np.sqrt(1 + noise**2)
    rows = np.column_stack([y / (1 + noise**2) + sd * z, y])
    found = nats(on_a_line(noise), rows)
    of_y = (rows[:, 1] - rows[:, 0]) / noise
    for j, score in enumerate([z, of_y]):
        expected = -np.minimum(0.0, np.log(2) + log_ndtr(-np.abs(score), np))
        np.testing.assert_allclose(found[:, j], expected, rtol=0.05, atol=0.05)


def test_a_value_on_no_grid_is_the_oddest_and_the_others_are_as_without_it():
    density = random_density([grid("a", step=0.5), levels("b", 3), grid("c", step=1.0)], seed=4)
    rows = drawn(density, 20, with_new=False)
    hidden, odd = rows.copy(), rows.copy()
    hidden[:, 0], odd[:, 0] = np.nan, 0.3
    found, expected = nats(density, odd), nats(density, hidden)
    np.testing.assert_array_equal(found[:, 0], LARGEST_SURPRISE)
    np.testing.assert_array_equal(found[:, 1:], expected[:, 1:])
    assert np.isnan(expected[:, 0]).all() and np.isfinite(expected[:, 1:]).all()


def test_a_broken_relation_is_as_odd_as_its_being_broken_is_improbable():
    total = Relation(rule="linear", columns=["a"], coefficients=[2.0], constant=1.0)
    sources, column = [grid("a", step=0.5)], grid("y", step=1.0)
    column = replace(column, kind=column.kind.model_copy(update={"relation": total}))
    marginal = random_marginal(column, np.random.default_rng(0))
    density = random_density(sources)
    one = Computed(column, 1, sources, marginal, 0.002)
    parts = density.columns, density.layout, density.marginals, density.networks, density.shares
    density = CellDensity(*parts, [one])
    rows = np.array([[0.5, 2.0], [0.5, 3.0], [np.nan, 3.0], [0.5, np.nan]])
    found = surprises(density, rows)[1]
    np.testing.assert_allclose(found.nats, [0.0, -np.log(0.002), np.nan, np.nan])
    np.testing.assert_array_equal(found.low[:2], [2.0, 2.0])


def test_rows_of_the_density_have_uniform_p_values_by_their_oddest_cell():
    density = random_density([levels("a", 9), grid("b", step=0.5), number("c")], seed=2)
    rows, tests = drawn(density, 600, seed=1), drawn(density, 499, seed=2)
    kept = largest_surprises(surprises(density, tests))
    p = np.sort(explained(density, rows, density.cell_log_probs(rows), tests, kept).p_largest)
    ranks = np.arange(len(p) + 1) / len(p)
    distance = np.maximum(ranks[1:] - p, p - ranks[:-1]).max()
    assert distance < 1.63 * np.sqrt(1 / len(rows) + 1 / len(tests))  # Kolmogorov-Smirnov, 1 %


def test_rows_are_in_the_order_of_their_oddest_cell_and_of_equal_ones_of_their_own():
    density = random_density([grid("a", step=0.5), levels("b", 3), number("c")], seed=4)
    rows = drawn(density, 40, with_new=False)
    rows[7, 0], rows[9, 0], rows[3, 2] = 0.3, 0.3, 30.0
    kept, log_q = largest_surprises(surprises(density, rows)), density.cell_log_probs(rows)
    found = explained(density, rows, log_q, rows, kept)
    assert set(found.order[:2]) == {7, 9} and found.order[2] == 3
    assert (np.diff(found.largest[found.order]) <= 0).all()
    assert (np.diff(found.p_largest[found.order]) >= 0).all()
    assert found.largest[7] == found.largest[9] == LARGEST_SURPRISE
    np.testing.assert_array_equal(found.largest, np.nanmax(found.nats, axis=1).round(9))
