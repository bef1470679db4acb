"""Weights of draws of a density and of a wide one, against closed forms."""

import math

import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.evaluation.defensive import Draws, Weights

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


@pytest.mark.parametrize("sd", [0.95, 1.2, 2.0])
def test_log_z_has_the_error_that_its_estimates_have_over_seeds(sd):
    found = [Weights(draws(gaussian(sd), seed, 3_600)[1]) for seed in range(300)]
    errors = np.array([np.linalg.norm(weights.terms) for weights in found])
    off = (np.array([weights.log_z for weights in found]) - 1.5) / errors
    assert 0.85 < off.std() < 1.15 and abs(off.mean()) < 4 / math.sqrt(300)


def test_the_control_variate_makes_a_good_density_no_worse_by_its_wide_neighbour():
    _, sample = draws(gaussian(0.95))
    both, alone = Weights(sample), Weights(sample.alone)
    plain = both.within(both.plain)  # without the control variate
    assert np.linalg.norm(both.terms) < 1.03 * np.linalg.norm(alone.terms)
    assert np.linalg.norm(plain) > 1.5 * np.linalg.norm(alone.terms)


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
    assert Weights(wide.alone).k > 0.7


def test_errors_of_a_rough_tail_allow_for_what_no_draw_shows():
    """Weights of N(0, 2.5 I) by draws of N(0, I) have a tail of index 0.6: an infinite variance."""
    off = []
    for seed in range(200):
        z = np.random.default_rng(seed).standard_normal((20_000, 2))
        log_q = normal_log_prob(z)
        log_p = normal_log_prob(z, covariance=2.5 * np.eye(2))
        weights = Weights(Draws(log_q, log_q, log_p, np.zeros(len(z), int)))
        if 0.5 <= weights.k < 0.7:
            error = np.linalg.norm(weights.terms)
            off.append((weights.log_z / error, weights.log_z / math.hypot(error, weights.unseen)))
    alone, allowed = np.abs(off).T
    assert len(off) > 100 and (alone > 3).mean() > 0.01
    assert (allowed > 3).sum() == 0 and allowed.std() > 0.3
