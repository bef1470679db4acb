"""The rows of a whole table: which are used, their levels, parts and weights, and found again."""

import csv
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError

from nflow_cli.config.table import CellsConfig, TableData
from nflow_cli.data.files import columns
from nflow_cli.data.files.table_files import open_table, opened, table_of
from nflow_cli.data.kinds.dataset import load_dataset, rows_of
from nflow_cli.data.kinds.split import split_at_random, split_by_column, split_by_group
from nflow_cli.errors import DataError

N = 400


def rng(seed=0):
    return np.random.default_rng(seed)


def a_table(seed=0):
    draw = rng(seed)
    return {
        "city": draw.choice(["Rome", "Oslo", "Bonn"], N).astype(object),
        "price": np.unique(np.round(np.exp(draw.normal(3, 1, 2 * N)), 4))[draw.permutation(N)],
        "rooms": draw.poisson(6, N),
        "part": draw.choice(["train", "train", "validation", "test"], N),
        "group": draw.integers(0, 40, N),
        "weight": draw.integers(0, 4, N) / 2,
    }


GAPS = rng().random(N) < 0.2
GAPPY = {
    "x": rng(1).normal(size=N).round(6),
    "city": rng(2).choice(["Rome", "Oslo"], N),
    "gappy": np.where(GAPS, np.nan, rng(3).normal(size=N)),
    "one": np.ones(N),
    "w": rng(4).integers(0, 4, N),
}


def load(table, missing="model", **settings):
    data = TableData(name="table", missing=missing, **settings)
    return load_dataset(data, opened(table))


def all_rows(data):
    return np.concatenate([data.train, data.validation, data.test])


def write(path, columns):
    rows = zip(*columns.values())
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, r)) for r in rows), ""]))
    return str(path)


def test_rows_hold_given_columns_first_and_levels_by_number():
    table = a_table()
    data = load(table, given=["rooms"], exclude=["part", "group", "weight"])
    assert data.columns == ["rooms", "city", "price"]
    levels = data.kinds["city"].levels
    assert levels == ["Bonn", "Oslo", "Rome"]
    written = {(r, c, p) for r, c, p in zip(table["rooms"], table["city"], table["price"])}
    assert {(r, levels[int(c)], p) for r, c, p in all_rows(data)} == written
    assert data.sizes == {"n_train": 320, "n_validation": 40, "n_test": 40}


def test_kinds_and_measure_are_of_what_is_modelled_whatever_the_order_of_rows():
    table, order = a_table(), rng(1).permutation(N)
    shuffled = {name: cells[order] for name, cells in table.items()}
    first, second = (load(t, exclude=["part"]) for t in (table, shuffled))
    assert first.kinds == second.kinds
    assert first.measure == second.measure == load(table, split="part").measure
    finer = {**table, "price": table["price"] + 1e-5 * np.arange(N)}
    assert load(finer, exclude=["part"]).measure != first.measure
    x, y = rng(4).normal(size=(2, N))  # whose levels repeat by chance
    assert not any("training rows too" in note for note in load({"a": x > 0, "b": y > 0}).notes)


def test_a_column_that_says_the_part_is_followed_and_levels_are_of_training_rows_alone():
    table = a_table()
    at_test = np.flatnonzero(table["part"] == "test")[:2]
    table["city"][at_test] = "Nowhere"
    data = load(table, split="part")
    assert "part" not in data.columns and "part" not in data.kinds
    city, price = map(data.columns.index, ("city", "price"))
    for part in ("train", "validation", "test"):
        expected = table["price"][table["part"] == part]
        np.testing.assert_array_equal(np.sort(getattr(data, part)[:, price]), np.sort(expected))
    assert data.kinds["city"].levels == ["Bonn", "Oslo", "Rome"]
    assert (data.test[:, city] == -1).sum() == 2 and (data.train[:, city] >= 0).all()


