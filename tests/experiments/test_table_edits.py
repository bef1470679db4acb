"""A run on a table from a stranger is data: what its files say otherwise is one line each."""

import json
import shutil

import numpy as np
import pytest
import yaml
from short_runs import edit_json

from nflow_cli.runs.directory import RunDirectory

NUMBER = {"kind": "number"}
SCALE = {"name": "scale", "centre": 0.0, "scale": 1.0}


@pytest.fixture
def run(short_run, tmp_path, monkeypatch):
    """Return a copy of a run; its flows are not checked."""
    monkeypatch.setattr("nflow_cli.experiments.checked_flows.OF_FLOWS", {})
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(short_run(command="fit"), tmp_path / "run")


def edit_record(run, **changes):
    edit_json(run / "run.json", data=json.loads((run / "run.json").read_text())["data"] | changes)


def complaint(invoke, run, *words):
    """Return the one line that a command ends in; what the run holds stays as it is."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = invoke(*words)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert line.startswith("nflow: error: ") and len(line) < 1_500
    return line


LOG, LOGIT = {"name": "log", "bound": 0.0}, {"name": "logit", "low": 1.0, "high": 0.0}


@pytest.mark.parametrize(
    "units",
    [
        *(None, "scale", 3, {}, [], {"level": [SCALE]}, [[SCALE], [SCALE], [SCALE]]),
        *({"share": maps} for maps in ([], [3], [{}], [[]], "x", None, 9 * [SCALE])),
        {"share": [{"name": "os.system"}]},
        *({"share": [{**SCALE, key: value}]} for key, value in [("scale", 0), ("more", 1)]),
        *({"share": [{**SCALE, "centre": value}]} for value in ("1", None, [], True, float("nan"))),
        *({"share": [one]} for one in ({**LOG, "side": "beside"}, LOGIT)),
    ],
)
def test_units_that_are_none_are_one_line(invoke, run, units):
    if isinstance(units, dict) and "share" in units:
        units = {**json.loads((run / "run.json").read_text())["data"]["units"], **units}
    edit_record(run, units=units)
    for words in (["sample", "run", "-n", 10, "-o", "drawn.csv"], ["evaluate", "run"]):
        line = complaint(invoke, run, *words)
        assert line.endswith("run.json: damaged: expected the units of data")


def test_other_columns_and_units_are_found(invoke, run):
    record = json.loads((run / "run.json").read_text())["data"]
    others = {**record["units"], "level": [SCALE]}
    for changes in ({"columns": ["price", "level", "share"]}, {"units": others}):
        edit_record(run, **{**record, **changes})
        result = invoke("check", "run")
        (line,) = [line for line in result.stdout.splitlines() if line[11:25].strip() == "data"]
        assert line.startswith("FAIL") and f"run.json: {next(iter(changes))}: " in line


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kinds", None, "config.yaml: damaged: expected data.kinds, all sizes"),
        ("kinds", {"level": {"kind": "levels"}}, "kinds number and left out alone beside flows"),
        (
            "kinds",
            {name: {**NUMBER} for name in ("level", "price", "other")},
            "not the data of this run",
        ),
        ("kinds", {"level": NUMBER}, "expected"),
        ("given", ["price"], "expected"),
        ("bounds", {"price": [5, None]}, "not the data of this run"),
        ("test", "other.csv", "other.csv: no such table; expected the test rows of this run"),
    ],
)
def test_a_config_of_other_data_is_one_line(invoke, run, key, value, words):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"][key] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert words in complaint(invoke, run, "evaluate", "run")


def test_a_config_without_columns_is_not_drawn(invoke, run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["kinds"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for words in (["plot", "run"], ["sample", "run", "-o", "drawn.csv"]):
        complaint(invoke, run, *words)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("columns_shown", np.array([0, 1, 3])),
        ("columns_shown", np.array([-1, 0, 1])),
        ("columns_shown", np.array([0.0, 1.0, 2.0])),
        ("columns_shown", np.array([], int)),
        ("columns_shown", np.zeros(10**6, int)),
        ("samples", np.zeros((10**6, 3))),
        ("samples", np.zeros((2_000, 4))),
        ("rows", np.zeros((20, 3, 1))),
        ("rows", np.zeros((19, 3))),
        ("latents", np.array(["text"])),
        ("latents", None),
    ],
)
def test_arrays_that_are_not_of_the_columns_are_one_line(invoke, run, name, array):
    with np.load(run / "evaluation.npz") as file:
        arrays = {key: value for key, value in {**file, name: array}.items() if value is not None}
    np.savez_compressed(run / "evaluation.npz", **arrays)
    line = complaint(invoke, run, "plot", "run")
    assert "evaluation.npz" in line and ("latents" in line or name in line)


@pytest.mark.parametrize(
    "changes",
    [
        {"normality": None},
        {"normality": {"n": 20}},
        {"normality": []},
        {"columns": ["level", "price"]},
        {"columns": ["share", "price", "level"]},
        {"columns": []},
    ],
)
def test_a_summary_of_other_columns_is_one_line(invoke, run, changes):
    edit_json(run / "summary.json", **changes)
    assert "run/summary.json: damaged: " in complaint(invoke, run, "plot", "run")


def test_names_of_columns_do_nothing_to_a_terminal_or_a_picture(invoke, run):
    names = ["<b>red", "$x_{", "a\\nb"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"kinds": {name: {**NUMBER} for name in names}, "bounds": {}}
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    summary = RunDirectory(run).read_json("summary.json")
    normality = {**summary["normality"], "worst_column": names[0]}
    edit_json(run / "summary.json", columns=names, normality=normality)
    edit_record(run, columns=names)
    drawn = invoke("plot", "run")
    assert (drawn.exit_code, drawn.stderr) == (0, "")
    for words in (["evaluate", "run"], ["check", "run"]):
        assert "\x1b" not in invoke(*words).output
