"""Outliers that a robust fit leaves out: planted ones, none of clean tables; a run's record."""

import json

import numpy as np
import pytest
from short_runs import without_pictures

import nflow_cli
from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import opened
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.errors import NflowError
from nflow_cli.tables.robust import without_odd_rows

N = 600
PLANTED = np.arange(0, N, 20)  # one row in twenty
SHORT = {"cells.width": 8, "train.ensemble": 1, "train.steps": 60, "train.chunk": 20}


def table(n=N, seed=0):
    """Return a chain of three columns, one of whole numbers, and a level."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + 0.3 * rng.normal(size=n)
    z = np.round(20 + 5 * y + rng.normal(size=n))
    return {
        "x": x,
        "y": y,
        "z": z,
        "level": np.where(rng.random(n) < 0.5 + 0.2 * (x > 0), "a", "b"),
    }


def with_cluster():
    """Return the table with planted rows that are alike: each value by itself is still usual."""
    columns = table()
    rng = np.random.default_rng(1)
    columns["x"][PLANTED] = 2.0 + 0.05 * rng.normal(size=len(PLANTED))
    columns["y"][PLANTED] = -1.5 + 0.05 * rng.normal(size=len(PLANTED))
    columns["z"][PLANTED] = 25.0
    return columns


def left_out(columns, **settings):
    data = load_dataset(TableData(name="t", **settings), opened(columns))
    found = without_odd_rows(data)
    return data, found, np.concatenate(found.odd_rows)


def test_a_cluster_of_odd_rows_is_left_out_of_training_and_known_in_the_test():
    data, found, odd = left_out(with_cluster())
    assert np.isin(PLANTED, odd).mean() > 0.9 and len(odd) < 1.5 * len(PLANTED)
    assert len(found.train) + len(found.odd_rows.train) == len(data.train)
    assert set(found.row_numbers.train).isdisjoint(odd)
    assert set(found.row_numbers.validation).isdisjoint(odd)
    assert len(found.test) == len(data.test)
    x = found.train[:, found.columns.index("x")]
    np.testing.assert_allclose(x, with_cluster()["x"][found.row_numbers.train])


def nearly_equal_columns():
    rng = np.random.default_rng(3)
    x = rng.normal(size=N)
    return {"x": x, "y": x + 0.05 * rng.normal(size=N)}


@pytest.mark.parametrize("clean", [table, nearly_equal_columns])
def test_few_rows_of_a_clean_table_are_left_out(clean):
    _, _, odd = left_out(clean())
    assert len(odd) < 0.02 * N


def test_values_far_from_the_others_are_left_out():
    columns = table()
    columns["x"][PLANTED] = 30 + np.random.default_rng(2).normal(size=len(PLANTED))
    _, _, odd = left_out(columns)
    assert np.isin(PLANTED, odd).all() and len(odd) < 1.5 * len(PLANTED)


def test_at_most_a_tenth_of_the_training_rows_is_left_out():
    columns = table()
    far = np.arange(0, N, 4)
    columns["y"][far] = 50 + np.random.default_rng(2).normal(size=len(far))
    data, found, _ = left_out(columns)
    assert len(found.odd_rows.train) <= 0.1 * len(data.train) + 1


def test_weights_stay_with_their_rows():
    columns = {**with_cluster(), "w": 1 + np.arange(N) % 7}
    _, found, _ = left_out(columns, weights="w")
    ratio = columns["w"][found.row_numbers.train] / found.weights.train
    np.testing.assert_allclose(ratio, ratio[0])
    assert len(found.weights.validation) == len(found.validation)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust")
    columns = with_cluster()
    lines = [",".join(map(str, row)) for row in zip(*columns.values())]
    (folder / "t.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    with without_pictures():
        nflow_cli.fit(folder / "t.csv", robust=True, settings=SHORT, output=folder / "run")
    return folder / "run"


def test_a_run_records_its_odd_rows_from_1_and_scores_the_test_with_and_without(run):
    record = json.loads((run / "run.json").read_text())["data"]["odd_rows"]
    numbers = np.sort(np.concatenate([*record.values()]))
    assert np.isin(PLANTED + 1, numbers).mean() > 0.9
    summary = nflow_cli.load(run).summary
    n_left_out = len(record["train"]) + len(record["validation"])
    assert (summary["n_left_out"], summary["n_odd_test"]) == (n_left_out, len(record["test"]))
    assert summary["kept_log_likelihood"] > summary["log_likelihood"]
    assert f"{n_left_out} odd rows left out; " in str(nflow_cli.load(run))


def test_a_table_in_python_is_fitted_without_its_odd_rows(tmp_path):
    with without_pictures():
        q = nflow_cli.fit(with_cluster(), robust=True, settings=SHORT, output=tmp_path / "run")
    assert q.summary["n_left_out"] >= 0.7 * len(PLANTED)


def test_flows_are_not_robust(tmp_path):
    with pytest.raises(NflowError, match="no robust beside flows"):
        nflow_cli.fit(with_cluster(), robust=True, flow="planar", output=tmp_path / "run")


def test_a_run_is_checked_by_the_recorded_rows(invoke, run):
    result = invoke("check", run)
    assert result.exit_code == 0, result.output


def test_a_planted_row_is_odder_than_the_others(run):
    p = nflow_cli.load(run).explain(with_cluster())["p_value"].to_numpy()
    assert np.median(p[PLANTED]) < 0.1 < np.median(np.delete(p, PLANTED))


@pytest.mark.parametrize("rows", [{}, {"train": ["a"], "validation": [], "test": []}, 3])
def test_a_damaged_record_is_refused(invoke, run, rows):
    path = run / "run.json"
    text = path.read_text()
    record = json.loads(text)
    record["data"]["odd_rows"] = rows
    path.write_text(json.dumps(record))
    try:
        result = invoke("check", run)
        assert result.exit_code == 1 and "damaged: expected row numbers of data" in result.output
    finally:
        path.write_text(text)