def test_groups_stay_together_and_are_not_modelled():
    table = a_table()
    table["trace"] = np.round(table["group"] + rng(2).uniform(0, 0.5, N), 3)
    table["constant"] = rng(3).normal(size=40).round(2)[table["group"]]
    data = load(table, group="group", exclude=["part"])
    assert "group" not in data.columns and data.kinds["constant"].kind == "number"
    at = data.columns.index("trace")
    groups = [set(np.floor(rows[:, at])) for rows in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def parts_by_code(data):
    """Return the codes of the rows of each part, which their x tells."""
    at = data.columns.index("x")
    return [{*np.floor(rows[:, at])} for rows in (data.train, data.validation, data.test)]


def cells_of_one(data):
    """Return the cells of g that are 1 in the table."""
    rows = all_rows(data)
    return rows[np.floor(rows[:, data.columns.index("x")]) == 1, data.columns.index("g")]


# Roles of a column g of codes 0, 1 and 2, which the x beside it tells; and what each does.
ROLES = {
    "columns": (["g", "x"], lambda data: "y" not in data.columns),
    "exclude": (["g"], lambda data: "g" not in data.columns),
    "bounds": ({"g": [0, 9]}, lambda data: data.kinds["g"].bounds in ([0, 9], None)),  # of levels
    "split": ("g", lambda data: parts_by_code(data) == [{0}, {1}, {2}]),
    "group": ("g", lambda data: sum(map(len, parts_by_code(data))) == 3),
    "given": (["g"], lambda data: data.given_names == ["g"]),
    "categorical": (["g"], lambda data: data.kinds["g"].why == "chosen"),
    "discrete": ({"g": 1}, lambda data: data.kinds["g"].kind == "grid"),
    "weights": ("g", lambda data: data.weights.train is not None),
    "na": (["g=1"], lambda data: "g" not in data.columns or np.isnan(cells_of_one(data)).all()),
}


@pytest.mark.parametrize(("first", "second"), [*combinations(ROLES, 2)])
def test_two_roles_of_a_column_do_what_each_does_or_are_refused_in_one_line(first, second):
    codes = np.arange(N) % 3
    table = {"g": codes, "x": codes + rng().uniform(0.0, 0.9, N), "y": rng(1).normal(size=N)}
    asked = {role: ROLES[role][0] for role in (first, second)}
    try:
        data = load(table, **asked)
    except ValidationError as refusal:
        (error,) = refusal.errors()
        assert error["loc"] == (second,) and first in error["msg"]
        return
    except DataError as refusal:
        assert len(str(refusal).splitlines()) == 1
        return
    assert all(ROLES[role][1](data) for role in (first, second))


def test_weights_stand_beside_the_rows_of_each_part_with_a_mean_of_one():
    table = a_table()
    data = load(table, weights="weight", exclude=["part", "group"])
    assert "weight" not in data.columns
    by_price = dict(zip(table["price"], table["weight"]))
    for rows, weights in zip((data.train, data.validation, data.test), data.weights):
        expected = np.array([by_price[price] for price in rows[:, data.columns.index("price")]])
        np.testing.assert_allclose(weights, expected / expected.mean())
    assert any(n.startswith("weighted by weight: effective sample size ") for n in data.notes)


def test_gaps_are_modelled_unless_rows_with_one_are_dropped():
    assert np.isnan(all_rows(load(GAPPY))).sum() == GAPS.sum()
    dropped = load(GAPPY, "drop")
    assert len(all_rows(dropped)) == (~GAPS).sum() and not np.isnan(all_rows(dropped)).any()
    assert not any(kind.missing for kind in dropped.kinds.values())
    count = GAPS.sum()
    assert f"left out: {count} of {N} rows have missing values (gappy {count})" in dropped.notes
    with pytest.raises(DataError, match=rf"{count} of {N} rows .* \(gappy {count}\)"):
        load(GAPPY, "refuse")
    assert len(all_rows(load(GAPPY, "refuse", exclude=["gappy"]))) == N


def test_only_columns_that_are_named_are_used_and_rows_may_be_drawn():
    assert load(GAPPY, columns=["gappy", "x"]).columns == ["x", "gappy"]
    assert load(GAPPY, exclude=["x"]).columns == ["city", "gappy", "w"]
    given = load(GAPPY, given=["one", "city"])
    assert (given.given_names, given.modelled_names) == (["city"], ["x", "gappy", "w"])
    assert "left out, constant: one" in given.notes
    drawn = load(GAPPY, max_rows=50)
    assert "50 rows, drawn at random by data.max_rows" in drawn.notes
    assert len(all_rows(drawn)) == 50 and set(all_rows(drawn)[:, 0]) <= set(GAPPY["x"])


def test_test_rows_may_be_those_of_a_table_of_their_own(tmp_path):
    own = {name: values[:30] for name, values in reversed(GAPPY.items())}
    own["city"] = ["Bern", *own["city"][1:]]
    path = write(tmp_path / "own.csv", own)
    data = load(GAPPY, "drop", test=path, weights="w")
    left = ~GAPS[:30]
    assert data.sizes["n_test"] == left.sum()
    assert len(data.train) + len(data.validation) == (~GAPS).sum()
    assert data.kinds["city"].levels == ["Oslo", "Rome"]
    assert sorted(data.test[:, 0]) == sorted(GAPPY["x"][:30][left])
    assert (data.test[:, 1] == -1).sum() == left[0]
    at = dict(zip(own["x"], own["w"]))
    weights = np.array([at[x] for x in data.test[:, 0]])
    np.testing.assert_allclose(data.weights.test, weights / weights.mean())
    assert data.record()["test"]["path"] == path
    with pytest.raises(DataError, match="test rows other than the training rows"):
        load(GAPPY, test=write(tmp_path / "same.csv", GAPPY))


@pytest.mark.parametrize(
    "settings",
    [
        {"missing": "model"},
        {"missing": "drop", "weights": "w"},
        {"missing": "model", "given": ["one", "city"]},
        {"missing": "drop", "columns": ["gappy", "x"], "max_rows": 100},
        {"missing": "model", "discrete": {"w": 1}, "categorical": ["one"]},
    ],
)
def test_the_settings_that_a_run_records_lead_to_the_same_rows(settings):
    data = load(GAPPY, **settings)
    config = CellsConfig(command="fit", data=TableData(name="table", **settings))
    again = load_dataset(config.settled(data.kinds, len(data.train)).data, table_of(GAPPY))
    assert (again.record(), again.sizes) == (data.record(), data.sizes)
    assert (again.given_names, again.modelled_names) == (data.given_names, data.modelled_names)
    np.testing.assert_array_equal(all_rows(again), all_rows(data))


def test_levels_that_are_numbers_are_found_again_in_a_table_of_them_alone(tmp_path):
    mixed = rng(4).choice(["1", "2", "x", "03"], N)
    dates = rng(5).choice(["2024-01-01", "2024-02-01", "unknown"], N)
    data = load({"mixed": mixed, "dates": dates, "x": rng(6).normal(size=N).round(3)})
    new = {"mixed": ["1", "03"], "dates": ["2024-01-01", "2024-02-01"], "x": [0.5, 0.25]}
    rows = rows_of(open_table(write(tmp_path / "new.csv", new)), data.kinds, [*new])
    levels = [[data.kinds[c].levels[int(v)] for c, v in zip(new, r[:2])] for r in rows]
    assert levels == [["1", "2024-01-01"], ["03", "2024-02-01"]]


def test_a_level_of_text_is_as_the_file_has_it_and_the_same_with_other_zeros(tmp_path):
    versions = rng(4).choice(["1.0", "2.0", "3.1b"], N)
    data = load({"version": versions, "x": rng(6).normal(size=N).round(3)})
    assert data.kinds["version"].levels == ["1.0", "2.0", "3.1b"]
    new = write(tmp_path / "new.csv", {"version": ["2", "2.00", "3.1b", "1.0"]})
    rows = rows_of(open_table(new), data.kinds, ["version"])
    np.testing.assert_array_equal(rows[:, 0], [1, 1, 2, 0])


@pytest.mark.parametrize(
    ("few", "levels"),
    [
        (rng(5).choice([0.1, 0.3, 0.1 + 0.2, 7.5], N), ["0.1", "0.3", "7.5"]),  # to 12 digits
        (np.where(np.arange(N) % 2 == 0, -1e-310, 5.0), ["0", "5"]),  # and no minus 0
    ],
)
def test_levels_of_numbers_are_each_one_level(few, levels):
    data = load({"few": few, "x": rng(7).normal(size=N)})
    assert data.kinds["few"].levels == levels
    assert set(data.train[:, 0]) == set(range(len(levels)))


KINDS = load(a_table()).kinds


@pytest.mark.parametrize(
    ("changes", "settings", "named"),
    [
        *(
            ({"weight": cells}, {"weights": "weight"}, "'weight': expected finite weights")
            for cells in (np.full(N, -1.0), np.full(N, np.nan), np.zeros(N), ["a"] * N)
        ),
        ({}, {"kinds": {"rooms": KINDS["rooms"]}}, "data.kinds: .*'city'"),
        (
            {},
            {"kinds": KINDS | {"price": KINDS["price"].model_copy(update={"resolution": None})}},
            "data.kinds.price.resolution",
        ),
    ],
)
def test_what_is_no_table_of_these_settings_is_refused(changes, settings, named):
    with pytest.raises(DataError, match=named):
        load(a_table() | changes, **settings)


def test_text_among_numbers_of_a_known_kind_is_refused():
    with pytest.raises(DataError, match="'price': expected numbers, received 'dear'"):
        rows_of(table_of(a_table() | {"price": ["dear"] * N}), KINDS, [*KINDS])


def test_times_with_a_zone_beside_others_are_refused(tmp_path):
    hours = np.datetime64("2024-01-01T00:00:00") + 3600 * np.arange(N)
    kinds = load(write(tmp_path / "t.csv", {"at": [f"{hour}Z" for hour in hours]})).kinds
    path = write(tmp_path / "new.csv", {"at": [f"{hours[0]}Z", hours[1]]})
    with pytest.raises(DataError, match="'at': expected ISO times, all with a zone or all without"):
        rows_of(open_table(path), kinds, ["at"])


def test_a_column_of_text_by_a_few_cells_or_by_units_that_differ_has_a_note(tmp_path):
    cells = [*map(str, rng(3).normal(size=N).round(3))]
    cells[17:47] = 30 * ["n.b."]
    path = write(tmp_path / "t.csv", {"x": cells, "y": np.arange(N) % 7})
    said = (
        "x is read as text: 30 of 400 cells are not numbers: 'n.b.' in line 19; if they mean "
        "missing, --na x=n.b."
    )
    assert said in load(path).notes
    assert load(path, na=["x=n.b."]).kinds["x"].type == "decimal"
    assert not any("read as text" in note for note in load(path, categorical=["x"]).notes)
    wealth = rng(5).integers(500, 900, N)
    for forms, why in (
        (("{} kg", "{} lb"), "numbers of several units: '{} kg' in line 2, '{} lb' in line 3"),
        (
            ("1.{0} €", "2.{} €"),
            "numbers that can be read in two ways, 1.{0} as 1.{0} or 1{0}: '1.{0} €' in line 2",
        ),
        (
            ("({0})", "({0})"),
            "numbers that can be read in two ways, in parentheses as negative ones or as standard "
            "errors: '({0})' in line 2",
        ),
    ):
        cells = [forms[i % 2].format(w) for i, w in enumerate(wealth)]
        path = write(tmp_path / "w.csv", {"w": cells, "y": np.arange(N) % 7})
        assert f"w is read as text: {why.format(*wealth)}" in load(path).notes
    typed = load({"code": [*map(str, wealth)], "y": np.arange(N) % 7})
    why = f"digits that are not stored as numbers: '{wealth[0]}' in row 0 counted from 0"
    assert f"code is read as text: {why}" in typed.notes


def test_numbers_all_in_parentheses_are_negative_where_those_of_another_column_are(tmp_path):
    fee = np.array([f"({i % 50 + 1}.25)" for i in range(N)])
    profit = [f"({i}.50)" if i % 3 else f"{i}.50" for i in range(N)]
    alone = load(write(tmp_path / "errors.csv", {"fee": fee, "y": np.arange(N) % 7}))
    assert alone.kinds["fee"].type == "text"
    data = load(write(tmp_path / "fees.csv", {"fee": fee, "profit": profit}))
    assert data.kinds["fee"].type == "decimal"
    assert set(data.train[:, data.columns.index("fee")]) <= {-(i + 1.25) for i in range(50)}
    assert "fee: read as numbers, such as -1.25 from '(1.25)' in line 2" in data.notes


@pytest.mark.parametrize(
    ("form", "example"),
    [
        ("{0}h {1}m", "3h 5m"),
        ("{0}:{1:02}", "27:03"),  # hours worked, or minutes, of which some are times of day
        ("{0}:{1:02}.5", "3:05.5"),
        ("2024-W{1:02}-{0}", "2024-W05-3"),
        ("A-{0}{1:02}", ""),
        ("CARD {0} SHOP {1} TOWN", ""),
    ],
)
def test_unique_text_of_numbers_in_one_form_is_said_to_be_neither_numbers_nor_dates(form, example):
    pairs = [(3, 5), (27, 3), *((i % 40, i % 53) for i in range(N))]
    notes = load({"t": [form.format(*pair) for pair in pairs], "y": np.arange(N + 2) % 7}).notes
    said = f"cells such as {example!r} in row {int(example == '27:03')} counted from 0 are neither "
    ways = {
        "27:03": "; if they are minutes and seconds, --date t=%M:%S",
        "3:05.5": "; if they are minutes and seconds, --date t=%M:%S.%f",
        "2024-W05-3": "; if they are dates, --date t=FORMAT of strptime",
    }
    assert [n for n in notes if "read as text" in n] == (
        [f"t is read as text: {said}numbers nor dates in a known form{ways.get(example, '')}"]
        if example
        else []
    )
    assert any(note.startswith("left out, text, mostly unique: t") for note in notes)


def test_none_is_a_level_of_text_unless_a_run_read_it_as_a_gap():
    sewer = rng(6).choice(["public", "septic", "none", "NA"], N)
    data = load({"sewer": sewer, "y": np.arange(N) % 7})
    assert data.kinds["sewer"].levels == ["none", "public", "septic"]
    n = int((sewer == "NA").sum())
    assert f"sewer: of {N} cells of text {n} 'NA' are read as missing" in data.notes
    new = table_of({"sewer": np.array(["none", "public", "NA"])})
    np.testing.assert_array_equal(rows_of(new, data.kinds, ["sewer"])[:, 0], [0, 1, np.nan])
    earlier = data.kinds["sewer"].model_copy(update={"levels": ["public", "septic"]})
    cells = rows_of(new, {"sewer": earlier}, ["sewer"])[:, 0]
    np.testing.assert_array_equal(cells, [np.nan, 0, np.nan])


def test_a_format_of_dates_decides_what_cells_leave_open_and_reads_new_rows(tmp_path):
    days = np.datetime64("2023-02-01") + np.arange(N) % 12
    either = [f"{day.day:02}/{day.month:02}/{day.year}" for day in days.tolist()]
    digits = [f"{day.day:02}{day.month:02}{day.year % 100}" for day in days.tolist()]
    whole = [f"{day.year}{day.month:02}{day.day:02}" for day in days.tolist()]
    july = [
        f"{1 + i % 12}. juillet 2024" if i % 2 else f"{1 + i % 12}. août 2024" for i in range(N)
    ]
    months = np.datetime64("2023-02") + np.arange(N) % 24
    months = [f"{date:%B %Y}" for date in months.tolist()]
    columns = {"a": either, "b": digits, "c": whole, "d": july, "e": months}
    columns |= {"y": np.arange(N) % 7}
    notes = "\n".join(load(path := write(tmp_path / "t.csv", columns)).notes)
    for said in (
        f"a is read as text, and looks like dates or times: '{either[0]}' in line 2; to read them: "
        "--date a=%d/%m/%Y or --date a=%m/%d/%Y",
        "c: whole numbers that look like dates, such as 20230201; to read them: --date c=%Y%m%d",
        f"d is read as text, and looks like dates or times: '{july[0]}' in line 2; only English",
        "e is read as text, and looks like dates or times: 'February 2023' in line 2; to read "
        "them: --date 'e=%B %Y'",
    ):
        assert said in notes
    forms = {"a": "%d/%m/%Y", "b": "%d%m%y", "c": "%Y%m%d", "e": "%B %Y"}
    data = load(path, date=forms, exclude=["d"])
    table = open_table(write(tmp_path / "new.csv", {name: columns[name][:1] for name in forms}))
    row = rows_of(table, data.kinds, [*forms])[0]
    assert row.tolist() == [days[0].astype(int)] * 4
    typed = load({"c": np.array(whole, int), "y": np.arange(N) % 7}, date={"c": "%Y%m%d"})
    new = table_of({"c": np.array([20230202])})
    assert rows_of(new, typed.kinds, ["c"]).item() == days[1].astype(int)


@pytest.mark.parametrize("form", ["%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
def test_dates_in_digits_that_grow_are_no_row_numbers_and_have_a_note(form):
    steps = 86_400 * np.arange(N) if form == "%Y%m%d" else 3_600 * np.arange(N)
    times = (np.datetime64("2023-02-01T05:00:00") + steps).tolist()
    digits = [int(time.strftime(form)) for time in times]
    notes = load({"at": digits, "y": np.arange(N) % 7}).notes
    said = f"at: whole numbers that look like dates, such as {digits[0]}; to read them: --date at="
    assert "left out, grows from row to row: at" in notes
    assert f"{said}{form}" in notes


def test_levels_that_differ_by_capitals_alone_have_a_note():
    answers = ["no", "NO", "yes", "Yes", "perhaps"] * 2 + ["yes"] * (N - 10)
    notes = load({"a": answers, "y": np.arange(N) % 7}).notes
    assert (
        f"a: levels that differ by capitals alone: 2 'no' and 2 'NO', {N - 8} 'yes' and 2 'Yes'"
        in notes
    )


def test_numbers_that_differ_in_last_zeros_have_a_note_and_are_kept_apart_as_categories(tmp_path):
    versions = rng(8).choice(["1.1", "1.10", "1.2", "2.0"], N)
    for others in (["1.50", "2.25"], ["1.5", "2.0"], ["2.6e-10", "1.5"]):
        cells = {"x": np.resize(others, N), "y": np.arange(N) % 7}
        assert not any(
            "as the number" in note for note in load(write(tmp_path / "x.csv", cells)).notes
        )
    builds = rng(9).choice(["1.0", "2.0", "3", "3.0", "3.1b"], N)
    columns = {"version": versions, "build": builds, "y": rng(1).normal(size=N).round(3)}
    path = write(tmp_path / "t.csv", columns)
    said = "version: 1.10 is read as the number 1.1; to keep them apart: --categorical version"
    assert said in load(path).notes
    data = load(path, categorical=["version"])
    assert not any("as the number" in note for note in data.notes)
    assert data.kinds["version"].levels == ["1.1", "1.10", "1.2", "2.0"]
    assert data.kinds["build"].levels == ["1.0", "2.0", "3", "3.1b"]
    rows = [*zip(versions, builds)][:50]
    cells = rows_of(open_table(path), data.kinds, ["version", "build"])[:50]
    levels = data.kinds["version"].levels, data.kinds["build"].levels
    read = [(levels[0][int(v)], levels[1][int(b)]) for v, b in cells]
    assert read == [(v, "3" if b == "3.0" else b) for v, b in rows]
    new = open_table(write(tmp_path / "new.csv", {"version": ["2", "1.10"], "build": ["2", "3.0"]}))
    assert rows_of(new, data.kinds, ["version", "build"]).tolist() == [[3, 1], [1, 2]]


def test_an_id_that_repeats_with_others_constant_in_it_suggests_a_group():
    person = np.repeat(np.arange(100), 7) + 500
    school, sex = rng(2).integers(8, 18, 100), rng(3).choice(["f", "m"], 100)
    wage = rng(4).normal(size=700).round(4)
    panel = {"id": person, "school": school[person - 500], "sex": sex[person - 500], "wage": wage}
    said = (
        "id repeats (100 values in 700 rows), and within it school, sex do not change: --group id "
        "holds its rows out together, and a map tells nothing of a new value"
    )
    assert said in load(panel).notes
    assert not any("repeats (" in note for note in load(panel, group="id").notes)
    coded = panel | {"id": person % 10, "school": school[person % 10]}
    assert not any("repeats (" in note for note in load(coded).notes)


def test_minutes_and_seconds_are_read_by_their_format(tmp_path):
    seconds = rng(7).integers(300, 1_200, N)
    texts = [f"{second // 60}:{second % 60:02}" for second in seconds]
    rounded = [
        f"{hour}:{minute:02}"
        for hour, minute in zip(rng(8).integers(0, 24, N), 40 * [*range(0, 50, 5)])
    ]
    path = write(tmp_path / "t.csv", {"pace": texts, "at": rounded})
    notes = load(path).notes
    said = (
        f"pace: read as hours and minutes: '{texts[0]}' in line 2; if they are minutes and seconds"
    )
    assert f"{said}, --date pace=%M:%S" in notes
    assert not any(note.startswith("at: read as hours") for note in notes)
    data = load(path, date={"pace": "%M:%S"})
    assert not any("read as hours" in note for note in data.notes)
    column = data.columns.index("pace")
    np.testing.assert_array_equal(np.sort(all_rows(data)[:, column]), np.sort(seconds))
    assert data.kinds["pace"].bounds == [0, 3_599]


def test_times_and_numbers_that_lose_digits_have_a_note(tmp_path):
    seconds = (np.datetime64("2024-03-05T01:00:00") + 7 * np.arange(N)).astype(str)
    seconds[0] = "2024-03-05T01:04:28.737"
    numbers = [f"{1.7e9 + i / 4:.2f}" for i in range(N)]
    numbers[0] = "1700000017.537"
    long = [f"{x:.15g}" for x in rng(1).normal(40, 2, N)]
    notes = load(write(tmp_path / "t.csv", {"at": seconds, "x": numbers, "y": long})).notes
    assert [note for note in notes if "12 digits" in note] == [
        "at: read to 12 digits, such as 2024-03-05T01:04:28.737000 as 2024-03-05T01:04:28.740000",
        "x: read to 12 digits, such as 1700000017.537 as 1700000017.54",
    ]


def test_words_that_repeat_among_numbers_that_differ_have_a_note(tmp_path):
    cells = [*map(str, rng(3).normal(size=N).round(6))]
    cells[1::4], cells[2::9] = 100 * [".a"], len(cells[2::9]) * ["<0.05"]
    codes = [f"{i:04}" if i % 3 else f"{i}{i}" for i in rng(4).permutation(N)]
    notes = load(
        write(tmp_path / "t.csv", {"x": cells, "code": codes, "y": np.arange(N) % 7})
    ).notes
    n = sum(cell in (".a", "<0.05") for cell in cells)
    said = (
        f"x is read as text: {n} of 400 cells are not numbers: '.a' in line 3; if they mean missing"
    )
    assert f"{said}, --na 'x=.a,x=<0.05'" in notes
    assert not any(note.startswith("code is read as text") for note in notes)


def test_times_with_a_stray_cell_are_times_and_the_cell_is_named(tmp_path):
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in rng(7).integers(0, 1_440, N)]
    times[17] = "9.12"
    data = load(write(tmp_path / "t.csv", {"at": times, "y": np.arange(N) % 7}))
    assert (data.kinds["at"].type, data.kinds["at"].form) == ("time", "%H:%M")
    said = "at: 1 of 400 cells read as missing, as they are no numbers or dates: '9.12' in line 19"
    assert said in data.notes
    said = (
        "at: read as hours and minutes: '{}' in line 2; if they are minutes and seconds, --date at="
    )
    assert f"{said.format(times[0])}%M:%S" in data.notes
    path = write(tmp_path / "new.csv", {"at": [*times[:30], *(["?"] * 5)]})
    assert np.flatnonzero(np.isnan(rows_of(open_table(path), data.kinds, ["at"]))).tolist() == [
        *(17, 30, 31, 32, 33, 34)
    ]


PRICES = rng(3).integers(100, 900_000, N) / 100
MARKED = np.where(np.arange(N) % 7 == 3, "-", rng(4).integers(10, 90, N).astype(str))
MARKED[20] = "twelve"
DAYS = np.where(
    np.arange(N) % 9 == 2, "?", (np.datetime64("2024-01-01") + np.arange(N)).astype(str)
)


@pytest.mark.parametrize("is_typed", [False, True])
def test_numbers_in_text_are_numbers_and_what_was_understood_is_said(tmp_path, is_typed):
    texts = np.array([f"{x:,.2f} €".translate(str.maketrans(",.", ".,")) for x in PRICES])
    table = {"price": texts.astype(object), "n": MARKED.astype(object), "day": DAYS.astype(object)}
    lines = ["price;n;day", *map(";".join, zip(*table.values())), ""]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    data = load(table if is_typed else str(tmp_path / "t.csv"), bounds={"price": [0, None]})
    in_line = (lambda row: f"row {row} counted from 0") if is_typed else lambda r: f"line {r + 2}"
    assert [*data.notes] == [
        f"price: read as numbers, such as {PRICES[0]} from '{texts[0]}' in {in_line(0)}",
        f"n: {(MARKED == '-').sum()} gap marks read as missing: '-' in {in_line(3)}",
        f"n: 1 of {N} cells read as missing, as they are no numbers or dates: 'twelve' in "
        f"{in_line(20)}",
        f"day: {(DAYS == '?').sum()} gap marks read as missing: '?' in {in_line(2)}",
    ]
    prices, counts, days = all_rows(data).T
    np.testing.assert_array_equal(np.sort(prices), np.sort(PRICES))
    assert np.isnan(counts).sum() == (MARKED == "-").sum() + 1
    assert np.isnan(days).sum() == (DAYS == "?").sum()
    again = rows_of(opened(table), data.kinds, data.columns)
    np.testing.assert_array_equal(again[:, 0], PRICES)
    (tmp_path / "new.csv").write_text("price,n,day\n1.204,5,2024-01-02\n")  # in the notation
    new = rows_of(open_table(tmp_path / "new.csv"), data.kinds, data.columns)
    assert new[:, 0].tolist() == [1204.0]
    new = rows_of(table_of({"price": [1.204], "n": ["-"], "day": ["-"]}), data.kinds, data.columns)
    np.testing.assert_array_equal(new, [[1.204, np.nan, np.nan]])
    with pytest.raises(DataError, match=r"numbers such as -1\.234,50 €, received '5 kg'"):
        rows_of(table_of({"price": ["5 kg"]}), data.kinds, ["price"])


@pytest.mark.parametrize("unit", ["", "%", " €"])
@pytest.mark.parametrize(
    ("delimiter", "decimal"), [(";", ","), ("\t", ","), (",", ","), (";", "."), (",", ".")]
)
def test_cells_with_one_decimal_mark_decide_on_thousands_elsewhere(
    tmp_path, delimiter, decimal, unit
):
    sales, shares = rng(5).lognormal(7, 1, (N, 2)).astype(int), rng(6).integers(0, 1000, N) / 10
    truth = {"sales": sales[:, 0], "costs": sales[:, 1], "share": shares}
    texts = [[f"{n:,}" for n in column] for column in sales.T] + [[f"{x}{unit}" for x in shares]]
    if decimal == ",":
        marks = str.maketrans(",.", ".,")
        texts = [[text.translate(marks) for text in column] for column in texts]
    months = [[f"{low + i % (13 - low):02}.2015" for i in range(N)] for low in (1, 10)]
    texts, names = [*texts, *months], [*truth, "month", "late"]
    if delimiter == ";":  # a point, as of programs, decides nothing
        truth["width"] = np.round(50 + rng(7).random(N), 4)
        texts, names = [*texts, [*map(str, truth["width"])]], [*names, "width"]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *zip(*texts)])
    data = load(str(tmp_path / "t.csv"))
    assert not any("uncertain" in note for note in data.notes)
    rows = rows_of(open_table(tmp_path / "t.csv"), data.kinds, [*truth])
    np.testing.assert_allclose(rows, np.column_stack([*truth.values()]), rtol=1e-12)
    if decimal == ",":
        assert data.kinds["month"].levels == sorted({*months[0]})
        assert data.kinds["late"].levels == sorted({*months[1]})


