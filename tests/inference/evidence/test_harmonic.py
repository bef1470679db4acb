"""Chains, whether they agree, and log Z by their draws, against closed forms."""

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from nflow_cli.inference.evidence.chains import effective_draws, rhat_limit, split_rhat
from nflow_cli.inference.evidence.harmonic import (
    HeldOutDraws,
    best_temperature,
    bridge,
    harmonic_mean,
)


def autoregressive(rho, chains=4, n=4_000, seed=0):
    rng = np.random.default_rng(seed)
    x = np.empty((chains, n))
    x[:, 0] = rng.standard_normal(chains)
    for t in range(1, n):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(chains)
    return x


SHAPES = [(2, 8), (2, 9), (4, 100), (4, 101), (8, 1_000), (32, 150)]


@pytest.mark.parametrize(("chains", "n"), SHAPES)
@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.95])
def test_rhat_is_that_of_arviz_of_location_scale_ties_and_heavy_tails(chains, n, rho):
    x = autoregressive(rho, chains, n)
    apart = x + np.arange(chains)[:, None]
    wide = x * (1 + np.arange(chains))[:, None]
    for some in (x, apart, wide, np.round(x), np.maximum(x, 0), stats.t.ppf(stats.norm.cdf(x), 1)):
        expected = array_stats.rhat(some, chain_axis=0, draw_axis=1)
        assert split_rhat(some) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("chains", [1, 4])
