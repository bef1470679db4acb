"""Scores of a density by weights of its own draws, with a wide one's or without."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.evaluation.importance import Draws, Weights
from nflow_cli.inference.reverse_kl import judge


def scores_of(ratios, log_z=0.0, mass=0.0, covered=False):
    """Scores where ``p`` has the mass ``exp(mass)``."""
    return judge(ratios, np.full_like(ratios, mass), log_z=log_z, covered=covered)


def gaussian_ratios(variance, n=50_000, seed=0):
    """Return log q - log p at samples of q = N(0, I), for p = N(0, variance I) in the plane."""
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return normal_log_prob(z) - normal_log_prob(z, covariance=variance * np.eye(2))


def closed_kl(variance):
    return 1 / variance - 1 + np.log(variance)


# The KL by the plain mean, and with the control variate.
both = pytest.mark.parametrize("covered", [False, True])


@both
def test_figures_are_those_of_the_closed_form(covered):
    for variance in (0.5, 0.9, 1.1):
        found = scores_of(gaussian_ratios(variance), 0.7, 0.7, covered)
        assert abs(found["kl"] - closed_kl(variance)) < 4 * found["kl_standard_error"]
        assert found["free_energy"] == pytest.approx(found["kl"] - 0.7, abs=1e-12)


@both
def test_standard_errors_are_the_spread_over_repeats(covered):
    repeats = [scores_of(gaussian_ratios(0.6, 2_000, seed), covered=covered) for seed in range(400)]
    spread = np.std([found["kl"] for found in repeats])
    error = np.mean([found["kl_standard_error"] for found in repeats])
    assert error == pytest.approx(spread, rel=0.15)  # 4 of its own standard errors, 1/√800


def test_a_kl_with_the_control_variate_has_an_error_of_second_order():
    plain, controlled = (scores_of(gaussian_ratios(0.97), covered=way) for way in (False, True))
    assert controlled["kl_standard_error"] < 0.05 * plain["kl_standard_error"]
    seeds = (scores_of(gaussian_ratios(0.97, 5_000, s), covered=True) for s in range(200))
    off = [(found["kl"] - closed_kl(0.97)) / found["kl_standard_error"] for found in seeds]
    assert 0.85 < np.std(off) < 1.15 and abs(np.mean(off)) < 4 / np.sqrt(200)


def test_a_draw_without_a_log_density_weighs_nothing_and_one_without_a_place_spoils_the_kl():
    ratios = gaussian_ratios(0.6)
    log_p = np.where(np.arange(len(ratios)) % 2, -ratios, np.nan)
    found, half = judge(np.zeros_like(log_p), log_p, log_z=None), scores_of(ratios[1::2])
    assert found["free_energy"] == pytest.approx(half["free_energy"])
    assert np.isnan(judge(log_p, log_p, log_z=0.0)["kl"])


def test_large_ratios_do_not_overflow_and_equal_ones_are_perfect():
    plain = scores_of(gaussian_ratios(0.5))
    found = scores_of(gaussian_ratios(0.5) + 5_000)
    assert found["ess"] == pytest.approx(plain["ess"], rel=1e-9)
    found = scores_of(np.zeros(100), covered=True)
    assert (found["ess"], found["kl"]) == (1.0, 0.0)


def test_log_z_counts_what_a_bounded_q_covers():
    z = np.random.default_rng(0).uniform(-3, 3, (200_000, 2))
    log_q = np.full(len(z), -np.log(36))
    found = Weights(Draws(log_q, log_q, normal_log_prob(z, (1.0, 1.0)), np.zeros(len(z), int)))
    covered, error = 2 * np.log(NormalDist().cdf(2.0) - NormalDist().cdf(-4.0)), found.terms()
    assert abs(found.log_z - covered) < 4 * np.linalg.norm(error) < -covered / 2


N = 18_000


def cauchy(z):
    return -np.log(np.pi * (1 + z**2)).sum(axis=-1)


def draws(log_p, seed=0, n=N, dim=2):
    """Draws of N(0, I) and a ninth as many of independent Cauchy coordinates."""
    rng, m = np.random.default_rng(seed), n // 9
    z = np.concatenate([rng.standard_normal((n, dim)), rng.standard_cauchy((m, dim))])
    log_q = normal_log_prob(z)
    log_mix = np.logaddexp(math.log(0.9) + log_q, math.log(0.1) + cauchy(z))
    return z, Draws(log_q, log_mix, log_p(z), np.repeat([0, -1], [n, m]))


def gaussian(sd, dim=2):
    return lambda z: normal_log_prob(z, covariance=sd**2 * np.eye(dim)) + 1.5


@pytest.mark.parametrize("sd", [0.95, 2.0])
def test_log_z_has_the_error_that_its_estimates_have_over_seeds(sd):
    found = [Weights(draws(gaussian(sd), seed, 3_600)[1]) for seed in range(200)]
    errors = np.array([np.linalg.norm(weights.terms()) for weights in found])
    off = (np.array([weights.log_z for weights in found]) - 1.5) / errors
    assert 0.8 < off.std() < 1.2 and abs(off.mean()) < 4 / math.sqrt(200)


def test_the_control_variate_makes_a_good_density_no_worse_by_its_wide_neighbour():
    _, sample = draws(gaussian(0.95))
    both, alone = Weights(sample), Weights(sample.without_wide)
    plain = both.within(both.plain)  # without the control variate
    assert np.linalg.norm(both.terms()) < 1.03 * np.linalg.norm(alone.terms())
    assert np.linalg.norm(plain) > 1.5 * np.linalg.norm(alone.terms())


def test_shares_weigh_every_function_with_the_control_variate():
    z, sample = draws(gaussian(1.3))
    weights = Weights(sample)
    assert weights.shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights.shares @ z, 0.0, atol=0.05)
    np.testing.assert_allclose(weights.shares @ z**2, 1.3**2, rtol=0.05)


def test_weights_below_twice_their_mean_have_no_heavy_tail():
    _, sample = draws(lambda z: normal_log_prob(z, (0.1, 0.0)))
    assert Weights(sample).largest < math.log(2) and Weights(sample).k <= 0
    _, wide = draws(gaussian(2.0))
    assert Weights(wide.without_wide).k > 0.7


def test_errors_of_a_rough_tail_allow_for_what_no_draw_shows():
    """Weights of N(0, 2.5 I) by draws of N(0, I) have a tail of index 0.6: an infinite variance."""
    off = []
    for seed in range(200):
        z = np.random.default_rng(seed).standard_normal((20_000, 2))
        log_q = normal_log_prob(z)
        log_p = normal_log_prob(z, covariance=2.5 * np.eye(2))
        weights = Weights(Draws(log_q, log_q, log_p, np.zeros(len(z), int)))
        if 0.5 <= weights.k < 0.7:
            error = np.linalg.norm(weights.terms())
            off.append((weights.log_z / error, weights.log_z / math.hypot(error, weights.unseen)))
    alone, allowed = np.abs(off).T
    assert len(off) > 100 and (alone > 3).mean() > 0.01
    assert (allowed > 3).sum() == 0 and allowed.std() > 0.3