def test_thousands_without_a_decimal_mark_elsewhere_have_a_note(tmp_path):
    cells = [f"{n:,}".replace(",", ".") for n in rng(5).integers(300, 20_000, N)]
    for months in (["n", *("1" * N)], ["month", *(f"{1 + i % 12:02}.2015" for i in range(N))]):
        path = tmp_path / "t.csv"
        path.write_text("\n".join(map(";".join, zip(["sales", *cells], months))))
        first = next(cell for cell in cells if "." in cell)
        assert (
            f"sales: '{first}' is read as {first}, not as {first.replace('.', '')}: the decimal "
            "mark of the table is uncertain"
        ) in load(str(path)).notes
    assert not any("uncertain" in note for note in load(str(path), exclude=["sales"]).notes)


def test_a_gap_mark_beside_dates_of_few_days_is_none_of_their_levels(tmp_path):
    days = np.resize(["2024-01-01", "-", "2024-02-01"], N)
    path = write(tmp_path / "t.csv", {"day": days, "x": rng(1).normal(size=N)})
    data = load(path)
    assert data.kinds["day"].levels == ["2024-01-01", "2024-02-01"]
    assert np.isnan(all_rows(data)[:, 0]).sum() == (days == "-").sum()
    again = rows_of(open_table(path), data.kinds, ["day"])[:, 0]
    np.testing.assert_array_equal(again, np.resize([0, np.nan, 1], N))


