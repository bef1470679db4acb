"""The linear regression of numbers on a context."""

import numpy as np
import pytest

from nflow_cli.densities.regression import fit_regression

RNG = np.random.default_rng(3)
N = 5_000
CONTEXT = RNG.normal(1.0, 2.0, (N, 3))
SLOPE = np.array([[1.0, -2.0, 0.5], [0.0, 0.3, 1.0]])
NOISE = np.array([[0.5, 0.0], [0.4, 0.2]])
Z = np.array([3.0, -1.0]) + CONTEXT @ SLOPE.T + RNG.standard_normal((N, 2)) @ NOISE.T


def test_it_finds_the_plane_and_the_covariance_around_it():
    fitted = fit_regression(Z, CONTEXT)
    np.testing.assert_allclose(fitted.slope, SLOPE, atol=0.02)
    np.testing.assert_allclose(fitted.intercept, [3.0, -1.0], atol=0.05)
    np.testing.assert_allclose(fitted.cholesky @ fitted.cholesky.T, NOISE @ NOISE.T, atol=0.02)


def test_no_other_plane_and_no_other_covariance_is_likelier():
    fitted = fit_regression(Z, CONTEXT)
    best = fitted.log_prob(Z, CONTEXT).mean()
    for change in np.random.default_rng(0).normal(0, 0.01, (20, 11)):
        other = type(fitted)(
            fitted.intercept + change[:2],
            fitted.slope + change[2:8].reshape(2, 3),
            fitted.cholesky * (1 + change[8:].sum()),
        )
        assert other.log_prob(Z, CONTEXT).mean() < best


def test_its_density_is_that_of_the_gaussian():
    fitted = fit_regression(Z, CONTEXT)
    covariance = fitted.cholesky @ fitted.cholesky.T
    away = Z[:50] - fitted.intercept - CONTEXT[:50] @ fitted.slope.T
    squared = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    expected = -0.5 * squared - 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
    np.testing.assert_allclose(fitted.log_prob(Z[:50], CONTEXT[:50]), expected, rtol=1e-10)


def test_a_weight_of_two_is_a_row_twice():
    weights = RNG.integers(0, 3, N)
    twice = np.repeat(np.arange(N), weights)
    weighted, repeated = (
        fit_regression(Z, CONTEXT, weights),
        fit_regression(Z[twice], CONTEXT[twice]),
    )
    for name in ("intercept", "slope", "cholesky"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_levels_whose_sum_is_one_give_the_mean_of_each(shift):
    levels = np.eye(3)[RNG.integers(0, 3, N)]
    z = levels @ np.array([[1.0], [5.0], [-2.0]]) + RNG.normal(0, 0.1, (N, 1)) + shift
    fitted = fit_regression(z, levels)
    predicted = fitted.intercept + np.eye(3) @ fitted.slope.T
    means = [z[levels[:, level] == 1].mean() for level in range(3)]
    np.testing.assert_allclose(predicted[:, 0], means, rtol=1e-9)


def test_without_a_context_it_is_the_gaussian_of_the_rows():
    fitted = fit_regression(Z, np.zeros((N, 0)))
    np.testing.assert_allclose(fitted.intercept, Z.mean(axis=0))
    covariance = np.cov(Z, rowvar=False, bias=True)
    np.testing.assert_allclose(fitted.cholesky @ fitted.cholesky.T, covariance, rtol=1e-9)
