import numpy as np
import pytest

from nflow_cli.evaluation.chains import effective_draws, rhat_limit, split_rhat


def autoregressive(rho, chains=4, n=4_000, seed=0):
    rng = np.random.default_rng(seed)
    x = np.empty((chains, n))
    x[:, 0] = rng.standard_normal(chains)
    for t in range(1, n):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(chains)
    return x


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.5, 0.9])
def test_effective_draws_of_an_autoregressive_chain_are_n_over_its_time(rho):
    found = [effective_draws(autoregressive(rho, seed=seed)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(16_000 * (1 - rho) / (1 + rho), rel=0.15)


def test_effective_draws_predict_the_variance_of_the_mean():
    x = autoregressive(0.7, chains=400, n=500)
    variance = x.mean(axis=1).var()
    found = np.mean([1 / effective_draws([chain]) for chain in x])
    assert found == pytest.approx(variance, rel=0.25)


def test_chains_that_agree_have_an_rhat_of_1_and_others_have_not():
    x = autoregressive(0.5)
    far, wide, drifting = x.copy(), x.copy(), x.copy()
    far[0] += 1
    wide[0] *= 3
    drifting += np.linspace(0, 2, x.shape[1])
    assert 0.999 < split_rhat(x) < 1.01
    assert min(split_rhat(far), split_rhat(wide), split_rhat(drifting)) > 1.02


@pytest.mark.parametrize(
    ("rho", "chains", "n"), [(0.5, 4, 250), (0.9, 4, 1_000), (0.5, 32, 150), (0.7, 32, 150)]
)
def test_short_chains_of_one_distribution_seldom_disagree(rho, chains, n):
    sets = [autoregressive(rho, chains, n, seed) for seed in range(300)]
    found = np.array([split_rhat(x) for x in sets])
    assert (found > 1.01).mean() > 0.25  # the limit for long chains
    assert (found > [rhat_limit(x) for x in sets]).mean() <= 0.02
    shifted = [np.vstack([x[0] + 3, x[1:]]) for x in sets[:20]]
    assert all(split_rhat(x) > rhat_limit(x) for x in shifted)


def test_the_limit_of_independent_draws_is_by_a_quantile_of_chi_squared():
    x = autoregressive(0.0, chains=4, n=200)
    assert rhat_limit(autoregressive(0.0)) == rhat_limit([np.ones(100)] * 2) == 1.01
    # 99.95 % of chi-squared with 7 degrees of freedom are below 26.018; 10 columns of two R-hats.
    expected = np.sqrt(1 - 1 / 100 + 26.018 / 7 / 99)
    assert rhat_limit(x, columns=10) == pytest.approx(expected, abs=2e-3)


def test_chains_of_different_lengths_are_cut_to_the_shortest():
    x = autoregressive(0.0)
    assert effective_draws([x[0][:1_000], x[1]]) == pytest.approx(2_000, rel=0.2)


def test_short_and_constant_chains_have_no_effective_draws():
    assert np.isnan(effective_draws([np.arange(6.0)]))
    assert np.isnan(effective_draws([np.ones(100)] * 2))
    assert split_rhat([np.ones(100)] * 2) == 1.0
