import mpmath
import numpy as np
import pytest
from scipy import stats

from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.two_samples import tail_of_chi_squared
from nflow_cli.tables.scores.pit import RADIUS, band, from_uniform, p_value, pit, pit_of_latents

NAMES = list("abcdefgh")


def distance(values):
    return from_uniform(values, np.ones(len(values)))[0]


def normality(z):
    """Return how far the PITs of latents are from uniform, and the worst of the columns."""
    found = pit(pit_of_latents(z), [*NAMES[: z.shape[1]], RADIUS])
    return found.columns, max(found.columns, key=lambda name: found.columns[name].distance or 0)


def draws(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_pits_of_latents_are_those_of_scipy_in_both_tails():
    z = np.outer([-9.0, -1.0, -1e-9, 0.0, 0.3, 5.0, 9.0], [1.0, 0.5, 0.9])
    found = pit_of_latents(z)
    np.testing.assert_allclose(found[:, :3], stats.norm.cdf(z), 1e-14)
    np.testing.assert_allclose(found[:, 3], stats.chi2.cdf((z**2).sum(axis=1), 3), 0, 1e-15)


def test_a_distance_is_that_of_scipy_and_of_a_weighted_value_that_of_its_copies():
    for n in (1, 2, 300):
        values = np.random.default_rng(n).random(n).round(2)
        assert distance(values) == pytest.approx(stats.kstest(values, "uniform").statistic)
        weights = np.arange(n) % 4 + 1
        copied = stats.kstest(values.repeat(weights), "uniform").statistic
        assert from_uniform(values, weights * 0.3)[0] == pytest.approx(copied)


# Errors of Stephens' correction: of p, of p from 0.001 to 0.1 as a share of it; and of the band of
# one distance, and of eight, as a share of it.
@pytest.mark.parametrize(
    ("n", "absolute", "relative", "of_one", "of_eight"),
    [
        (2, 0.035, None, 3e-3, 0.07),
        (5, 0.02, 0.72, 3e-3, 0.04),
        (10, 0.025, 0.21, 1e-3, 0.012),
        (20, 0.02, 0.06, 1e-3, 3e-3),
        (100, 0.012, 0.025, 3e-4, 2e-3),
        (1_000, 0.005, 0.015, 3e-4, 1e-3),
        (100_000, 5e-4, 0.002, 3e-4, 3e-4),
    ],
)
def test_p_values_and_bands_of_distances_are_those_of_scipy(
    n, absolute, relative, of_one, of_eight
):
    p = np.linspace(0.001, 0.999, 200)
    found = [p_value(value, n) for value in stats.kstwo.isf(p, n)]
    np.testing.assert_allclose(found, p, 0, absolute)
    if relative is not None:
        np.testing.assert_allclose(found[:20], p[:20], relative)
    assert band(n) == pytest.approx(stats.kstwo.isf(0.05, n), rel=of_one)
    of_all = stats.kstwo.isf(1 - 0.99 ** (1 / 8), n)
    assert band(n, 8, 0.99) == pytest.approx(of_all, rel=of_eight)


def test_p_values_of_many_values_are_those_of_kolmogorovs_limit():
    x = np.linspace(0.01, 18, 2_000)
    found = [p_value(value / 1e6, 1e12) for value in x]
    np.testing.assert_allclose(found, stats.kstwobign.sf(x), 1e-3, 1e-300)
    # Without the correction of a ten-millionth, which the tail multiplies.
    found = [p_value(value / (1e6 + 0.12 + 0.11e-6), 1e12) for value in x]
    np.testing.assert_allclose(found, stats.kstwobign.sf(x), 1e-12, 1e-300)


def test_normal_latents_lie_within_the_bands_and_a_shifted_column_is_named():
    judged, _ = normality(draws(20_000, 8).astype(np.float32))
    assert all(column.excess < 1 and column.n == 20_000 for column in judged.values())
    z = draws(40_000, 5)
    z[:, 2] += 0.3
    judged, worst = normality(z)
    assert worst == "c"
    # sup |Φ(z) - Φ(z - 0.3)| is at z = 0.15.
    shift = float(2 * mpmath.ncdf(0.15) - 1)
    assert judged["c"].distance == pytest.approx(shift, abs=band(40_000))


def test_the_radius_sees_normal_columns_that_are_one():
    z = draws(20_000, 1).repeat(4, axis=1)
    judged, worst = normality(z)
    assert worst == RADIUS and judged["a"].excess < 1
    # |z|^2 is 4 times a chi-square of 1 degree of freedom, not one of 4.
    x = np.linspace(0, 40, 20_001)
    expected = np.max(np.abs(tail_of_chi_squared(x / 4, 1) - tail_of_chi_squared(x, 4)))
    assert judged[RADIUS].distance == pytest.approx(expected, abs=band(20_000))


def test_latents_that_are_unknown_have_no_pit_and_infinite_ones_an_extreme_one():
    z = draws(1000, 3)
    z[3, 1], z[4, 2], z[5] = np.nan, np.inf, -1e300
    judged, _ = normality(z)
    assert {name: column.n for name, column in judged.items()} == {
        **dict.fromkeys("ac", 1000),
        **{"b": 999, RADIUS: 999},
    }
    assert pit_of_latents(z)[4].tolist()[2:] == [1, 1]
    lost, _ = normality(np.full((10, 3), np.nan))
    assert {column.distance for column in lost.values()} == {None}


def test_the_columns_that_depend_most_are_those_of_the_largest_rank_correlation():
    rows = draws(500, 6)
    rows[:, 4] = np.exp(5 * rows[:, 1])  # ranks see through it
    rows[:, 0] = 7.0
    rows[:, 5] = -rows[:, 3] + 0.3 * rows[:, 5]
    assert most_dependent(rows, 2) == [1, 4]
    assert most_dependent(rows, 4) == [1, 3, 4, 5]
    assert 0 not in most_dependent(rows, 5)
    rows[7, 2] = np.nan
    assert most_dependent(rows, 2) == [1, 4]
    # Of equal columns the first are chosen, and all where there are few.
    rows = draws(50, 1).repeat(5, axis=1)
    assert most_dependent(rows, 3) == [0, 1, 2]
    assert most_dependent(rows, 5) == most_dependent(rows, 9) == [0, 1, 2, 3, 4]
    assert most_dependent(np.full((4, 3), np.nan), 2) == [0, 1]


@pytest.mark.parametrize("seed", range(10))
def test_the_correlation_of_ranks_that_repeat_is_scipys(seed):
    rng = np.random.default_rng(seed)
    rows = rng.poisson(1, (80, 6)) + np.outer(rng.poisson(2, 80), rng.integers(-1, 2, 6))
    correlation = np.abs(stats.spearmanr(rows).statistic) - np.eye(6)
    strongest = np.argsort(-correlation.max(axis=0).round(12), kind="stable")
    assert most_dependent(rows, 3) == sorted(strongest[:3])
