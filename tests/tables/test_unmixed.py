"""A fit to columns of plain numbers by their independent components, from its file to its check."""

import json
import shutil
import subprocess
import sys
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
import yaml
from running import assert_same_run, succeed
from short_runs import CELLS, KilledError, killed_after, make_run, without_pictures

import nflow_cli
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables import cells_training

MATRIX = np.array([[1.0, 0.9], [0.8, 1.0]])
SIZES = {"cells.width": 8, "cells.blocks": 1, "cells.components": 3, "train.chunk": 10}


@pytest.fixture(scope="module")
def table():
    rows = np.random.default_rng(0).uniform(size=(6_000, 2)) @ MATRIX.T
    return dict(zip("ab", rows.T))


@pytest.fixture(scope="module")
def changes(table, tmp_path_factory):
    """Settings of a run of the table, from a file."""
    path = tmp_path_factory.mktemp("t") / "t.csv"
    np.savetxt(path, np.column_stack([*table.values()]), "%.17g", ",", header="a,b", comments="")
    return CELLS | {"data": {"name": str(path), "missing": "model"}}


@pytest.fixture(scope="module")
def density(changes, tmp_path_factory):
    return nflow_cli.load(make_run(tmp_path_factory.mktemp("r") / "r", **changes))


def decision(path):
    """Return what the config of a run has for the map."""
    return yaml.safe_load((path / "config.yaml").read_text())["cells"]["unmixed"]


def test_a_run_of_components_passes_its_checks(invoke, density):
    run = RunDirectory(density.path)
    assert decision(run.path) is True
    summary = json.loads((run.path / "summary.json").read_text())
    assert list(summary["pit"]["columns"]) == ["component 1", "component 2"]
    assert summary["columns"] == ["a", "b"] and "column_gains" not in summary
    assert summary["gain"] > 5 * summary["gain_standard_error"]
    succeed(invoke, "check", run.path)


def test_its_draws_are_rows_of_the_table(invoke, density, table):
    succeed(invoke, "sample", density.path, "-n", 2_000, "-o", "d.csv")
    rows = np.genfromtxt("d.csv", delimiter=",", names=True)
    np.testing.assert_allclose(density.log_prob({n: rows[n] for n in "ab"}), rows["log_q"])
    drawn, given = (np.corrcoef(t["a"], t["b"])[0, 1] for t in (rows, table))
    assert drawn == pytest.approx(given, abs=0.15)


def test_a_dry_run_leaves_the_decision_to_the_training(invoke, changes):
    lines = succeed(invoke, "fit", changes["data"]["name"], "--dry-run").splitlines()
    assert "linear components: if likelier, when it is trained" in lines


@pytest.mark.parametrize(
    ("step", "decided"), [("trained_unmixing", None), ("fit", True)], ids=["before", "after"]
)
def test_a_run_killed_at_the_decision_is_resumed_to_the_same_bits(
    invoke, density, changes, tmp_path, monkeypatch, step, decided
):
    once = Mock(wraps=getattr(cells_training, step), side_effect=[KilledError, DEFAULT])
    monkeypatch.setattr(cells_training, step, once)
    with pytest.raises(KilledError):
        make_run(tmp_path / "r", **changes)
    assert decision(tmp_path / "r") is decided
    with without_pictures():
        assert invoke("resume", tmp_path / "r").exit_code == 0
    assert decision(tmp_path / "r") is True
    assert_same_run(tmp_path / "r", density.path)


def test_a_run_killed_in_its_training_is_resumed_to_the_same_bits(
    invoke, density, changes, tmp_path
):
    with killed_after(2), pytest.raises(KilledError):
        make_run(tmp_path / "r", **changes)
    with without_pictures():
        assert invoke("resume", tmp_path / "r").exit_code == 0
    assert_same_run(tmp_path / "r", density.path)


FIT = """
import sys
from nflow_cli.cli import main
main([*sys.argv[1:], "--threads", "1", "--steps", "1", "--output", "run"], standalone_mode=False)
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.slow
def test_the_map_is_trained_on_as_many_threads_as_asked(changes, tmp_path):
    """TensorFlow had been started before, on its own number of them."""
    words = [sys.executable, "-c", FIT, "fit", changes["data"]["name"]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"


def test_components_of_other_columns_are_refused(table):
    options = {"steps": 1, "settings": {**SIZES, "cells.unmixed": True}}
    with pytest.raises(ConfigError, match=r"cells\.unmixed: expected two or more columns of plain"):
        nflow_cli.fit({**table, "c": ["x", "y"] * 3_000}, **options)


def test_a_map_without_an_inverse_and_scales_of_0_are_refused(density, tmp_path):
    copy = shutil.copytree(density.path, tmp_path / "copy")
    for name, row in (("unmixing", slice(None)), ("alone_normals", 2)):
        arrays = {key: array.copy() for key, array in density.arrays.items()}
        arrays[name][row] = 0.0
        np.savez(copy / "weights.npz", **arrays)
        with pytest.raises(RunDirectoryError, match=f"weights.npz: damaged: {name}: expected "):
            nflow_cli.load(copy)
