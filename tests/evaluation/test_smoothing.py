"""The tail of importance weights: fitted, smoothed, and what follows for log Z."""

import math

import numpy as np
import pytest

from nflow_cli.evaluation.importance import fit_tail, pareto_k, smoothed, tail_length


def log_weights_of_gaussians(scale, n=200_000, seed=0):
    """Return ``log p - log q`` for p = N(0, 1), q = N(0, scale²), at samples of q.

    Their tail falls with index ``k = 1 - scale²``: exp of (1/scale² - 1) times half a chi-square.
    """
    z = scale * np.random.default_rng(seed).standard_normal(n)
    return -0.5 * z**2 + 0.5 * (z / scale) ** 2 + math.log(scale)


def generalised_pareto(k, sigma, n, seed=0):
    u = np.random.default_rng(seed).random(n)
    return sigma * np.expm1(-k * np.log(u)) / k


@pytest.mark.parametrize("k", [0.2, 0.5, 0.8, 1.2])
def test_a_generalised_pareto_distribution_is_found_again(k):
    found = fit_tail(np.sort(generalised_pareto(k, 2.5, 20_000)))
    assert found.k == pytest.approx(k, abs=0.04)
    assert found.scale == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.7])
def test_the_tail_of_a_narrow_gaussian_has_its_index(scale):
    k = np.mean([smoothed(log_weights_of_gaussians(scale, seed=seed)).k for seed in range(10)])
    # The logarithm in front of the power lowers a fit to finitely many.
    assert k == pytest.approx(1 - scale**2, abs=0.1)


def test_the_shape_is_that_of_the_streamed_fit():
    log_weights = log_weights_of_gaussians(0.7)
    assert smoothed(log_weights).k == pytest.approx(pareto_k(-log_weights), abs=1e-12)


def test_the_largest_weights_become_quantiles_of_the_tail_and_no_others_change():
    log_weights = log_weights_of_gaussians(0.7, 10_000)
    result, count = smoothed(log_weights), tail_length(10_000)
    order = np.argsort(log_weights)
    kept, tail = order[:-count], order[-count:]
    np.testing.assert_array_equal(result.log_weights[kept], log_weights[kept])
    x = np.exp(log_weights[tail]) - np.exp(log_weights[order[-count - 1]])
    fit = fit_tail(x)
    p = (np.arange(1, count + 1) - 0.5) / count
    quantiles = fit.scale / fit.k * ((1 - p) ** -fit.k - 1)
    expected = np.exp(log_weights[order[-count - 1]]) + quantiles
    expected = np.minimum(expected, np.exp(log_weights.max()))
    np.testing.assert_allclose(np.exp(result.log_weights[tail]), expected, rtol=1e-6)


def test_smoothed_weights_spread_less_about_the_true_normaliser():
    plain, smooth = [], []
    for seed in range(60):  # of infinite variance: k = 0.64
        log_weights = log_weights_of_gaussians(0.6, 5_000, seed)
        plain.append(math.log(np.exp(log_weights).mean()))
        smooth.append(math.log(np.exp(smoothed(log_weights).log_weights).mean()))
    assert abs(np.mean(smooth)) < 0.02
    assert np.std(smooth) < 0.9 * np.std(plain)


@pytest.mark.parametrize(
    ("scale", "k", "least", "largest", "at_200"),
    [
        (0.5, 0.6483334249, -10.5566161619, -4.4869390997, -8.0441253085),
        (0.7, 0.4397258955, -10.2548569586, -6.1274765562, -8.5461347270),
        (0.9, 0.1642806304, -10.0079879052, -8.4703363828, -9.3715236952),
        (1.3, -1.6038513078, -15.2264783511, -9.6423754538, -9.6424516900),
    ],
)
def test_weights_are_smoothed_as_arviz_does(scale, k, least, largest, at_200):
    # arviz.psislw of ArviZ 0.22.0: k-hat, and of the sorted normalised logarithms three.
    found = smoothed(log_weights_of_gaussians(scale, 20_000))
    log_weights = np.sort(found.log_weights)
    log_weights -= np.log(np.exp(log_weights - log_weights[-1]).sum()) + log_weights[-1]
    expected = [k, least, largest, at_200]
    received = [found.k, log_weights[0], log_weights[-1], log_weights[-200]]
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-9)


def test_equal_weights_and_weights_of_0_are_left_as_they_are():
    equal = smoothed(np.zeros(1_000))
    assert equal.k == 0 and not equal.log_weights.any()
    some = np.where(np.arange(1_000) < 900, -np.inf, 0.0)
    np.testing.assert_array_equal(smoothed(some).log_weights, some)


@pytest.mark.parametrize("spread", [10.0, 50.0, 100.0, 1e4])
def test_weights_that_spread_over_more_than_a_float_holds_are_poor(spread):
    log_weights = spread * np.random.default_rng(0).standard_normal(200_000)
    result = smoothed(log_weights)
    # Beyond the 99.33 % quantile, 2.47, a normal lies 0.34 above it on average: so does log w.
    assert result.k == pytest.approx(0.34 * spread, rel=0.2)
    assert pareto_k(-log_weights) == pytest.approx(result.k)
