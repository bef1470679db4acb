"""What ``nflow check`` finds in a run by cells: anything that was altered."""

import json
import shutil
from functools import reduce

import numpy as np
import pytest
import yaml
from short_runs import CELLS, edit_json

from nflow_cli import experiments
from nflow_cli.evaluation.verdicts import Outcome
from nflow_cli.experiments.check import OF_FILES, check_run
from nflow_cli.registry import resolve
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture
def copy(short_run, tmp_path):
    return shutil.copytree(short_run(**CELLS), tmp_path / "copy")


def seal(run):
    """Record the files as they are now, as who edits them with care would."""
    edit_json(run / "run.json", files=RunDirectory(run).checksums())


def found(run):
    return {finding.name: finding for finding in check_run(str(run))}


def failures(run):
    return {n: f.detail for n, f in found(run).items() if f.outcome == Outcome.FAIL}


def checked_run(run):
    directory = RunDirectory(run)
    experiment = experiments.of(directory.read_config())
    return resolve(experiment.checking)(directory, experiment.load(directory), experiment)


def edit_arrays(path, change):
    with np.load(path) as file:
        arrays = {name: array.copy() for name, array in file.items()}
    change(arrays)
    np.savez(path, **arrays)


def test_a_run_is_as_it_was_written(copy):
    outcomes = {name: finding.outcome for name, finding in found(copy).items()}
    assert set(outcomes.values()) == {Outcome.OK, Outcome.UNCHANGED}
    expected = {"data", "masses", "own draws", "summary", "arrays", "checksum", "record"}
    assert expected <= set(outcomes)


def test_an_altered_weight_is_found(copy):
    def change(arrays):
        arrays["logits_bias"][0, 0] += 1e-3

    edit_arrays(copy / "weights.npz", change)
    seal(copy)
    assert "checksum" in failures(copy)


def test_every_array_of_weights_is_in_the_fingerprint(copy):
    whole = (copy / "weights.npz").read_bytes()
    recorded = json.loads((copy / "summary.json").read_text())["model_sha256"]
    with np.load(copy / "weights.npz") as file:
        names = [name for name in file if file[name].size]
    for name in names:

        def change(arrays, name=name):
            last = arrays[name].flat[-1]
            arrays[name].flat[-1] = np.nextafter(last, 0.5, dtype=last.dtype)

        edit_arrays(copy / "weights.npz", change)
        assert checked_run(copy).weights.sha256 != recorded, name
        (copy / "weights.npz").write_bytes(whole)


@pytest.mark.parametrize("name", ["rows", "draws", "draws_log_q", "pit", "test_log_q"])
def test_an_altered_array_of_the_pictures_is_found(copy, name):
    def change(arrays):
        arrays[name] = arrays[name][::-1] + np.nanstd(arrays[name])

    edit_arrays(copy / "evaluation.npz", change)
    seal(copy)
    assert f"evaluation.npz: {name}:" in failures(copy)["arrays"]


def figures(data, path=()):
    """Yield where each figure and text of a summary is, and another in its place."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from figures(value, (*path, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key), value * 1.001 + 1
        elif isinstance(value, str):
            yield (*path, key), value[::-1] + "x"


# To compute these again is to train again: what files hold is sealed by run.json.
UNCHECKED = {"compile_seconds", "train_seconds", "steps_per_second", "fill_acceptance.price"}


def test_an_altered_figure_of_the_summary_is_found(copy):
    whole, checked, missed = (copy / "summary.json").read_text(), checked_run(copy), set()
    checks = {**OF_FILES, **checked.checks}
    for name in ("files", "status", "weights", "masses", "own draws", "arrays"):
        del checks[name]
    for path, value in figures(json.loads(whole)):
        summary = json.loads(whole)
        *above, last = path
        reduce(dict.__getitem__, above, summary)[last] = value
        checked.__dict__["summary"] = summary
        if not any(check(checked)[0] == Outcome.FAIL for check in checks.values()):
            missed.add(".".join(path))
    assert missed == UNCHECKED


@pytest.mark.parametrize("column", ["price", "rooms"])
def test_altered_units_are_found(copy, column):
    record = json.loads((copy / "run.json").read_text())["data"]
    (scale, *_) = record["units"][column]
    scale["scale"] *= 1.01
    edit_json(copy / "run.json", data=record)
    seal(copy)
    assert "data" in failures(copy) and "units" in failures(copy)["data"]


@pytest.mark.parametrize(
    "units",
    [None, [], {}, {"price": 3}, {"price": [{}]}, {"price": [{"name": "os.system"}]}],
)
def test_units_that_are_none_are_one_line(copy, units):
    record = json.loads((copy / "run.json").read_text())["data"]
    edit_json(copy / "run.json", data={**record, "units": units})
    assert "expected the units" in failures(copy)["model"]


@pytest.mark.parametrize(
    "change",
    [
        {"levels": ["Bonn", "Kyiv", "Oslo"]},
        {"levels": ["Bonn", "Kyiv", "Oslo", "Paris"]},
        {"missing": True},
        {"kind": "left out"},
    ],
)
def test_other_kinds_are_found(copy, change):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["data"]["kinds"]["city"] |= change
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    seal(copy)
    assert failures(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shares", 1.5),
        ("shares", -0.1),
        ("limits", -1.0),
        ("marginal_normals", 0.0),
        ("marginal_log_shares", 3.0),
        ("inputs_kernel", 1e30),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_weights_that_no_training_has_are_one_line_or_figures(copy, invoke, name, value, command):
    edit_arrays(copy / "weights.npz", lambda arrays: arrays[name].fill(value))
    result = invoke(command, copy, *(["-n", 20, "-o", "d.csv"] if command == "sample" else []))
    assert result.exit_code in (0, 1)
    if name != "inputs_kernel":
        (line,) = result.stderr.splitlines()
        assert line.startswith("nflow: error: ") and "weights.npz: damaged" in line
    assert "checksum" in failures(copy) or "model" in failures(copy)
