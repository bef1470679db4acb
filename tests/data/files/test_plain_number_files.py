"""Tables of plain numbers, which flows take: what is used of them, and what is refused."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from nflow_cli.config.table import FitConfig, TableData
from nflow_cli.data.column_maps import Logit
from nflow_cli.data.files.table_files import open_table, table_of
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.errors import DataError

N = 200
RNG = np.random.default_rng(0)
A, B, G, H = RNG.standard_normal((4, N)).round(6)
PLAIN = {"a": A, "b": B, "g": G, "h": H}
COUNT = RNG.poisson(4, N).astype(float)
CITY = RNG.choice(["Oslo", "Paris", "Rome"], N)
PARTS = ["train"] * 100 + ["validation"] * 50 + ["test"] * 50


def load(table, name="t.csv", tails="tukey-h", **settings):
    return load_dataset(TableData(name=name, **settings), table_of(table), tails)


def refused(table, **settings):
    """Return the one line that a table is refused in."""
    with pytest.raises(DataError) as error:
        load(table, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def rows_of(data):
    return np.concatenate([data.train, data.validation, data.test])


def written(folder, lines, name="t.csv"):
    (folder / name).write_text("\n".join([*lines, ""]))
    return str(folder / name)


def changed(name, at, value):
    """Return a column of the plain table with another value in a row."""
    return {name: np.where(np.arange(N) == at, value, PLAIN[name])}


def test_columns_of_no_use_are_left_out_with_a_note_each():
    useless = {"id": np.arange(N), "one": np.ones(N), "name": [f"x{i}" for i in range(N)]}
    data = load({**useless, **PLAIN, "total": A + 2 * B, "power": np.exp(G)})
    assert data.columns == ["a", "b", "g", "h"]
    np.testing.assert_array_equal(
        np.sort(rows_of(data), axis=0), np.sort(np.column_stack([A, B, G, H]), axis=0)
    )
    assert data.notes == [
        "left out, row number: id",
        "left out, constant: one",
        "left out, text, mostly unique: name",
        "left out, computed from others (= a + 2 * b): total",
        "left out, computed from others (= exp(g)): power",
    ]


def test_all_columns_that_are_no_plain_numbers_are_named_at_once_with_what_mends_it():
    rain = np.where(np.arange(N) % 5 == 0, 0.0, np.abs(A))
    day = [f"2024-01-{1 + i % 28:02}" for i in range(N)]
    table = {**PLAIN, "city": CITY, "n": COUNT, "rain": rain, "day": day}
    line = refused(table)
    said = [
        "the table given: column 'city': text",
        " column 'n': has steps of 1, ",
        " column 'rain': is 0 in 20.0%",
    ]
    said += [" column 'day': text"]
    for found, start in zip(line.split(";"), said):
        assert found.startswith(start)
    assert line.endswith("; --exclude city,n,rain,day")
    assert load(table, exclude=["city", "n", "rain", "day"]).columns == list(PLAIN)
    fine, coarse = np.random.default_rng(2).normal(0, 1, (2, 2_000))
    line = refused({"fine": fine.round(3), "coarse": coarse.round(1)})
    assert "column 'coarse': has steps of 0.1" in line and "'fine'" not in line


PRICES = np.exp(RNG.normal(4.0, 1.0, 5_000))
NORMAL = RNG.standard_normal(5_000)


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (RNG.integers(1, 10, 5_000), "has steps of 1, "),  # rooms
        (np.where(np.arange(5_000) % 4 == 0, 0.0, PRICES), "is 0 in 25.0% of the rows"),  # rain
        (RNG.integers(0, 90, 500), "has steps of 1, 99% of its rows repeat"),  # ages
        (NORMAL, ""),
        (np.round(PRICES, 2), ""),  # in cents
        (NORMAL.astype(np.float16), ""),
        (np.repeat(NORMAL[:2_500], 2), ""),  # each row twice
    ],
)
def test_columns_whose_values_repeat_are_known(column, problem):
    table = {"x": column, "n": NORMAL[-len(column) :]}
    assert f"column 'x': {problem}" in refused(table) if problem else load(table)


def test_stray_cells_are_told_and_another_decimal_mark_is_read(tmp_path):
    cells = [["NA", f"{i % 7 + i / 99}"][i % 4 > 0] for i in range(60)]
    cells[3] = cells[7] = cells[11] = "1.5 kg"
    lines = [f"{i * i % 7 + i / 99},{b}" for i, b in enumerate(cells)]
    path = written(tmp_path, ["a,b", *lines])
    with pytest.raises(DataError, match=r"column 'b': text \('1.5 kg' in line 5\)"):
        load_dataset(TableData(name=path, missing="drop"), flows="none")
    late = written(tmp_path, ["a,b", *(f"{i / 7},{i / 3 if i < 40 else 'x'}" for i in range(60))])
    with pytest.raises(DataError, match=r"'x' in line (4[2-9]|[56]\d)\)"):
        load_dataset(TableData(name=late, max_rows=50), flows="none")
    path = written(tmp_path, ["a;b", *(f"0,{i}45;{0.8 + i * i % 7 + i / 99}" for i in range(60))])
    data = load_dataset(TableData(name=path), flows="none")
    assert [*data.notes] == ["b: read as numbers, such as 0.8 from '0.8' in line 2"]


def test_given_columns_may_repeat_and_follow_from_each_other():
    table = {**PLAIN, "twice": 2 * G, "rank": np.round(G), "is_high": np.where(G > 0, 1, 0)}
    data = load(table, given=["is_high", "twice", "g", "rank"])
    assert data.given_names == ["g", "twice", "rank", "is_high"] and data.modelled_names == [
        "a",
        "b",
        "h",
    ]
    assert data.columns == [*data.given_names, *data.modelled_names]
    g = data.train[:, 0]
    np.testing.assert_array_equal(data.train[:, 1], 2 * g)


WEIGHED = {"weights": "w", "split": "part"}
ONLY_B = {"split": "part", "given": ["b"]}


def weights_of(ones):
    return {"w": np.r_[np.ones(ones), np.zeros(N - ones)], "part": PARTS}


@pytest.mark.parametrize(
    ("table", "settings", "named"),
    [
        ({}, {"given": ["G"]}, "data.given: no column 'G' (did you mean 'g'?)"),
        ({}, {"columns": ["a", "d"]}, "data.columns: no column 'd'"),
        ({}, {"bounds": {"x": [0, None]}}, "data.bounds: no column 'x'"),
        ({}, {"weights": "w"}, "data.weights: no column 'w'"),
        ({}, {"given": ["a", "b", "g", "h"]}, "a column to model, received none"),
        ({}, {"exclude": ["a", "b", "g", "h"]}, "a column to model, received none"),
        ({"city": CITY}, {"given": ["city", "g"]}, "column 'city': text"),
        ({"city": CITY}, {"columns": ["a", "city"]}, "--columns without city"),
        ({"log_q": A[::-1]}, {}, "column 'log_q': the name is reserved"),
        (changed("g", 3, np.nan), {}, "1 of 200 rows have missing values (g 1);"),
        (changed("g", 3, np.inf), {}, "received inf in row 3 counted from 0"),
        (changed("g", 3, 1e30), {}, "'g': expected values within 1e+15 rob"),
        ({"a": np.r_[-0.5, abs(A[1:])]}, {"bounds": {"a": [0, None]}}, "received -0.5 in row 0"),
        ({"a": np.r_[9.0, A[1:]]}, {"bounds": {"a": [-9, 9]}}, "received 9 in row 0"),
        ({"b": 2 * G - 3 * H + 1e-5 * B}, {"given": ["g", "h"]}, "'b': depends linearly on the gi"),
        ({"b": A + 1e-5 * B}, {}, "each of a, b depends linearly on the others; --exclude b"),
        ({"b": A + G + 1e-5 * B}, {"given": ["g"]}, "a, b depends linearly on the others and"),
        (weights_of(150), WEIGHED, "'w': expected weights, received 0 in all 50 test rows"),
        (weights_of(151), WEIGHED, "received 1 with weights above 0, of 50"),
        ({"b": np.r_[np.ones(100), B[:100]], "part": PARTS}, ONLY_B, "'b': is constant, 1 (in the"),
    ],
)
def test_what_no_flows_fit_is_one_line(table, settings, named):
    assert named in refused({**PLAIN, **table}, **settings)


def test_too_few_rows_are_one_line():
    for (n, dim), named in (
        ((9, 2), "10 rows"),
        ((0, 2), "10 rows"),
        ((10, 7), "6 rows of 7"),
    ):
        assert named in refused(np.random.default_rng(0).standard_normal((n, dim)))


def test_the_checksum_is_of_the_columns_in_the_order_of_the_rows_of_any_file(tmp_path):
    data = load(PLAIN, columns=["g", "a"])
    chosen = np.ascontiguousarray(np.column_stack([A, G]), "<f8")
    assert data.sha256 == hashlib.sha256(chosen.tobytes()).hexdigest()
    assert data.record()["columns"] == ["a", "g"]
    frame = pa.table(PLAIN)
    parquet.write_table(frame, tmp_path / "t.parquet")
    lines = [",".join(map(repr, row.values())) for row in frame.to_pylist()]
    names = written(tmp_path, [",".join(PLAIN), *lines]), str(tmp_path / "t.parquet")
    first, second = (
        load_dataset(TableData(name=n, given=["b"]), open_table(n), "none") for n in names
    )
    assert first.sha256 == second.sha256 and first.record()["units"] == second.record()["units"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"given": ["g", "b"], "bounds": {"a": [-9, None]}}, {"weights": "h", "columns": ["a"]}],
)
def test_the_settings_that_a_run_records_lead_to_the_same_rows(settings):
    table = {**PLAIN, "h": np.abs(H), "n": COUNT} if "weights" in settings else PLAIN
    data = load(table, **settings)
    config = FitConfig(command="fit", data=TableData(name="t.csv", **settings))
    again = config.settled(data.kinds, len(data.train)).data
    found = load_dataset(again, table_of(table), "tukey-h")
    assert found.record() == data.record()
    np.testing.assert_array_equal(found.test, data.test)


def test_units_are_fitted_to_the_rows_that_weights_favour_and_end_at_bounds():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((2_000, 3)), 100 + 5 * rng.standard_normal((2_000, 3))])
    table = {**dict(zip("abc", x.T)), "w": np.repeat([0.0, 2.5], 2_000)}
    data = load(table, weights="w", given=["c"])
    for scale, *_ in data.units.values():
        # the standard error of a median is 1.25 sd / sqrt(n), of rows drawn again twice that
        assert scale.centre == pytest.approx(100, abs=5 * 2 * 1.25 * 5 / np.sqrt(1_600))
        assert scale.scale == pytest.approx(5, rel=0.2)
    assert load(table, weights="w", given=["c"], split_seed=1).record() != data.record()
    units = load({"a": np.abs(A) % 1 * 0.9 + 0.01, "b": B}, bounds={"a": [0, 1]}).units
    assert units["a"][0] == Logit(0, 1)


@pytest.mark.parametrize("key", ["split", "group"])
def test_the_rows_of_a_part_are_in_random_order(key):
    # The first of them stand for all, where tails are fitted and where some are drawn.
    n, rng = 1_000, np.random.default_rng(3)
    column = {"split": np.where(np.arange(n) % 5 == 0, "test", "train"), "group": np.arange(n) // 5}
    rises = np.linspace(0, 1, n) + 1e-3 * rng.random(n)
    data = load({"a": rises, "by": column[key]}, **{key: "by"})
    for part in (data.train, data.validation, data.test):
        assert abs(np.corrcoef(part[:, 0], np.arange(len(part)))[0, 1]) < 5 / np.sqrt(len(part))


def test_a_column_of_a_built_in_set_may_be_given():
    sets = [TableData(name="two-moons", size=500, given=given) for given in (["x2"], [])]
    given, plain = (load_dataset(data, flows="none") for data in sets)
    assert (given.given_names, given.modelled_names) == (["x2"], ["x1"])
    np.testing.assert_array_equal(given.train, plain.train[:, ::-1])
