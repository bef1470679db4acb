"""Latents of rows against integrals of the density, and back."""

from dataclasses import replace

import numpy as np
import pytest
from cells import (
    BETWEEN,
    TAILS,
    day,
    drawn,
    grid,
    levels,
    number,
    ordered,
    products,
    random_density,
    values_of,
)
from scipy import stats

from nflow_cli.config.column_kinds import Relation
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.cells.latents import latents, rows_at
from nflow_cli.tables.cells.outliers import Outliers
from nflow_cli.tables.cells.unmixing import Unmixing, component

N = 20_000
KINDS = {
    "levels": [levels("a", 3, missing=True), levels("b", 4)],
    "levels in order": [ordered("a", 3, missing=True), ordered("b", 4)],
    "numbers": [number("a", maps=TAILS), number("b", atoms=[0.5, -2.0], missing=True)],
    "full precision": [number("a", decimals=None, resolution=1e-9), levels("b", 2)],
    "a grid": [levels("a", 2), grid("b", step=0.25, offset=0.05, atoms=[1.05], missing=True)],
    "bounds": [grid("a", step=1.0, maps=BETWEEN, bounds=[0, 9]), number("b", bounds=[None, 3])],
    "dates": [day("a", missing=True), number("b")],
}


def at_none(density, n):
    return np.full((n, len(density.columns) + len(density.computed_columns)), np.nan)


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("n_given", [0, 1])
def test_rows_come_back(case, n_given):
    density = random_density(KINDS[case], n_given=n_given, members=2, seed=1, new=0.05)
    some = random_density(KINDS[case], seed=2)
    rows = density.draw(drawn(some, 500), np.random.default_rng(3), with_new=True)
    z = latents(density, rows)
    assert z.shape == (500, 2 - n_given)
    back = rows_at(density, z, rows)
    step = [column.step if column.kind.decimals is None else 0 for column in density.columns]
    off = np.nan_to_num(np.abs(back - rows))
    np.testing.assert_array_equal(np.isnan(back), np.isnan(rows))
    assert (off <= np.maximum(step, 1e-15 * np.abs(np.nan_to_num(rows)))).all()


def test_latents_are_normal_scores_of_the_integrated_density():
    density = random_density([number("a", decimals=None)], seed=4)
    values = np.linspace(-80.0, 80.0, 400_001)[:, None]
    q = np.exp(density.log_prob(values))
    below = np.cumsum((q[1:] + q[:-1]) / 2) * (values[1, 0] - values[0, 0])
    inner = slice(150_000, 250_000, 1_000)
    np.testing.assert_allclose(
        stats.norm.cdf(latents(density, values[1:][inner]))[:, 0], below[inner], atol=1e-6
    )


def test_rows_of_standard_normals_are_draws():
    columns = [levels("a", 2, missing=True), grid("b", step=2.0, atoms=[0.0, 6.0], missing=True)]
    density = random_density(columns, members=2, seed=5, new=0.1)
    rows = products(*map(values_of, columns))
    expected = N * np.exp(density.log_prob(rows))
    z = np.random.default_rng(6).standard_normal((N, 2))
    found = np.nan_to_num(rows_at(density, z, at_none(density, N)), nan=1e9)
    counts = (found[:, None] == np.nan_to_num(rows, nan=1e9)).all(axis=2).sum(axis=0)
    is_common = expected > 20
    off = (counts - expected)[is_common] / np.sqrt(expected[is_common])
    assert is_common.sum() > 10 and np.abs(off).max() < 4.5


def test_unknown_cells_and_cells_far_away():
    column = replace(number("a"), outliers=Outliers(0.0, 50.0))
    density = random_density([column, levels("b", 3)], seed=7, new=0.05)
    rows = np.array([[np.nan, 1.0], [1e9, 2.0], [-1e9, 0.0]])
    z = latents(density, rows)
    assert np.isnan(z[0, 0]) and np.isfinite(z).sum() == 5
    back = rows_at(density, z, rows)
    np.testing.assert_array_equal(back[:, 1], rows[:, 1])
    np.testing.assert_allclose(back[:, 0], rows[:, 0], rtol=1e-6)


def test_computed_cells_come_back_broken_or_not():
    columns = [grid("a", step=1.0), grid("b", step=1.0)]
    density = random_density(columns, seed=8, new=0.05)
    total = Relation(rule="linear", columns=["a", "b"], coefficients=[1.0, 1.0])
    column = grid("c", step=1.0, relation=total)
    marginal = random_density([column], seed=9).marginals[0]
    computed = Computed(column, 2, columns, marginal, 0.1)
    density.computed_columns.append(computed)
    rows = density.draw(at_none(density, 400), np.random.default_rng(10), with_new=True)
    assert 10 < (rows[:, 2] != rows[:, 0] + rows[:, 1]).sum() < 80
    np.testing.assert_allclose(rows_at(density, latents(density, rows), rows), rows, rtol=1e-12)


def test_rows_of_components_come_back():
    columns = [number("a"), number("b")]
    unmixing = Unmixing(columns, np.array([[1.0, 0.4], [-0.3, 1.2]]))
    components = [component(place, 0.01, -20.0, 20.0) for place in range(2)]
    plain = random_density(components, seed=11)
    density = CellDensity(
        components,
        plain.layout,
        plain.marginals,
        plain.networks,
        plain.shares,
        unmixing=unmixing,
        independent=random_density(columns, seed=12).marginal_density,
    )
    rows = density.draw(at_none(density, 300), np.random.default_rng(13))
    np.testing.assert_allclose(rows_at(density, latents(density, rows), rows), rows, atol=1e-9)
