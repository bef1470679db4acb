"""Rules between two columns: planted ones are found, independent columns have none."""

import numpy as np
import pytest

from nflow_cli.config.table import TableData
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.data.kinds.found_rules import rules_of
from nflow_cli.errors import DataError

N = 1_000
RNG = np.random.default_rng(2)
FIRST = RNG.integers(0, 40, N).astype(float)
LATER = FIRST + RNG.poisson(4, N)
LAST = LATER + RNG.poisson(6, N)
COUNT = RNG.poisson(0.7, N).astype(float)
AMOUNT = np.where(COUNT > 0, np.round(RNG.gamma(2, 30, N), 2), 0.0)
GAPS = np.where(RNG.random(N) < 0.2, np.nan, 0.0)
OTHER = np.round(RNG.normal(20, 9, N), 1)


def rules(folder, *declared, find=True, **columns):
    """Rules of a table that are not implied, as text, and all."""
    path = folder / "table.csv"
    cells = np.column_stack(list(columns.values()))
    lines = [",".join("" if np.isnan(x) else f"{x:g}" for x in row) for row in cells]
    path.write_text("\n".join([",".join(columns), *lines]))
    found = rules_of(load_dataset(TableData(name=str(path), missing="model")), declared, find)
    return [rule.text for rule in found if not rule.is_implied], found


def test_an_order_is_found_and_one_that_follows_is_implied(tmp_path):
    printed, found = rules(tmp_path, entry=FIRST, exit=LAST, middle=LATER, other=OTHER)
    assert sorted(printed) == ["entry <= middle", "middle <= exit"]
    assert [rule.text for rule in found if rule.is_implied] == ["entry <= exit"]
    assert {rule.rows for rule in found} == {800}


def test_zeros_and_gaps_are_found(tmp_path):
    columns = {"count": COUNT, "amount": AMOUNT, "a": OTHER + GAPS, "b": FIRST - 90 + GAPS}
    printed, _ = rules(tmp_path, **columns)
    gap = "b missing where a is, and only there"
    assert sorted(printed) == ["amount = 0 where count = 0", gap, "count <= amount"]


def test_a_number_with_fewer_decimals_is_compared_as_rounded(tmp_path):
    exact = np.round(RNG.uniform(0, 30, N), 1)
    rounded = np.rint(exact) + RNG.integers(0, 4, N)
    assert (exact > rounded).any()
    assert rules(tmp_path, exact=exact, rounded=rounded)[0] == ["exact <= rounded"]


def test_one_exception_among_training_rows_is_no_rule(tmp_path):
    broken = LAST.copy()
    broken[:10] = -1  # one of them at least is a training row
    assert rules(tmp_path, entry=FIRST, exit=broken)[0] == []


@pytest.mark.parametrize("seed", range(10))
def test_independent_columns_have_none(tmp_path, seed):
    rng = np.random.default_rng(seed)
    columns = {"a": FIRST, "b": LAST, "c": COUNT, "d": AMOUNT, "e": OTHER + GAPS}
    shuffled = {name: rng.permutation(cells) for name, cells in columns.items()}
    assert rules(tmp_path, **shuffled)[1] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("entry<=exit", "entry <= exit"),
        ("count = 0 where amount = 0", "count = 0 where amount = 0"),
        ("b missing where a is", "b missing where a is, and only there"),
    ],
)
def test_a_declared_rule_has_its_exceptions_counted(tmp_path, text, expected):
    broken = LAST.copy()
    broken[:10] = -1
    columns = {"entry": FIRST, "exit": broken, "count": COUNT, "amount": AMOUNT}
    columns |= {"a": OTHER + GAPS, "b": FIRST + np.where(RNG.random(N) < 0.01, np.nan, GAPS)}
    printed, (found,) = rules(tmp_path, text, find=False, **columns)
    assert printed == [expected] and found.is_declared
    breaks = {"entry<=exit": 10, "count = 0 where amount = 0": 0}.get(text, found.breaks)
    assert found.breaks == pytest.approx(0.9 * breaks, abs=4)  # of all but test rows
    assert 880 <= found.rows <= 920


def test_orders_that_follow_from_a_declared_one_join_it(tmp_path):
    rising = {"entry": FIRST, "middle": LATER, "exit": LAST, "end": LAST + COUNT + 9}
    printed, found = rules(tmp_path, "exit <= end", "middle <= exit", find=False, **rising)
    assert printed == ["exit <= end", "middle <= exit"]
    assert [rule.text for rule in found if rule.is_implied] == ["middle <= end"]
    printed, _ = rules(tmp_path, "entry <= middle", **rising)
    assert printed[0] == "entry <= middle" and len(printed) == len(set(printed)) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("entry < exit", "expected 'a <= b'"),
        ("entry <= leave", "Received: leave"),
        ("entry <= entry", "expected two columns"),
        ("exit <= entry", "of 900 break it"),
        ("exit missing where entry is", "with missing cells"),
    ],
)
def test_a_rule_that_rows_do_not_have_is_refused(tmp_path, text, reason):
    with pytest.raises(DataError, match=f"^rule '{text}': .*{reason}"):
        rules(tmp_path, text, entry=FIRST, exit=LAST)
