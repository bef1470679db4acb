"""The data of a run are found again, and known for what they are."""

import numpy as np
import pytest

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.images import load_images
from nflow_cli.data.table_rows import load_table
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.experiments.data import found_again, given_units_of, images_of
from nflow_cli.runs.directory import RunDirectory

RNG = np.random.default_rng(0)


def rows_of(name):
    return load_table(TableData(name=name), "none")


FIND = {
    "points.npy": lambda run: found_again(run, rows_of),
    "images.npz": images_of,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that makes a run on data in a folder of their own, and leaves that."""

    def make(name):
        (tmp_path / "data").mkdir()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "data")
        if name == "points.npy":
            np.save(name, RNG.standard_normal((40, 2)))
            data = rows_of(name)
        else:
            pixels = RNG.integers(0, 256, (2, 9, 28, 28), np.uint8)
            np.savez(name, x_train=pixels[0], x_test=pixels[1])
            data = load_images(name)
        run = RunDirectory.at(str(tmp_path / "run"))
        run.write_json("run.json", {"data": data.record()})
        monkeypatch.chdir(tmp_path / "elsewhere")
        return run

    return make


@pytest.mark.parametrize("name", FIND)
def test_data_are_found_from_any_folder(run, name, tmp_path):
    data = FIND[name](run(name))
    assert data.name == name
    assert data.sha256 == RunDirectory(tmp_path / "run").read_json("run.json")["data"]["sha256"]


@pytest.mark.parametrize("name", FIND)
def test_data_that_moved_are_found_by_their_name(run, name, tmp_path):
    made = run(name)
    (tmp_path / "data" / name).rename(tmp_path / "elsewhere" / name)
    assert FIND[name](made).name == name


@pytest.mark.parametrize("name", FIND)
def test_other_data_are_not_taken_for_them(run, name, tmp_path):
    made = run(name)
    record = made.read_json("run.json")
    record["data"]["sha256"] = "0" * 64
    made.write_json("run.json", record)
    with pytest.raises(DataError, match=f"{name}: not the data of this run"):
        FIND[name](made)


def test_other_weights_are_not_taken_for_those_of_the_run(tmp_path):
    table = np.abs(RNG.standard_normal((40, 3)))
    settings = TableData(name=str(tmp_path / "t.npy"), weights="3", given=["2"])
    np.save(settings.name, table)
    run = RunDirectory.at(str(tmp_path / "run"))
    rows = load_table(settings, "none")
    run.write_json("run.json", {"data": rows.record()})
    assert given_units_of(run, 1).record() == rows.given_units.record()
    assert found_again(run, lambda name: load_table(settings, "none")).sha256 == rows.sha256
    table[7, 2] += 1
    np.save(settings.name, table)
    with pytest.raises(DataError, match="not the weights of this run; expected those of SHA") as no:
        found_again(run, lambda name: load_table(settings, "none"))
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("units", [None, [], [[], []], [3], "text"])
def test_units_of_what_is_given_that_a_run_lacks_are_one_line(tmp_path, units):
    run = RunDirectory.at(str(tmp_path))
    run.write_json("run.json", {"data": {"name": "two-moons", "given_units": units}})
    with pytest.raises(RunDirectoryError, match="damaged: expected the units of the data"):
        given_units_of(run, 1)
    assert given_units_of(run, 0).columns == ()


def test_a_file_of_test_rows_that_a_run_on_a_built_in_set_names_is_not_shown(tmp_path):
    (tmp_path / "secret").write_text("x1,x2\nmy password,is this\n")
    run = RunDirectory.at(str(tmp_path / "run"))
    run.write_json("run.json", {"data": {"name": "two-moons", "sha256": "0" * 64}})
    settings = TableData(name="two-moons", test=str(tmp_path / "secret"))
    with pytest.raises(DataError, match="two-moons: not the data of this run") as caught:
        found_again(run, lambda name: load_table(settings, "none"))
    assert "password" not in str(caught.value)


def test_a_file_that_a_run_names_is_not_shown(run, tmp_path):
    made = run("points.npy")
    (tmp_path / "secret").write_text("my password,is this\nand this,is another\n")
    record = {**made.read_json("run.json")["data"], "path": str(tmp_path / "secret")}
    made.write_json("run.json", {"data": record})
    with pytest.raises(DataError, match="secret: not the data of this run") as caught:
        FIND["points.npy"](made)
    assert "another" not in str(caught.value)
