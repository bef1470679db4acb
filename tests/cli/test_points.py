"""Built-in sets of points as a user fits them."""

import json
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from running import succeed
from short_runs import CELLS, edit_json

import nflow_cli
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.point_sets import EightGaussians
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run_checks import check_run
from nflow_cli.registry import POINT_SETS
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables.table_scoring import UNKNOWN, gap

OF_CELLS = {**CELLS, "data": {"name": "eight-gaussians", "size": 1_000}}


def test_the_gap_of_a_fit_by_cells_is_its_kl_from_the_truth(short_run, invoke):
    run = short_run(**OF_CELLS)
    summary = RunDirectory(run).read_json("summary.json")
    axis = np.linspace(-4, 4, 101)  # steps of less than half a standard deviation
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_p, log_q = EightGaussians().log_prob(points), nflow_cli.load(run).log_prob(points)
    kl = np.sum(np.exp(log_p) * (log_p - log_q)) * 0.08**2
    assert abs(summary["gap"] - kl) < 4 * summary["gap_standard_error"] < 0.05
    assert nflow_cli.load(run).columns == ["x1", "x2"]
    row = f"{with_error(summary['gap'], summary['gap_standard_error'])} nats a fresh point"
    assert json.loads(succeed(invoke, "evaluate", run, "--json"))["gap"] == summary["gap"]
    assert row in repr(nflow_cli.load(run))


def test_check_computes_the_gap_of_a_fit_by_cells_again(short_run, tmp_path):
    copy = shutil.copytree(short_run(**OF_CELLS), tmp_path / "copy")
    assert not [f for f in check_run(str(copy)) if f.outcome == Outcome.FAIL]
    gap = RunDirectory(copy).read_json("summary.json")["gap"]
    edit_json(copy / "summary.json", gap=gap + 0.01)
    assert "gap: expected" in next(f for f in check_run(str(copy)) if f.name == "summary").detail


def test_where_log_q_is_no_density_of_the_set_there_is_no_gap():
    number, names = ColumnKind(kind="number"), ["x1", "x2"]
    for modelled, first in (
        (names, ColumnKind(kind="levels", levels=["a"])),
        (names, ColumnKind(kind="number", repeats=True)),
        (["x2"], number),
    ):
        kinds = SimpleNamespace(kinds={"x1": first, "x2": number})
        config: Any = SimpleNamespace(data=kinds)
        data: Any = SimpleNamespace(name="eight-gaussians", modelled_names=modelled)
        assert gap(config, None, data, seed=0) == UNKNOWN


@pytest.mark.slow
@pytest.mark.parametrize("name", POINT_SETS)
def test_a_built_in_set_needs_no_file(invoke, tmp_path, name):
    options = ["--flow", "planar,radial", "--steps", 2, "--k", 1]
    done = invoke("fit", name, *options, "--output", "run")
    assert done.exit_code == 0, done.stderr
    summary = RunDirectory(tmp_path / "run").read_json("summary.json")
    assert (summary["n_train"], summary["data"]["name"]) == (40_000, name)
    assert summary["gap"] is not None
