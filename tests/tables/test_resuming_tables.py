"""What commands do with a run of ``nflow fit`` by cells: all on one tiny run."""

import json
import shutil

import numpy as np
import pytest
from running import assert_same_run, read_rows, succeed
from short_runs import CELLS, KilledError, edit_json, fitted, killed_after, without_pictures

import nflow_cli
from nflow_cli.data.files.table_files import open_table
from nflow_cli.experiments.run import Run
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables.table_data import load

TABLE = CELLS["data"]["name"]
slow = pytest.mark.slow
COLUMNS = ["city", "flag", "day", "rooms", "price", "wage"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture(scope="module")
def density(run):
    return nflow_cli.load(run)


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def write_table(path, rows):
    lines = [",".join(map(str, row)) for row in [COLUMNS, *rows]]
    path.write_text("\n".join(lines) + "\n")


# Draws.


def test_draws_are_written_as_the_table_is(invoke, run, density):
    succeed(invoke, "sample", run, "-n", 300, "-o", "d.csv", "--seed", 4)
    rows, table = read_rows("d.csv"), read_rows(TABLE)
    assert list(rows[0]) == [*COLUMNS, "log_q"] and len(rows) == 300
    for name in ("city", "flag"):
        assert {row[name] for row in rows} <= {row[name] for row in table}
    for row in rows:
        assert str(np.datetime64(row["day"])) == row["day"]
        assert row["rooms"] == str(int(row["rooms"])) and row["wage"] == str(int(row["wage"]))
        assert len(row["price"].partition(".")[2]) <= 3
    assert any(not row["price"] for row in rows) and any(row["wage"] == "0" for row in rows)
    log_q = [float(row["log_q"]) for row in rows]
    assert np.isfinite(log_q).all()
    np.testing.assert_allclose(density.log_prob("d.csv"), log_q)


def test_a_seed_fixes_draws_in_each_format(invoke, run, density):
    for name in ("a.csv", "b.csv", "c.parquet"):
        succeed(invoke, "sample", run, "-n", 50, "-o", name, "--seed", 4)
    with open("a.csv") as a, open("b.csv") as b:
        assert a.read() == b.read()
    rows = [density.rows_of(open_table(name)) for name in ("a.csv", "c.parquet")]
    np.testing.assert_array_equal(*rows)
    np.testing.assert_array_equal(rows[0], density.sample(50, seed=4))
    result = invoke("sample", run, "-n", 5, "-o", "d.npy")
    assert result.exit_code == 1 and "an .npy holds numbers" in result.stderr


# Scores.


def test_evaluate_prints_the_figures_of_the_summary(invoke, run):
    summary = summary_of(run)
    scores = json.loads(succeed(invoke, "evaluate", run, "--json"))
    for key in ("log_likelihood", "gain", "baseline_log_likelihood", "n_new_levels", "pit"):
        assert scores[key] == summary[key]
    assert summary["n_new_levels"] == 1
    assert "new levels     1 test cells" in succeed(invoke, "evaluate", run)
    # A first column has no columns before it, by which a network could know it better.
    assert summary["shares"][COLUMNS[0]] == 0
    assert summary["column_gains"][COLUMNS[0]]["mean"] == pytest.approx(0, abs=1e-12)


def test_rows_of_a_table_are_scored_in_their_order(invoke, run, density):
    succeed(invoke, "evaluate", run, "--data", TABLE, "-o", "s.csv")
    scored, table = read_rows("s.csv"), read_rows(TABLE)
    assert [{key: row[key] for key in table[0]} for row in scored] == table
    assert list(scored[0])[-2:] == ["log_q", "log_q_spread"]
    log_q = np.array([float(row["log_q"]) for row in scored])
    np.testing.assert_allclose(log_q, density.log_prob(TABLE))
    scores = json.loads(succeed(invoke, "evaluate", run, "--data", TABLE, "--json"))
    assert scores["log_likelihood"] == pytest.approx(log_q.mean())
    tests = [q for q, row in zip(log_q, table) if row["part"] == "test"]
    assert summary_of(run)["log_likelihood"] == pytest.approx(np.mean(tests))


def test_cells_that_do_not_count_as_others_are_counted(invoke, tmp_path, run, density):
    usual = ["Rome", "True", "2020-05-05", 7, 30.125, 900]
    changes = [{}, {0: "Paris"}, {3: 7.5}, {5: ""}, {4: ""}, {1: "", 2: ""}, {5: -3}]
    rows = [[change.get(i, cell) for i, cell in enumerate(usual)] for change in changes]
    write_table(tmp_path / "new.csv", rows)
    scores = json.loads(succeed(invoke, "evaluate", run, "--data", "new.csv", "--json"))
    assert (scores["n"], scores["n_impossible"]) == (7, 1)
    assert (scores["n_unknown"], scores["n_new_levels"]) == (3, 1)
    log_q = density.log_prob(tmp_path / "new.csv")
    assert log_q[2] == -np.inf and np.isfinite(np.delete(log_q, 2)).all()
    assert log_q[6] < log_q[0] and log_q[1] < log_q[0]


def test_rows_of_which_nothing_is_known_are_scored(invoke, tmp_path, run):
    for n in (1, 5):
        write_table(tmp_path / "gaps.csv", [["", "", "", "", "", ""]] * n)
        scores = json.loads(succeed(invoke, "evaluate", run, "--data", "gaps.csv", "--json"))
        assert scores["n_unknown"] == 5 * n and np.isfinite(scores["log_likelihood"])
        succeed(invoke, "evaluate", run, "--data", "gaps.csv", "-o", "s.csv")


def test_one_cell_that_decides_the_log_likelihood_is_named(invoke, tmp_path, run):
    rows = [["Rome", "True", "2020-05-05", i % 9, 30.125 + i, 900] for i in range(30)]
    write_table(tmp_path / "usual.csv", rows)
    usual = json.loads(succeed(invoke, "evaluate", run, "--data", "usual.csv", "--json"))
    assert usual["dominant_row"] is None
    rows[7][4] = 1e12
    write_table(tmp_path / "far.csv", rows)
    far = json.loads(succeed(invoke, "evaluate", run, "--data", "far.csv", "--json"))
    assert (far["dominant_row"]["row"], far["dominant_row"]["column"]) == (8, "price")
    printed = succeed(invoke, "evaluate", run, "--data", "far.csv")
    assert " [one row]\n" in printed and "row 8 is" in printed
    write_table(tmp_path / "others.csv", rows[:7] + rows[8:])
    others = json.loads(succeed(invoke, "evaluate", run, "--data", "others.csv", "--json"))
    likelihood = others["log_likelihood"]
    assert far["dominant_row"]["others_log_likelihood"] == pytest.approx(likelihood)
    assert f"without this row the log-likelihood is {likelihood:.5f}" in " ".join(printed.split())


def test_a_table_that_does_not_fit_is_one_line(invoke, tmp_path, run):
    head = "city,flag,day,rooms,price,wage\n"
    for text, named in [
        ("city,flag\nRome,True\n", "day"),
        (f"{head}Rome,True,2020-05-05,many,1,1\n", "'rooms'"),
        (f"{head}Rome,True,2020-05-05,inf,1,1\n", "'rooms'"),
        (f"{head}Rome,True,some day,3,1,1\n", "'day'"),
        (head, "row"),
    ]:
        (tmp_path / "new.csv").write_text(text)
        for more in ([], ["-o", "s.csv"]):
            result = invoke("evaluate", run, "--data", "new.csv", *more)
            assert (result.exit_code, result.stdout) == (1, ""), result.output
            (line,) = result.stderr.splitlines()
            assert line.startswith("nflow: error: ") and named in line
        assert not (tmp_path / "s.csv").exists()


# Pictures and pages.


def test_pictures_are_drawn_again_and_runs_compared(invoke, tmp_path, run):
    copy = shutil.copytree(run, tmp_path / "copy")
    shutil.rmtree(copy / "plots", ignore_errors=True)
    succeed(invoke, "plot", copy, "--dpi", 50)
    names = {path.stem for path in (copy / "plots").iterdir()}
    assert {"training", "marginals"} <= names, names
    succeed(invoke, "plot", copy, "--format", "svg", "--only", "training")
    drawn = (copy / "plots/training.svg").read_text().replace("\xa0", " ")
    assert "cells 8 × 1, 3 normals<" in drawn  # no flow, no K
    compared = invoke("compare", copy, run)
    assert compared.exit_code == 0 and "cells 8 × 1, 3 normals" in compared.stdout
    succeed(invoke, "report", copy)


# Training.


STOPPED = {
    "early": 0,
    "steps": 1_000,
    "chunk": 10,
    "learning_rate": 0.03,
    "early_stopping": {"patience": 20},
}

EARLY = {"steps": 40, "chunk": 10, "early": 20}


@pytest.mark.parametrize(
    "killed_at",
    ["patience", "cool-down", *(pytest.param(at, marks=slow) for at in ("start", "stop"))],
)
def test_a_run_that_is_killed_is_resumed_to_the_same_bits(invoke, short_run, tmp_path, killed_at):
    run = short_run(**CELLS | {"train": CELLS["train"] | STOPPED})
    updates = RunDirectory(run).read_metrics()["update"]
    stopped = Checkpoints(RunDirectory(run)).load().state["ValidationLog"]["stopped_at"]
    assert 20 <= stopped == updates[-1] - 50
    at = {"start": 10, "patience": stopped - 10, "stop": stopped, "cool-down": stopped + 30}
    assert_resumed(invoke, run, tmp_path / "copy", rows=at[killed_at] // 10 + 1)


@pytest.mark.parametrize("killed_at", [10, 30])
def test_early_weights_outlive_a_kill(invoke, short_run, tmp_path, killed_at):
    run = short_run(**CELLS | {"train": CELLS["train"] | EARLY})
    assert json.loads((run / "summary.json").read_text())["best_update"] == 40
    assert_resumed(invoke, run, tmp_path / "copy", rows=killed_at // 10 + 1)


def assert_resumed(invoke, run, copy, rows):
    """Check that a run that is killed after some rows of metrics is resumed to its bits."""
    updates = RunDirectory(run).read_metrics()["update"]
    copy = shutil.copytree(run, copy)
    for name in ("summary.json", "evaluation.npz", "weights.npz", "metrics.csv"):
        (copy / name).unlink()
    shutil.rmtree(copy / "checkpoints")
    edit_json(copy / "run.json", status="interrupted")
    settings = Run(RunDirectory(run)).config
    with killed_after(rows), pytest.raises(KilledError):
        fitted(settings, RunDirectory(copy), load(settings))
    assert list(RunDirectory(copy).read_metrics()["update"]) == list(updates[:rows])
    with without_pictures():
        result = invoke("resume", copy)
    assert result.exit_code == 0, result.output
    assert_same_run(copy, run)
    assert json.loads((copy / "run.json").read_text())["status"] == "completed"
