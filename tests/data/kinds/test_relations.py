"""Columns that follow from others: planted ones are found, columns of their own are kept."""

import numpy as np
import pytest

from nflow_cli.config.column_kinds import Relation
from nflow_cli.config.table import TableData
from nflow_cli.data.dependence import determined
from nflow_cli.data.files.columns import Column
from nflow_cli.data.kinds.asked import asked_columns
from nflow_cli.data.kinds.found_kinds import kinds_of

N = 600
RNG = np.random.default_rng(1)
A = np.round(RNG.normal(170, 10, N), 1)
B = np.round(RNG.gamma(3, 20, N), 2)
C = RNG.normal(size=N)
AGE = RNG.integers(18, 80, N).astype(float)
TOWN = RNG.integers(0, 20, N)
GAPS = np.where(np.arange(N) % 7 == 0, np.nan, 0)


def raw(name, cells):
    """Return a column of numbers or of texts."""
    if isinstance(cells, np.ndarray):
        return Column(name, "number", cells.astype(float), None, [])
    texts = list(dict.fromkeys(cells))
    return Column(name, "text", None, np.array([texts.index(c) for c in cells]), texts)


def kinds(table, **settings):
    columns = [raw(name, cells) for name, cells in table.items()]
    return kinds_of(asked_columns(columns, TableData(name="table.csv", **settings)))


def found(table, **settings):
    """Return the relations of the computed columns of a table, by name."""
    every = kinds(table, **settings)
    assert all((kind.kind == "computed") == bool(kind.relation) for kind in every.values())
    return {name: kind.relation for name, kind in every.items() if kind.relation}


@pytest.mark.parametrize(
    ("y", "rule", "columns", "coefficients", "constant"),
    [
        (A, "linear", ["a"], [1], 0),
        (A * 3.28084, "linear", ["a"], [3.28084], 0),
        (1.8 * C + 32, "linear", ["c"], [1.8], 32),
        (C - C.mean(), "linear", ["c"], [1], -C.mean()),
        (A + B, "linear", ["a", "b"], [1, 1], 0),
        (np.round(A + B, 2), "linear", ["a", "b"], [1, 1], 0),
        ((A + 2 * B - C) / 3, "linear", ["a", "b", "c"], [1 / 3, 2 / 3, -1 / 3], 0),
        (AGE**2, "product", ["age"], [2], 1),
        (AGE**2 / 100, "product", ["age"], [2], 0.01),
        (np.sqrt(B), "product", ["b"], [0.5], 1),
        (B / A**2, "product", ["a", "b"], [-2, 1], 1),
        (np.round(1e4 * B / A**2, 1), "product", ["a", "b"], [-2, 1], 1e4),
        (np.log(B), "log", ["b"], [1], 0),
        (np.round(np.log10(B), 6), "log", ["b"], [1 / np.log(10)], 0),
        (np.round(A / 2.54, 1), "linear", ["a"], [1 / 2.54], 0),
        (np.exp(C), "exp", ["c"], [1], 1),
        (C + 1e-12 * RNG.normal(size=N), "linear", ["c"], [1], 0),
    ],
)
def test_a_formula_is_found(y, rule, columns, coefficients, constant):
    relation = found({"a": A, "b": B, "c": C, "age": AGE, "y": y})["y"]
    assert (relation.rule, relation.columns) == (rule, columns)
    assert relation.coefficients == pytest.approx(coefficients, rel=1e-5)
    assert relation.constant == pytest.approx(constant, rel=1e-5, abs=1e-5)


def test_a_formula_is_found_among_many_columns_and_whatever_the_units_or_precision():
    others = {f"x{i}": RNG.normal(size=N) * 10.0 ** (i - 10) for i in range(20)}
    relation = found(others | {"y": others["x3"] * 1e7 + others["x12"] / 10})["y"]
    assert relation.columns == ["x3", "x12"]
    wages = np.round(RNG.lognormal(1.6, 0.6, N), 2).astype(np.float32).astype(float)
    assert found({"wage": wages, "lwage": np.log(wages).astype(np.float32)})["lwage"].rule == "log"


def test_a_formula_of_a_panel_is_found_whose_period_divides_the_rows():
    """Rows at equal distances were all of one year."""
    rng = np.random.default_rng(0)
    year, hours = np.resize(np.arange(1976, 1983), 3_500), rng.integers(500, 3_000, 3_500)
    relations = found({"year": year, "hours": hours, "pay": 2 * hours + 30 * year})
    assert {name: relation.text for name, relation in relations.items()} == {
        "pay": "30 * year + 2 * hours"
    }


