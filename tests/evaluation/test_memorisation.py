import itertools
import math

import numpy as np
import pytest

from nflow_cli.evaluation.memorisation import memorisation


def pairs(train, test, u, v):
    """Return the AUC by all pairs of a training and a test row."""
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
    assert judged.auc == pytest.approx(pairs(train, test, u, v))
    assert (judged.n_train, judged.n_test) == (40, 30)


def test_the_error_of_the_auc_is_its_spread_over_all_ways_to_choose_the_test_rows():
    values = np.array([0.3, 1.0, 1.7, 2.0, 3.1, 4.5, 4.6])
    judged = [
        memorisation(np.delete(values, chosen), values[list(chosen)])
        for chosen in itertools.combinations(range(7), 3)
    ]
    found = [one.auc or 0.0 for one in judged]
    assert np.mean(found) == pytest.approx(0.5)
    assert judged[0].auc_standard_error == pytest.approx(float(np.std(found)))


def test_the_error_of_the_auc_of_weighted_rows_is_its_spread_over_all_orders():
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
    rng, times = np.random.default_rng(1), 4_000
    mixed = [rng.permutation(np.arange(250.0)) for _ in range(times)]
    judged = [memorisation(values[:100], values[100:]) for values in mixed]
    rates = [one.true_positive_rate or 0.0 for one in judged]
    spread = float(np.std(rates))
    assert judged[0].true_positive_rate_standard_error == pytest.approx(spread, rel=0.05)
    assert np.mean(rates) == pytest.approx(2 / 151, abs=5 * spread / math.sqrt(times))


def test_the_difference_of_the_means_is_in_nats_with_its_error():
    rng = np.random.default_rng(2)
    train, test = rng.normal(1, 2, 500), rng.normal(0, 1, 80)
    judged = memorisation(np.append(train, -math.inf), test)
    assert judged.nats == pytest.approx(train.mean() - test.mean())
    error = math.sqrt(train.var(ddof=1) / 500 + test.var(ddof=1) / 80)
    assert judged.nats_standard_error == pytest.approx(error)


@pytest.mark.parametrize(
    ("train", "test", "auc"),
    [([], [1.0], None), ([1.0], [], None), ([2.0], [1.0], 1.0), ([1.0], [-math.inf] * 3, 1.0)],
)
def test_what_rows_do_not_show_is_unknown(train, test, auc):
    judged = memorisation(np.array(train), np.array(test))
    assert (judged.auc, judged.nats_standard_error) == (auc, None)
    assert memorisation(np.ones(3), np.ones(3), np.zeros(3)).auc is None
