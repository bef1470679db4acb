"""What ``nflow check`` finds in a run by cells: anything that was altered."""

import json
import shutil
from functools import reduce

import numpy as np
import pytest
from cells import levels, random_density
from checks import edit_arrays, edit_config, failures, outcomes, seal
from short_runs import CELLS, edit_json

from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run_checks import OF_FILES
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells_weights import arrays_of, inconsistency
from nflow_cli.tables.table_checks import Checked
from nflow_cli.tables.table_report import TableSummary


@pytest.fixture
def copy(short_run, tmp_path):
    return shutil.copytree(short_run(**CELLS), tmp_path / "copy")


def checked_run(run):
    return Checked(RunDirectory(run))


def test_a_run_is_as_it_was_written(copy):
    found = outcomes(copy)
    assert set(found.values()) == {Outcome.OK, Outcome.UNCHANGED}
    expected = {"data", "masses", "own draws", "summary", "arrays", "checksum", "record"}
    assert expected <= set(found)


def test_altered_losses_are_found_and_a_run_without_any_is_whole(short_run, tmp_path):
    data = {**CELLS["data"], "columns": ["wage"], "given": ["city", "rooms"]}
    run = shutil.copytree(short_run(**{**CELLS, "data": data}), tmp_path / "copy")
    summary = json.loads((run / "summary.json").read_text())
    losses = {**summary["losses"], "rmse": 1.01 * summary["losses"]["rmse"]}
    edit_json(run / "summary.json", losses=losses)
    seal(run)
    assert "losses: rmse" in failures(run)["summary"]
    del summary["losses"]
    (run / "summary.json").write_text(json.dumps(summary))
    seal(run)
    assert failures(run) == {}


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


def test_altered_weights_and_arrays_of_the_pictures_are_found(copy):
    names = ["rows", "draws", "draws_log_q", "pit", "test_log_q"]

    def another(arrays):
        arrays.update({n: arrays[n][::-1] + np.nanstd(arrays[n]) for n in names})

    def nudge(arrays):
        arrays["logits_bias"][0, 0] += 1e-3

    edit_arrays(copy / "evaluation.npz", another)
    edit_arrays(copy / "weights.npz", nudge)
    seal(copy)
    found = failures(copy)
    assert "checksum" in found and "files" not in found
    assert [name for name in names if f"evaluation.npz: {name}:" not in found["arrays"]] == []


def figures(data, path=()):
    """Yield where each figure and text of a summary is, and another in its place."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from figures(value, (*path, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key), value + 1 if isinstance(value, int) else value * 1.001 + 1
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
        checked.__dict__["summary"] = TableSummary(**summary)
        if not any(check(checked)[0] == Outcome.FAIL for check in checks.values()):
            missed.add(".".join(path))
    assert missed == UNCHECKED


def test_altered_units_are_found(copy):
    whole = json.loads((copy / "run.json").read_text())["data"]
    for column in ("price", "rooms"):
        record = json.loads(json.dumps(whole))
        record["units"][column][0]["scale"] *= 1.01
        edit_json(copy / "run.json", data=record)
        seal(copy)
        assert "units" in failures(copy)["data"]
    for units in (None, {}, {"price": [{}]}):  # which are none: tested in test_data
        edit_json(copy / "run.json", data={**whole, "units": units})
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
    edit_config(copy, lambda config: config["data"]["kinds"]["city"].update(change))
    seal(copy)
    assert failures(copy)


def test_weights_that_no_training_has_are_one_line_or_figures(copy, invoke):
    whole = (copy / "weights.npz").read_bytes()
    for name, value in [
        *(("shares", 1.5), ("shares", -0.1), ("limits", -1.0), ("marginal_normals", 0.0)),
        *(("marginal_log_shares", 3.0), ("inputs_kernel", 1e30)),
    ]:
        edit_arrays(copy / "weights.npz", lambda arrays, n=name, v=value: arrays[n].fill(v))
        for command in (["evaluate", copy], ["sample", copy, "-n", 20, "-o", "d.csv"]):
            result = invoke(*command)
            assert result.exit_code in (0, 1)
            if name != "inputs_kernel":
                (line,) = result.stderr.splitlines()
                assert line.startswith("nflow: error: ") and "weights.npz: damaged" in line
        assert {"checksum", "model"} & set(failures(copy))
        (copy / "weights.npz").write_bytes(whole)


@pytest.mark.parametrize(("size", "is_finite"), [(1e9, True), (1e36, False)])
def test_a_network_of_large_weights_has_finite_outputs_or_is_refused(size, is_finite):
    density = random_density([levels("a", 3), levels("b", 2)])
    shapes = network.shapes(density.layout, 8)
    weights = {name: np.full(shape, size) for name, shape in shapes.items()}
    inputs = np.ones((len(density.layout.inputs), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        found = network.parameters(density.layout, weights, density.mixture_limits, inputs, np)
        assert np.isfinite(found.log_shares[0]).all() == is_finite
    expected = "" if is_finite else "the networks: expected finite outputs of all inputs"
    assert inconsistency(density.layout, arrays_of(density, [weights])) == expected
