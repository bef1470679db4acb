"""The data of a run are found again, and known for what they are."""

import numpy as np
import pytest

from nflow_cli.config.table import TableData
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.experiments.recorded_data import column_units, found_again
from nflow_cli.experiments.run import Run
from nflow_cli.images import image_data as of_images
from nflow_cli.images.images import load_images
from nflow_cli.runs.directory import RunDirectory

RNG = np.random.default_rng(0)


def rows_of(name):
    return load_dataset(TableData(name=name), flows="none")


FIND = {
    "points.npy": lambda run: found_again(Run(run), rows_of),
    "images.npz": lambda run: of_images.reopen(Run(run)),
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
def test_data_are_found_from_any_folder_and_others_are_not_taken_for_them(run, name, tmp_path):
    made = run(name)
    record = made.read_json("run.json")["data"]
    data = FIND[name](made)
    assert (data.name, data.sha256) == (name, record["sha256"])
    (tmp_path / "data" / name).rename(tmp_path / "elsewhere" / name)  # it moved with the user
    assert FIND[name](made).name == name
    made.write_json("run.json", {"data": record | {"sha256": "0" * 64}})
    with pytest.raises(DataError, match=f"{name}: not the data of this run"):
        FIND[name](made)


def test_other_weights_are_not_taken_for_those_of_the_run(tmp_path):
    table = np.abs(RNG.standard_normal((40, 3)))
    settings = TableData(name=str(tmp_path / "t.npy"), weights="3", given=["2"])
    np.save(settings.name, table)
    run = RunDirectory.at(str(tmp_path / "run"))
    rows = load_dataset(settings, flows="none")
    run.write_json("run.json", {"data": rows.record()})
    assert column_units(Run(run), ["2"]).columns == (tuple(rows.units["2"]),)
    assert (
        found_again(Run(run), lambda name: load_dataset(settings, flows="none")).sha256
        == rows.sha256
    )
    table[7, 2] += 1
    np.save(settings.name, table)
    with pytest.raises(DataError, match="not the weights of this run"):
        found_again(Run(run), lambda name: load_dataset(settings, flows="none"))


SCALE = {"name": "scale", "centre": 0.0, "scale": 1.0}
LOG, LOGIT = {"name": "log", "bound": 0.0}, {"name": "logit", "low": 1.0, "high": 0.0}
NO_UNITS = [
    *(None, "scale", 3, [], {}, {"level": [SCALE]}, [[SCALE], [SCALE], [SCALE]]),
    *({"x2": maps} for maps in ([], [3], [{}], [[]], "text", None, 9 * [SCALE])),
    {"x2": [{"name": "os.system"}]},
    *({"x2": [{**SCALE, key: value}]} for key, value in [("scale", 0), ("more", 1)]),
    *({"x2": [{**SCALE, "centre": value}]} for value in ("1", None, [], True, float("nan"))),
    *({"x2": [one]} for one in ({**LOG, "side": "beside"}, LOGIT)),
]


def test_units_that_a_run_lacks_are_one_line(tmp_path):
    run = RunDirectory.at(str(tmp_path))
    for units in NO_UNITS:
        run.write_json("run.json", {"data": {"name": "two-moons", "units": units}})
        with pytest.raises(RunDirectoryError, match="damaged: expected the units of data"):
            column_units(Run(run), ["x2"])


def test_files_that_a_run_names_are_not_shown(run, tmp_path):
    """Neither one of rows in place of its own, nor one of test rows beside a built-in set."""
    made = run("points.npy")
    (tmp_path / "secret").write_text("x1,x2\nmy password,is this\n")
    record = {**made.read_json("run.json")["data"], "path": str(tmp_path / "secret")}
    made.write_json("run.json", {"data": record})
    with pytest.raises(DataError, match="secret: not the data of this run") as caught:
        FIND["points.npy"](made)
    assert "password" not in str(caught.value)
    made.write_json("run.json", {"data": {"name": "two-moons", "sha256": "0" * 64}})
    settings = TableData(name="two-moons", test=str(tmp_path / "secret"))
    with pytest.raises(DataError, match="two-moons: not the data of this run") as caught:
        found_again(Run(made), lambda name: load_dataset(settings, flows="none"))
    assert "password" not in str(caught.value)
