"""Whole numbers whose order says nothing about other columns, planted beside ordered ones."""

import numpy as np
import pytest

from nflow_cli.data.files.columns import Column
from nflow_cli.data.kinds.codes import without_order


def numbers(name, values):
    return Column(name, "number", np.asarray(values, float), None, [])


def texts(name, codes):
    names = [f"level {code}" for code in range(int(codes.max()) + 1)]
    return Column(name, "text", None, codes.astype(np.int32), names)


def table(rng, n=2_000, size=12):
    """Return codes and ages, beside numbers and levels that depend on either."""
    codes = rng.choice(size, n, p=rng.dirichlet(np.full(size, 4.0)))
    ages = rng.integers(0, size, n)
    effects = np.linspace(-2, 2, size)[np.argsort(np.arange(size) * 5 % 13)]  # in no order
    return [
        numbers("code", codes + 1),
        numbers("age", ages),
        numbers("of code", effects[codes] + rng.normal(size=n)),
        numbers("of age", np.sin(ages / 4) + rng.normal(size=n)),
        texts("level of code", (effects[codes] + rng.normal(size=n) > 0).astype(int)),
        texts("level of age", (np.abs(ages - 5) + 2 * rng.normal(size=n) > 3).astype(int)),
    ]


@pytest.mark.parametrize("seed", range(10))
def test_codes_are_found_and_ordered_numbers_are_not(seed):
    assert without_order(table(np.random.default_rng(seed))) == {"code"}


def test_numbers_that_nothing_depends_on_keep_their_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        columns = [numbers("a", rng.integers(0, 9, 1_000)), numbers("b", rng.normal(size=1_000))]
        assert without_order(columns) == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda codes: codes + 0.5,
        lambda codes: codes - 6,
        lambda codes: np.minimum(codes, 5),
        lambda codes: 50 * codes + np.arange(len(codes)) % 50,
    ],
    ids=["fractions", "negative", "few", "many"],
)
def test_codes_are_a_few_whole_numbers(change):
    code, *others = table(np.random.default_rng(1))
    assert without_order([numbers("code", change(code.numbers)), *others]) == set()


def test_rows_of_a_group_count_once():
    groups = np.repeat(np.arange(60), 30)
    found = set()
    for seed in range(10):
        few = table(np.random.default_rng(seed), n=60)
        repeated = [column.at(groups) for column in few]
        assert without_order(repeated, groups) <= {"code"}
        found |= without_order(repeated)
    assert found == {"age", "code"}  # of 30 times as many rows chance is a relation


def test_gaps_are_a_value():
    rng = np.random.default_rng(2)
    code, *_ = table(rng)
    is_odd = code.numbers % 2 == 1
    gaps = np.where(is_odd & (rng.random(2_000) < 0.8), np.nan, rng.normal(size=2_000))
    assert without_order([code, numbers("with gaps", gaps)]) == {"code"}
