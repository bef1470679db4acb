"""`nflow evaluate` and `nflow predict` of a table of many files, with processes that die."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from documents import executed
from pyarrow import csv, parquet
from running import NFLOW, read_rows, run_nflow, wait_for
from short_runs import CELLS
from short_runs import TABLE as FLOWS

from nflow_cli.sweeps import workers

TABLE = CELLS["data"]["name"]
PREDICT = ["--target", "price", "--coverage", ".8", "--by", "city"]
# A worker that lives through a script first.
WORKER = "\nfrom nflow_cli.sweeps.worker import main\nmain()"


@pytest.fixture
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture
def parts(invoke):
    """Return the folder of parts of a table of all its rows in order: CSV and Parquet."""
    head, *rows = Path(TABLE).read_text().splitlines(keepends=True)
    folder = Path("parts")
    folder.mkdir()
    for i, (a, b) in enumerate([(0, 100), (100, 101), (101, 180), (180, len(rows))]):
        (folder / f"part-{i}.csv").write_text(head + "".join(rows[a:b]))
    last = folder / "part-3.csv"
    parquet.write_table(csv.read_csv(last), last.with_suffix(".parquet"))
    last.unlink()
    return folder


def written(folder):
    """Return the rows of the outputs, one part after the other."""
    rows = []
    for path in sorted(Path(folder).glob("part-*")):
        if path.suffix == ".parquet":
            csv.write_csv(parquet.read_table(path), "again.csv")
            path = Path("again.csv")
        rows += read_rows(path)
    return rows


def assert_same(found, expected):
    """Check that two nested records are equal, numbers to rounding.

    The estimate of a quadrature's error is not compared: rounding decides which cells are split.
    """
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected.keys() - {"quadrature_error"}:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected):
            assert_same(*pair)
    elif isinstance(expected, str) and found != expected:
        try:
            assert float(found) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)
        except ValueError:
            assert found.lower() == expected.lower()
    elif isinstance(expected, float) and not isinstance(found, str):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    else:
        assert found == expected


def scored(invoke, *words):
    result = invoke(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def shared(scores, *others):
    """Return the scores that those of one file and of its parts share."""
    not_shared = ("parts", "data", "output", "pit", *others)
    return {name: score for name, score in scores.items() if name not in not_shared}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("command", "data", "options"),
    [
        ("evaluate", "parts", []),
        ("predict", "parts/part-*", PREDICT),
        ("predict", "parts", ["--target", "city"]),
    ],
)
def test_many_files_have_the_rows_and_the_scores_of_one(invoke, run, parts, command, data, options):
    one = scored(invoke, command, run, "--data", TABLE, "-o", "one.csv", *options)
    many = scored(invoke, command, run, "--data", data, "-o", "out", *options, "--workers", 2)
    assert sorted(os.listdir("out")) == [".nflow", *sorted(os.listdir(parts))]
    assert_same(written("out"), read_rows("one.csv"))
    assert (many["parts"], many["data"]) == (4, data)
    # A part of the run's rows is not all, of which a warning tells.
    assert_same(shared(many, "warnings"), shared(one, "warnings"))


@pytest.mark.usefixtures("in_process")
def test_several_targets_and_the_printed_rows(invoke, run, parts):
    words = ["predict", run, "--target", "price,city", "--data"]
    each = [scored(invoke, *words, part, "-o", "one.csv") for part in sorted(parts.iterdir())]
    least = min(one["least_effective_draws"] for one in each)  # by draws, each file by itself
    result = invoke(*words, "parts", "-o", "out")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["parts", "4"] and lines[-1] == "out"
    assert f"row {least:.1f}" in lines[-2] and "240 rows" in lines[1]
    progress = result.stderr.splitlines()
    assert progress[0].startswith("out: 0 of 4 done") and progress[-1].startswith("out: 4 of 4")


@pytest.mark.usefixtures("in_process")
def test_the_same_command_makes_what_is_absent_or_of_a_changed_file(invoke, run, parts):
    words = ["evaluate", run, "--data", "parts", "-o", "out"]
    whole = (parts / "part-3.parquet").read_bytes()
    (parts / "part-3.parquet").write_bytes(whole[:-30])
    result = invoke(*words)  # a damaged part fails alone
    assert (result.exit_code, result.stdout) == (1, "")
    reason, last = result.stderr.splitlines()[-2:]
    assert reason.startswith("failed: part-3.parquet  parts/part-3.parquet: ")
    assert last.startswith("nflow: error: out: 1 of 4 parts failed; the same command")
    assert len(written("out")) == 180

    def made_anew(**changed):
        """Return which outputs are written by the same command, and its scores."""
        before = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
        scores = scored(invoke, *words)
        after = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
        return {name for name, at in after.items() if before.get(name) != at}, scores

    (parts / "part-3.parquet").write_bytes(whole)
    made, first = made_anew()
    assert made == {"part-3.parquet"} and first["n"] == 240
    assert made_anew() == (set(), first)
    Path("out", "part-0.csv").unlink()
    Path("out", "part-1.csv").write_text("cut")
    shutil.copy(TABLE, parts / "part-2.csv")
    made, scores = made_anew()
    assert made == {"part-0.csv", "part-1.csv", "part-2.csv"}
    assert scores["n_effective"] > first["n_effective"]
    assert len(written("out")) == 101 + 240 + 60


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("command", "options"), [("evaluate", []), ("predict", PREDICT)])
def test_parts_without_rows_have_outputs_without_rows(invoke, run, parts, command, options):
    one = parts / "part-3.parquet"
    for path in parts.glob("*.csv"):
        path.unlink()
    expected = scored(invoke, command, run, "--data", one, "-o", "one.parquet", *options)
    parquet.write_table(parquet.read_table(one).slice(0, 0), parts / "part-4.parquet")
    (parts / "part-5.csv").write_text(Path(TABLE).read_text().splitlines(keepends=True)[0])
    words = [command, run, "--data", "parts", "-o", "out", *options]
    many = scored(invoke, *words)
    assert many["parts"] == 3
    assert_same(shared(many), shared(expected))
    assert not invoke(*words).stderr  # all are done
    table, empty = (parquet.read_table(f"out/part-{i}.parquet") for i in (3, 4))
    assert empty.schema == table.schema and (len(table), len(empty)) == (60, 0)
    assert Path("out/part-5.csv").read_text() == ",".join(table.column_names) + "\n"


@pytest.mark.usefixtures("in_process")
def test_no_rows_at_all_are_one_line(invoke, run, parts):
    for i, path in enumerate(sorted(parts.iterdir())):
        path.unlink()
        path = parts / f"part-{i}.csv"
        path.write_text(Path(TABLE).read_text().splitlines(keepends=True)[0])
    many = invoke("evaluate", run, "--data", "parts", "-o", "out")
    assert (many.exit_code, many.stdout) == (1, "")
    line = "nflow: error: parts: expected rows, received none in any of 4 parts"
    assert many.stderr.splitlines()[-1] == line
    single = invoke("evaluate", run, "--data", parts / "part-0.csv", "-o", "x.csv")
    assert single.exit_code == 1 and single.stderr.count("\n") == 1
    assert "part-0.csv: expected rows, received none" in single.stderr


@pytest.mark.usefixtures("in_process")
def test_a_folder_of_another_run_or_of_other_options_is_refused(invoke, run, parts):
    assert invoke("evaluate", run, "--data", "parts", "-o", "out").exit_code == 0
    other = Path(shutil.copytree(run, "other"))
    with open(other / "config.yaml", "a") as file:
        file.write("\n")
    for words in (["evaluate", other], ["predict", run, *PREDICT]):
        result = invoke(*words, "--data", "parts", "-o", "out")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "out: of another run, or of other options" in result.stderr.splitlines()[-1]


KILL = """
import os, pathlib, signal
calls, replace = [], os.replace
def killed(*args):
    calls.append(args)
    if len(calls) == {call} and not pathlib.Path("killed").exists():
        pathlib.Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*args)
