"""The linear map of columns of numbers to independent components."""

import numpy as np
import pytest
from cells import TAILS, UNITS, number, random_density

from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.fitting import fitted_columns
from nflow_cli.tables.cells.unmixing import (
    Unmixing,
    are_better,
    component,
    fit_unmixing,
    is_clear,
    unmixing_matrix,
)
from nflow_cli.tables.scores.pit import pit

MATRIX = np.array([[1.0, 0.8, -0.5], [0.3, -1.2, 0.4], [0.6, 0.2, 0.9]])
COLUMNS = [
    number("a", resolution=1e-6, maps=TAILS, decimals=None),
    number("b", resolution=1e-6, decimals=None),
    number("c", resolution=1e-6, maps=UNITS, decimals=None),
]


def unmixed(columns=COLUMNS, matrix=MATRIX, members=2):
    """Return a density of components of columns, of random weights."""
    limits = 0.02, -6.0, 6.0
    parts = [component(i, *limits) for i in range(len(columns))]
    found = random_density(parts, members=members)
    alone = random_density(columns, shares=0.0)
    parts = found.columns, found.layout, found.marginals, found.networks, found.shares
    return CellDensity(*parts, [], Unmixing(columns, matrix), alone)


def dataset(columns, **settings):
    return load_dataset(TableData(name="table", missing="model", **settings), table_of(columns))


def mixed(rng, n=4_000):
    """Return rows ``(n, 3)`` of which MATRIX makes independent skewed components."""
    return rng.gamma(2.0, size=(n, 3)) @ np.linalg.inv(MATRIX).T


def test_independent_components_are_found():
    found = unmixing_matrix(mixed(np.random.default_rng(0), 20_000))
    assert found is not None
    shares = np.abs(found @ np.linalg.inv(MATRIX))  # of each component in each that is found
    assert sorted(shares.argmax(axis=1)) == [0, 1, 2]
    assert (np.sort(shares / shares.max(axis=1, keepdims=True), axis=1)[:, :2] < 0.1).all()


def test_columns_that_are_linear_in_others_have_no_components():
    x = np.random.default_rng(0).random((500, 2))
    assert unmixing_matrix(np.column_stack([x, x.sum(axis=1)])) is None


def test_rows_come_back_from_components_and_slopes_are_those_of_the_map():
    found, step = Unmixing(COLUMNS, MATRIX), 1e-6
    rows = np.random.default_rng(2).normal(1, 2, (100, 3))
    np.testing.assert_allclose(found.rows(found.components(rows)), rows, rtol=1e-9, atol=1e-9)
    for row in np.random.default_rng(1).normal(1, 2, (20, 3)):
        sides = [row + sign * step * np.eye(3) for sign in (1, -1)]
        jacobian = np.subtract(*map(found.components, sides)) / (2 * step)
        slope = found.log_slopes(row[None]).sum()
        assert slope == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-7)


def test_the_density_of_the_rows_has_mass_one():
    columns, matrix = COLUMNS[:2], MATRIX[:2, :2]
    density, grid = unmixed(columns, matrix), np.linspace(-40, 40, 301)
    x = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    mass = np.exp(density.log_prob(x)).sum() * (grid[1] - grid[0]) ** 2
    assert mass == pytest.approx(1, abs=2e-3)


def test_draws_are_of_the_density():
    density, rng = unmixed(), np.random.default_rng(3)
    draws = density.draw(np.full((4_000, 3), np.nan), rng)
    assert np.isfinite(density.log_prob(draws)).all()
    judged = pit(density.pit(draws, rng), density.cell_names)
    assert judged.p_value is not None and judged.p_value > 1e-3
    independent = density.scored_rows(draws[:50], rng).log_independent
    alone = density.independent.cell_log_probs(draws[:50])  # columns of the rows, not components
    np.testing.assert_allclose(independent, alone, rtol=1e-12)


def test_a_gain_is_clear_beyond_some_standard_errors():
    noise = np.resize([-1.0, 1.0], 900)  # a mean of 0, and of an error of 1/30
    for gain, errors, expected in [(0.099, 3, False), (0.102, 3, True), (0.068, 2, True)]:
        assert is_clear(gain + noise, errors) is expected
    assert not is_clear(np.array([5.0]), 2)  # of one row the error is not known


@pytest.mark.slow
def test_components_are_taken_of_columns_that_are_linear_mixtures_of_independent_ones():
    rng, near = np.random.default_rng(5), 1 + 0.3 * MATRIX
    skewed, normal = rng.gamma(2.0, size=(1_500, 3)), rng.standard_normal((1_500, 3))
    tables = [(skewed @ near.T, True), (normal @ near.T, False), (skewed, False)]
    for x, expected in tables:
        data = dataset(dict(zip("abc", x.T)))
        straight = data.straightened()
        found = fit_unmixing(fitted_columns(straight), straight)
        assert found is not None and are_better(found, straight) is expected


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (np.nan, {}),
        (0.5, {}),
        (None, {"given": ["a"]}),
        (None, {"weights": "c"}),
        (None, {"bounds": {"a": [0, None]}}),
    ],
    ids=["gaps", "an atom", "given", "weights", "a bound"],
)
def test_a_table_of_anything_but_plain_numbers_has_none(change, settings):
    a, b, c = np.random.default_rng(6).random((3, 400))
    a = a if change is None else np.where(np.arange(400) % 4 == 0, change, a)
    assert not dataset({"a": a, "b": b, "c": c}, **settings).may_be_linear
    assert dataset({"a": b, "b": c}).may_be_linear
