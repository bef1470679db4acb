"""The rows of a whole table: its levels, parts and weights, by tables whose content is known."""

import numpy as np
import pytest

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dataset import load_dataset, rows_of
from nflow_cli.data.table_files import open_table, opened, table_of
from nflow_cli.errors import DataError

N = 400


def a_table(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "city": rng.choice(["Rome", "Oslo", "Bonn"], N).astype(object),
        "price": np.unique(np.round(np.exp(rng.normal(3, 1, 2 * N)), 4))[rng.permutation(N)],
        "rooms": rng.poisson(6, N),
        "part": rng.choice(["train", "train", "validation", "test"], N),
        "group": rng.integers(0, 40, N),
        "weight": rng.integers(0, 4, N) / 2,
    }


def load(columns, **settings):
    return load_dataset(TableData(name="table", missing="model", **settings), table_of(columns))


def test_rows_hold_given_columns_first_and_levels_by_number():
    table = a_table()
    data = load(table, given=["rooms"], exclude=["part", "group", "weight"])
    assert data.columns == ["rooms", "city", "price"]
    assert data.kinds["city"].levels == ["Bonn", "Oslo", "Rome"]
    rows = np.concatenate([data.test, data.validation, data.train])
    written = {(r, c, p) for r, c, p in zip(table["rooms"], table["city"], table["price"])}
    levels = data.kinds["city"].levels
    assert {(r, levels[int(c)], p) for r, c, p in rows} == written
    assert data.sizes == {"n_train": 320, "n_validation": 40, "n_test": 40}


def test_the_order_of_rows_changes_neither_kinds_nor_levels():
    table, order = a_table(), np.random.default_rng(1).permutation(N)
    table.pop("part")
    first, second = load(table), load({name: cells[order] for name, cells in table.items()})
    assert first.kinds == second.kinds and first.measure == second.measure


def test_levels_are_those_of_training_rows_alone():
    table = a_table()
    at_test = np.flatnonzero(table["part"] == "test")[:2]
    table["city"][at_test] = "Nowhere"
    data = load(table, split="part")
    assert data.kinds["city"].levels == ["Bonn", "Oslo", "Rome"]
    place = data.columns.index("city")
    assert (data.test[:, place] == -1).sum() == 2
    assert (data.train[:, place] >= 0).all()


def test_a_column_that_says_the_part_is_followed_and_not_modelled():
    table = a_table()
    data = load(table, split="part")
    assert "part" not in data.columns and "part" not in data.kinds
    for part, rows in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        expected = table["price"][table["part"] == part]
        np.testing.assert_array_equal(
            np.sort(rows[:, data.columns.index("price")]), np.sort(expected)
        )


