"""Distributions of a cell of rows with unknown cells, against sums and draws of the density."""

from dataclasses import replace

import numpy as np
import pytest
from cells import grid, levels, number, products, random_density, values_of

from nflow_cli.tables.cells.cell_conditional import conditional
from nflow_cli.tables.table_rows import TableRows
from nflow_cli.tables.unknown import conditional_of_known


@pytest.mark.parametrize("members", [1, 2])
def test_levels_and_gaps_have_the_mean_over_all_values_of_the_unknown_cells(members):
    columns = [levels("a", 3), levels("b", 4, missing=True), levels("c", 3), levels("d", 2)]
    density = random_density(columns, members=members)
    for i, one in enumerate(density.marginals):  # new levels, which no draw has, are improbable
        log_shares = np.append(one.log_shares[:-1], -30.0)
        log_shares -= np.log(np.exp(log_shares).sum())
        density.marginals[i] = replace(one, log_shares=log_shares)
    every = products(range(3), values_of(columns[1]), range(3), [1])
    p = np.exp(density.log_prob(every))
    gap = np.isnan(every[:, 1])
    expected = [p[gap].sum(), *(p[every[:, 1] == i].sum() for i in range(4))] / p.sum()
    row = np.array([[np.nan, 2.0, np.nan, 1.0]])
    rows = TableRows(density, np.repeat(row, 300, axis=0))
    found = conditional_of_known(rows, 1, np.array([0.5]), 0)
    every = np.column_stack([found.missing, found.levels])
    np.testing.assert_allclose(every.mean(axis=0), expected, atol=3e-3)
    np.testing.assert_allclose(found.log_prob, np.log(found.levels[:, 2]))
    hidden = conditional(density, row, 1, np.array([0.5])).levels
    assert np.abs(hidden - expected[1:]).max() > 0.01


@pytest.mark.parametrize("j", [0, 2])
def test_rows_of_the_density_are_in_their_intervals_as_often_as_stated(j):
    columns = [number("x"), number("y"), number("z")]
    density = random_density(columns, seed=5)
    rows = density.draw(np.full((200, 3), np.nan), np.random.default_rng(1))
    own = rows[:, j].copy()
    rows[:, 1] = np.nan
    found = conditional_of_known(TableRows(density, rows), j, np.array([0.05, 0.5, 0.95]), 0)
    below = np.mean(own[:, None] < found.quantiles, axis=0)
    assert (np.abs(below - [0.05, 0.5, 0.95]) < [0.05, 0.1, 0.05]).all()
    assert abs(np.mean((own - found.mean) / found.sd)) < 0.2
    assert abs(np.mean(found.below) - 0.5) < 0.06


def test_a_cell_off_its_grid_is_unknown_and_looked_for_once(monkeypatch):
    density = random_density([levels("a", 3), grid("b", step=1.0), levels("c", 4)])
    scored, by_blocks = [], density.by_blocks

    def noted(scores, cells, *others, **options):
        scored.append(cells)
        return by_blocks(scores, cells, *others, **options)

    monkeypatch.setattr(density, "by_blocks", noted)
    rows, empty = (TableRows(density, np.array([[1.0, b, 2.0]])) for b in (0.5, np.nan))
    found, expected = (conditional_of_known(r, 0, np.array([0.5]), 0) for r in (rows, empty))
    assert (found.levels == expected.levels).all()
    assert rows.counts() == {"n_new_levels": 0, "n_impossible": 1, "n_impossible_cells": 1}
    assert sum(cells is rows.values for cells in scored) == 1
