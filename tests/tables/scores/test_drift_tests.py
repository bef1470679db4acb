"""Dependence and change between two samples, against closed forms, SciPy and chance."""

import numpy as np
import pytest
from scipy import stats

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.evaluation.association import (
    Associations,
    association,
    associations,
    binned,
    differences,
    grouped,
    lost_relations,
    pairs_to_show,
)
from nflow_cli.evaluation.two_samples import (
    fisher,
    p_of_levels,
    p_of_means,
    p_of_numbers,
    p_of_scores,
    ranks,
    tail_of_chi_squared,
)
from nflow_cli.tables.scores.drift_tests import (
    as_held_out,
    change_of_levels,
    change_of_numbers,
    change_of_pit,
    change_of_rows,
    features,
    moved_names,
)

NUMBER = ColumnKind(kind="number")
LETTERS = ColumnKind(kind="levels", levels=list("abcdefgh"))


def normals(rho, n=20_000, seed=0):
    x, noise = np.random.default_rng(seed).normal(size=(2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def test_the_association_of_two_normals_is_their_correlation_and_of_equal_columns_1():
    for rho in (0.3, 0.6, 0.9, -0.9):
        x, y = (binned(NUMBER, values, values)[0] for values in normals(rho))
        assert association(x, y) == pytest.approx(abs(rho), abs=0.05)
    x = np.random.default_rng(0).integers(0, 5, 200)
    assert association(x, 4 - x) == pytest.approx(1)
    assert association(x, np.zeros(200, int)) == 0
    assert association(x[:0], x[:0]) == 0


@pytest.mark.parametrize("n", [3, 40, 5_000])
def test_the_association_is_by_scipys_entropies_with_the_correction_for_bins(n):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 6, n)
    y = (x + rng.integers(0, 4, n)) % 9

    def entropy(*columns):
        counts = np.unique(np.stack(columns), axis=1, return_counts=True)[1]
        return stats.entropy(counts) + (len(counts) - 1) / (2 * n)

    most = np.sqrt(entropy(x) * entropy(y))
    information = np.clip(entropy(x) + entropy(y) - entropy(x, y), 0, most)
    expected = np.sqrt((1 - np.exp(-2 * information)) / (1 - np.exp(-2 * most)))
    assert association(x, y) == pytest.approx(expected, abs=1e-12)


def test_cells_that_are_missing_together_are_associated():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2_000, 2))
    gaps = rng.random(2_000) < 0.3
    kinds = {"a": NUMBER, "b": NUMBER}
    found = associations(kinds, np.where(gaps[:, None], np.nan, rows), rows)
    assert found.rows[0, 1] > 0.5 and found.draws[0, 1] < 0.15


def test_levels_are_grouped_with_the_rest_the_gaps_and_the_new_ones():
    rows = np.array([0, 0, 0, 2, 2, 5, np.nan])
    draws = np.array([2, 2, 7, 7, 7, 6, -1])
    names, of_rows, of_draws = grouped(LETTERS, rows, draws, 3)
    assert names == ["a", "c", "h", "other levels", "missing", "new level"]
    assert [names[i] for i in of_rows] == 3 * ["a"] + 2 * ["c"] + ["other levels", "missing"]
    assert [names[i] for i in of_draws] == 2 * ["c"] + 3 * ["h"] + ["other levels", "new level"]
    # In order; those that never occur are left out.
    assert grouped(LETTERS, np.array([5.0, 5, 5, 0]), np.array([3.0]), 8).names == ["a", "d", "f"]


def test_the_difference_of_shares_is_their_total_variation():
    rows = np.repeat([0.0, 1.0, np.nan], [50, 30, 20])[:, None]
    draws = np.repeat([0.0, 1.0, np.nan], [50, 50, 0])[:, None]
    assert differences({"x": LETTERS}, rows, draws) == pytest.approx([0.2])
    assert differences({"x": NUMBER}, rows, np.full((5, 1), np.nan)) == pytest.approx([0.8])


def test_the_strongest_pairs_are_shown_those_that_differ_most_and_not_all_of_one_column():
    rows = np.eye(6)
    rows[0, 1] = rows[2, 3] = 0.9
    draws = rows.copy()
    rows[4, 5] = 0.3
    draws[0, 5] = 0.25
    assert pairs_to_show(Associations(rows, draws), 4) == [(0, 1), (2, 3), (4, 5), (0, 5)]
    rows = np.full((6, 6), 0.1)
    rows[0] = 0.9
    shown = pairs_to_show(Associations(rows, rows), 6)
    assert len(shown) == 6 and sum(0 in pair for pair in shown) == 2
    assert pairs_to_show(Associations(rows[:3, :3], rows[:3, :3]), 6) == [(0, 1), (0, 2), (1, 2)]


