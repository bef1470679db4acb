"""Rows that equal an earlier one in every cell, a number of many digits among these, count once."""

import csv

import numpy as np
import pytest

from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import open_table, opened
from nflow_cli.data.kinds.dataset import load_dataset, rows_of
from nflow_cli.data.points import checksum
from nflow_cli.errors import DataError
from nflow_cli.experiments.recorded_data import found_again
from nflow_cli.experiments.run import Run
from nflow_cli.runs.directory import RunDirectory

N = 600


def rng(seed=0):
    return np.random.default_rng(seed)


def single_rows(n=N):
    """Return different rows: numbers of many digits, one with gaps, whole ones, levels, roles."""
    draw = rng(1)
    x, y = draw.normal(size=(2, n))
    return {
        "id": np.array([f"{i:05d}" for i in draw.permutation(n)]),
        "x": x,
        "y": np.where(draw.random(n) < 0.2, np.nan, 0.8 * x + 0.6 * y),
        "rooms": draw.poisson(4, n),
        "city": draw.choice(["Rome", "Oslo", "Bonn"], n),
        "part": draw.choice(["train", "train", "validation", "test"], n),
        "group": draw.integers(0, 60, n),
        "weight": draw.integers(1, 4, n) / 2,
    }


ROLES = ["part", "group", "weight"]


def taken(table, rows):
    return {name: cells[rows] for name, cells in table.items()}


def load(table, missing="model", exclude=(), **settings):
    unused = {*table} & {*ROLES, *exclude} - {str(name) for name in settings.values()}
    data = TableData(name="table", missing=missing, exclude=[*unused], **settings)
    return load_dataset(data, opened(table))


def rows_in(*parts):
    return [tuple(np.nan_to_num(row, nan=1e9)) for part in parts for row in part]


def count_put_aside(data):
    found = [note for note in data.notes if "in every cell, numbers of many digits" in note]
    return int(found[0].split()[0].replace(",", "")) if found else 0


