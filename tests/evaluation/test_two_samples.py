"""Two-sample tests, against closed forms of SciPy and their rates over many samples."""

import numpy as np
import pytest
from scipy import stats

from nflow_cli.evaluation.two_samples import (
    fisher,
    p_of_levels,
    p_of_means,
    p_of_numbers,
    p_of_scores,
    tail_of_chi_squared,
)

REPEATS = 400


def rate(p_of, draw, level=0.05, repeats=REPEATS):
    """Return the share of p-values up to a level of pairs of samples."""
    rng = np.random.default_rng(0)
    return np.mean([p_of(*draw(rng)) <= level for _ in range(repeats)])


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 50, 301])
def test_the_tail_of_chi_squared(degrees):
    for x in (1e-3, 0.5, 3.84, 30, 200, 1_000):
        expected = stats.chi2.sf(x, degrees)
        assert tail_of_chi_squared(x, degrees) == pytest.approx(expected, rel=1e-11, abs=1e-300)
    assert tail_of_chi_squared(0.0, degrees) == tail_of_chi_squared(1.0, 0) == 1.0


COUNTS = np.array([[30, 50, 20], [45, 40, 15]])


def test_levels_by_pearsons_test():
    samples = [np.repeat([0.0, 1.0, np.nan], row) for row in COUNTS]
    expected = stats.chi2_contingency(COUNTS, correction=False).pvalue
    assert p_of_levels(*samples) == pytest.approx(expected, rel=1e-10)
    scores = [(codes[:, None] == [0, 1]).astype(float) for codes in samples]
    assert p_of_means(*scores) == pytest.approx(expected, rel=1e-10)
    more = [np.column_stack([some, 2 * some[:, 0] - some[:, 1]]) for some in scores]
    assert p_of_means(*more) == pytest.approx(expected, rel=1e-10)


def test_rare_levels_by_fishers_test():
    for table in ([[3, 97], [9, 71]], [[0, 1_000], [4, 46]], [[5, 0], [0, 5]]):
        (k, rest), (j, others) = table
        assert fisher(k, j, k + rest, j + others) == pytest.approx(
            stats.fisher_exact(table).pvalue, rel=1e-9
        )
    samples = np.repeat([0.0, 1.0, 2.0], [1_000, 999, 1]), np.repeat([0.0, 1.0, 2.0], [20, 20, 10])
    rare = stats.fisher_exact([[1, 1_999], [10, 40]]).pvalue
    assert p_of_levels(*samples) == pytest.approx(2 * rare, rel=1e-9)
    gaps = [np.where(codes == 2, np.nan, 0.0) for codes in samples]  # equal numbers
    assert p_of_numbers(*gaps) == pytest.approx(2 * rare, rel=1e-9)


def test_covariates_take_their_part():
    """By one score: N times the squared correlation of score and sample within strata."""
    rng = np.random.default_rng(1)
    strata = rng.random(300) < 0.4
    side = rng.random(300) < np.where(strata, 0.7, 0.2)
    x = rng.normal(size=300) + 2 * strata
    parts = [
        values - np.where(strata, values[strata].mean(), values[~strata].mean())
        for values in (x, side)
    ]
    expected = stats.chi2.sf(300 * np.corrcoef(*parts)[0, 1] ** 2, 1)
    scores, given = ([v[~side][:, None], v[side][:, None]] for v in (x, strata.astype(float)))
    assert p_of_means(*scores, tuple(given)) == pytest.approx(expected, rel=1e-9)
    assert p_of_means(*scores) < 1e-9
    assert p_of_means(*scores, (np.zeros((len(scores[0]), 1)), np.ones((len(scores[1]), 1)))) == 1


def test_samples_without_values_have_no_change():
    none, some = np.full(30, np.nan), np.zeros(0)
    assert p_of_numbers(none, none) == p_of_numbers(none, some) == p_of_means(*[some[:, None]] * 2)
    assert p_of_numbers(np.ones(20), np.ones(90)) == p_of_levels(np.ones(20), np.ones(90)) == 1


def gappy(n, share, rng):
    return np.where(rng.random(n) < share, np.nan, rng.normal(size=n))


ZIPF = np.arange(1, 100) ** -1.2 / np.sum(np.arange(1, 100) ** -1.2)


@pytest.mark.parametrize(
    ("p_of", "draw"),
    [
        (p_of_numbers, lambda rng: (rng.normal(size=500), rng.normal(size=500))),
        (p_of_numbers, lambda rng: (rng.normal(size=900), rng.normal(size=60))),
        (p_of_numbers, lambda rng: (rng.poisson(1, 500) * 1.0, rng.poisson(1, 300) * 1.0)),
        (p_of_numbers, lambda rng: (gappy(500, 0.1, rng), gappy(500, 0.1, rng))),
        (p_of_numbers, lambda rng: (gappy(500, 0.004, rng), gappy(80, 0.004, rng))),
        (p_of_levels, lambda rng: (rng.choice(99, 900, p=ZIPF), rng.choice(99, 60, p=ZIPF))),
        (p_of_scores, lambda rng: (rng.gumbel(size=(500, 1)), rng.gumbel(size=(300, 1)))),
    ],
)
def test_the_rate_of_false_alarms(p_of, draw):
    """At most three standard errors above 5 %."""
    assert rate(p_of, draw) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPEATS)


def modes(weight, rng):
    return np.where(rng.random(2_000) < weight, 2, -2) + 0.5 * rng.normal(size=2_000)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.normal(size=2_000), rng.normal(size=2_000) + 0.2),
        lambda rng: (rng.normal(size=2_000), rng.normal(size=2_000) * 0.8),
        lambda rng: (modes(0.5, rng), modes(0.6, rng)),
    ],
)
def test_the_rate_of_changes_found(draw):
    assert rate(p_of_numbers, draw, 0.005, 100) >= 0.95
