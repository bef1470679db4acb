"""The rows that no density can be fitted to, of columns in roles of their own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dequantisation import are_multiples
from nflow_cli.data.row_checks import regular_step
from nflow_cli.data.table_files import table_of
from nflow_cli.data.table_rows import load_table
from nflow_cli.errors import DataError

N = 200
RNG = np.random.default_rng(0)
A, B, G, H = RNG.standard_normal((4, N))
CITY = RNG.choice(["Oslo", "Paris", "Rome"], N)
COUNT = RNG.poisson(4, N).astype(float)
PLAIN = {"a": A, "b": B, "g": G, "h": H, "city": CITY, "n": COUNT}
ALL = {"given": ["g", "h"], "categorical": {"city": None}, "discrete": {"n": 1.0}}


def load(table, settings, name="t.csv"):
    return load_table(TableData(name=name, **settings), "tukey-h", table_of(table))


def with_value(name, row, value):
    column = PLAIN[name].astype(object) if isinstance(value, str) else PLAIN[name].copy()
    column[row] = value
    return {**PLAIN, name: column.tolist()}


def test_rows_of_all_roles_are_taken():
    assert load(PLAIN, ALL).columns == ["a", "b", "n"]


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        ({}, {"given": ["G"]}, "data.given: no column 'G' (did you mean 'g'?); it has a, b, g, h"),
        ({}, {"categorical": {"cty": None}}, "data.categorical: no column 'cty' (did you mean 'c"),
        ({}, {"discrete": {"x": 1.0}}, "data.discrete: no column 'x'"),
        ({}, {"weights": "w"}, "data.weights: no column 'w'"),
        (
            {},
            {"given": ["a", "b", "g", "h", "n"]},
            "expected a column of numbers to model, received",
        ),
        (
            {},
            {"exclude": ["a", "b", "g", "h", "n"], "categorical": {"city": None}},
            "expected a column of numbers to model, received none",
        ),
        (
            {},
            {**ALL, "given": ["city", "g"], "categorical": {}},
            "expected a number, received 'Paris'; --categorical city takes text",
        ),
        ({"log_q": G}, {**ALL, "given": ["log_q"]}, "expected no column 'log_q'"),
        (with_value("g", 3, np.nan), ALL, "1 of 200 rows lack a value (g 1); --missing drop leave"),
        (with_value("city", 3, "NA"), ALL, "1 of 200 rows lack a value (city 1); --missing drop"),
        ({"w": [1.0, None] * 100}, {**ALL, "weights": "w"}, "100 of 200 rows lack a value (w 100)"),
        (
            with_value("g", 3, np.inf),
            ALL,
            "row 3 counted from 0: column 'g': expected a finite num",
        ),
        (with_value("g", 3, 1e30), ALL, "row 3 counted from 0: expected values within"),
        ({"g": np.ones(N)}, ALL, "column 'g' is constant, 1; --given goes without it"),
        (
            {"city": ["Rome"] * N},
            ALL,
            "column 'city' has one level, 'Rome'; --exclude leaves it out",
        ),
        (
            {"city": ["Rome"] * 150 + ["Oslo"] * 50, "part": ["train"] * 150 + ["test"] * 50},
            {**ALL, "split": "part"},
            "column 'city' has one level among the rows to train on, 'Rome'; --exclude leaves it",
        ),
        (
            {"city": ["Rome"] * N},
            {**ALL, "given": ["city"]},
            "column 'city' has one level, 'Rome'; --given goes without it",
        ),
        (
            {"city": [f"{i // 2 * 2}" if i < 180 else f"{i}" for i in range(N)]},
            ALL,
            "column 'city': expected levels that repeat, received 1",
        ),
        (
            {},
            {**ALL, "columns": ["a", "city", "n"], "categorical": {"city": ["Oslo", "Rome"]}},
            "column 'city': expected a level that data.categorical names; null takes those of the",
        ),
        (
            with_value("n", 5, 2.5),
            ALL,
            "row 5 counted from 0: column 'n': expected multiples of 1,",
        ),
        (with_value("n", 5, 2.00001), ALL, "received 2.00001 (1 row is none)"),
        ({"n": COUNT + 0.5}, ALL, "(200 rows are none)"),
        (
            with_value("n", 5, -1.0),
            {**ALL, "bounds": {"n": [0, None]}},
            "(1 row is outside a bound)",
        ),
        ({"n": 1e12 + COUNT}, ALL, "column 'n': expected a step of 1e-09 of the values or more"),
        ({"n": np.full(N, 3.0)}, ALL, "column 'n' is constant, 3; --exclude leaves it out"),
        (
            {},
            {**ALL, "discrete": {}},
            "bound there; --discrete n spreads out its steps, --given n t",
        ),
        (
            {"n": COUNT / 4},
            {**ALL, "discrete": {}},
            "--discrete n:0.25 spreads out its steps, --gi",
        ),
        (
            {"n": np.where(COUNT < 3, 0, A)},
            {**ALL, "discrete": {}},
            "bound there; --given n takes it as known, --exclude n leaves it out",
        ),
        (
            {"w": -1 - COUNT},
            {**ALL, "weights": "w"},
            "row 0 counted from 0: column 'w': expected fi",
        ),
        ({"w": np.r_[COUNT[1:], -2]}, {**ALL, "weights": "w"}, "received -2 (1 row has another)"),
        (
            {"w": np.r_[COUNT[1:], np.inf]},
            {**ALL, "weights": "w"},
            "received inf (1 row has anothe",
        ),
        (
            {"w": np.zeros(N)},
            {**ALL, "weights": "w"},
            "'w': expected weights, received 0 in all ro",
        ),
        (
            {"w": np.arange(N) < 150, "part": ["train"] * 150 + ["test"] * 50},
            {**ALL, "weights": "w", "split": "part"},
            "column 'w': expected a number, received 'True'",
        ),
        (
            {"w": np.r_[np.ones(150), np.zeros(50)], "part": ["train"] * 150 + ["test"] * 50},
            {**ALL, "weights": "w", "split": "part"},
            "column 'w': expected weights, received 0 in all 50 test rows",
        ),
        (
            {
                "w": np.r_[1.0, np.full(199, 1e-9)],
                "part": ["train"] * 100 + ["test"] * 50 + ["validation"] * 50,
            },
            {**ALL, "weights": "w", "split": "part"},
            "(of the rows to train on, by weight)",
        ),
        (
            {"b": 2 * G - 3 * H + 1},
            ALL,
            "column 'b' follows from what is given: g, h; the likelihood",
        ),
        (
            {"b": G / 3},
            ALL,
            "column 'b' follows from what is given: g; the likelihood of a density",
        ),
        (
            {"b": A + G},
            ALL,
            "each of these columns follows from the others and from what is given: a, b; the likel",
        ),
    ],
)
def test_rows_that_no_density_fits_are_one_line(table, settings, words):
    with pytest.raises(DataError) as refused:
        load({**PLAIN, **table}, settings)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("role", [["g"], ["g", "shop"]])
def test_a_column_that_a_category_decides_is_refused(role):
    shop = np.arange(N) % 20
    table = {"a": A, "g": G, "shop": shop, "place": np.sin(shop) + 1e-7 * B}
    modelled = [name for name in table if name not in role]
    with pytest.raises(DataError, match="column 'place' follows from 'shop', each of") as refused:
        load(table, {"columns": modelled, "given": role, "categorical": {"shop": None}})
    assert "\n" not in str(refused.value)


def test_given_columns_may_repeat_and_follow_from_each_other():
    table = {**PLAIN, "twice": 2 * G, "rank": np.round(G), "is_high": np.where(G > 0, 1, 0)}
    rows = load(table, {**ALL, "given": ["g", "twice", "rank", "is_high"]})
    assert rows.roles.given_numbers == ["g", "twice", "rank", "is_high"]


def test_a_discrete_total_beside_its_parts_is_taken_as_noise_parts_them():
    more = RNG.poisson(9, N).astype(float)
    table = {"n": COUNT, "m": more, "total": COUNT + more}
    assert load(table, {"discrete": dict.fromkeys(table, 1.0)}).columns == ["n", "m", "total"]


@given(st.integers(-(10**8), 10**8), st.sampled_from([1, 0.5, 0.1, 0.01, 1 / 3, 7e-5, 1e9]))
def test_multiples_are_told_from_what_is_off_them(k, step):
    off = np.array([k, k + 3e-6, k - 3e-6, k + 0.5]) * step
    assert are_multiples(off, step).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1, 2, 5, 9] * 3, 1.0),
        ([2, 5, 9] * 3, 1.0),
        ([10, 30, 50] * 3, 10.0),
        ([0, 20, 40] * 3, 20.0),
        (np.arange(5).repeat(3) * 0.1, 0.1),
        (np.arange(5).repeat(3) / 3, 1 / 3),
        ([0.0, 0.1, 0.25] * 3, None),
        ([0.3, 0.1 + 0.2, 0.7] * 3, None),
        ([4.0] * 9, None),
        (np.arange(9.0), None),
    ],
)
def test_the_step_of_values_that_repeat_is_found(values, step):
    found = regular_step(np.asarray(values, float))
    assert found == pytest.approx(step, rel=1e-9) if step else found is None


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("why", ["level", "weight"])
def test_parts_without_two_rows_to_judge_by_are_refused(part, why):
    split = np.where(np.arange(N) < N - 60, "train", "validation")
    split[N - 30 :] = "test"
    of_part = np.flatnonzero(split == part)[1:]
    table = {"a": A, "split": split, "w": np.ones(N), "c": np.where(np.arange(N) % 2, "a", "b")}
    if why == "level":
        table["c"][of_part] = "z"
        settings = {"categorical": {"c": None}, "exclude": ["w"]}
        words = f"two {part} rows or more with levels that training rows have, received 1 of 30"
    else:
        table["w"][of_part] = 0.0
        settings = {"weights": "w"}
        words = f"two {part} rows or more with weights above 0, received 1 of 30"
    with pytest.raises(DataError, match=words):
        load(table, {**settings, "split": "split"})
