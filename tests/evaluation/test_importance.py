import math

import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.evaluation import importance
from nflow_cli.evaluation.importance import mean, pareto_k, score, standard_deviation
from nflow_cli.evaluation.warnings import DOMINATED, is_dominated


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


@pytest.mark.parametrize("k", [0.2, 0.5, 0.7, 1.0])
def test_k_hat_is_the_shape_of_a_pareto_tail(k):
    # The k-th power of 1/u is Pareto with that shape, whatever its scale.
    rng = np.random.default_rng(0)
    shapes = [pareto_k(k * np.log(rng.random(100_000)) - 300) for _ in range(20)]
    error = np.std(shapes) / np.sqrt(20)
    # Its prior of ten observations of 0.5 pulls a tail of 949.
    assert abs(np.mean(shapes) - (949 * k + 5) / 959) < 4 * error + 0.01


def test_k_hat_of_bounded_and_of_equal_weights_is_low():
    assert pareto_k(-np.log(np.random.default_rng(0).random(100_000))) < -0.5
    assert pareto_k(np.zeros(1_000)) == 0
    assert np.isnan(pareto_k(np.full(1_000, np.nan)))


def test_a_few_weights_at_the_edge_of_a_box_are_no_heavy_tail():
    # As radial flows of a box leave them: nearly all below 1.4, some beyond, none above 2.8.
    def scores(n):
        rng = np.random.default_rng(0)
        edge = rng.random(n) < 0.007
        w = np.where(edge, 1.4 + 1.4 * rng.random(n) ** 8, rng.uniform(0.3, 1.4, n))
        return score(-np.log(w), 0.0)

    few, many = scores(200_000), scores(2_000_000)
    assert few["pareto_k"] > 0.7  # the shape of what is just above 1.4
    assert abs(few["ess"] - many["ess"]) < 4 * few["ess_standard_error"]
    assert not is_dominated(few) and not is_dominated(many)


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


@pytest.mark.parametrize("block", [1_000, 4_999, 5_000, 2**20])
def test_blocks_change_nothing(block, monkeypatch):
    ratios = gaussian_ratios(0.6, 5_000).astype("float32")
    w = np.exp(-ratios.astype(float))
    monkeypatch.setattr(importance, "BLOCK", block)
    assert mean(ratios) == pytest.approx(ratios.astype(float).mean(), rel=1e-12)
    deviation = standard_deviation(ratios, lambda block: np.exp(-block), ddof=1)
    assert deviation == pytest.approx(w.std(ddof=1), rel=1e-12)
    found = score(ratios, 0.3)
    assert found["ess"] == pytest.approx(w.sum() ** 2 / (5_000 * (w**2).sum()), rel=1e-12)
    assert found["largest_weight"] == pytest.approx((w**2).max() / (w**2).sum(), rel=1e-12)
    assert found["estimated_log_z"] == pytest.approx(0.3 + np.log(w.mean()), rel=1e-12)
    monkeypatch.undo()
    assert found["pareto_k"] == pareto_k(ratios)
