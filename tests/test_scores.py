import math

import keras
import numpy as np
import pytest
from runs import make_run
from truth import mixture_log_prob, normal_log_prob

import nflow_cli
from nflow_cli.evaluation import DOMINATED, score
from nflow_cli.scores import likelihood, log_ratios

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="runs are trained on TensorFlow"
)


def normal_cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def gaussian_ratios(variance, n=50_000, seed=0):
    """Return log q - log p at samples of q = N(0, I), for p = N(0, variance I) in the plane."""
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return normal_log_prob(z) - normal_log_prob(z, covariance=variance * np.eye(2))


# Closed forms for these two: KL = 1/v - 1 + log v, and E[w^2] = 1 / (v (2 - v)).
CLOSED = {
    "kl": lambda v: 1 / v - 1 + np.log(v),
    "ess": lambda v: v * (2 - v),
    "estimated_log_z": lambda v: 0.7,
}
ERRORS = {
    "kl": "kl_standard_error",
    "ess": "ess_standard_error",
    "estimated_log_z": "log_z_standard_error",
}


@pytest.mark.parametrize("figure", CLOSED)
@pytest.mark.parametrize("variance", [0.5, 0.9, 1.1])
def test_figures_are_those_of_the_closed_form(figure, variance):
    found = score(gaussian_ratios(variance), log_z=0.7)
    assert abs(found[figure] - CLOSED[figure](variance)) < 4 * found[ERRORS[figure]]
    assert found["free_energy"] == pytest.approx(found["kl"] - 0.7, abs=1e-12)


@pytest.mark.parametrize("figure", CLOSED)
def test_standard_errors_are_the_spread_over_repeats(figure):
    repeats = [score(gaussian_ratios(0.6, 2_000, seed), log_z=0.0) for seed in range(400)]
    spread = np.std([found[figure] for found in repeats])
    error = np.mean([found[ERRORS[figure]] for found in repeats])
    assert error == pytest.approx(spread, rel=0.15)  # 4 of its own standard errors, 1/√800


def test_equal_densities_are_perfect():
    found = score(np.zeros(100), log_z=None)
    assert found["kl"] is None
    assert (found["ess"], found["free_energy"], found["estimated_log_z"]) == (1.0, 0.0, 0.0)
    assert found["ess_standard_error"] == found["log_z_standard_error"] == 0.0


def test_one_sample_that_outweighs_the_others_is_told():
    assert score(gaussian_ratios(0.9), 0.0)["largest_weight"] < DOMINATED
    assert score(gaussian_ratios(4.0), 0.0)["largest_weight"] > DOMINATED


def test_large_ratios_do_not_overflow():
    found = score(gaussian_ratios(0.5) + 5_000, log_z=0.0)
    assert found["ess"] == pytest.approx(score(gaussian_ratios(0.5), 0.0)["ess"], rel=1e-9)
    assert found["estimated_log_z"] == pytest.approx(-5_000, abs=0.1)


def test_log_z_counts_what_a_bounded_q_covers():
    z = np.random.default_rng(0).uniform(-3, 3, (200_000, 2))
    found = score(-np.log(36) - normal_log_prob(z, (1.0, 1.0)), log_z=0.0)
    covered = 2 * np.log(normal_cdf(2.0) - normal_cdf(-4.0))
    assert abs(found["estimated_log_z"] - covered) < 4 * found["log_z_standard_error"]
    assert covered < -8 * found["log_z_standard_error"]


@pytest.fixture(scope="module")
def base_only(tmp_path_factory):
    """A run without flows: q is N(0, I), p the mixture of two Gaussians."""
    return make_run(tmp_path_factory.mktemp("base") / "run", flow={"k": 0})


@on_tensorflow
def test_ratios_are_those_of_the_two_densities(base_only):
    q = nflow_cli.load(base_only)
    ratios = log_ratios(q, 50_000, seed=4)
    z = np.random.default_rng(0).standard_normal((200_000, 2))
    means, eyes = [(2, 2), (-2, -2)], [np.eye(2), np.eye(2)]
    expected = normal_log_prob(z) - mixture_log_prob(z, [0.5, 0.5], means, eyes)
    error = np.hypot(expected.std() / np.sqrt(200_000), ratios.std() / np.sqrt(50_000))
    assert abs(ratios.mean() - expected.mean()) < 4 * error
    np.testing.assert_array_equal(ratios, log_ratios(q, 50_000, seed=4))
    assert log_ratios(q, 1_000, seed=5).mean() != ratios[:1_000].mean()


@on_tensorflow
def test_chunks_do_not_change_the_ratios(base_only, monkeypatch):
    q = nflow_cli.load(base_only)
    whole = log_ratios(q, 1_000, seed=4)
    monkeypatch.setattr("nflow_cli.evaluation.CHUNK", 99)
    np.testing.assert_allclose(log_ratios(q, 1_000, seed=4), whole, atol=1e-5)


@on_tensorflow
def test_the_likelihood_of_points_is_their_mean_log_density(base_only):
    q = nflow_cli.load(base_only)
    points = 2 * np.random.default_rng(0).standard_normal((500, 2))
    found = likelihood(q, points)
    expected = normal_log_prob(points)
    assert found["log_likelihood"] == pytest.approx(expected.mean(), rel=1e-5)
    assert found["standard_error"] == pytest.approx(expected.std(ddof=1) / np.sqrt(500), rel=1e-5)
    assert (found["n"], found["outside"]) == (500, 0)
    one = likelihood(q, points[:1])
    assert one["standard_error"] is None and one["n"] == 1