def mixture_of_normals(law, n, rng):
    """Rows of a mixture_of_normals of five normals: numbers, numbers with gaps, and levels."""
    means, factors = law
    which = rng.integers(0, 5, n)
    x = means[which] + np.einsum("nij,nj->ni", factors[which], rng.normal(size=(n, 6)))
    x[:, 2] = np.searchsorted([-1, -0.3, 0, 0.5, 1.2], x[:, 2])
    x[:, 5] = np.searchsorted([0, 0.5], x[:, 5])
    x[:, 1] = np.where(rng.random(n) < 0.1, np.nan, x[:, 1])
    return x


def test_an_exact_model_of_few_rows_or_many_has_lost_no_relation():
    kinds = {name: LETTERS if name in "cf" else NUMBER for name in "abcdef"}
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        law = rng.normal(size=(5, 6)), rng.normal(size=(5, 6, 6)) / 2
        rows, draws = (
            mixture_of_normals(law, n, rng) for n in (int(10 ** rng.uniform(2, 3.3)), 5_000)
        )
        alarms += bool(lost_relations(kinds, rows, draws, rng))
    assert alarms <= 2


def test_a_relation_that_draws_lose_is_found_and_others_are_not():
    rng = np.random.default_rng(0)
    rows = np.stack([*normals(0.7, 400), *normals(0.7, 400, 1), *normals(0.3, 400, 2)], axis=1)
    draws = np.stack([*normals(0.2, 5_000, 3), *normals(0.7, 5_000, 4), *normals(0.3, 5_000, 5)], 1)
    kinds = dict.fromkeys("abcdef", NUMBER)
    (found,) = lost_relations(kinds, rows, draws, rng)
    assert found.columns == ["a", "b"]
    assert (found.rows, found.draws) == (pytest.approx(0.7, abs=0.08), pytest.approx(0.2, abs=0.08))
    assert lost_relations(kinds, rows, draws, rng, n_given=2) == []


def test_rows_without_weight_have_no_relation_to_lose():
    rng = np.random.default_rng(0)
    rows = np.stack(normals(0.0, 2_000), axis=1)
    rows = np.concatenate([rows, np.repeat(normals(0.9, 500, 1)[:1], 2, axis=0).T])
    draws = np.stack(normals(0.0, 5_000, 2), axis=1)
    weights = np.repeat([1.0, 1e-3], [2_000, 500])
    kinds = dict.fromkeys("ab", NUMBER)
    assert lost_relations(kinds, rows, draws, rng)
    assert not lost_relations(kinds, rows, draws, rng, weights)


def test_new_numbers_get_the_held_out_numbers_of_their_ranks():
    rng = np.random.default_rng(0)
    held_out = rng.normal(size=300)
    found = as_held_out(held_out, np.exp(3 * held_out + 1))
    np.testing.assert_array_equal(found, held_out)
    ties = as_held_out(np.r_[np.zeros(60), np.arange(1.0, 41)], np.r_[np.full(40, 7.0), np.nan, 8])
    assert (ties[:40] == ties[0]).all() and ties[0] == 0 and np.isnan(ties[40]) and ties[41] > 30
    np.testing.assert_array_equal(as_held_out(np.full(2, np.nan), held_out), held_out)


def test_a_pit_that_depends_on_a_level_changes_with_its_share_alone():
    rng = np.random.default_rng(0)
    levels = [(rng.random(2_000) < share).astype(float) for share in (0.2, 0.8)]
    pits = [np.clip(rng.random(2_000) * (1 - 0.3 * level), 0, 1) for level in levels]
    given = features(*levels, are_levels=True)
    assert change_of_pit(*pits, {}).p_value < 1e-6
    assert change_of_pit(*pits, {}, given).p_value > 1e-3
    pits[1][::2] = np.nan
    assert change_of_pit(*pits, {}, given).p_value > 1e-3


