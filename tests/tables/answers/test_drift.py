"""Drift of rows of a known density, with one change at a time."""

import numpy as np
import pytest
from cells import levels, number, random_density, random_marginal

from nflow_cli.config.column_kinds import Relation
from nflow_cli.errors import DataError
from nflow_cli.tables.answers import drift
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.row_oddness import as_written

N = 2_000
COLUMNS = [number("a"), levels("b", 3), number("c", missing=True), levels("d", 2), number("e")]


def known(density, held_out):
    density.held_out = held_out
    return density


def drifted(density, rows):
    return drift.drifted(density, density.held_out, rows, 0)


def drawn(density, n=N, seed=0):
    given = np.full((n, len(density.row_columns)), np.nan)
    return density.draw(given, np.random.default_rng([5, seed]))


@pytest.fixture(scope="module")
def density():
    found = random_density(COLUMNS, seed=6, shares=0.98)
    return known(found, drawn(found, seed=1))


@pytest.fixture
def rows(density):
    return drawn(density)


def test_fresh_rows_have_not_changed(density, rows):
    found = drifted(density, rows)
    assert (found.moved, found.moved_relations, found.row_moved) == ([], [], False)
    assert found.p_value > 0.05 and found.tests == 5 + 4 + 1
    assert list(found.columns) == list("abcde") and list(found.relations) == list("bcde")
    odd, others = (
        as_written(density, some, density.cell_log_probs(some)) for some in (rows, density.held_out)
    )
    assert found.row.difference == pytest.approx(others.mean() - odd.mean())
    assert abs(found.row.difference) < 4 * found.row.standard_error


@pytest.mark.parametrize("name", ["a", "c", "e"])
def test_a_shift_of_a_column_is_a_change_of_no_other_and_of_no_relation(density, rows, name):
    j = "abcde".index(name)
    rows[:, j] = np.round(rows[:, j] + 0.5 * np.nanstd(rows[:, j]), 3)
    found = drifted(density, rows)
    assert (found.moved, found.moved_relations) == ([name], [])
    assert found.p_value < 1e-6
    assert found.columns[name].shift.mean > 0.1


def test_a_column_without_its_dependence_is_a_change_of_a_relation_alone(density, rows):
    found = {}
    for j, name in enumerate("bcde", 1):
        some = rows.copy()
        some[:, j] = np.random.default_rng(0).permutation(some[:, j])
        found[name] = drifted(density, some)
    assert all(not one.moved and name in one.moved_relations for name, one in found.items())
    assert all(one.row.difference < 0 for one in found.values())


def test_what_moved_columns_before_explain_is_no_change_of_a_relation(density, rows):
    """Rows selected by the first column: all that depend on it move, and no relation changes."""
    every = drawn(density, 4 * N, 2)
    found = drifted(density, every[every[:, 0] > np.median(every[:, 0])][:N])
    assert "a" in found.moved and len(found.moved) > 1 and found.moved_relations == []
    found = drifted(density, every[every[:, 1] == 0][:N])  # b changes given a, others do not
    assert found.columns["b"].share.after == 1 and found.moved_relations == ["b"]


def test_a_relation_that_changes_while_columns_move_is_found(density, rows):
    rows[:, 0] = np.round(rows[:, 0] + 1, 3)
    rows[:, 4] = np.random.default_rng(0).permutation(rows[:, 4])
    found = drifted(density, rows)
    assert (found.moved, found.moved_relations) == (["a"], ["e"])


def test_unknown_and_impossible_rows_are_counted_apart(density, rows):
    rows[:40, 0] = np.nan
    found = drifted(density, rows)
    assert found.row.n_unknown == 40 and found.columns["a"].missing_after == 0.02
    assert found.moved == ["a"] and not found.row_moved
    with pytest.raises(DataError, match="expected held-out rows to compare with"):
        drifted(known(random_density(COLUMNS), np.zeros((0, 5))), rows)


def test_a_broken_relation_is_a_change():
    relation = Relation(rule="linear", columns=["a"], coefficients=[2.0])
    column = number("f", decimals=3)
    kind = column.kind.model_copy(
        update={"kind": "computed", "own": "number", "relation": relation}
    )
    marginal = random_marginal(column, np.random.default_rng(0))
    columns = [number("a"), number("b")]
    one = Computed(
        type(column)("f", kind.alone, column.maps, column.least_scale), 2, columns, marginal, 0.01
    )
    bare = random_density(columns, seed=1)
    parts = bare.columns, bare.layout, bare.marginals, bare.networks, bare.shares
    density = CellDensity(*parts, [one])
    known(density, drawn(density, seed=1))
    assert drifted(density, drawn(density)).moved_relations == []
    rows = drawn(density)
    rows[:200, 2] = np.random.default_rng(0).permutation(rows[:200, 2])
    found = drifted(density, rows)
    assert (found.moved, found.moved_relations) == ([], ["f"])
    share = found.relations["f"].share
    assert abs(share.after - share.before) == pytest.approx(0.1, abs=0.01)
    rows = drawn(density)
    rows[:, [0, 2]] *= 2
    found = drifted(density, rows)
    assert sorted(found.moved) == ["a", "f"] and found.moved_relations == []
