"""Columns that follow from others: masses that sum to 1, broken rows, gaps, draws, the PIT."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cells import (
    BETWEEN,
    grid,
    levels,
    number,
    random_density,
    random_marginal,
    values_of,
)

from nflow_cli.config.column_kinds import ColumnKind, Relation
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed

TOTAL = Relation(rule="linear", columns=["a", "b"], coefficients=[2.0, -1.0], constant=1.0)
LOG = Relation(rule="log", columns=["a"], coefficients=[1.0])
NAMES = Relation(
    rule="map",
    columns=["town"],
    keys=["level 1", "level 0", "level 2"],
    values=["level 1", "level 1", "level 0"],
)
MEANS = Relation(rule="map", columns=["a"], keys=["0.5", "2", "-1"], values=["2.5", "3", "0"])
COLUMNS = [
    levels("town", 3, missing=True),
    grid("a", step=0.5, missing=True),
    number("b", resolution=0.01, decimals=2),
]
TOWN, A, B, OWN = range(4)
BROKEN = 0.01


def computed(column, relation, broken=BROKEN):
    """Return a column that follows from the columns above, beside a marginal at random."""
    kind = column.kind.model_copy(update={"relation": relation})
    column = replace(column, kind=kind)
    marginal = random_marginal(column, np.random.default_rng(5))
    return Computed(column, OWN, COLUMNS, marginal, broken)


CASES = {
    "levels": computed(levels("name", 2, missing=True), NAMES),
    "levels without gaps": computed(levels("name", 2), NAMES),
    "grid": computed(grid("y", step=0.01, missing=True), TOTAL),
    "grid with atoms": computed(grid("y", step=0.5, atoms=[2.5, 3.0], missing=True), MEANS),
    "grid with bounds": computed(
        grid("y", step=0.5, maps=BETWEEN, bounds=[0, 9], missing=True), MEANS
    ),
    "grid of ties": computed(grid("y", step=1, decimals=0, missing=True), TOTAL),
    "grid of rounded columns": computed(
        grid("y", step=0.01, missing=True), TOTAL.model_copy(update={"is_rounded": True})
    ),
    "grid beside the values": computed(grid("y", step=0.3, missing=True), TOTAL),
}
SOURCES = [
    [0, 0.5, 0.25],
    [2, -1.0, 0.5],
    [1, 2.0, -0.07],
    [-1, 30.0, 0.0],  # a new level
    [np.nan, np.nan, 0.0],
    [0, 0.5, np.nan],  # a gap of a column without gaps
]


def rows_of(one, sources):
    """Return rows of all values of a cell, and of those by the function, beside sources."""
    at = np.array([[*sources, np.nan]])
    expected = one.expected(at)
    left = expected.low + expected.step * np.arange(expected.count[0])
    values = np.concatenate([values_of(one.column, 20.0), expected.values, left])
    values = np.unique(np.round(values, 6))
    if one.column.missing_code is None:
        values = values[~np.isnan(values)]
    rows = np.repeat(at, len(values), axis=0)
    rows[:, OWN] = values
    return rows


@pytest.mark.parametrize("case", CASES)
def test_the_probabilities_of_all_values_of_a_cell_sum_to_one_and_the_pit_sums_them(case):
    one = CASES[case]
    for sources in SOURCES:
        rows = rows_of(one, sources)
        rows = rows[np.argsort(one._rank(rows[:, OWN]), kind="stable")]
        up_to = np.cumsum(np.exp(one.log_prob(rows)))
        assert up_to[-1] == pytest.approx(1, abs=1e-9)
        if case == "grid beside the values" or sources == SOURCES[-1]:
            continue  # a value on no grid, or that is unknown, is in no order
        below, at = one.below_and_at(rows)
        assert below + at == pytest.approx(up_to, abs=1e-9)
        assert below == pytest.approx(np.append(0, up_to[:-1]), abs=1e-9)


def test_dates_and_their_parts_are_computed_in_days_or_seconds():
    day, month = number("day", decimals=0, type="date"), number("month", decimals=0)
    columns = [day, month, number("dom", decimals=0)]
    of_parts = Relation(rule="date", columns=["month", "dom"], parts=["month", "day"], year=2024)
    of_date = Relation(rule="date", columns=["day"], part="month", zone=-86_400, constant=-1)
    rows = np.array(
        [[19_783, 2, 29, np.nan], [19_784, 2, 30, np.nan]]
    )  # 1 March 2024, the next day
    for relation, type, values in (
        (of_parts, "date", [19_782, np.nan]),
        (of_parts, "time", [19_782 * 86_400, np.nan]),
        (of_date, "whole", [1, 2]),
    ):
        column = number("y", resolution=1, decimals=0, type=type)
        one = replace(computed(column, relation), others=columns)
        expected = one.expected(rows)
        np.testing.assert_array_equal(expected.values, values)
        np.testing.assert_array_equal(expected.known, np.isfinite(values))


@pytest.mark.parametrize(
    ("relation", "sources", "value"),
    [
        (TOTAL, [0, 0.5, 0.25], 1.75),
        (LOG, [0, 2.0, 0.0], math.log(2)),
        (
            Relation(rule="product", columns=["a", "b"], coefficients=[2.0, -1.0], constant=1),
            [0, 3, 2],
            4.5,
        ),
        (
            Relation(rule="exp", columns=["b"], coefficients=[0.5], constant=3),
            [0, 3, 2],
            3 * math.e,
        ),
        (MEANS, [0, 0.5, 0], 2.5),
        (MEANS, [0, 100, 0], 3.0),  # the nearest key
    ],
)
def test_a_cell_is_what_its_function_gives(relation, sources, value):
    one = computed(number("y", resolution=1e-9, decimals=9), relation)
    row = np.array([[*sources, np.nan]])
    row[0, OWN] = one.draw(row, np.random.default_rng(0))[0]
    assert row[0, OWN] == pytest.approx(value, abs=6e-10)
    assert one.log_prob(row)[0] == pytest.approx(math.log1p(-BROKEN), abs=1e-6)
    of_all_digits = computed(number("y", resolution=1e-16, decimals=None), relation)
    (exact,) = of_all_digits.expected(row).values
    assert exact == float(f"{exact:.12g}")  # that a table is read to


def test_both_values_of_a_tie_are_equally_probable_and_a_near_one_is_broken():
    one = CASES["grid of ties"]
    rows = np.array([[0, -1.0, 0.5, y] for y in (-3.0, -2.0, -1.0, 0.0)])  # exactly -1.5
    held = (1 - BROKEN) / 2
    broken = BROKEN * np.exp(one.by_marginal.log_prob(rows))
    expected = np.log(np.array([0, held, held, 0]) + broken)
    assert one.log_prob(rows) == pytest.approx(expected)
    drawn = one.draw(np.repeat(rows[:1], 1_000, axis=0), np.random.default_rng(0))
    assert set(drawn) == {-2.0, -1.0} and abs((drawn == -1.0).mean() - 0.5) < 0.06


def test_a_cell_of_rounded_columns_has_the_distribution_of_their_errors():
    relation = Relation(rule="product", columns=["a", "b"], coefficients=[1, 1], constant=1)
    facts = {"digits": 4, "is_rounded": True}
    y = number("y", resolution=1e-3, decimals=4)
    one = computed(y, relation.model_copy(update=facts))
    row = np.array([[0, 12.0, 3.0, np.nan]])
    reach = 36 * (0.005 / 12 + 0.005 / 3) + 0.005  # of two decimals, and of four digits of y
    written = np.round(np.arange(35.0, 37.0, 0.01), 2)
    rows = np.repeat(row, len(written), axis=0)
    rows[:, OWN] = written
    found = np.exp(one.log_prob(rows))
    assert (found > 1e-3)[np.abs(written - 36) > reach].sum() == 0
    assert found[np.abs(written - 36) < reach].sum() == pytest.approx(1 - BROKEN, abs=2e-3)
    rng = np.random.default_rng(1)  # numbers that are 12.00 and 3.00 to two decimals
    products = rng.uniform(11.995, 12.005, 10**6) * rng.uniform(2.995, 3.005, 10**6)
    shares = (np.round(products, 2) == written[:, None]).mean(axis=1)
    assert found == pytest.approx((1 - BROKEN) * shares, abs=3e-3)
    drawn = one.draw(np.repeat(row, 100_000, axis=0), np.random.default_rng(2))
    of_draws = (np.round(drawn, 2) == written[:, None]).mean(axis=1)
    assert of_draws == pytest.approx(shares, abs=5e-3)


def test_a_broken_cell_is_improbable_by_its_marginal_but_not_impossible():
    one, alone = CASES["grid"], computed(CASES["grid"].column, TOTAL, broken=1.0)
    row = np.array([[0, 0.5, 0.25, 1.76]])
    assert one.log_prob(row) == pytest.approx(math.log(BROKEN) + alone.log_prob(row))
    far = np.array([[0, 0.5, 0.25, 90.0]])
    assert -1_000 < one.log_prob(far)[0] < -20


def test_gaps_go_with_gaps_and_one_of_a_column_that_had_none_is_unknown():
    holding, one = [(np.nan, np.nan), (0, 1)], CASES["levels"]
    for town, name in (*holding, (np.nan, 0), (0, np.nan), (0, 0)):
        (log_p,) = one.log_prob(np.array([[town, 0.0, 0.0, name]]))
        assert (log_p > math.log(0.9)) == ((town, name) in holding) and np.isfinite(log_p)
    row, without = np.array([[0, 0.0, 0.0, np.nan]]), CASES["levels without gaps"]
    assert without.log_prob(row)[0] == 0
    assert np.isnan(without.below_and_at(row)).all()


def test_numbers_that_arithmetic_or_single_precision_moved_hold():
    kind = ColumnKind(kind="number", resolution=1.2e-7, relation=LOG)
    one = computed(CellColumn("y", kind, COLUMNS[B].maps), LOG)
    a = np.arange(1, 400) / 2
    rows = np.column_stack([np.zeros((len(a), 1)), a, np.zeros(len(a)), np.log(a)])
    rows[:, OWN] = rows[:, OWN].astype(np.float32)
    assert one.holds(rows, one.expected(rows)).all()
    rows[:, OWN] += 1e-4
    assert not one.holds(rows, one.expected(rows)).any()


def test_a_logarithm_of_single_precision_is_computed_in_it():
    kind = ColumnKind(kind="number", resolution=1.2e-7, single=15, relation=LOG)
    one = computed(CellColumn("y", kind, COLUMNS[B].maps), LOG)
    a = np.arange(1, 400) / 2
    rows = np.column_stack([np.zeros((len(a), 1)), a, np.zeros((len(a), 2))])
    single = [float(str(value)) for value in np.log(a).astype(np.float32)]
    np.testing.assert_array_equal(one.expected(rows).values, single)


def test_what_its_row_says_nothing_of_is_drawn_by_the_marginal():
    one = computed(levels("name", 2), NAMES)
    rows = np.tile([-1.0, 0.0, 0.0, np.nan], (20_000, 1))
    drawn = one.draw(rows, np.random.default_rng(1))
    shares = np.exp(one.marginal.log_shares[:2])
    assert (drawn == 0).mean() == pytest.approx(shares[0] / shares.sum(), abs=0.015)


@pytest.fixture(scope="module")
def density():
    """Return an equal mixture of two networks, and two columns that follow from theirs."""
    own = random_density(COLUMNS, members=2)
    two = CASES["levels"], CASES["grid with atoms"]
    two = [Computed(c.column, OWN + i, COLUMNS, c.marginal, BROKEN) for i, c in enumerate(two)]
    return CellDensity(own.columns, own.layout, own.marginals, own.networks, own.shares, two), own


def test_computed_cells_come_last_and_add_up(density):
    density, own = density
    rows = density.draw(np.full((500, 5), np.nan), np.random.default_rng(2))
    rows[::2, 3:] = rows[::-2, 3:]  # some are broken
    cells = density.cell_log_probs(rows)
    of_computed = np.column_stack([one.log_prob(rows) for one in density.computed_columns])
    assert cells[:, :3] == pytest.approx(own.cell_log_probs(rows[:, :3]), abs=1e-9)
    assert cells[:, 3:] == pytest.approx(of_computed, abs=1e-9)
    assert density.log_prob(rows) == pytest.approx(cells.sum(axis=1))


def test_draws_obey_relations_and_their_pit_is_uniform(density):
    density, _ = density
    rows = density.draw(np.full((4_000, 5), np.nan), np.random.default_rng(3))
    for one in density.computed_columns:
        assert one.holds(rows, one.expected(rows)).all()
    rows = density.draw(np.full((4_000, 5), np.nan), np.random.default_rng(3), with_new=True)
    uniform = np.sort(density.pit(rows, np.random.default_rng(4)), axis=0)
    distance = np.abs(uniform - (np.arange(4_000)[:, None] + 0.5) / 4_000).max(axis=0)
    assert (distance < 1.95 / np.sqrt(4_000)).all()  # of Kolmogorov: one in a thousand


def test_a_formula_that_gives_no_number_leaves_the_cell_to_its_marginal():
    ratio = Relation(rule="product", columns=["a", "b"], coefficients=[1.0, -1.0], constant=1.0)
    y = grid("y", step=1 / 3, missing=True)
    kind = y.kind.model_copy(update={"decimals": None})
    one = computed(CellColumn("y", kind, y.maps, y.least_scale), ratio)
    rows = np.array([[0, 0.5, 0.0, 1.0], [0, 0.0, 0.0, 1.0], [0, 1.0, 0.5, 2.0]])
    expected = one.expected(rows)
    np.testing.assert_array_equal(expected.known, [False, False, True])
    assert np.isfinite(one.log_prob(rows)).all() and np.isnan(expected.values[:2]).all()
