"""Which rows of a table show what a density of cells has memorised."""

from dataclasses import replace

import numpy as np
import pytest
from cells import levels, number, random_density

from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.data.points import ALIKE, Weights
from nflow_cli.tables.cells_scoring import lost, memorised
from nflow_cli.tables.scores.memorisation import memorisation

COLUMNS = [levels("place", 4, missing=True), levels("a", 6), number("b")]
DENSITY = random_density(COLUMNS, n_given=1, members=2)


def table(train, test, weights=ALIKE):
    return Dataset("t", "", {}, ["place"], ["a", "b"], [], train, test[:0], test, {}, weights)


def rows(n, seed):
    drawn = np.zeros((n, 3))
    drawn[:, 0] = np.arange(n) % 4
    return DENSITY.draw(drawn, np.random.default_rng(seed))


def test_rows_of_a_table_are_compared_by_their_gain_over_independent_columns():
    data = table(rows(200, 0), rows(80, 1))
    rng = np.random.default_rng(0)
    found = [DENSITY.scored_rows(part, rng) for part in (data.train, data.test)]
    gains = [(one.log_q - one.log_independent).sum(axis=1) for one in found]
    assert memorised(DENSITY, data, 0) == memorisation(*gains)


def test_weights_stay_with_their_rows():
    u, v = (np.random.default_rng(2).gamma(1, 1, n) for n in (200, 80))
    data = table(rows(200, 0), rows(80, 1), Weights(u, None, v))
    order = np.random.default_rng(3).permutation(200)
    shuffled = replace(data, train=data.train[order], weights=Weights(u[order], None, v))
    first, second = memorised(DENSITY, data, 0), memorised(DENSITY, shuffled, 0)
    assert first.auc == pytest.approx(second.auc)
    assert first.auc != pytest.approx(memorised(DENSITY, replace(data, weights=ALIKE), 0).auc)


def test_rows_of_rare_levels_and_with_unknown_cells_are_left_out():
    train, test = rows(200, 0), rows(80, 1)
    train[:, 1], test[:, 1] = np.arange(200) % 3, np.arange(80) % 3
    common = memorised(DENSITY, table(train, test), 0)
    rare, new, given = train[:1].copy(), test[:3].copy(), train[:1].copy()
    rare[:, 1], new[:, 1], given[:, 0] = 5, [4, 5, -1], -1
    more = table(np.r_[train, rare], np.r_[test, new])
    judged = memorised(DENSITY, more, 0)
    assert (judged.n_train, judged.n_test) == (200, 81)  # level 5 has one training row
    assert memorised(DENSITY, table(np.r_[train, rare], test), 0) == common
    assert memorised(DENSITY, table(np.r_[train, given], test), 0).n_train == 201
    train, test = rows(200, 0), rows(80, 1)
    gap = test[:5].copy()
    gap[:, 2] = np.nan
    expected = memorised(DENSITY, table(train, test), 0)
    assert memorised(DENSITY, table(train, np.r_[gap, test]), 0) == expected


def test_rows_of_a_box_that_is_ticked_or_empty_are_all_compared():
    density = random_density([levels("box", 1, missing=True), number("b")])
    train = np.column_stack([np.resize([0, np.nan, np.nan], 200), rows(200, 0)[:, 2]])
    data = Dataset("t", "", {}, [], ["box", "b"], [], train, train[:0], train[:80], {})
    judged = memorised(density, data, 0)
    assert (judged.n_train, judged.n_test) == (200, 80)


def test_at_most_5000_rows_of_each_part_are_compared_by_the_seed():
    data = table(np.resize(rows(500, 0), (6_000, 3)), np.resize(rows(300, 1), (7_000, 3)))
    judged = memorised(DENSITY, data, 1)
    assert (judged.n_train, judged.n_test) == (5_000, 5_000)
    assert memorised(DENSITY, data, 1) == judged != memorised(DENSITY, data, 2)


def test_relations_of_the_fitted_rows_that_their_density_does_not_have_are_lost():
    train, held_out = rows(800, 0), rows(200, 1)
    data = replace(table(train, held_out), validation=held_out)
    assert lost(DENSITY, data, 0) == ([], [])
    train[:, 2] = train[:, 1]
    (found, *_), _ = lost(DENSITY, data, 0)  # b then goes with the place, too
    assert found.columns == ["a", "b"] and found.rows > 0.6