def dependent(rng, correlation, n=2_000):
    """Return PITs and another column, normal scores of which have a correlation."""
    x, y = rng.normal(size=(2, n))
    y = correlation * x + np.sqrt(1 - correlation**2) * y
    return np.argsort(np.argsort(y)) / n + 0.5 / n, x


def test_a_new_dependence_that_leaves_the_pit_uniform_is_found_with_its_column():
    rng = np.random.default_rng(0)
    (before, x), (after, y) = dependent(rng, 0.0), dependent(rng, 0.2)
    noise = features(*rng.normal(size=(2, 2_000)), False)
    found = change_of_pit(before, after, {"x": features(x, y, False), "noise": noise})
    assert found.p_value < 1e-4 and found.link.column == "x"
    assert found.link.before == pytest.approx(0, abs=0.07)
    assert found.link.after == pytest.approx(0.19, abs=0.07)
    levels = features(np.digitize(x, [-1, 1]), np.digitize(y, [-1, 1]), True)
    found = change_of_pit(before, after, {"x": levels})
    assert found.p_value < 1e-4 and found.link.before is None
    square = features(x, np.abs(y), False), features(x, y, False)
    after = np.argsort(np.argsort(y**2 + rng.normal(size=2_000))) / 2_000
    assert all(change_of_pit(before, after, {"x": one}).link.column == "x" for one in square)


def test_features_of_gaps_and_of_rare_levels():
    gaps = [np.where(np.arange(100) < k, np.nan, np.arange(100)) for k in (20, 10)]
    before, after, are_ordered = features(*gaps, False)
    assert are_ordered and before.shape == after.shape == (100, 3)
    np.testing.assert_array_equal(before[:, 2], np.isnan(gaps[0]))
    assert (before[:20, :2] == 0).all() and before[20:, :2].any(axis=1).all()
    codes = np.repeat([0.0, 1, 2, np.nan], [60, 3, 27, 10])
    before, _, _ = features(codes, codes, True)
    np.testing.assert_array_equal(before.sum(axis=0), [60, 27, 10])


def test_the_rate_of_false_alarms_of_relations():
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        parts = [dependent(rng, 0.0, 300), dependent(rng, 0.0, 200)]
        level = [rng.integers(0, 3, 300), rng.integers(0, 3, 200)]
        others = {"x": features(parts[0][1], parts[1][1], False), "y": features(*level, True)}
        found.append(change_of_pit(parts[0][0], parts[1][0], others).p_value)
    assert np.mean(np.array(found) <= 0.1) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 200)


REPEATS = 400


def rate(p_of, draw, level=0.05, repeats=REPEATS):
    """Return the share of p-values up to a level of pairs of samples."""
    rng = np.random.default_rng(0)
    return np.mean([p_of(*draw(rng)) <= level for _ in range(repeats)])


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 301, 3_000])
def test_the_tail_of_chi_squared_is_that_of_scipy_from_1_to_1e_300(degrees):
    near = degrees + np.sqrt(2 * degrees) * np.linspace(-6, 40, 100)
    x = np.concatenate([10.0 ** np.arange(-12, 4, 0.25), near[near > 0]])
    expected = stats.chi2.sf(x, degrees)
    np.testing.assert_allclose(tail_of_chi_squared(x, degrees), expected, 3e-12, 1e-300)
    ends = np.array([0.0, np.inf])
    np.testing.assert_array_equal(tail_of_chi_squared(ends, degrees), [1, 0])
    np.testing.assert_array_equal(tail_of_chi_squared(ends, 0), [1, 1])


def test_the_ranks_of_values_that_repeat_are_those_of_scipy():
    values = np.random.default_rng(0).poisson(3, 500)
    np.testing.assert_allclose(ranks(values, values), (stats.rankdata(values) - 0.5) / 500, 1e-15)
    below = [stats.percentileofscore(values, value, "mean") / 100 for value in range(-1, 12)]
    np.testing.assert_allclose(ranks(np.arange(-1, 12), values), below, 1e-14)


COUNTS = np.array([[30, 50, 20], [45, 40, 15]])