def test_groups_stay_together_and_are_not_modelled():
    table = a_table()
    table["trace"] = np.round(table["group"] + np.random.default_rng(2).uniform(0, 0.5, N), 3)
    data = load(table, group="group", exclude=["part"])
    assert "group" not in data.columns
    at = data.columns.index("trace")
    groups = [set(np.floor(rows[:, at])) for rows in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def test_weights_stand_beside_the_rows_of_each_part():
    table = a_table()
    data = load(table, weights="weight", exclude=["part", "group"])
    assert "weight" not in data.columns
    by_price = dict(zip(table["price"], table["weight"]))
    for rows, weights in zip((data.train, data.validation, data.test), data.weights):
        expected = np.array([by_price[price] for price in rows[:, data.columns.index("price")]])
        np.testing.assert_allclose(weights, expected / expected.mean())


@pytest.mark.parametrize("cells", [np.full(N, -1.0), np.full(N, np.nan), np.zeros(N), ["a"] * N])
def test_weights_that_are_none_are_one_line(cells):
    with pytest.raises(DataError, match="expected finite weights of 0 or more"):
        load({**a_table(), "weight": cells}, weights="weight")


def test_levels_that_are_numbers_are_found_again_in_a_table_of_them_alone(tmp_path):
    rng = np.random.default_rng(4)
    mixed = rng.choice(["1", "2", "x", "03"], N)
    dates = rng.choice(["2024-01-01", "2024-02-01", "unknown"], N)
    x = np.round(rng.normal(0, 1, N), 3)
    data = load({"mixed": mixed, "dates": dates, "x": x})
    (tmp_path / "new.csv").write_text("mixed,dates,x\n1,2024-01-01,0.5\n03,2024-02-01,0.25\n")
    rows = rows_of(open_table(tmp_path / "new.csv"), data.kinds, ["mixed", "dates", "x"])
    levels = [[data.kinds[c].levels[int(v)] for c, v in zip(["mixed", "dates"], r)] for r in rows]
    assert levels == [["1", "2024-01-01"], ["03", "2024-02-01"]]


def test_levels_of_numbers_are_each_one_level():
    """0.1 + 0.2 and 0.3 are one value to 12 digits."""
    rng = np.random.default_rng(5)
    few = rng.choice([0.1, 0.3, 0.1 + 0.2, 7.5], N)
    data = load({"few": few, "x": np.round(rng.normal(0, 1, N), 3)})
    assert data.kinds["few"].levels == ["0.1", "0.3", "7.5"]
    assert set(data.train[:, 0]) == {0, 1, 2}


def test_a_level_of_no_size_is_0_and_no_minus_0():
    few = np.where(np.arange(N) % 2 == 0, -1e-310, 5.0)
    data = load({"few": few, "x": np.random.default_rng(7).normal(size=N)})
    assert data.kinds["few"].levels == ["0", "5"]


def test_an_infinity_is_one_line_and_so_is_text_among_numbers():
    table = a_table()
    table["price"][7] = np.inf
    with pytest.raises(DataError, match="'price': expected finite numbers, received inf"):
        load(table)
    data = load(a_table())
    new = {**a_table(), "price": ["dear"] * N}
    with pytest.raises(DataError, match="'price': expected numbers, received 'dear'"):
        rows_of(table_of(new), data.kinds, data.columns)


def test_a_column_of_text_by_a_few_cells_has_a_note(tmp_path):
    rng = np.random.default_rng(3)
    cells = [*map(str, rng.normal(size=N).round(3))]
    cells[17] = "n.b."
    (tmp_path / "t.csv").write_text(
        "x,y\n" + "\n".join(f"{c},{i % 7}" for i, c in enumerate(cells))
    )
    settings = TableData(name="t", missing="model")
    notes = load_dataset(settings, open_table(str(tmp_path / "t.csv"))).notes
    assert any(
        "x is read as text: 1 of 400 cells are not numbers: 'n.b.' in line 19" in n for n in notes
    )
    chosen = settings.model_copy(update={"categorical": {"x": None}})
    assert not any(
        "is text" in n for n in load_dataset(chosen, open_table(str(tmp_path / "t.csv"))).notes
    )


@pytest.mark.parametrize("form", ["${:,}", "{:,} €", "-{:,}.5"])
def test_numbers_with_separators_or_units_have_a_note(tmp_path, form):
    wealth = np.random.default_rng(5).integers(500, 50_000, N)
    rows = [f'"{form.format(w)}";{i % 7}' for i, w in enumerate(wealth)]
    (tmp_path / "t.csv").write_text("w;y\n" + "\n".join(rows))
    settings = TableData(name="t", missing="model")
    notes = load_dataset(settings, open_table(str(tmp_path / "t.csv"))).notes
    assert any(note.startswith("w is read as text: it looks like numbers") for note in notes)


def test_test_rows_that_are_training_rows_too_have_a_note():
    x, y = np.random.default_rng(4).normal(size=(2, N))
    twice = {"x": np.append(x, x[:90]), "y": np.append(y, y[:90])}
    assert any("test rows are training rows too" in note for note in load(twice).notes)
    assert not any("among those" in note for note in load(a_table()).notes)
    levels = {"a": x > 0, "b": y > 0}  # which repeat by chance
    assert not any("among those" in note for note in load(levels).notes)


def test_kinds_of_some_columns_alone_are_one_line():
    kinds = {"rooms": load(a_table()).kinds["rooms"]}
    with pytest.raises(DataError, match=r"data.kinds: expected the kinds of all columns.*'city'"):
        load(a_table(), kinds=kinds)
    kinds = dict(load(a_table()).kinds)
    kinds["price"] = kinds["price"].model_copy(update={"resolution": None})
    with pytest.raises(DataError, match=r"data.kinds.price.resolution: expected a number above 0"):
        load(a_table(), kinds=kinds)


def test_only_what_is_modelled_is_in_the_measure():
    table = a_table()
    finer = {**table, "price": table["price"] + 1e-5 * np.arange(N)}
    measures = {load(t, exclude=["part"]).measure for t in (table, finer)}
    assert len(measures) == 2
    assert load(table, exclude=["part"]).measure == load(table, split="part").measure


def test_numbers_of_all_digits_that_crowd_at_their_ends_are_within_their_bounds():
    rng = np.random.default_rng(6)
    table = {"x": rng.random(N), "y": rng.random(N).astype("f4"), "z": 1 / 3 + rng.random(N)}
    table["steps"] = rng.integers(0, 40, N) + rng.uniform(0, 0.5, N)
    data = load(table)
    rows = np.concatenate([data.train, data.validation, data.test])
    for name, values in zip(data.columns, rows.T):
        low, high = data.kinds[name].bounds or (None, None)
        assert low is None or low <= values.min()
        assert high is None or high >= values.max()


def test_numbers_stored_in_single_precision_are_those_that_were_written():
    """61.8 in float32 is 61.799999: on the grid of tenths, and at its atom."""
    rng = np.random.default_rng(3)
    heaped = np.where(rng.random(N) < 0.3, 54321.5, np.round(rng.normal(5e4, 10, N), 1))
    spread = np.round(rng.normal(5e3, 900, N), 2)
    exact = load({"heaped": heaped, "spread": spread})
    single = load({"heaped": heaped.astype("f4"), "spread": spread.astype("f4")})
    assert exact.kinds["heaped"].atoms == single.kinds["heaped"].atoms == [54321.5]
    np.testing.assert_array_equal(single.train, exact.train)


def test_truth_values_of_a_frame_are_levels_of_a_text(tmp_path):
    """A CSV file says True where a DataFrame has true: neither is a new level of the other."""
    values = np.tile([True, False, True], 20)
    (tmp_path / "t.csv").write_text("b,x\n" + "".join(f"{v},{i}\n" for i, v in enumerate(values)))
    frame = {"b": values, "x": np.arange(60.0)}
    for known, new in ((tmp_path / "t.csv", frame), (frame, tmp_path / "t.csv")):
        kinds = load_dataset(TableData(name="t", missing="model"), table=opened(known)).kinds
        found = rows_of(opened(new), kinds, ["b"])
        np.testing.assert_array_equal(found[:, 0], values)
