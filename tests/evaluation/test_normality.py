import mpmath
import numpy as np
import pytest
from truth import kolmogorov_smirnov

from nflow_cli.evaluation.association import most_dependent
from nflow_cli.evaluation.pit import RADIUS, band, from_uniform, pit, pit_of_latents
from nflow_cli.evaluation.two_samples import tail_of_chi_squared

NAMES = list("abcdefgh")


def distance(values):
    return from_uniform(values, np.ones(len(values)))[0]


def normality(z):
    """Return how far the PITs of latents are from uniform, and the worst of the columns."""
    found = pit(pit_of_latents(z), [*NAMES[: z.shape[1]], RADIUS])
    return found.columns, max(found.columns, key=lambda name: found.columns[name].distance or 0)


def draws(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_the_normal_distribution_is_exact_in_both_tails():
    z = np.array([-8.0, -1.0, -1e-9, 0.0, 0.3, 5.0, 9.0])
    with mpmath.workdps(30):
        truth = [float(mpmath.ncdf(float(value))) for value in z]
    np.testing.assert_allclose(pit_of_latents(z[:, None])[:, 0], truth, rtol=1e-14)


def test_the_chi_square_distribution_is_that_of_mpmath():
    for dim in (1, 2, 3, 7, 30, 101, 1000):
        near = dim + np.sqrt(2 * dim) * np.linspace(-5, 8, 27)
        x = np.concatenate([[0.0, 1e-9, 0.01, dim / 10, 5.0 * dim, 1e4], near[near > 0]])
        half = mpmath.mpf(dim) / 2
        with mpmath.workdps(30):
            truth = [float(mpmath.gammainc(half, 0, v / 2, regularized=True)) for v in x]
        np.testing.assert_allclose(1 - tail_of_chi_squared(x, dim), truth, rtol=0, atol=1e-12)
        assert tail_of_chi_squared(np.inf, dim) == 0


def test_a_distance_is_the_greatest_between_the_two_distribution_functions():
    z, axis = draws(300, 1)[:, 0] + 0.2, np.linspace(-8, 8, 200_001)
    expected = kolmogorov_smirnov(z, axis, np.exp(-(axis**2) / 2)) / np.sqrt(300)
    assert distance(pit_of_latents(z[:, None])[:, 0]) == pytest.approx(expected, abs=1e-6)
    assert distance(np.array([0.5])) == 0.5


def test_the_band_of_distances_is_that_of_the_tables_and_holds_95_percent_of_samples():
    """By the 95% points of Kolmogorov's statistic (Massey 1951, Miller 1956)."""
    for n, point in [(5, 0.563), (10, 0.409), (20, 0.294), (100, 0.134)]:
        assert band(n) == pytest.approx(point, rel=5e-3)
    largest = [
        max(distance(column) for column in sample)
        for sample in np.random.default_rng(0).random((2000, 8, 100))
    ]
    assert np.mean(np.array(largest) > band(100, 8)) == pytest.approx(0.05, abs=0.015)


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


def test_the_rank_correlation_of_values_that_repeat_is_that_of_their_mean_ranks():
    # In a sorted column of two values, ranks by place would follow the place in the table.
    rows = draws(400, 3)
    rows[:, 0] = np.arange(400)
    rows[:, 1] = 1.0
    rows[0, 1] = 2.0
    rows[:, 2] += 0.02 * np.arange(400)
    assert most_dependent(rows, 2) == [0, 2]
