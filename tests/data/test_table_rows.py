"""What of a table is fitted, and the tables that no density fits."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.split import sampled
from nflow_cli.data.table_files import open_table, table_of
from nflow_cli.data.table_rows import load_table
from nflow_cli.data.units import recorded_given_units
from nflow_cli.errors import DataError


def normal(n=200, dim=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim))


def columns_of(x, names="abcdefgh"):
    return dict(zip(names, x.T))


def load(table, **settings):
    name = settings.pop("name", "t.csv")
    return load_table(TableData(name=name, **settings), "tukey-h", table_of(table))


def written(folder, text, name="t.csv"):
    (folder / name).write_text(text)
    return str(folder / name)


def test_all_columns_of_numbers_are_fitted_and_what_is_left_out_is_told():
    x = normal()
    table = {"id": np.arange(200), **columns_of(x), "one": np.ones(200), "city": ["Rome"] * 200}
    rows = load(table)
    assert rows.columns == ["a", "b", "c"]
    assert rows.notes == [
        "left out, as they are not numbers: city",
        "left out, as they are constant: one",
        "left out, as they number the rows: id (--columns takes them)",
    ]
    every = np.concatenate([rows.train, rows.validation, rows.test])
    np.testing.assert_array_equal(np.sort(every, axis=0), np.sort(x, axis=0))
    assert rows.sizes == {"n_train": 160, "n_validation": 20, "n_test": 20}


def of_pandas(table, *index):
    """Return a table of Arrow whose last columns are an index, as pandas hands it over."""
    about = json.dumps({"index_columns": index, "pandas_version": "3.0"})
    return pa.table(table).replace_schema_metadata({"pandas": about})


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        ({"time": np.linspace(0, 1, 200) ** 2}, "time"),
        ({"__index_level_0__": np.arange(200) % 100}, "index"),
        (
            {"year": np.arange(200) % 7, "__index_level_1__": ["x", "y"] * 100},
            "year, __index_level_1__",
        ),
    ],
    ids=["named", "of tables put together", "of levels"],
)
@pytest.mark.parametrize("in_a_file", [False, True])
def test_the_index_of_a_data_frame_is_no_column(tmp_path, index, shown, in_a_file):
    frame = of_pandas({**columns_of(normal()), **index}, *index)
    if in_a_file:
        parquet.write_table(frame, tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet") if in_a_file else table_of(frame)
    rows = load_table(TableData(name="t"), "tukey-h", table)
    assert rows.columns == ["a", "b", "c"]
    expected = f"left out, as the index of a DataFrame: {shown} (--columns takes it)"
    assert rows.notes == [expected]


def test_an_index_that_is_named_is_taken():
    frame = of_pandas({**columns_of(normal()), "time": np.linspace(0, 1, 200) ** 2}, "time")
    rows = load(frame, columns=["a", "time"])
    assert (rows.columns, rows.notes) == (["a", "time"], [])
    assert load(frame, given=["time"]).roles.given == ["time"]


def test_a_column_called_index_stands_beside_an_index():
    x = normal(dim=2)
    frame = of_pandas(
        {"a": x[:, 0], "index": x[:, 1], "__index_level_0__": np.arange(200) % 100},
        "__index_level_0__",
    )
    assert load(frame).columns == ["a", "index"]


@pytest.mark.parametrize(
    "about", ["", "{", "[]", "{}", '{"index_columns": 1}', '{"index_columns": [{}, 1, null, "z"]}']
)
def test_what_is_no_metadata_of_pandas_is_none(about):
    frame = pa.table(columns_of(normal())).replace_schema_metadata({"pandas": about})
    assert load(frame).columns == ["a", "b", "c"]


@pytest.mark.parametrize("settings", [{"columns": ["a"]}, {"exclude": ["b"]}])
def test_bounds_of_a_column_that_is_not_modelled_are_told(settings):
    bounds = {"a": [-9, None], "b": [0, None]}
    assert load(columns_of(normal()), bounds=bounds, **settings).notes == [
        "bounded, but not modelled: b"
    ]


def test_test_rows_that_are_trained_on_too_are_told():
    x = normal()
    twice = load(columns_of(np.concatenate([x, x])))
    (note,) = twice.notes
    seen = {row.tobytes() for row in twice.train}
    count = sum(row.tobytes() in seen for row in twice.test)
    assert (
        note == f"{count} of 40 test rows are among those to train on too: their score is too good"
    )
    assert load(columns_of(x)).notes == []
    x = normal(n=2_000)
    x[:2] = x[2:4]  # two of 200 test rows at most: 1 % may be the same by chance
    assert load(columns_of(x)).notes == []


def test_the_checksum_is_of_the_chosen_columns_in_the_order_of_the_rows():
    x = normal()
    rows = load(columns_of(x), columns=["c", "a"])
    chosen = np.ascontiguousarray(x[:, [2, 0]], "<f8")
    assert rows.sha256 == hashlib.sha256(chosen.tobytes()).hexdigest()
    assert rows.record()["columns"] == ["c", "a"]


def test_columns_that_are_named_are_taken_and_those_excluded_are_not():
    x = normal()
    assert load(columns_of(x), exclude=["b"]).columns == ["a", "c"]
    with_ids = {"id": np.arange(200.0), **columns_of(x)}
    assert load(with_ids, columns=["id", "b"]).columns == ["id", "b"]


def test_rows_that_lack_a_value_are_left_out_on_request_alone():
    x = normal()
    x[3, 1] = x[7, 2] = x[7, 1] = np.nan
    with pytest.raises(DataError, match=r"2 of 200 rows lack a value \(b 2, c 1\); --missing drop"):
        load(columns_of(x))
    rows = load(columns_of(x), missing="drop")
    assert sum(rows.sizes.values()) == 198
    assert rows.notes == ["left out: 2 of 200 rows lack a value (b 2, c 1)"]


def test_a_seeded_part_of_the_rows_is_drawn_without_replacement():
    x = normal(1_000, 1)
    first, again = (load(columns_of(x), max_rows=100) for _ in range(2))
    values = np.concatenate([first.train, first.validation, first.test])[:, 0]
    assert len(values) == len(set(values.tolist()) & set(x[:, 0].tolist())) == 100
    assert first.sha256 == again.sha256 != load(columns_of(x), max_rows=100, split_seed=1).sha256
    assert first.notes == ["100 of 1,000 rows, drawn at random by data.max_rows"]


def test_each_row_is_as_likely_to_be_drawn_and_they_keep_their_order():
    table = table_of({"a": np.arange(30.0)})
    counts = np.zeros(30)
    for seed in range(2_000):
        values, rows, n = sampled(table, ["a"], 10, np.random.default_rng(seed))
        assert n == 30 and values[:, 0].tolist() == rows.tolist() == sorted(rows)
        counts[rows] += 1
    # 2,000 draws with probability 1/3 each: within 5 standard deviations
    assert np.abs(counts - 2_000 / 3).max() < 5 * np.sqrt(2_000 * 2 / 9)


def test_test_rows_may_be_in_a_file_of_their_own(tmp_path):
    text = "b,a\n" + "".join(f"{i}.5,{i * i / 7}\n" for i in range(12))
    path = written(tmp_path, text)
    rows = load(columns_of(normal(dim=2)), test=path)
    assert rows.sizes == {"n_train": 180, "n_validation": 20, "n_test": 12}
    expected = sorted([i * i / 7, i + 0.5] for i in range(12))
    assert sorted(rows.test.tolist()) == expected and rows.test.tolist() != expected
    assert rows.record()["test"]["name"] == path


def test_test_rows_that_lack_a_value_are_told_and_the_table_itself_is_refused(tmp_path):
    x = normal(n=12, dim=2)
    lines = [f"{a},{b}\n" for a, b in x.tolist()]
    path = written(tmp_path, "".join(["a,b\n", *lines, "1.5,\n"]))
    rows = load(columns_of(1 + normal(dim=2)), test=path, missing="drop")
    assert rows.notes == [f"{path}: left out: 1 of 13 rows lack a value (b 1)"]
    same = written(tmp_path, "".join(["a,b\n", *lines]), "same.csv")
    with pytest.raises(DataError, match="expected other rows for the test than those to train on"):
        load(columns_of(x), test=same)


def test_a_column_may_say_the_parts_and_a_group_stay_together():
    x = normal()
    parts = ["test" if i % 5 == 0 else "train" for i in range(200)]
    rows = load({**columns_of(x), "part": parts}, split="part")
    assert sorted(rows.test.tolist()) == sorted(x[::5].tolist())
    assert rows.columns == ["a", "b", "c"] and rows.notes == []
    shop = np.arange(200) // 20
    grouped = load({**columns_of(x), "shop": shop}, group="shop")
    assert grouped.columns == ["a", "b", "c"] and len(grouped.test) == 20


@pytest.mark.parametrize("key", ["split", "group"])
def test_the_rows_of_a_part_are_in_random_order(key):
    # The first of them stand for all, where tails are fitted and where some are drawn.
    n = 1_000
    column = {"split": np.where(np.arange(n) % 5 == 0, "test", "train"), "group": np.arange(n) // 5}
    rows = load({"a": np.linspace(0, 1, n), "by": column[key]}, **{key: "by"})
    for part in (rows.train, rows.validation, rows.test):
        assert abs(np.corrcoef(part[:, 0], np.arange(len(part)))[0, 1]) < 5 / np.sqrt(len(part))


def test_where_all_columns_number_the_rows_they_are_fitted_and_not_said_to_be_left_out():
    rng = np.random.default_rng(0)
    ids = {name: rng.permutation(200) for name in "ab"}
    rows = load({**ids, "one": np.ones(200)})
    assert rows.columns == ["a", "b"]
    assert rows.notes == ["left out, as they are constant: one"]


def test_large_floats_are_no_ids_though_they_are_whole():
    rows = load(columns_of(1e30 * normal()))
    assert (rows.columns, rows.notes) == (["a", "b", "c"], [])


def test_what_cannot_be_read_again_has_no_path():
    assert "path" not in load(normal(), name="<python>").record()
    assert "path" in load(normal(), name="t.csv").record()


def test_a_built_in_set_is_drawn_by_the_seed_of_the_split():
    first, second = (
        load_table(TableData(name="two-moons", split_seed=seed), "none") for seed in (0, 1)
    )
    assert first.columns == ["x1", "x2"] and first.sha256 != second.sha256
    assert sum(first.sizes.values()) == 50_000


def in_roles(n=300):
    """Return a table of columns in every role, and what its rows are to be, by ``given`` number g.

    ``rare`` is a level of the last row alone.
    """
    rng = np.random.default_rng(1)
    a, g = rng.standard_normal((2, n))
    count, city = rng.poisson(3, n), rng.integers(0, 2, n)
    shop = np.arange(n) % 3
    weight = rng.exponential(size=n)
    table = {
        "city": np.array(["Rome", "Oslo"])[city],
        "n": count,
        "g": g,
        "weight": weight,
        "shop": shop * 10.0,
        "a": a,
    }
    # in the order of the roles: numbers a and n as in the table, then city, g, shop
    rows = np.column_stack([count, a, 1 - city, g, shop])
    settings = {
        "given": ["shop", "g"],
        "categorical": {"city": None, "shop": None},
        "discrete": {"n": 1.0},
        "weights": "weight",
    }
    return table, rows, settings


def in_order(rows):
    """Return rows in the order of the number that tells each from the others."""
    return rows[np.argsort(rows[:, 3])]


def test_a_row_is_what_is_modelled_and_then_what_is_given():
    table, expected, settings = in_roles()
    rows = load(table, **settings)
    assert rows.roles.columns == ["n", "a", "city", "g", "shop"]
    assert rows.roles.levels == {"city": ("Oslo", "Rome"), "shop": ("0", "10", "20")}
    assert (rows.columns, rows.modelled, rows.dim) == (["n", "a"], ["city", "n", "a"], 2)
    every = np.concatenate([rows.train, rows.validation, rows.test])
    np.testing.assert_array_equal(in_order(every), in_order(expected))
    weight = dict(zip(expected[:, 3], table["weight"]))
    assert rows.weights is not None
    for part, weights in zip((rows.train, rows.validation, rows.test), rows.weights, strict=True):
        expected = np.array([weight[g] for g in part[:, 3]])
        np.testing.assert_array_equal(weights, expected / expected.max())


def test_rows_are_split_as_they_are_without_roles():
    table, _, settings = in_roles()
    plain = load(table, columns=["g", "a"])
    rows = load(table, **settings)
    np.testing.assert_array_equal(rows.train[:, 3], plain.train[:, 0])
    np.testing.assert_array_equal(rows.test[:, 3], plain.test[:, 0])


def test_rows_of_a_text_file_and_of_parquet_are_the_same(tmp_path):
    table, _, settings = in_roles()
    frame = pa.table({name: pa.array(column) for name, column in table.items()})
    city = frame["city"].combine_chunks().dictionary_encode()
    parquet.write_table(frame.set_column(0, "city", city), tmp_path / "t.parquet")
    lines = [",".join(map(str, row.values())) for row in frame.to_pylist()]
    text = written(tmp_path, "\n".join([",".join(table), *lines]) + "\n")
    first, second = (
        load_table(TableData(name=name, **settings), "none")
        for name in (text, str(tmp_path / "t.parquet"))
    )
    assert first.sha256 == second.sha256
    assert first.record()["units"] == second.record()["units"]


def test_a_settled_config_finds_the_same_rows_again():
    table, _, settings = in_roles()
    table["city"] = table["city"].astype("U9")
    table["city"][:2] = "Atlantis", "Avalon"
    asked = TableData(name="t.csv", **settings)
    first = load_table(asked, "none", table_of(table))
    again = load_table(asked.settled(first.modelled, first.roles.levels), "none", table_of(table))
    assert again.record() == first.record() and again.roles == first.roles
    np.testing.assert_array_equal(again.test, first.test)


def test_levels_are_those_of_the_training_rows_and_others_are_told():
    table, _, settings = in_roles()
    part = np.where(np.arange(300) < 200, "train", "validation")
    part[280:] = "test"
    table["city"] = table["city"].astype("U9")
    table["city"][200:203], table["city"][290] = "Avalon", "Babel"
    rows = load({**table, "part": part}, **settings, split="part")
    assert rows.roles.levels["city"] == ("Oslo", "Rome")
    assert [int((p[:, 2] == -1).sum()) for p in (rows.train, rows.validation, rows.test)] == [
        *(0, 0, 1)
    ]
    assert rows.sizes == {"n_train": 200, "n_validation": 77, "n_test": 20}
    assert rows.weights is not None and len(rows.weights.validation) == 77
    assert rows.notes[-2:] == [
        "3 of 80 validation rows have a level of city that no training row has: they are left out",
        "1 of 20 test rows have a level of city that no training row has: their density is 0",
    ]


def test_a_file_of_test_rows_has_the_roles_of_the_rows_to_train_on(tmp_path):
    table, _, settings = in_roles()
    lines = ["a,g,shop,city,weight,n", "1.5,0.5,10,Rome,2,7", "2.5,0.25,20.0,Avalon,0,1"]
    lines += ["3.5,0.75,0,Oslo,1,3", *(f"{i}.5,{i},99,Oslo,3,0" for i in range(8))]
    path = written(tmp_path, "\n".join(lines) + "\n")
    rows = load(table, **settings, test=path)
    expected = [[7, 1.5, 1, 0.5, 1], [1, 2.5, -1, 0.25, 2], [3, 3.5, 0, 0.75, 0]]
    expected += [[0, i + 0.5, 0, i, -1] for i in range(8)]
    np.testing.assert_array_equal(in_order(rows.test), in_order(np.array(expected)))
    weights = {0.5: 2.0, 0.25: 0.0, 0.75: 1.0}
    assert rows.weights is not None
    assert rows.weights[2].tolist() == [weights.get(g, 3.0) / 3.0 for g in rows.test[:, 3]]
    assert rows.notes[-2:] == [
        "1 of 11 test rows have a level of city that no training row has: their density is 0",
        "8 of 11 test rows have a level of shop that no training row has: their density is 0",
    ]


def test_rows_that_lack_a_value_in_any_role_are_left_out_on_request():
    table, expected, settings = in_roles()
    columns = {name: column.tolist() for name, column in table.items()}
    for row, name in enumerate(columns):
        columns[name][row] = None
    rows = load(columns, **settings, missing="drop")
    every = np.concatenate([rows.train, rows.validation, rows.test])
    np.testing.assert_array_equal(in_order(every), in_order(expected[len(table) :]))
    assert rows.notes[0] == (
        "left out: 6 of 300 rows lack a value (n 1, a 1, city 1, g 1, shop 1, weight 1)"
    )


def test_a_seeded_part_of_rows_keeps_what_belongs_together():
    table, expected, settings = in_roles()
    rows = load(table, **settings, max_rows=100)
    weight = dict(zip(expected[:, 3], table["weight"]))
    by_g = {row[3]: row.tolist() for row in expected}
    assert sum(rows.sizes.values()) == 100 and rows.weights is not None
    for row, w in zip(rows.train, rows.weights[0], strict=True):
        assert row.tolist() == by_g[row[3]]
        assert w == weight[row[3]] / max(weight[g] for g in rows.train[:, 3])


def test_only_what_is_not_named_is_left_out_for_what_it_is():
    table, _, settings = in_roles()
    table["id"], table["land"] = np.arange(300), ["Italy"] * 300
    assert load(table, **settings).notes[:2] == [
        "left out, as they are not numbers: land",
        "left out, as they number the rows: id (--columns takes them)",
    ]
    assert load(table, **{**settings, "given": ["id", "g"]}).roles.given == ["id", "g"]


def test_weights_are_told_by_the_rows_that_they_come_to():
    x = normal()
    part = ["train"] * 150 + ["test"] * 30 + ["validation"] * 20
    w = np.r_[np.ones(100), np.full(50, 3.0), np.ones(50)]
    rows = load({**columns_of(x), "part": part, "w": w}, split="part", weights="w")
    # (100 + 150)² / (100 + 450)
    assert rows.notes == ["weighted by w: the 150 rows to train on count as 113.6, (Σw)²/Σw²"]


def test_units_are_fitted_to_the_rows_that_weights_favour():
    x = np.concatenate([normal(2_000), 100 + 5 * normal(2_000, seed=1)])
    weights = np.repeat([0.0, 2.5], 2_000)
    table = {**columns_of(x), "w": weights}
    rows = load(table, weights="w", given=["c"])
    for units in (rows.units, rows.given_units):
        for scale, *_ in units.columns:
            # the standard error of a median is 1.25 sd / sqrt(n), of rows drawn again twice that
            assert scale.centre == pytest.approx(100, abs=5 * 2 * 1.25 * 5 / np.sqrt(1_600))
            assert scale.scale == pytest.approx(5, rel=0.2)
    other = load(table, weights="w", given=["c"], split_seed=1)
    assert other.units.record() != rows.units.record()


def test_given_numbers_have_units_of_their_own_without_bounds():
    x = normal(400)
    rows = load(columns_of(x), given=["b"], bounds={"a": [-9, None]})
    z = rows.given_units.inside(rows.train[:, 2:])
    assert len(rows.given_units.columns) == 1 and len(rows.units.columns) == 2
    assert np.median(z) == pytest.approx(0, abs=1e-9)
    assert recorded_given_units(rows.record(), 1).record() == rows.given_units.record()
    assert "given_units" not in load(columns_of(x)).record()


def test_the_units_of_a_discrete_column_suit_its_cells_and_not_its_values():
    n = np.random.default_rng(0).geometric(0.7, 5_000) - 1
    rows = load({"n": n, "a": normal(5_000)[:, 0]}, discrete={"n": 1.0}, bounds={"n": [0, None]})
    cells = np.array([[-0.5 + 1e-9, 0.0], [40.0, 0.0]])
    z, log_det = rows.units.inside_and_log_det(cells)
    assert np.isfinite(z).all() and np.isfinite(log_det).all()
    outside = rows.units.inside_and_log_det(np.array([[-0.5, 0.0]]))[1]
    assert outside == -np.inf


def test_other_weights_are_another_record():
    table, _, settings = in_roles()
    first = load(table, **settings).record()
    second = load({**table, "weight": table["weight"] ** 2}, **settings).record()
    assert first["sha256"] == second["sha256"]
    assert first["weights_sha256"] != second["weights_sha256"]


def test_a_column_of_a_built_in_set_may_be_given():
    rows = load_table(TableData(name="two-moons", size=500, given=["x1"]), "none")
    plain = load_table(TableData(name="two-moons", size=500), "none")
    assert (rows.columns, rows.roles.columns) == (["x2"], ["x2", "x1"])
    np.testing.assert_array_equal(rows.train, plain.train[:, ::-1])


def in_steps(n=400):
    return np.random.default_rng(0).integers(1, 9, n).astype(float)


def with_total(n=200):
    x = normal(n)
    return {"a": x[:, 0], "b": x[:, 1], "rest": x[:, 2], "total": x[:, 0] + x[:, 1]}


def rain(n=500):
    amount = np.random.default_rng(0).exponential(size=n)
    return np.where(np.arange(n) % 5 == 0, 0.0, amount)


def with_value(row, value):
    x = normal()
    x[row, 1] = value
    return columns_of(x)


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        (columns_of(normal(9)), {}, "expected at least 10 rows, received 9"),
        (columns_of(normal(0)), {}, "expected at least 10 rows, received 0"),
        ({"city": ["Rome"] * 20}, {}, "expected a column of numbers to model, received none"),
        (columns_of(normal()), {"columns": ["a", "d"]}, r"data.columns: no column 'd'"),
        (columns_of(normal()), {"exclude": ["x"]}, r"data.exclude: no column 'x'"),
        ({"price": normal()[:, 0]}, {"columns": ["Price"]}, r"did you mean 'price'"),
        (columns_of(normal()), {"bounds": {"d": [0, None]}}, "data.bounds: no column 'd'"),
        (columns_of(normal()), {"split": "d"}, "data.split: no column 'd'"),
        (columns_of(normal()), {"group": "d"}, "data.group: no column 'd'"),
        (
            {"a": normal()[:, 0], "b": ["x"] * 200},
            {"columns": ["b"]},
            "row 0.*'b'.*expected a number, received 'x'",
        ),
        (columns_of(normal()), {"exclude": ["a", "b", "c"]}, "expected a column of numbers"),
        (with_value(4, np.inf), {}, "row 4.*'b'.*expected a finite number, received inf"),
        (with_value(4, -0.5), {"bounds": {"b": [0, None]}}, "'b': expected values between 0 and"),
        (with_value(4, 1.0), {"bounds": {"b": [-9, 1]}}, r"received .* \(\d+ rows are outside a"),
        (with_value(0, 9.0), {"bounds": {"b": [-9, 9]}}, r"received 9 \(1 row is on a bound"),
        (with_value(0, 9 + 1e-9), {"bounds": {"b": [-9, 9]}}, r"received 9.000000001 \("),
        ({"a": normal()[:, 0], "rooms": in_steps(200)}, {}, "'rooms' is . in .*% of the rows"),
        ({"a": normal(500)[:, 0], "rain": rain()}, {}, "'rain' is 0 in 20.0% of the rows"),
        (with_total(), {}, "follows from the others: a, b, total; the likelihood"),
        ({"a": normal()[:, 0], "one": np.ones(200)}, {"columns": ["a", "one"]}, "'one' is const"),
        ({"a": 1e300 * normal()[:, 0]}, {}, "'a' has the standard deviation"),
        ({"a": normal()[:, 0], "b": normal()[:, 0]}, {}, "follows from the others: a, b"),
        ({"a": normal()[:, 0], "log_q": normal()[:, 1]}, {}, "expected no column 'log_q'"),
        (columns_of(normal(10, 7)), {}, "more rows to train on than columns, received 6 rows of 7"),
        (
            {"a": np.arange(200) < 100, "b": np.r_[np.ones(100), normal()[:100, 0]]}
            | {"part": ["train"] * 100 + ["test"] * 100},
            {"split": "part"},
            r"'b' is constant, 1 \(of the rows to train on\)",
        ),
        (
            {"a": normal()[:, 0], "b": ["x"] + 198 * ["y"] + ["z"]},
            {"group": "b"},
            "data.group: expected groups small enough",
        ),
        (columns_of(normal()), {"group": "a", "test": "none.csv"}, "none.csv: no such file"),
    ],
)
def test_what_no_density_fits_is_one_line(table, settings, words):
    with pytest.raises(DataError, match=words) as refused:
        load(table, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("a,b\n1,2\n3\n", {}, r"line 3"),
        ("a,b\n" + "1.5,2\n" * 30 + "x,2\n", {"columns": ["a"]}, "line 32.*'a'.*received 'x'"),
        (
            "a;b\n" + "".join(f"{i},5;{i * i},25\n" for i in range(30)),
            {"columns": ["c"]},
            "no colu",
        ),
        (
            "a,b\n" + "".join(f"{i},\n" for i in range(20)),
            {"columns": ["b"]},
            "20 of 20 rows lack a value",
        ),
        ("a,a\n1,2\n", {}, "two columns are called 'a'"),
        (
            "a;b;c\n" + "".join(f"0,{i}45;0.8{i};1.{i}\n" for i in range(30)),
            {},
            "one decimal mark.*Received: decimal points, and '0,045' in column 'a'; .*--exclude a ",
        ),
        (
            "a;b;c\n" + "".join(f"0,{i};0.8{i};1,{i}\n" for i in range(30)),
            {},
            "Received: decimal commas, and '0.80' in column 'b'; .*--exclude b leaves",
        ),
        ("", {}, "empty"),
    ],
)
def test_a_file_that_cannot_be_fitted_is_one_line(tmp_path, text, settings, words):
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=words) as refused:
        load_table(TableData(name=path, **settings), "none")
    assert str(refused.value).startswith(path) and "\n" not in str(refused.value)


def test_numbers_of_another_decimal_mark_may_be_left_out_or_named(tmp_path):
    rows = "".join(f"0,{i}45;{0.8 + i * i % 7 + i / 99};x\n" for i in range(60))
    path = written(tmp_path, f"a;b;c\n{rows}")
    for settings in ({"exclude": ["a"]}, {"columns": ["b"]}):
        table = load_table(TableData(name=path, **settings), "none")
        assert (table.columns, table.sizes["n_train"]) == (["b"], 48)


@pytest.mark.parametrize(("row", "cell"), [(0, "?"), (3, "1.5 kg"), (59, "-")])
def test_a_column_of_numbers_that_a_stray_cell_makes_text_is_left_out_by_name_and_cell(
    tmp_path, row, cell
):
    cells = [["NA", f"{i % 7 + i / 99}"][i % 4 > 0] for i in range(60)]
    rows = "".join(f"{i * i % 7 + i / 99},{b},x{i}\n" for i, b in enumerate(cells))
    lines = rows.splitlines()
    lines[row] = f"0.5,{cell},x"
    path = written(tmp_path, "\n".join(["a,b,c", *lines, ""]))
    expected = f"left out, as they are not numbers: b ('{cell}' among numbers), c"
    assert load_table(TableData(name=path), "none").notes == [expected]


def test_notes_of_a_table_come_first():
    table = table_of({**columns_of(normal()), "city": ["Rome"] * 200})
    table.notes = ["it may be cut short"]
    rows = load_table(TableData(name="-"), "none", table)
    assert rows.notes == ["it may be cut short", "left out, as they are not numbers: city"]


def test_a_built_in_set_without_columns_is_one_line():
    with pytest.raises(DataError, match="expected a column of numbers"):
        load_table(TableData(name="two-moons", exclude=["x1", "x2"]), "none")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("two-moon", "no such table (did you mean 'two-moons'?); expected a .csv, .tsv, .parquet"),
        *((name, "no such file; expected a table as .csv") for name in ("moon.csv", "/no/table")),
        ("https://example.org/t.csv", "an address; expected a file: download it first"),
    ],
)
def test_a_table_that_does_not_exist_is_one_line(name, words):
    with pytest.raises(DataError) as refused:
        load_table(TableData(name=name), "none")
    assert str(refused.value).startswith(f"{name}: {words}")
    assert ("two-moons" in str(refused.value)) == (name == "two-moon")


def test_the_place_of_a_row_is_that_in_its_file(tmp_path):
    lines = [f"{x!r},{y!r}" for x, y in np.asarray(normal(40, 2)).tolist()]
    lines[20] = "inf,1.0"
    lines[10] = ",2.0"
    path = written(tmp_path, "a,b\n" + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 22: column 'a': expected a finite number"):
        load_table(TableData(name=path, missing="drop"), "none", open_table(path))


def test_a_row_too_far_away_is_one_line():
    table = table_of(with_value(0, 1e30))
    with pytest.raises(DataError, match=r"row 0.*expected values within"):
        load_table(TableData(name="t.csv"), "none", table)