def test_a_formula_is_found_beside_a_column_that_is_constant_in_nearly_all_rows():
    """The mean of 250 equal numbers is not that number: it seemed to vary, by its rounding."""
    rare = np.full(20_000, 0.1)
    rare[:4] = np.arange(4)
    b = np.round(np.random.default_rng(0).gamma(3, 20, 20_000), 2)
    assert [*found({"rare": rare, "b": b, "y": b**2})] == ["y"]


def test_a_formula_is_found_beside_numbers_whose_squares_are_0_in_double_precision():
    tiny = 1e-170 * np.random.default_rng(0).lognormal(0, 0.5, N)
    assert [*found({"tiny": tiny, "a": A, "y": 2 * A})] == ["y"]


PRICE, KG = np.round(RNG.lognormal(3, 0.8, N), 2), np.round(RNG.lognormal(1, 0.6, N), 3)
FEW = np.random.default_rng(5).integers(1, 10, N)  # a receipt's amounts
COUNTS = RNG.integers(0, 500, (2, N))
SPARSE = {f"x{i}": RNG.poisson(1, N) for i in range(5)}  # of many zeros


def digits(cells, count):
    """Return numbers written with some significant digits."""
    return np.array([float(f"{cell:.{count}g}") for cell in cells])


@pytest.mark.parametrize(
    ("table", "target", "text"),
    [
        ({"price": PRICE, "kg": KG, "total": np.round(PRICE * KG, 2)}, "total", "price * kg"),
        ({"price": PRICE, "n": FEW, "total": np.round(PRICE * FEW, 2)}, "total", "price * n"),
        ({"total": np.round(PRICE * KG, 2), "price": PRICE, "kg": KG}, "total", "price * kg"),
        (
            {"price": PRICE, **SPARSE, "kg": KG, "total": np.round(PRICE * KG, 2)},
            "total",
            "price * kg",
        ),
        (
            {"price": PRICE, "kg": KG, "up": np.floor(100 * PRICE * KG + 0.5 + 1e-9) / 100},
            "up",
            "price * kg",
        ),
        ({"sum": PRICE, "kg": KG, "unit": np.round(PRICE / KG, 2)}, "unit", "sum / kg"),
        ({"net": PRICE, "vat": np.round(0.19 * PRICE, 2)}, "vat", "0.19 * net"),
        ({"a": PRICE, "b": KG, "y": np.round(PRICE + KG, 1)}, "y", "a + b"),
        ({"a": COUNTS[0], "b": COUNTS[1], "y": COUNTS.mean(0).round()}, "y", "0.5 * a + 0.5 * b"),
        ({"b": B, "y": np.round(np.log(B), 3)}, "y", "log(b)"),
        ({"c": np.round(C, 3), "y": np.round(np.exp(np.round(C, 3)), 2)}, "y", "exp(c)"),
        ({"a": A, "fine": A + C * 0.01}, "a", "fine"),
        ({"b": B, "fine": B + np.where(np.arange(N) % 9 == 0, 0.004, 0)}, "b", "fine"),
        ({"price": PRICE, "kg": KG, "y": digits(PRICE * KG, 5)}, "y", "price * kg"),
    ],
)
def test_a_formula_that_holds_to_half_a_step_is_found(table, target, text):
    relations = found(table)
    assert {name: relation.text for name, relation in relations.items()} == {target: text}
    assert not relations[target].is_rounded


@pytest.mark.parametrize("count", range(5, 11))
def test_a_product_whose_factors_were_rounded_too_is_found(count):
    price, amount = np.exp(C), RNG.lognormal(1, 0.6, N)
    table = {"price": price, "amount": amount, "total": price * amount}
    kind = kinds({name: digits(cells, count) for name, cells in table.items()})["total"]
    assert kind.why == "= price * amount, up to the rounding of these"
    assert kind.relation.digits == count
    assert not kinds({name: digits(cells, 3) for name, cells in table.items()})["total"].relation


@pytest.mark.parametrize(("digits", "expected"), [(10, "account"), (13, "account"), (16, "")])
def test_whole_numbers_have_no_formula_that_differs_from_them_by_steps(digits, expected):
    """Of an account and two digits behind it the longer tells the shorter, if it is exact."""
    account = 47 * 10.0 ** (digits - 2) + RNG.choice(100_000, N, replace=False)
    card = account * 100 + RNG.permutation(N) % 100
    table = {"account": account, "card": card}
    relations = found(table, columns=[*table])
    assert "".join(relations) == expected
    assert all(relation.coefficients == [0.01] for relation in relations.values())


@pytest.mark.parametrize("digits", [12, 14])
def test_a_sum_of_large_whole_numbers_is_found(digits):
    a, b = RNG.integers(10 ** (digits - 2), 10**digits, (2, N))
    assert found({"a": a, "b": b, "y": a + b})["y"].text == "a + b"
    assert found({"a": a, "b": b, "y": a + b + RNG.integers(-2, 3, N)}) == {}