def test_a_bootstrap_has_the_kinds_of_its_law_and_no_row_in_two_parts():
    drawn = rng(2).integers(0, N, 2 * N)
    data = load(taken(single_rows(), drawn))
    assert {data.kinds[name].why for name in "xy"} == {"values that differ"}
    rows = rows_in(data.train, data.validation, data.test)
    assert len(rows) == len({*rows}) == len({*drawn})
    assert count_put_aside(data) == data.n_copies == 2 * N - len(rows)
    assert not any("training rows too" in note for note in data.notes)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"exclude": ["id"]},
        {"missing": "drop"},
        {"split": "part"},
        {"group": "group"},
        {"weights": "weight"},
        {"given": ["city", "x"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("are_apart", [True, False])
def test_a_table_with_each_row_twice_is_that_of_the_single_rows(settings, are_apart):
    table, twice = single_rows(), np.tile(np.arange(N), 2) if are_apart else np.arange(N).repeat(2)
    single, double = load(table, **settings), load(taken(table, twice), **settings)
    assert (single.n_copies, double.n_copies > N / 2) == (0, True)
    assert (double.kinds, double.units) == (single.kinds, single.units)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(double, part), getattr(single, part), equal_nan=True)
        np.testing.assert_array_equal(
            getattr(double.weights, part), getattr(single.weights, part), strict=True
        )


def wages(n):
    """Return rounded salaries by hours, of which many are typical ones, each year in new money."""
    draw, year = rng(3), rng(4).integers(0, 5, n)
    shares = draw.dirichlet(np.full(80, 0.3))
    salary = draw.choice(1_000 * np.arange(10, 90), n, p=shares)
    return {"wage": salary / 1.037**year / 52, "year": year}


NATURAL = {
    "whole numbers": lambda z: {"a": np.rint(3 * z[0]), "b": np.rint(2 * z[1]), "c": z[2] > 0},
    "rounded": lambda z: {"a": np.round(z[0], 1), "b": np.round(z[1], 1)},
    "scaled": lambda z: {
        "a": np.rint(500 * z[0]) / np.pi,
        "b": -np.rint(500 * z[0]) / np.e,
    },
    "logarithms": lambda z: {
        "a": np.log(np.ceil(np.exp(z[0] + 3))),
        "b": np.log(np.ceil(np.exp(z[1] + 1))),
    },
    "a number of zeros": lambda z: {"a": np.maximum(z[0], 0), "b": z[0] > 0},
    "heaps": lambda z: wages(z.shape[1]),
    "one column": lambda z: {"a": np.log(np.ceil(np.exp(z[0] + 8)))},
}


@pytest.mark.parametrize("kind", NATURAL)
def test_rows_that_are_equal_by_nature_stay(kind):
    n = 3_000
    table = NATURAL[kind](rng(5).normal(size=(3, n)))
    assert len(np.unique(np.column_stack([*table.values()]).astype(float), axis=0)) < n
    data = load(table)
    assert count_put_aside(data) == data.n_copies == 0
    assert sum(data.sizes.values()) == n


def test_rows_without_their_number_of_many_digits_stay():
    x, level = rng(6).normal(size=N), rng(7).choice(["a", "b"], N)
    x[: N // 3] = np.nan
    data = load({"x": np.tile(x, 2), "level": np.tile(level, 2)})
    assert data.n_copies == N - N // 3
    assert np.isnan(np.concatenate([data.train, data.validation, data.test])).sum() == 2 * (N // 3)


def test_rows_of_other_weights_or_groups_are_no_copies():
    table = taken(single_rows(), np.arange(N).repeat(2))
    assert load(table, exclude=["id"]).n_copies == N
    for role in ("weight", "group"):
        other = {**table, role: np.arange(2 * N) % 10}
        assert load(other, **{role.replace("ght", "ghts"): role}).n_copies == 0


def test_copies_in_several_parts_of_the_user_stay_in_each_and_are_told():
    table = taken(single_rows(), np.arange(N).repeat(4))
    table["part"] = np.tile(["train", "train", "test", "validation"], N)
    data = load(table, split="part")
    assert [*data.sizes.values()] == [N, N, N]
    assert data.kinds["x"].why == "values that differ"
    assert f"{N} of {N} test rows are training rows too: their score is too good" in data.notes


def test_row_numbers_hide_no_copies():
    twice = taken(single_rows(), np.arange(N).repeat(2))
    assert load({**twice, "id": np.arange(2 * N)}).n_copies == N


def write(path, table):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([[*table], *zip(*table.values())])
    return str(path)


def test_copies_in_a_file_of_test_rows_count_once(tmp_path):
    table, tests = single_rows(), taken(single_rows(2 * N), np.arange(N, 2 * N).repeat(3))
    path = write(tmp_path / "tests.csv", tests)
    data = load(table, test=path)
    assert (data.sizes["n_test"], data.n_copies) == (N, 2 * N)
    assert any(note.startswith(f"{path}: {2 * N:,} of {3 * N:,} rows equal") for note in data.notes)


def test_the_rows_of_a_run_are_found_again_and_its_table_is_known(tmp_path):
    table = taken(single_rows(), rng(2).integers(0, N, N))
    settings = TableData(name=write(tmp_path / "t.csv", table), missing="model", exclude=ROLES)
    data = load_dataset(settings)
    assert data.kinds["id"].kind == "left out" and data.n_copies
    run = RunDirectory.at(str(tmp_path / "run"))
    run.write_json("run.json", {"data": data.record()})
    settled = settings.model_copy(update={"kinds": dict(data.kinds)})
    again = found_again(Run(run), lambda _: load_dataset(settled))
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(again, part), getattr(data, part), equal_nan=True)
    whole = rows_of(open_table(settings.name), data.kinds, data.columns, settings)
    assert len(whole) == N and checksum(whole) == data.sha256
    record = data.record()
    record.pop("copies")  # as of a run that took copies for rows
    run.write_json("run.json", {"data": record})
    with pytest.raises(DataError, match=rf"not the rows of this run: {data.n_copies} are copies"):
        found_again(Run(run), lambda _: load_dataset(settled))