@pytest.mark.parametrize("rho", [-0.9, -0.5, 0.0, 0.5, 0.9])
def test_effective_draws_are_those_of_arviz_but_for_one_autocorrelation(chains, rho):
    """ArviZ adds the first of the pair that ends the sum, if that is positive."""
    added = []
    for seed in range(40):
        x = autoregressive(rho, chains, 8_000 // chains, seed)
        expected = array_stats.ess(x, chain_axis=0, draw_axis=1, method="mean")
        added.append(x.size / float(expected) - x.size / effective_draws(x))
    assert min(added) > -1e-9 and max(added) < 0.05 * max(1, (1 + rho) / (1 - rho))
    assert np.mean(np.abs(added) < 1e-9) >= 0.4


@pytest.mark.parametrize(
    ("rho", "chains", "n"), [(0.5, 4, 250), (0.9, 4, 1_000), (0.5, 32, 150), (0.7, 32, 150)]
)
def test_short_chains_of_one_distribution_seldom_disagree(rho, chains, n):
    sets = autoregressive(rho, 200 * chains, n).reshape(200, chains, n)
    found = np.array([split_rhat(x) for x in sets])
    assert (found > 1.01).mean() > 0.25  # the limit for long chains
    assert (found > [rhat_limit(x) for x in sets]).mean() <= 0.02
    shifted = [np.vstack([x[0] + 3, x[1:]]) for x in sets[:20]]
    assert all(split_rhat(x) > rhat_limit(x) for x in shifted)


def test_the_limit_of_independent_draws_is_by_scipys_quantile_of_chi_squared():
    assert rhat_limit(autoregressive(0.0)) == rhat_limit([np.ones(100)] * 2) == 1.01
    quantile = stats.chi2.isf(0.01 / 20, 7) / 7  # 10 columns of two R-hats
    limit = rhat_limit(autoregressive(0.0, chains=4, n=200), columns=10)
    assert limit == pytest.approx(np.sqrt(1 - 1 / 100 + quantile / 99), abs=2e-3)
    # Of the same draws the squares less 1 - 1/m are as the quantiles.
    for chains, error in ((1, 0.12), (2, 0.06), (4, 0.03), (32, 5e-3)):
        x = autoregressive(0.0, chains, n=20)
        few, many = (rhat_limit(x, columns) ** 2 - 1 + 1 / 10 for columns in (1, 1_000))
        quantiles = stats.chi2.isf([0.01 / 2, 0.01 / 2_000], 2 * chains - 1)
        assert many / few == pytest.approx(quantiles[1] / quantiles[0], rel=error)


def test_chains_are_cut_to_the_shortest_and_short_or_constant_ones_have_no_effective_draws():
    x = autoregressive(0.0)
    assert effective_draws([x[0][:1_000], x[1]]) == pytest.approx(2_000, rel=0.2)
    assert np.isnan(effective_draws([np.arange(6.0)]))
    assert np.isnan(effective_draws([np.ones(100)] * 2))
    assert split_rhat([np.ones(100)] * 2) == 1.0


LEVEL = 3.7  # log Z


def fold_of(x, spread=1.0):
    """Draws of N(0, I), times e^3.7, by the density N(0, spread² I)."""
    dim = x.shape[1]
    squared = np.square(x / spread).sum(axis=1)
    normal = dim / 2 * math.log(2 * math.pi)
    log_q = -squared / 2 - dim * math.log(spread) - normal
    log_p = LEVEL - np.square(x).sum(axis=1) / 2 - normal
    return HeldOutDraws(log_q, squared, log_p, dim)


def chains_of_draws(dim, seed, count=4, n=2_000, stay=0.0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        moved = rng.random(n) >= stay
        moved[0] = True
        yield rng.standard_normal((int(moved.sum()), dim))[np.cumsum(moved) - 1]


def test_the_density_itself_gives_log_z_without_an_error_and_one_too_wide_is_shrunk():
    found = harmonic_mean([fold_of(x).log_ratios(1.0) for x in chains_of_draws(5, 0)])
    assert found.log_z == pytest.approx(LEVEL, abs=1e-12)
    assert (found.standard_error, found.k) == (pytest.approx(0, abs=1e-12), 0.0)
    x = next(chains_of_draws(4, 1))
    assert best_temperature(fold_of(x, 1.0)) == 1.0
    assert best_temperature(fold_of(x, 1.25)) == 0.6


@pytest.mark.parametrize(("dim", "temperature"), [(2, 0.9), (10, 0.8), (32, 0.9)])
def test_errors_are_those_of_shrunk_normals(dim, temperature):
    """Var(q_T/p) = (T (2 - T))^(-D/2) - 1 under p = N(0, I)."""
    variance = (temperature * (2 - temperature)) ** (-dim / 2) - 1
    expected = math.sqrt(variance / 8_000)
    found = [
        harmonic_mean([fold_of(x).log_ratios(temperature) for x in chains_of_draws(dim, seed)])
        for seed in range(20)
    ]
    off = np.array([one.log_z - LEVEL for one in found])
    assert np.mean([one.within for one in found]) == pytest.approx(expected, rel=0.2)
    assert math.sqrt(np.mean(off**2)) == pytest.approx(expected, rel=0.5)
    assert np.mean(np.abs(off) <= 2 * np.array([one.standard_error for one in found])) >= 0.8


def test_errors_of_chains_that_stay_where_they_are_are_larger():
    found = [
        harmonic_mean([fold_of(x).log_ratios(0.8) for x in chains_of_draws(5, seed, stay=0.8)])
        for seed in range(40)
    ]
    spread = np.std([one.log_z for one in found])
    assert np.mean([one.within for one in found]) == pytest.approx(spread, rel=0.35)
    assert np.mean([one.effective for one in found]) == pytest.approx(8_000 / 9, rel=0.2)


def test_one_far_draw_makes_heavy_ratios():
    ratios = [fold_of(x).log_ratios(0.9) for x in chains_of_draws(3, 2)]
    ratios[0][:20] += np.arange(20.0)
    assert harmonic_mean(ratios).k > 0.7


def bridges(spread, stay):
    """Bridges to log Z by draws of N(0, I_3), times e^3.7, and samples of N(0, spread² I)."""
    for seed in range(60):
        samples = spread * np.random.default_rng([seed, 1]).standard_normal((2_000, 3))
        draws = [
            -fold_of(x, spread).log_ratios(1.0) for x in chains_of_draws(3, seed, n=500, stay=stay)
        ]
        yield bridge(draws, -fold_of(samples, spread).log_ratios(1.0))


@pytest.mark.parametrize(("spread", "stay"), [(0.7, 0.0), (1.5, 0.0), (1.5, 0.8)])
def test_a_bridge_has_the_level_and_its_error(spread, stay):
    found = list(bridges(spread, stay))
    off = np.array([one.log_z - LEVEL for one in found])
    errors = np.array([one.standard_error for one in found])
    assert math.sqrt(np.mean(off**2)) == pytest.approx(math.sqrt(np.mean(errors**2)), rel=0.35)
    assert abs(off.mean()) < 4 * off.std() / math.sqrt(len(off))


def test_a_bridge_counts_samples_without_mass_under_the_target():
    """p of the half line x > 0 has half the mass of N(0, 1), from which q draws."""
    rng = np.random.default_rng(0)
    samples = np.where(rng.standard_normal(20_000) > 0, 0.0, -np.inf)
    found = bridge([np.zeros(2_000)] * 4, samples)
    assert found.log_z == pytest.approx(math.log(0.5), abs=4 * found.standard_error)
    assert found.standard_error == pytest.approx(1 / math.sqrt(20_000), rel=0.3)
