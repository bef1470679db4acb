import numpy as np
import pytest

from nflow_cli.config.kinds_schema import ColumnKind
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

NUMBER = ColumnKind(kind="number")
LETTERS = ColumnKind(kind="levels", levels=list("abcdefgh"))


def normals(rho, n=20_000, seed=0):
    x, noise = np.random.default_rng(seed).normal(size=(2, n))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9, -0.9])
def test_the_association_of_two_normals_is_about_their_correlation(rho):
    x, y = (binned(NUMBER, values, values)[0] for values in normals(rho))
    assert association(x, y) == pytest.approx(abs(rho), abs=0.05)


@pytest.mark.parametrize("n", [100, 1_000, 10_000])
def test_independent_columns_have_a_small_association_whatever_the_number_of_rows(n):
    found = []
    for seed in range(50):
        x, y = np.random.default_rng(seed).integers(0, 6, (2, n))
        found.append(association(x, y) ** 2)
    # Without the correction it would be about 25/n.
    assert np.mean(found) < 8 / n


def test_columns_that_determine_each_other_have_an_association_of_1():
    x = np.random.default_rng(0).integers(0, 5, 200)
    assert association(x, 4 - x) == pytest.approx(1)
    assert association(x, np.zeros(200, int)) == 0
    assert association(x[:0], x[:0]) == 0


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
    assert names == ["c", "a", "h", "other levels", "missing", "new level"]
    assert [names[i] for i in of_rows] == 3 * ["a"] + 2 * ["c"] + ["other levels", "missing"]
    assert [names[i] for i in of_draws] == 2 * ["c"] + 3 * ["h"] + ["other levels", "new level"]


def test_levels_that_all_have_room_keep_their_order_and_those_that_never_occur_are_left_out():
    rows = np.array([5.0, 5, 5, 0])
    assert grouped(LETTERS, rows, np.array([3.0]), 8).names == ["a", "d", "f"]


def test_the_difference_of_shares_is_their_total_variation():
    rows = np.repeat([0.0, 1.0, np.nan], [50, 30, 20])[:, None]
    draws = np.repeat([0.0, 1.0, np.nan], [50, 50, 0])[:, None]
    assert differences({"x": LETTERS}, rows, draws) == pytest.approx([0.2])
    assert differences({"x": NUMBER}, rows, np.full((5, 1), np.nan)) == pytest.approx([0.8])


def test_the_strongest_pairs_are_shown_and_those_that_differ_most():
    rows = np.eye(6)
    rows[0, 1] = rows[2, 3] = 0.9
    draws = rows.copy()
    rows[4, 5] = 0.3
    draws[0, 5] = 0.25
    assert pairs_to_show(Associations(rows, draws), 4) == [(0, 1), (2, 3), (4, 5), (0, 5)]


def test_one_column_does_not_fill_all_pairs():
    rows = np.full((6, 6), 0.1)
    rows[0] = 0.9
    shown = pairs_to_show(Associations(rows, rows), 6)
    assert len(shown) == 6 and sum(0 in pair for pair in shown) == 2
    assert pairs_to_show(Associations(rows[:3, :3], rows[:3, :3]), 6) == [(0, 1), (0, 2), (1, 2)]


def mixture(law, n, rng):
    """Rows of a mixture of five normals: numbers, numbers with gaps, and levels."""
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
        rows, draws = (mixture(law, n, rng) for n in (int(10 ** rng.uniform(2, 3.3)), 5_000))
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