os.replace = killed
"""


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 2], ids=["of the output", "of the record"])
def test_a_killed_worker_process_loses_nothing(invoke, run, parts, monkeypatch, call):
    monkeypatch.setattr(workers, "COMMAND", ("-c", KILL.format(call=call) + WORKER))
    words = ["evaluate", run, "--data", "parts", "-o", "out", "--workers", "1"]
    assert scored(invoke, *words)["n"] == 240
    assert Path("killed").exists() and len(written("out")) == 240


def test_a_part_whose_process_always_dies_is_given_up(invoke, run, parts, monkeypatch):
    again = "import os; os.write(os.open('log', os.O_APPEND | os.O_CREAT | os.O_WRONLY), b'x')"
    monkeypatch.setattr(workers, "COMMAND", ("-c", f"{again}; os._exit(9)"))
    result = invoke("evaluate", run, "--data", "parts/part-0.*", "-o", "out")
    assert result.exit_code == 1 and Path("log").read_text() == "xxx"
    assert "part-0.csv  its process died (exit code 9)" in result.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [("evaluate", []), pytest.param("predict", PREDICT, marks=pytest.mark.slow)],
)
def test_a_worker_is_a_process_without_tensorflow(
    invoke, run, parts, monkeypatch, command, options
):
    without = "import sys; sys.modules |= dict.fromkeys(('keras', 'tensorflow', 'jax', 'torch'))"
    monkeypatch.setattr(workers, "COMMAND", ("-c", without + WORKER))
    words = [command, run, "--data", "parts/part-0.*", "-o", "out", *options]
    assert scored(invoke, *words)["parts"] == 1 and len(written("out")) == 100


@pytest.mark.slow
def test_flows_score_many_files_too(invoke, short_run):
    run, (head, *rows) = short_run(command="fit"), FLOWS.read_text().splitlines(keepends=True)
    for i in range(2):
        Path(f"part-{i}.csv").write_text(head + "".join(rows[100 * i :][:100]))
    Path("part-2.csv").write_text(head)
    Path("one.csv").write_text(head + "".join(rows[:200]))
    words = ["evaluate", run, "--latent", "--data"]
    one = scored(invoke, *words, "one.csv", "-o", "o.csv")
    many = scored(invoke, *words, "part-*.csv", "-o", "out")
    assert (many["parts"], many["n"]) == (3, 200)
    assert many["dominant_row"] is one["dominant_row"] is None
    found, expected = (shared(scores, "run", "warnings", "dominant_row") for scores in (many, one))
    assert found == pytest.approx(expected, rel=1e-6)
    tables = written("out"), read_rows("o.csv")
    found, expected = ([[*map(float, row.values())] for row in rows] for rows in tables)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def started(folder, *words):
    """Begin a command on 15 parts; return it once three are done, and the number of all rows."""
    for i in range(12):
        shutil.copy(folder / "parts" / "part-0.csv", folder / "parts" / f"part-9{i:02d}.csv")
    command = [NFLOW, "evaluate", *map(str, words), "--data", "parts", "-o", "out", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=folder, **pipes)
    wait_for(lambda: len([*(folder / "out" / ".nflow").glob("part-*")]) > 2)
    return process, command[1:], 240 + 12 * 100


@pytest.mark.slow
def test_after_kill_9_the_same_command_goes_on(run, parts, tmp_path):
    process, words, n = started(tmp_path, run, "--workers", "2")
    process.kill()
    process.communicate()
    done = run_nflow(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == n == len(written("out"))
    assert int(done.stderr.split()[1]) > 2  # parts done before
    assert not [*Path("out").rglob(".nflow-*")]


@pytest.mark.slow
def test_a_worker_of_a_cluster_that_is_killed_loses_nothing(run, parts, cluster, tmp_path):
    address, dask_workers = cluster(2)
    process, _, n = started(tmp_path, run, "--scheduler", address)
    os.kill(dask_workers[0].pid, signal.SIGKILL)
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert json.loads(out)["n"] == n == len(written("out"))
    here = run_nflow(tmp_path, "evaluate", run, "--data", "parts", "-o", "here")
    assert here.returncode == 0, here.stderr
    names = sorted(path.name for path in Path("here").glob("part-*"))
    assert len(names) == 16
    for name in names:
        assert (Path("out") / name).read_bytes() == (Path("here") / name).read_bytes()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, to Dask
def test_the_recipe_for_tables_of_dask(run, parts):
    pytest.importorskip("dask.dataframe", reason="dask.dataframe is not installed")
    pytest.importorskip("pandas", reason="pandas is not installed")
    for i in range(2):
        shutil.copy(parts / "part-3.parquet", f"part-{i}.parquet")
    names = executed("docs/use.md", [2], shorter=[("runs/a", str(run))])
    q, one = names["q"], parquet.read_table("part-0.parquet").to_pandas()
    found, predicted = (names[name].compute() for name in ("scored", "predicted"))
    assert len(found) == len(predicted) == 120 == len(parquet.read_table("scored"))
    np.testing.assert_allclose(found["log_q"], np.tile(q.log_prob(one), 2), rtol=1e-12)
    expected = q.predict(one, "price")["price_mean"]
    np.testing.assert_allclose(predicted["price_mean"], np.tile(expected, 2), rtol=1e-12)
