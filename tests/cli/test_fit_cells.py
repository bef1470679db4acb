"""``nflow fit`` without flows as a user types it: a whole table, by the command and in Python."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from running import succeed
from short_runs import edit_json, without_pictures, without_programs

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.estimates import with_error

RNG = np.random.default_rng(0)
N = 200
TABLE = {
    "x": RNG.normal(size=N).round(6),
    "city": RNG.choice(["Rome", "Oslo"], N),
    "age": RNG.integers(18, 60, N),
    "gappy": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(size=N).round(3)),
    "w": RNG.integers(1, 4, N),
}
SMALL = {"cells.width": 8, "cells.blocks": 1, "cells.components": 3, "train.chunk": 4}
SET = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
ROLES = ["--given", "city", "--weights", "w", "--test", "tests.csv", "--missing", "drop"]
LENGTH = ["--epochs", "2", "--batch-size", "40", "--learning-rate", "0.01", "--ensemble", "2"]


def text_of(table):
    file = io.StringIO()
    rows = [["" if value != value else value for value in row] for row in zip(*table.values())]
    csv.writer(file, lineterminator="\n").writerows([list(table), *rows])
    return file.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a table, test rows, and a run on them, and how that ended."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mine.csv").write_text(text_of(TABLE))
    (folder / "tests.csv").write_text(text_of({name: v[40:80] for name, v in TABLE.items()}))
    words = ["fit", "mine.csv", *ROLES, *LENGTH, *SET, "--seed", "3", "--output", "run"]
    with without_programs(), without_pictures(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    return folder, done


def summary_of(run):
    return json.loads((Path(run) / "summary.json").read_text())


def test_what_is_printed_is_of_the_rows_and_columns_that_options_choose(home):
    _, done = home
    assert "mine.csv: 150 train, 16 validation, 31 test rows" in done.stdout
    assert "log-likelihood" in done.stdout and "independent" in done.stdout
    assert done.stdout.splitlines()[-1] == "run"
    assert any(line.startswith("left out: ") for line in done.stderr.splitlines())
    summary = summary_of(home[0] / "run")
    assert (summary["columns"], summary["given"]) == (["x", "age", "gappy"], ["city"])
    assert (summary["steps"], summary["seed"]) == (round(2 * 150 / 40), 3)


def test_the_tests_of_a_run_are_found_again_where_they_were(at_home, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = succeed(at_home, "check", home[0] / "run")
    assert "FAIL" not in printed and "found again" in printed
    summary = summary_of(home[0] / "run")
    mean, error = summary["log_likelihood"], summary["log_likelihood_standard_error"]
    assert f" {with_error(mean, error)} nats" in succeed(at_home, "evaluate", home[0] / "run")


def test_changed_test_rows_are_not_those_of_the_run(at_home, home, tmp_path, monkeypatch):
    folder = shutil.copytree(home[0], tmp_path / "moved")
    data = json.loads((folder / "run" / "run.json").read_text())["data"]
    data["test"]["path"] = str(folder / "tests.csv")
    edit_json(folder / "run" / "run.json", data=data)
    text = (folder / "tests.csv").read_text().replace("Rome", "Oslo", 1)
    (folder / "tests.csv").write_text(text)
    done = at_home("evaluate", folder / "run")
    assert done.exit_code == 1 and "not the test rows of this run" in done.stderr
    (folder / "tests.csv").unlink()
    monkeypatch.chdir(tmp_path)
    done = at_home("evaluate", folder / "run")
    assert done.exit_code == 1 and "expected the test rows of this run" in done.stderr


def test_fits_of_different_base_measures_do_not_compare(home, invoke, tmp_path):
    runs = [shutil.copytree(home[0] / "run", tmp_path / name) for name in ("one", "other")]
    same = invoke("compare", *runs)
    assert same.exit_code == 0 and "do not compare" not in same.stderr
    edit_json(runs[1] / "summary.json", measure=64 * "0")
    other = invoke("compare", *runs)
    assert "mine.csv: log-likelihoods of different `measure` are not comparable" in other.stderr


class Frame:
    """A DataFrame of some make: all that is known of it is how Arrow takes its columns."""

    def __init__(self, columns):
        self.columns = {
            name: pa.array(values, from_pandas=True) for name, values in columns.items()
        }

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(self.columns).__arrow_c_stream__(requested_schema)


def test_a_frame_in_python_is_fitted_as_the_file_is(home, tmp_path):
    settings = {"train.epochs": 2, "train.batch_size": 40, "train.learning_rate": 0.01, **SMALL}
    options = {"given": ["city"], "weights": "w", "missing": "drop", "ensemble": 2, "seed": 3}
    settings["data.test"] = str(home[0] / "tests.csv")
    with without_programs(), without_pictures():
        q = nflow_cli.fit(Frame(TABLE), **options, settings=settings, output=tmp_path / "run")
    assert summary_of(q.path)["model_sha256"] == summary_of(home[0] / "run")["model_sha256"]
    log_q = q.log_prob(Frame(TABLE))
    np.testing.assert_array_equal(log_q, nflow_cli.load(home[0] / "run").log_prob(TABLE))
    draws = q.sample_table(5, seed=1, given={"city": ["Rome", "Oslo"]})
    assert draws.column_names == ["x", "age", "gappy", "city", "log_q"]
    assert draws["city"].to_pylist() == 5 * ["Rome"] + 5 * ["Oslo"]


def test_a_table_from_standard_input_is_not_found_again(invoke):
    words = ["fit", "-", "--group", "age", "--max-rows", "120", "--steps", "2", *SET]
    with without_programs(), without_pictures():
        done = CliRunner().invoke(main, [*words, "--output", "run"], input=text_of(TABLE))
    assert done.exit_code == 0, done.stderr
    assert "[grouped rows]" in done.stdout
    assert "cannot be read again" in succeed(invoke, "check", "run")


def test_flows_are_fitted_where_they_are_asked_for(tmp_path):
    numbers = {"x": TABLE["x"], "y": RNG.normal(size=N)}
    with without_programs(), without_pictures():
        q = nflow_cli.fit(numbers, steps=2, output=tmp_path / "run", settings={"flow.k": 0})
    assert hasattr(q, "flow")
    with pytest.raises(NflowError, match="rows have missing values"):
        nflow_cli.fit({"x": TABLE["x"], "gappy": TABLE["gappy"]}, k=0)
