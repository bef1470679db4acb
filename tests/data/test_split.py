import numpy as np
import pytest

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.split import split_at_random, split_by_column, split_by_group
from nflow_cli.errors import DataError


def assert_every_row_is_in_one_part(parts, n):
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))


@pytest.mark.parametrize(("n", "held_out"), [(10, 2), (100, 10), (1_000_003, 50_000)])
def test_a_tenth_is_held_out_for_validation_and_test(n, held_out):
    parts = split_at_random(n, seed=3)
    assert (len(parts.validation), len(parts.test)) == (held_out, held_out)
    assert_every_row_is_in_one_part(parts, n)


def test_test_rows_of_their_own_leave_all_others_to_train_and_validate():
    parts = split_at_random(100, seed=3, with_test=False)
    assert [len(part) for part in parts] == [90, 10, 0]


def test_the_seed_decides():
    first, again, other = (split_at_random(50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    assert first.train.tolist() != other.train.tolist()


@pytest.mark.parametrize("test", [None, "rows.csv"])
@pytest.mark.parametrize("groups", [3, 10, 300])
def test_groups_stay_together(groups, test):
    group = np.random.default_rng(0).integers(0, groups, 1_000).astype(str)
    settings = TableData(name="t.csv", test=test)
    parts = split_by_group("t.csv", "shop", group, settings)
    assert_every_row_is_in_one_part(parts, 1_000)
    sets = [set(group[part]) for part in parts]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    assert len(parts.train) and len(parts.validation) and bool(len(parts.test)) == (test is None)


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match=r"expected 3 or more groups in column 'shop', received 2"):
        split_by_group("t.csv", "shop", np.array(["a", "b"] * 20), TableData(name="t.csv"))


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("0", "1", "2.0")])
def test_a_column_says_the_parts(words):
    texts = np.array([words[i] for i in (0, 0, 0, 1, 2, 0, 1, 2)])
    parts = split_by_column("t.csv", "part", texts, seed=0)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 5], [3, 6], [4, 7]]


def test_without_validation_rows_some_to_train_on_are_taken():
    texts = np.array(["train"] * 40 + ["Test "] * 5)
    parts = split_by_column("t.csv", "part", texts, seed=0)
    assert [len(part) for part in parts] == [36, 4, 5]
    assert_every_row_is_in_one_part(parts, 45)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["train", "dev", "test"], "received 'dev'"),
        (["train", "", "test"], "received ''"),
        (["train"] * 9, "has 9, 0 and 0"),
        (["test"] * 9, "has 0, 9 and 0"),
        (["train"] * 9 + ["test"] * 2 + ["val"], "has 9, 2 and 1"),
    ],
)
def test_a_column_that_does_not_say_the_parts_is_refused(texts, words):
    with pytest.raises(DataError, match=words):
        split_by_column("t.csv", "part", np.array(texts), seed=0)