def test_numbers_in_more_distinct_texts_than_are_kept_have_a_note(tmp_path, monkeypatch):
    path = write(
        tmp_path / "t.csv", {"p": [f"{i / 10} kg" for i in range(N)], "x": rng(1).normal(size=N)}
    )
    monkeypatch.setattr(columns, "MAX_TEXTS", 300)
    said = "p is read as text: more than 100,000 distinct cells (--max-rows N reads some rows), "
    assert said + "such as '0.0 kg' in line 2" in load(path).notes


def test_digits_of_one_width_with_leading_zeros_are_levels_but_of_times(tmp_path):
    draw = rng(6).integers(0, 40, N)
    table = {
        "code": [f"{i:03}" for i in draw],
        "with gaps": np.where(draw < 3, "", [f"{i:05}" for i in draw]),
        "with marks": np.where(draw < 3, "-", [f"{i:03}" for i in draw]),
        "with NA": np.where(draw < 3, "NA", [f"{i:02}" for i in draw]),
        "clock": [f"{i // 2:02}{30 * (i % 2):02}" for i in draw],
        "month": [f"{i % 12 + 1:02}" for i in rng(8).integers(0, 99, N)],
        "day8": [f"2024{i % 12 + 1:02}{i % 28 + 1:02}" for i in draw],
        "stepped": [f"{i:03}" for i in rng(9).integers(0, 40, N)],
        "widths": [f"{i:02}" for i in rng(7).integers(0, 140, N)],
        "x": rng(10).normal(size=N).round(4),
    }
    path = write(tmp_path / "t.csv", table)
    data = load(path, discrete={"stepped": 1.0})
    text = {name for name, kind in data.kinds.items() if kind.type == "text"}
    assert text == {"code", "with gaps", "with marks", "with NA"}
    assert data.kinds["code"].why == "digits with leading zeros"
    assert data.kinds["code"].levels == [f"{i:03}" for i in range(40)]
    assert np.isnan(all_rows(data)).sum(axis=0)[1] == (draw < 3).sum()
    again = rows_of(open_table(path), data.kinds, ["code"])[:, 0]
    np.testing.assert_array_equal(again, draw)
    assert load(path, categorical=["code"]).kinds["code"].levels[0] == "000"
    stored = {"zip": np.array([f"{i % 30 + 940}" for i in range(N)], object), "x": table["x"]}
    assert load(stored).kinds["zip"].type == "text"
    unique = {"zip": [f"{i:05}" for i in range(100, 100 + N)], "x": rng(1).normal(size=N)}
    notes = load(write(tmp_path / "u.csv", unique)).notes
    assert "left out, text, mostly unique: zip" in notes