def test_independent_columns_of_coarse_numbers_have_no_formula():
    rng = np.random.default_rng(7)
    for _ in range(20):
        n, table = int(rng.choice([30, 100, 400])), {}
        for i in range(rng.integers(2, 12)):
            table[f"count {i}"] = rng.poisson(rng.uniform(0.5, 40), n)
            table[f"price {i}"] = np.round(rng.lognormal(rng.uniform(-2, 4), 1, n), i % 3)
            table[f"level {i}"] = rng.integers(0, 4, n) * rng.choice([0.25, 5, 100])
            table[f"share {i}"] = digits(rng.lognormal(0, 2, n), i % 4 + 1)
        assert found(table) == {}


@pytest.mark.parametrize(
    ("table", "target", "source"),
    [
        ({"town": TOWN, "mean": C[TOWN]}, "mean", "town"),
        ({"mean": C[TOWN], "town": TOWN}, "mean", "town"),
        ({"mean": C[TOWN], "town": [f"town {i}" for i in TOWN]}, "mean", "town"),
        ({"town": [f"t{i}" for i in TOWN], "code": 7 * TOWN % 31}, "code", "town"),
        ({"town": [f"t{i}" for i in TOWN], "state": [f"s{i % 4}" for i in TOWN]}, "state", "town"),
        ({"state": [f"s{i % 4}" for i in TOWN], "town": [f"t{i}" for i in TOWN]}, "state", "town"),
        ({"age": AGE, "group": np.floor(AGE / 10)}, "group", "age"),
        ({"sex": ["mf"[i % 2] for i in TOWN], "male": 1 - TOWN % 2}, "male", "sex"),
    ],
)
def test_a_map_of_values_is_found(table, target, source):
    relations = found(table)
    assert list(relations) == [target]
    assert (relations[target].rule, relations[target].columns) == ("map", [source])


@pytest.mark.parametrize(
    "table",
    [
        {"a": A, "b": B, "c": C},
        {"a": A, "y": A + np.where(np.arange(N) == 300, 0.1, 0)},
        {"a": A, "y": A + RNG.normal(size=N) * 0.1},
        {"a": A, "b": B, "y": A + B + np.where(np.arange(N) % 50 == 0, 0.1, 0)},
        {"town": TOWN, "y": np.where(np.arange(N) == 3, 9.5, C[TOWN])},
        {"c": C, "name": [f"{i}" for i in RNG.integers(0, 9, N)]},
        {"c": C, "positive": (C > 0).astype(float)},
        {"town": TOWN, "rare": (np.arange(N) == 5).astype(float)},
        {"a": A + GAPS, "y": A},
        {"a": A, "y": A + GAPS},
        {f"x{i}": RNG.normal(size=30) for i in range(40)},
        {f"x{i}": RNG.integers(0, 2, 30) for i in range(40)},
        {f"x{i}": RNG.integers(0, 4, 200) for i in range(30)},
        {"b": B, "c": C, "y": np.round(B + np.where(np.arange(N) % 10 == 0, 0.02, 0), 3)},
    ],
)
def test_a_column_of_its_own_is_kept(table):
    assert found(table) == {}


def test_of_relations_among_each_other_one_member_is_dropped():
    relations = found({"a": A, "b": B, "total": A + B, "copy": A + B, "half": (A + B) / 2})
    assert list(relations) == ["total", "copy", "half"]
    used = {name for relation in relations.values() for name in relation.columns}
    assert not used & set(relations)
    gappy = found({"a": A + GAPS, "b": B, "y": A + B + GAPS})
    assert gappy["y"].columns == ["a", "b"]
    table = {"a": A, "b": AGE, "y": A, "z": AGE}
    kept = found(table, given=["y"], categorical=["z"])  # is never computed
    assert {name: relation.columns for name, relation in kept.items()} == {"a": ["y"], "b": ["z"]}


def test_the_order_of_rows_does_not_matter():
    table = {"a": A, "b": B, "town": TOWN, "y": A + B, "mean": C[TOWN]}
    order = RNG.permutation(N)
    shuffled = {name: cells[order] for name, cells in table.items()}
    assert found(shuffled) == found(table)


def test_one_column_at_least_is_modelled():
    some = kinds({"a": A, "b": B, "double": 2 * A}, given=["a"])
    assert (some["b"].kind, some["double"].kind) == ("number", "computed")
    alone = kinds({"a": A, "double": 2 * A}, given=["a"])
    assert alone["double"].kind == "grid"


