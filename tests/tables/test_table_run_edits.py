"""A run on a table from a stranger is data: what its files say otherwise is one line each."""

import json
import shutil

import numpy as np
import pytest
from checks import edit_config, finding_of
from short_runs import edit_json

from nflow_cli.experiments.comparison import Outcome
from nflow_cli.runs.directory import RunDirectory

NUMBER = {"kind": "number"}
SCALE = {"name": "scale", "centre": 0.0, "scale": 1.0}
DRAWS = ("sample", "run", "-o", "drawn.csv")


@pytest.fixture
def run(short_run, tmp_path, monkeypatch):
    """Return a copy of a run; its flows are not checked."""
    monkeypatch.setattr("nflow_cli.experiments.flow_checks.OF_FLOWS", {})
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(short_run(command="fit"), tmp_path / "run")


def record_of(run):
    return json.loads((run / "run.json").read_text())["data"]


def complaint(invoke, run, *words):
    """Return the one line that a command ends in; what the run holds stays as it is."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = invoke(*words)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert line.startswith("nflow: error: ") and len(line) < 1_500
    return line


def test_other_columns_and_units_are_found(invoke, run):
    record = record_of(run)
    others = {**record["units"], "level": [SCALE]}
    for changes in ({"columns": ["price", "level", "share"]}, {"units": others}):
        edit_json(run / "run.json", data=record | changes)
        finding = finding_of(run, "data")
        assert finding.outcome == Outcome.FAIL
        assert f"run.json: {next(iter(changes))}: " in finding.detail
    units = {**record["units"], "share": [{"name": "os.system"}]}
    edit_json(run / "run.json", data=record | {"units": units})  # others are tested in test_data
    for words in (DRAWS, ("evaluate", "run")):
        assert "run.json: damaged: expected the units" in complaint(invoke, run, *words)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kinds", None, "config.yaml: damaged: expected data.kinds"),
        ("kinds", {"level": {"kind": "levels"}}, "kinds number and left out alone"),
        ("kinds", {n: {**NUMBER} for n in ("level", "price", "other")}, "not the data of this run"),
        ("kinds", {"level": NUMBER}, "expected"),
        ("given", ["price"], "expected"),
        ("bounds", {"price": [5, None]}, "not the data of this run"),
        ("test", "other.csv", "other.csv: no such table"),
    ],
)
def test_a_config_of_other_data_is_one_line(invoke, run, key, value, words):
    edit_config(run, lambda config: config["data"].update({key: value}))
    assert words in complaint(invoke, run, "evaluate", "run")
    if value is None:  # without columns, nothing is drawn either
        for command in (("plot", "run"), DRAWS):
            complaint(invoke, run, *command)


ARRAYS = [
    ("columns_shown", np.array([0, 1, 3])),
    ("columns_shown", np.array([-1, 0, 1])),
    ("columns_shown", np.array([0.0, 1.0, 2.0])),
    ("columns_shown", np.array([], int)),
    ("columns_shown", np.zeros(10**6, int)),
    ("samples", np.zeros((10**6, 3))),
    ("samples", np.zeros((2_000, 4))),
    ("rows", np.zeros((20, 3, 1))),
    ("rows", np.array(["text"])),
    ("rows", None),
]


def test_arrays_that_are_not_of_the_columns_are_one_line(invoke, run):
    with np.load(run / "evaluation.npz") as file:
        whole = dict(file)
    for name, array in ARRAYS:
        arrays = {key: value for key, value in {**whole, name: array}.items() if value is not None}
        np.savez_compressed(run / "evaluation.npz", **arrays)
        line = complaint(invoke, run, "plot", "run")
        assert "evaluation.npz" in line and name in line


def test_a_summary_of_other_columns_is_one_line(invoke, run):
    whole = (run / "summary.json").read_text()
    orders = ["level", "price"], ["share", "price", "level"], []
    for changes in (
        *({"pit": value} for value in (None, {"n": 20}, [])),
        *({"columns": columns} for columns in orders),
    ):
        edit_json(run / "summary.json", **changes)
        assert "run/summary.json: damaged: " in complaint(invoke, run, "plot", "run")
        (run / "summary.json").write_text(whole)


def test_names_of_columns_do_nothing_to_a_terminal_or_a_picture(invoke, run):
    names = ["<b>red", "$x_{", "a\\nb"]
    data = {"kinds": {name: {**NUMBER} for name in names}, "bounds": {}}
    edit_config(run, lambda config: config["data"].update(data))
    summary = RunDirectory(run).read_json("summary.json")
    pit = dict(zip([*names, "|z|²"], summary["pit"]["columns"].values()))
    edit_json(run / "summary.json", columns=names, pit={"columns": pit})
    edit_json(run / "run.json", data=record_of(run) | {"columns": names})
    drawn = invoke("plot", "run")
    assert (drawn.exit_code, drawn.stderr) == (0, "")
    for words in (["evaluate", "run"], ["check", "run"]):
        assert "\x1b" not in invoke(*words).output