def test_levels_that_look_alike_are_one_level(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    drinks = np.resize([composed, apart, "tea", apart], N)
    table = {"drink": drinks, "blank": np.resize(["a", " a", "b", "b "], N), "apart": drinks}
    table["apart"] = np.resize([apart, "tea", apart], N)
    data = load(write(tmp_path / "t.csv", table))
    assert [data.kinds[name].levels for name in data.columns] == [
        [composed, "tea"],
        ["a", "b"],
        [composed, "tea"],
    ]
    how = "written in several ways (blanks around, or Unicode's forms) and read as one"
    assert [note for note in data.notes if "several ways" in note] == [
        f"drink: 1 level is {how}: {composed!r}",
        f"blank: 2 levels are {how}: 'a'",
    ]
    new = rows_of(table_of({"drink": [apart, composed, " tea"]}), data.kinds, ["drink"])
    assert new[:, 0].tolist() == [0, 0, 1]


AGES = rng(7).integers(20, 85, N)
CODED = np.where(np.arange(N) % 40 == 3, -999, AGES)


def test_values_said_to_be_missing_are_so_in_each_table_of_the_run(tmp_path):
    first = "1900-01-01"
    days = np.where(
        np.arange(N) % 9 == 2, first, (np.datetime64("2024") + np.arange(N)).astype(str)
    )
    table = {"age": CODED, "kg": [f"{c} kg" for c in CODED[::-1]], "day": days}
    table["city"] = np.tile(["Rome", "x"], N // 2)
    data = load(write(tmp_path / "t.csv", table), na=["-999", "city=x", f"day={first}"])
    expected = [(CODED == -999).sum()] * 2 + [(days == first).sum(), N // 2]
    assert np.isnan(all_rows(data)).sum(axis=0).tolist() == expected
    assert data.kinds["city"].levels == ["Rome"] and data.kinds["age"].bounds != [-999, None]
    settings = TableData(name="t", na=[-999, "city=x", f"day={first}"])
    typed = {**table, "age": CODED.astype("f4"), "day": days.astype("M8[D]")}
    for other in (typed, {name: column[:4] for name, column in typed.items()}):
        rows = rows_of(table_of(other), data.kinds, data.columns, settings)
        assert np.isnan(rows).sum(axis=0).tolist() == (expected if len(rows) == N else [1, 0, 1, 2])
    with pytest.raises(DataError, match=r"data\.na: no column 'agee'"):
        load(table, na=["agee=-999"])


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (CODED, -999),
        (np.where(CODED < 0, 999, AGES / 10), 999),
        (np.where(CODED < 0, 99.9, AGES / 40), 99.9),
        (np.where(CODED < 0, 1e30, AGES / 40), 1e30),
        (np.where(CODED < 0, -1, AGES / 80), -1),
        (np.where(CODED < 0, -9999, AGES.astype("f4") / 7), -9999),
        (AGES, None),
        (np.where(np.arange(N) < 2, -999, AGES), None),  # too few
        (np.where(CODED < 0, -1, AGES), None),  # near the others
        (np.where(CODED < 0, 99, AGES), None),
        (np.where(CODED < 0, -500, AGES), None),  # no code
        (np.where(CODED < 0, 0, AGES * 100), None),
        (rng(8).choice([-1, 1], N), None),
    ],
)
def test_a_far_value_that_repeats_is_told_with_the_option_that_leaves_it_out(cells, code):
    notes = [note for note in load({"a,b": cells, "x": rng(9).normal(size=N)}).notes]
    if code is None:
        assert not any("--na" in note for note in notes)
    else:
        (note,) = (note for note in notes if "--na" in note)
        assert note.startswith("a,b: 10 cells are ") and note.endswith(f"--na a\\,b={code:.15g}")
        assert not any("--na" in n for n in load({"a,b": cells, "x": cells}, na=[code]).notes)


def test_numbers_of_all_digits_that_crowd_at_their_ends_are_within_their_bounds():
    draw = rng(6)
    table = {"x": draw.random(N), "y": draw.random(N).astype("f4"), "z": 1 / 3 + draw.random(N)}
    table["steps"] = draw.integers(0, 40, N) + draw.uniform(0, 0.5, N)
    data = load(table)
    for name, values in zip(data.columns, all_rows(data).T):
        low, high = data.kinds[name].bounds or (None, None)
        assert low is None or low <= values.min()
        assert high is None or high >= values.max()


def test_numbers_stored_in_single_precision_are_those_that_were_written():
    """61.8 in float32 is 61.799999: on the grid of tenths, and at its atom."""
    draw = rng(3)
    heaped = np.where(draw.random(N) < 0.3, 54321.5, np.round(draw.normal(5e4, 10, N), 1))
    spread = np.round(draw.normal(5e3, 900, N), 2)
    exact = load({"heaped": heaped, "spread": spread})
    single = load({"heaped": heaped.astype("f4"), "spread": spread.astype("f4")})
    assert exact.kinds["heaped"].atoms == single.kinds["heaped"].atoms == [54321.5]
    np.testing.assert_array_equal(single.train, exact.train)


def test_truth_values_of_a_frame_are_levels_of_a_text(tmp_path):
    """A CSV file says True where a DataFrame has true: neither is a new level of the other."""
    frame = {"b": np.tile([True, False, True], 20), "x": np.arange(60.0)}
    path = write(tmp_path / "t.csv", frame)
    for known, new in ((path, frame), (frame, path)):
        found = rows_of(opened(new), load(known).kinds, ["b"])
        np.testing.assert_array_equal(found[:, 0], frame["b"])


def assert_every_row_is_in_one_part(parts, n):
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))