def test_a_computed_column_is_written_as_it_is_by_itself():
    found = kinds({"age": AGE, "sum": np.round(A + B, 2), "a": A, "b": B, "sq": AGE**2})
    assert (found["sq"].kind, found["sq"].own, found["sq"].type) == ("computed", "number", "whole")
    assert found["sq"].repeats and found["sq"].alone.kind == "number"
    assert found["b"].decimals == 2
    name = kinds({"town": TOWN, "name": [f"t{i}" for i in TOWN]})["name"]
    assert (name.own, name.type, name.why) == ("levels", "text", "= map of town")
    dice = RNG.integers(1, 4, (2, N))
    total = kinds({"x": dice[0], "y": dice[1], "total": dice.sum(0)})["total"]
    assert (total.kind, total.own) == ("computed", "grid")


def test_a_column_whose_logarithm_or_root_is_another_is_above_0():
    for y in (np.log(B), np.sqrt(B), np.log10(B) + 2):
        kind = kinds({"b": B, "y": y})["b"]
        assert (kind.bounds, kind.is_open) == ([0.01, None], True)


def test_a_map_says_where_each_value_goes():
    relation = found({"town": TOWN, "name": [f"town {i}" for i in TOWN]})["name"]
    pairs = zip(relation.keys, relation.values, strict=True)
    assert dict(pairs) == {str(i): f"town {i}" for i in range(20)}
    dates = [f"{1 + i % 5:02}.03.2021" for i in TOWN]
    every = kinds({"date": dates, "price": np.round(C[:5], 2)[TOWN % 5]})
    assert every["date"].type == "text"
    assert set(every["price"].relation.keys) == set(dates)


@pytest.mark.parametrize(
    ("rule", "columns", "coefficients", "constant", "text"),
    [
        ("linear", ["a", "b"], [2, -1], 0, "2 * a - b"),
        ("linear", ["a"], [-1], 1, "-a + 1"),
        ("log", ["x"], [1], 0, "log(x)"),
        ("exp", ["x"], [2], 3, "3 * exp(2 * x)"),
        ("product", ["x"], [2], 1, "x^2"),
        ("product", ["x"], [-1], 9, "9 / x"),
        ("product", ["x", "y"], [1, -2], 100, "100 * x / y^2"),
    ],
)
def test_a_relation_as_text(rule, columns, coefficients, constant, text):
    facts = {"columns": columns, "coefficients": coefficients, "constant": constant}
    assert Relation(rule=rule, **facts).text == text


def test_half_a_relation_and_one_of_a_column_left_out_are_refused():
    for half in (
        {"rule": "linear", "columns": ["a", "b"], "coefficients": [1.0]},
        {"rule": "map", "columns": ["a", "b"], "keys": ["1"], "values": ["1"]},
        {"rule": "map", "columns": ["a"], "keys": ["1", "2"], "values": ["1"]},
    ):
        with pytest.raises(ValueError, match=r"a coefficient|a map"):
            Relation(**half)
    known = kinds({"a": A, "half": A / 2})
    known["a"] = known["a"].model_copy(update={"kind": "left out"})
    with pytest.raises(ValueError, match="'a'"):
        TableData(name="table.csv", kinds=known)


X, Y, Z = RNG.standard_normal((3, 2_000))
SCALE = np.exp(RNG.standard_normal(2_000))
FREE = [False]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((X, Y, Z, X + 2 * Y), [True, True, False, True]),
        ((X, Y, np.exp(X)), [True, False, True]),
        ((X, Y, X**2), [True, False, True]),
        ((X, Y, Z, 3 + X * Y), [True, True, False, True]),
        ((X, Y, SCALE, X + SCALE * Y), [True, True, True, True]),
        ((X, Z, SCALE, np.sqrt(X**2 + SCALE**2)), [True, False, True, True]),
        ((X, Y, SCALE, X / SCALE), [True, False, True, True]),
        ((X,), FREE),
        ((X, X + 1e-3 * Y, Z), FREE * 3),
        ((X, X**2 + 1e-2 * Y, Z), FREE * 3),
        ((X, SCALE * Y, np.log(SCALE), SCALE * Z), FREE * 4),
        (tuple(np.cumsum(RNG.standard_normal((20, 2_000)), axis=0)), FREE * 20),
        ((1e6 + X, 1e-6 * X + 1e-7 * Y), FREE * 2),
    ],
)
@pytest.mark.parametrize("digits", [17, 6])
def test_columns_in_an_equation_are_found_and_free_ones_are_free(columns, expected, digits):
    if digits == 6 and expected[0]:
        columns = [[float(f"{value:.6g}") for value in column] for column in columns]
    assert determined(np.stack(columns, axis=1)).tolist() == expected
