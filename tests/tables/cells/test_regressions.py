"""What a network starts from against tables and regressions that are known."""

import numpy as np
import pytest

from nflow_cli.tables.cells.layout import Outcomes
from nflow_cli.tables.cells.network_start import fit_parents, fit_ridge, fit_ridges, plain_inputs

TABLE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.05, 0.05, 0.9]])


def draw(rng, shares):
    return (rng.random((len(shares), 1)) > shares.cumsum(axis=1)).sum(axis=1)


def test_a_level_has_its_shares_given_the_column_it_follows_from():
    rng = np.random.default_rng(0)
    noise, parent = rng.integers(0, 5, 8_000), rng.integers(0, 4, 8_000)
    codes = np.stack([noise, parent, draw(rng, TABLE[parent])], axis=1)
    columns = [Outcomes(5), Outcomes(4), Outcomes(4, has_new=True)]
    first, second, third = fit_parents(columns, codes)
    assert first.parent is None and second.parent is None and third.parent == 1
    shares = np.exp(third.log_shares)
    np.testing.assert_allclose(shares[:4, :3], TABLE, atol=0.03)
    np.testing.assert_allclose(shares.sum(axis=1), 1, 1e-12)
    marginal = TABLE.mean(axis=0)
    information = np.mean(np.sum(TABLE * np.log(TABLE / marginal), axis=1))
    assert third.gain / 8_000 == pytest.approx(information, abs=0.03)
    np.testing.assert_allclose(shares[4, :3], marginal, atol=0.02)  # of an unknown parent
    np.testing.assert_allclose(shares[:, 3], 1 / 8_001, 1e-9)


@pytest.mark.parametrize("n", [30, 300])
def test_columns_that_are_independent_have_no_parents(n):
    found = 0
    for seed in range(20):
        codes = np.random.default_rng(seed).integers(0, 6, (n, 6))
        parents = fit_parents([Outcomes(6)] * 6, codes)
        found += sum(start.parent is not None for start in parents)
    assert found <= 5  # of 100


def test_a_regression_is_recovered_and_its_scale_is_that_of_new_rows():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((400, 3))
    truth = np.array([1.0, -2.0, 0.5])
    y = 0.7 + x @ truth + 0.1 * rng.standard_normal(400)
    ridge = fit_ridge(x, y)
    np.testing.assert_allclose(ridge.coefficients, truth, atol=0.02)
    assert ridge.intercept == pytest.approx(0.7, abs=0.02)
    assert ridge.scale == pytest.approx(0.1, rel=0.1)
    np.testing.assert_allclose(fit_ridge(x, y, 1e9 * np.ones(400)).coefficients, ridge.coefficients)


@pytest.mark.parametrize("dim", [5, 60])
def test_residuals_are_those_of_rows_left_out_one_by_one(dim):
    rng = np.random.default_rng(dim)
    x, y = rng.standard_normal((40, dim)), rng.standard_normal(40)
    y += x[:, 0]
    ridge = fit_ridge(x, y)
    errors = []
    for penalty in np.append(1e12, 40 * 10.0 ** np.arange(-7, 2.5, 0.5)):
        away = []
        for row in range(40):
            keep = np.arange(40) != row
            mean, centre = y[keep].mean(), x[keep].mean(axis=0)
            gram = (x[keep] - centre).T @ (x[keep] - centre) + penalty * np.eye(dim)
            slope = np.linalg.solve(gram, (x[keep] - centre).T @ (y[keep] - mean))
            away.append(y[row] - mean - (x[row] - centre) @ slope)
        errors.append(np.sqrt(np.mean(np.square(away))))
    assert ridge.scale == pytest.approx(min(errors), rel=1e-4)


def test_each_number_is_regressed_on_the_columns_before_it():
    rng = np.random.default_rng(3)
    level, x = rng.integers(0, 3, 2_000), rng.standard_normal(2_000)
    y = np.array([-1.0, 0.0, 2.0])[level] + 0.5 * x + 0.2 * rng.standard_normal(2_000)
    gap = rng.random(2_000) < 0.2
    codes = np.stack([level, np.zeros(2_000, int), gap], axis=1)
    columns = [Outcomes(3), Outcomes(1, number_code=0), Outcomes(2, number_code=0)]
    centre = np.stack([x, np.where(gap, 50.0, y)], axis=1)
    none, first, second = fit_ridges(columns, codes, centre, centre)
    assert none is None and first.coefficients.shape == (3,) and first.scale > 0.9
    inputs, ends = plain_inputs(columns, codes, centre)
    assert list(ends) == [3, 5, 8]
    predicted = second.intercept + inputs[:, :5] @ second.coefficients
    assert np.std((y - predicted)[~gap]) == pytest.approx(0.2, rel=0.05)
    assert second.scale == pytest.approx(0.2, rel=0.05)


def test_inputs_end_at_6_units_and_are_0_where_unknown():
    codes, centre = np.array([[0], [-1], [1]]), np.array([[99.0], [3.0], [3.0]])
    inputs, _ = plain_inputs([Outcomes(2, number_code=0)], codes, centre)
    np.testing.assert_array_equal(inputs, [[1, 0, 6], [0, 0, 0], [0, 1, 0]])


def test_one_row_or_none_has_a_regression():
    for n in (0, 1):
        ridge = fit_ridge(np.ones((n, 2)), np.full(n, 3.0))
        assert ridge.intercept == 3 * n and ridge.scale == 1 and not ridge.coefficients.any()