def test_a_tenth_is_held_out_for_validation_and_test_by_the_seed():
    for n, held_out in ((10, 2), (100, 10), (1_000_003, 50_000)):
        parts = split_at_random(n, seed=3)
        assert (len(parts.validation), len(parts.test)) == (held_out, held_out)
        assert_every_row_is_in_one_part(parts, n)
    parts, again, other = (split_at_random(100, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(parts.train, again.train)
    assert parts.train.tolist() != other.train.tolist()
    alone = split_at_random(100, seed=3, with_test=False)
    assert [len(part) for part in alone] == [90, 10, 0]
    assert_every_row_is_in_one_part(alone, 100)


@pytest.mark.parametrize("with_test", [True, False])
@pytest.mark.parametrize("groups", [3, 10, 300])
def test_no_group_is_in_two_parts(groups, with_test):
    group = rng().integers(0, groups, 1_000).astype(str)
    parts = split_by_group("shop", group, 0, with_test)
    assert_every_row_is_in_one_part(parts, 1_000)
    sets = [set(group[part]) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets))
    assert len(parts.train) and len(parts.validation) and bool(len(parts.test)) == with_test


def test_a_column_says_the_parts():
    for words in (("train", "validation", "test"), ("0", "1", "2.0")):
        texts = np.array([words[i] for i in (0, 0, 0, 1, 2, 0, 1, 2)])
        parts = split_by_column("part", texts, seed=0)
        assert [part.tolist() for part in parts] == [[0, 1, 2, 5], [3, 6], [4, 7]]
    texts = np.array(["train"] * 40 + ["Test "] * 5)  # some rows to train on validate
    parts = split_by_column("part", texts, seed=0)
    assert [len(part) for part in parts] == [36, 4, 5]
    assert_every_row_is_in_one_part(parts, 45)


def test_what_does_not_say_the_parts_is_refused():
    for texts, named in (
        (["train", "dev", "test"], "received 'dev'"),
        (["train", "", "test"], "received ''"),
        (["train"] * 9, "has 9, 0 and 0"),
        (["test"] * 9, "has 0, 9 and 0"),
        (["train"] * 9 + ["test"] * 2 + ["val"], "has 9, 2 and 1"),
    ):
        with pytest.raises(DataError, match=named):
            split_by_column("part", np.array(texts), seed=0)
    with pytest.raises(DataError, match=r"3 or more groups in column 'shop', received 2"):
        split_by_group("shop", np.array(["a", "b"] * 20), seed=0)


def test_what_a_file_has_beside_its_rows_is_said_once_wherever_it_is_read(tmp_path, capsys):
    columns = {key: values for key, values in a_table().items() if key in ("city", "price")}
    for name in ("t.csv", "new.csv"):
        path = tmp_path / name
        write(path, columns)
        path.write_text(f"Prices\n\n\n\n{path.read_text()}Total,9")
        columns = {key: values[::-1] for key, values in columns.items()}
    above, below = "left out above the table: line 1, 'Prices'", f"line {N + 6}, 'Total 9'"
    table = open_table(tmp_path / "new.csv")
    data = load(str(tmp_path / "t.csv"), test=table.name)
    for note in (above, below, f"{table.name}: {above}"):
        assert sum(note in one for one in data.notes) == 1 + (note != f"{table.name}: {above}")
    assert len(data.train) + len(data.validation) == len(data.test) == N
    assert (
        len(rows_of(table, data.kinds, ["city"])) == len(rows_of(table, data.kinds, ["price"])) == N
    )
    said = capsys.readouterr().err
    assert said.count(above) == said.count(below) == 1


def test_a_thinned_dataset_has_every_third_row_of_each_part_with_its_weight():
    rng = np.random.default_rng(0)
    data = load(table_of({"x": rng.random(1_000), "w": rng.random(1_000)}), weights="w")
    few = data.thinned(300)
    for name in ("train", "validation", "test"):
        rows, weights = getattr(data, name), getattr(data.weights, name)
        np.testing.assert_array_equal(getattr(few, name), rows[::3])
        np.testing.assert_array_equal(getattr(few.weights, name), weights[::3])
    assert len(few.train) <= 300 < len(data.train) / 2
    np.testing.assert_array_equal(data.thinned(1_000).train, data.train)