def test_levels_by_pearsons_test_and_samples_without_values_have_no_change():
    samples = [np.repeat([0.0, 1.0, np.nan], row) for row in COUNTS]
    expected = stats.chi2_contingency(COUNTS, correction=False).pvalue
    assert p_of_levels(*samples) == pytest.approx(expected, rel=1e-10)
    scores = [(codes[:, None] == [0, 1]).astype(float) for codes in samples]
    assert p_of_means(*scores) == pytest.approx(expected, rel=1e-10)
    more = [np.column_stack([some, 2 * some[:, 0] - some[:, 1]]) for some in scores]
    assert p_of_means(*more) == pytest.approx(expected, rel=1e-10)
    none, some = np.full(30, np.nan), np.zeros(0)
    assert p_of_numbers(none, none) == p_of_numbers(none, some) == p_of_means(*[some[:, None]] * 2)
    assert p_of_numbers(np.ones(20), np.ones(90)) == p_of_levels(np.ones(20), np.ones(90)) == 1


def fisher_by_scipy(k, j, m, n):
    return stats.fisher_exact([[k, m - k], [j, n - j]]).pvalue


def test_fishers_test_is_that_of_scipy_of_few_rows_and_of_many():
    rng = np.random.default_rng(0)
    for _ in range(300):
        m, n = (10 ** rng.uniform(0, 4, 2)).astype(int)
        share = 10 ** rng.uniform(-4, 0)
        k = rng.binomial(m, share)
        j = rng.binomial(n, min(1.0, share * 10 ** rng.uniform(-1, 1)))
        assert fisher(k, j, m, n) == pytest.approx(fisher_by_scipy(k, j, m, n), 1e-10, 1e-290)
    for counts in ([0, 5, 10**6, 10**3], [10**5, 98_000, 10**6, 10**6]):
        assert fisher(*counts) == pytest.approx(fisher_by_scipy(*counts), rel=1e-9)


def test_rare_levels_by_fishers_test():
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


def test_shift_and_spread_in_standard_deviations():
    """Of a lognormal column as of its logarithm; the standard errors are those of repeats."""
    rng = np.random.default_rng(0)
    found = [
        change_of_numbers(np.exp(rng.normal(size=1_000)), np.exp(rng.normal(0.3, 0.8, 1_000))).shift
        for _ in range(100)
    ]
    for key, expected in (("mean", 0.3), ("spread", 0.8)):
        values = np.array([getattr(one, key) for one in found])
        errors = np.array([getattr(one, f"{key}_standard_error") for one in found])
        assert values.mean() == pytest.approx(expected, abs=0.01)
        assert errors.mean() == pytest.approx(values.std(), rel=0.2)


def test_shares_of_levels_and_of_missing_cells_and_no_spread_of_one_value():
    before, after = (
        np.repeat([0.0, 1.0, np.nan], [60, 30, 10]),
        np.repeat([0.0, 1, -1], [30, 30, 40]),
    )
    found = change_of_levels(before, after, ["low", "high"])
    assert (found.share.level, found.share.before, found.share.after) == ("new level", 0, 0.4)
    assert found.share.standard_error == pytest.approx(np.sqrt(0.4 * 0.6 / 100))
    assert (found.missing_before, found.missing_after, found.n_new_levels) == (0.1, 0, 40)
    found = change_of_numbers(np.ones(50), np.r_[np.ones(40), np.nan * np.ones(10)])
    assert found.shift.mean == 0 and found.shift.spread is None
    assert (found.missing_before, found.missing_after) == (0, 0.2)
    assert change_of_numbers(np.ones(50), np.full(50, np.nan)).shift is None


def test_impossible_rows_are_a_change_of_their_own():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 500))
    found = change_of_rows(before, np.where(np.arange(500) < 20, -np.inf, after), 3)
    error = np.sqrt(before.var(ddof=1) / 500 + after[20:].var(ddof=1) / 480)
    assert found.difference == pytest.approx(after[20:].mean() - before.mean())
    assert found.standard_error == pytest.approx(error)
    assert (found.n_impossible, found.n_impossible_held_out, found.n_unknown) == (20, 0, 3)
    assert found.p_value < 1e-3 < change_of_rows(before, after).p_value
    nothing = change_of_rows(np.full(9, -np.inf), np.full(9, -np.inf))
    assert nothing.difference is None and nothing.p_value == pytest.approx(1)


def test_changes_are_named_by_bonferroni_the_clearest_first():
    changes = {"a": 0.006, "b": 0.004, "c": 0.001}
    zero = change_of_numbers(np.zeros(2), np.zeros(2))
    every = {name: zero.model_copy(update={"p_value": p}) for name, p in changes.items()}
    assert moved_names(every, 10) == ["c", "b"] and moved_names(every, 1) == ["c", "b", "a"]
