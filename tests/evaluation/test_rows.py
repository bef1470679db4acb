"""Odd rows, memorised rows and copies of rows, against closed forms and chance."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nflow_cli.evaluation.oddness import (
    adjusted,
    expected_share,
    in_spreads,
    no_likelier,
    p_values,
    two_sided,
)
from nflow_cli.tables.scores.memorisation import Copies, copies, memorisation

SHARES = np.array([0.1, 0.25, 0.4, 0.15, 0.1])


def test_tails_of_numbers_are_two_sided_and_those_of_levels_all_that_are_no_likelier():
    p = two_sided(np.linspace(0, 1, 1_001), np.zeros(1_001))
    for t in (0.01, 0.1, 0.5):
        assert np.mean(p <= t) == pytest.approx(t, abs=2e-3)
    below = np.cumsum(SHARES) - SHARES
    np.testing.assert_allclose(two_sided(below, SHARES), [0.2, 0.7, 1.0, 0.5, 0.2])
    every = np.tile(SHARES, (6, 1))
    p = no_likelier(np.append(SHARES, np.nan), every)
    np.testing.assert_allclose(p, [0.2, 0.6, 1.0, 0.35, 0.2, np.nan])


def test_a_p_value_counts_the_held_out_rows_that_are_at_least_as_odd():
    held_out = np.array([1.0, 2.0, 2.0, np.inf])
    odd = np.array([0.0, 2.0, 2.5, np.inf])
    np.testing.assert_allclose(p_values(odd, held_out), [1.0, 0.8, 0.4, 0.4])
    np.testing.assert_array_equal(p_values(odd, np.empty(0)), np.ones(4))


def test_oddness_is_the_larger_measure_in_spreads_of_held_out_rows():
    """Of 0, …, 100 the median is 50, the 0.9 quantile 90; a constant measure stays as it is."""
    held_out = np.column_stack([np.arange(101.0), 10 * np.arange(101.0), np.full(101, 3.0)])
    rows = np.array([[50, 500, 3], [90, 500, 3], [50, 1300, 3], [10, 100, 3], [50, 500, 5.0]])
    np.testing.assert_allclose(in_spreads(rows, held_out), [0.0, 1.0, 2.0, 0.0, 2.0])
    np.testing.assert_allclose(in_spreads(rows[:2], held_out[:0]), [500.0, 500.0])


def test_a_share_of_small_p_values_is_as_expected():
    for n in (20, 99, 100):
        rng = np.random.default_rng(n)
        p = np.concatenate([p_values(rng.random(50), rng.random(n)) for _ in range(2_000)])
        for t in (0.01, 0.05, 0.3):
            share = expected_share(np.array(n), t)
            assert share <= t and np.mean(p <= t) == pytest.approx(share, abs=0.005)


def test_adjusted_p_values_are_those_of_scipy():
    for n in (1, 2, 5, 1_000):
        p = np.random.default_rng(n).random(n).round(2) ** 3
        np.testing.assert_allclose(adjusted(p), stats.false_discovery_control(p), 1e-14)


def test_no_likelier_outcomes_of_a_binomial_are_those_of_scipys_test():
    for n, share in ((1, 0.3), (10, 0.5), (40, 0.02), (300, 0.9)):
        k = np.arange(n + 1)
        every = np.tile(stats.binom.pmf(k, n, share), (n + 1, 1))
        expected = [stats.binomtest(int(i), n, share).pvalue for i in k]
        np.testing.assert_allclose(no_likelier(every[0], every), expected, 1e-11)


def test_the_share_of_false_discoveries_is_bounded():
    rng, shares = np.random.default_rng(0), []
    for _ in range(300):
        odd = np.append(rng.normal(0, 1, 90), rng.normal(6, 1, 10))
        found = adjusted(p_values(odd, rng.normal(0, 1, 500))) <= 0.2
        shares.append(found[:90].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.2


def auc_of_pairs(train, test, u, v):
    """Return the AUC by all auc_of_pairs of a training and a test row."""
    wins = [
        a * b * ((x > y) + (x == y) / 2)
        for (x, a), (y, b) in itertools.product(zip(train, u), zip(test, v))
    ]
    return sum(wins) / sum(u) / sum(v)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_auc_counts_pairs_of_rows_and_ties_half(weighted):
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 6, 40).astype(float), rng.integers(-1, 5, 30).astype(float)
    train[:2] = test[:3] = -math.inf
    u, v = (rng.gamma(1, 1, n) if weighted else np.ones(n) for n in (40, 30))
    judged = memorisation(train, test, u, v) if weighted else memorisation(train, test)
    assert judged.auc == pytest.approx(auc_of_pairs(train, test, u, v))
    assert (judged.n_train, judged.n_test) == (40, 30)


def test_the_error_of_the_auc_is_its_spread_over_all_choices_of_test_rows_or_all_orders():
    values = np.array([0.3, 1.0, 1.7, 2.0, 3.1, 4.5, 4.6])
    judged = [
        memorisation(np.delete(values, chosen), values[list(chosen)])
        for chosen in itertools.combinations(range(7), 3)
    ]
    found = [one.auc or 0.0 for one in judged]
    assert np.mean(found) == pytest.approx(0.5)
    assert judged[0].auc_standard_error == pytest.approx(float(np.std(found)))
    u, v = np.array([1.0, 3.0, 0.5]), np.array([2.0, 1.0, 5.0])
    judged = [
        memorisation(np.array(order[:3]), np.array(order[3:]), u, v)
        for order in itertools.permutations(np.arange(6.0))
    ]
    spread = float(np.std([one.auc or 0.0 for one in judged]))
    assert judged[0].auc_standard_error == pytest.approx(spread)


def test_the_true_positive_rate_is_at_one_false_positive_in_a_hundred():
    test = np.arange(200.0)
    train = np.array([-1.0, 197.0, 197.5, 198.0, 250.0])  # two test rows are above 197
    assert memorisation(train, test).true_positive_rate == pytest.approx(3 / 5)
    weights = np.ones(200)
    weights[-1] = 2.5  # more than 1 % alone
    assert memorisation(train, test, None, weights).true_positive_rate == pytest.approx(1 / 5)
    assert memorisation(train, test[:99]).true_positive_rate is None


def test_the_error_of_the_true_positive_rate_is_its_spread_where_nothing_is_memorised():
    rng, times = np.random.default_rng(1), 2_000
    mixed = [rng.permutation(np.arange(250.0)) for _ in range(times)]
    judged = [memorisation(values[:100], values[100:]) for values in mixed]
    rates = [one.true_positive_rate or 0.0 for one in judged]
    spread = float(np.std(rates))
    assert judged[0].true_positive_rate_standard_error == pytest.approx(spread, rel=0.07)
    assert np.mean(rates) == pytest.approx(2 / 151, abs=5 * spread / math.sqrt(times))


def test_the_difference_of_the_means_is_in_nats_with_its_error():
    rng = np.random.default_rng(2)
    train, test = rng.normal(1, 2, 500), rng.normal(0, 1, 80)
    judged = memorisation(np.append(train, -math.inf), test)
    assert judged.nats == pytest.approx(train.mean() - test.mean())
    error = math.sqrt(train.var(ddof=1) / 500 + test.var(ddof=1) / 80)
    assert judged.nats_standard_error == pytest.approx(error)


def test_what_rows_do_not_show_is_unknown():
    none = [
        ([], [1.0], None),
        ([1.0], [], None),
        ([2.0], [1.0], 1.0),
        ([1.0], [-math.inf] * 3, 1.0),
    ]
    for train, test, auc in none:
        judged = memorisation(np.array(train), np.array(test))
        assert (judged.auc, judged.nats_standard_error) == (auc, None)
    assert memorisation(np.ones(3), np.ones(3), np.zeros(3)).auc is None


def test_rows_are_compared_cell_by_cell_with_gaps_equal():
    train = np.array([[1.0, np.nan], [2.0, 3.0], [2.0, 3.0], [-0.0, 1.0]])
    draws = np.array([[1.0, np.nan], [0.0, 1.0], [1.0, 3.0], [np.nan, 1.0], [2.0, 3.0]])
    found = copies(train, draws, draws[2:4])
    assert found is not None
    assert (found.drawn, found.held_out) == (0.6, 0.0)
    assert (found.n_drawn, found.n_held_out) == (5, 2)
    assert copies(train, draws[:0], draws) is None


def test_the_error_of_an_excess_is_that_of_scipys_test_of_two_shares():
    for counts in ([3, 400], [0, 30]), ([50, 60], [10, 90]):
        (drawn, n), (held_out, m) = ((row[0], sum(row)) for row in counts)
        found = Copies(drawn=drawn / n, held_out=held_out / m, n_drawn=n, n_held_out=m)
        squared = stats.chi2_contingency(counts, correction=False).statistic
        assert (found.excess / found.standard_error) ** 2 == pytest.approx(squared)


def test_the_auc_and_its_error_are_those_of_scipys_rank_sum():
    """Without ties: with them SciPy's error, of this choice of rows, is smaller."""
    for n, m in ((1, 3), (40, 30), (2_000, 150)):
        rng = np.random.default_rng(n)
        train, test = rng.normal(0.1, size=n), rng.normal(size=m)
        judged = memorisation(train, test)
        scipys = stats.mannwhitneyu(train, test, use_continuity=False, method="asymptotic")
        assert judged.auc == pytest.approx(scipys.statistic / (n * m))
        p = 2 * stats.norm.sf(abs(judged.auc - 0.5) / judged.auc_standard_error)
        assert p == pytest.approx(scipys.pvalue, rel=1e-9)
