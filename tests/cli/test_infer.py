"""``nflow infer`` as a user types it, and what is done with its runs."""

import hashlib
import json
import math
import re
import sys

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from running import assert_same_run
from short_runs import without_pictures

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.data.files.columns import numbers_of
from nflow_cli.data.files.table_files import open_table
from nflow_cli.errors import Interrupted, NflowError
from nflow_cli.experiments import running
from nflow_cli.experiments.python_arguments import in_python
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.session import Checkpointer

MODEL = """
def log_density(x):
    return -0.5 * ((x - 1) ** 2).sum(axis=1), 1 - x


def other(x):
    return -0.5 * (x**2).sum(axis=1), -x
"""
SHORT = [
    *("--k", 2, "--flow", "affine-coupling", "--steps", 20, "--set", "train.chunk=10"),
    *("--set", "train.first_stage=20", "--set", "evaluate.samples=1000"),
]


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="nflow")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.py"
    path.write_text(MODEL)
    return path


@pytest.fixture(scope="module")
def finished(model):
    path = model.with_name("run")
    with without_pictures():
        done = run("infer", f"{model}:log_density", "--dim", 2, *SHORT, "--output", path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(path)
    return path, done


def test_a_run_records_the_function_and_prints_its_scores_as_python_does(finished, model):
    path, done = finished
    config = yaml.safe_load((path / "config.yaml").read_text())
    assert config["density"]["path"] == str(model)
    record = json.loads((path / "run.json").read_text())
    assert record["data"]["sha256"] == config["density"]["sha256"]
    assert done.stdout.splitlines()[0].split() == ["density", "model"]
    for word in ("free energy", "k-hat", "ESS", "log Z", "x1", "x2"):
        assert f"\n{word}" in done.stdout
    q = nflow_cli.load(path)
    assert repr(q) == in_python(done.stdout.rstrip("\n"))
    assert q.summary["moments"].keys() == {"x1", "x2"} and "estimated_log_z" in q.summary
    metrics = RunDirectory(path).read_metrics()  # the first line is what the first stage won
    first = metrics["kl"][metrics["update"] == 0]
    line = r"first stage, a Gaussian: free energy (-?[\d.]+) nats"
    (figure,) = re.findall(line, done.stderr.splitlines()[0])
    assert float(figure) == pytest.approx(first[0], abs=1e-3)


def test_starts_of_a_file_are_taken_by_name(model, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(running, "start", lambda config, *_, **__: begun.append(config))
    monkeypatch.setattr(running, "show", lambda run: None)
    (tmp_path / "starts.csv").write_text("note,b,a\nfar,2,30\nnear,-1,0.5\n")
    words = ["--dim", 2, "--names", "a,b", "--start", tmp_path / "starts.csv"]
    done = run("infer", model, *words)
    assert done.exit_code == 0, done.output
    assert [list(point) for point in begun[0].train.starts] == [[30.0, 2.0], [0.5, -1.0]]


def test_sample_writes_the_coordinates_and_resample_asks_for_the_function(
    finished, model, tmp_path
):
    path, out = finished[0], tmp_path / "x.csv"
    assert run("sample", path, "-n", 7, "-o", out).exit_code == 0
    assert out.read_text().splitlines()[0] == "x1,x2,log_q"
    words = ["sample", path, "-n", 50, "-o", out, "--resample"]
    refused = run(*words)
    assert refused.exit_code == 1 and "name it: --density FILE.py:log_density" in refused.stderr
    done = run(*words, "--density", model)
    assert done.exit_code == 0 and "k-hat" in done.stderr
    points = np.loadtxt(out, delimiter=",", skiprows=1)
    assert points.shape == (50, 2) and np.abs(points.mean(axis=0) - 1).max() < 0.8


def table_of(path):
    table = open_table(path)
    names = [column.name for column in table.columns]
    return names, numbers_of(table, names)


def test_inference_data_name_their_run_and_hold_log_p_if_the_function_is_named(
    finished, model, tmp_path
):
    path, out, q = finished[0], tmp_path / "x.nc", nflow_cli.load(finished[0])
    assert run("sample", path, "-n", 7, "-o", out).exit_code == 0
    names, rows = table_of(out)
    assert names == ["chain", "draw", "x1", "x2", "log_q"]
    np.testing.assert_array_equal(rows[:, 2:4], q.sample(7))
    np.testing.assert_allclose(rows[:, 4], q.log_prob(q.sample(7)), rtol=1e-4)
    with h5py.File(out) as file:
        facts = dict(file["posterior"].attrs)
    config = (path / "config.yaml").read_bytes()
    assert facts["config_sha256"] == hashlib.sha256(config).hexdigest()
    assert facts["inference_library_version"] == nflow_cli.__version__
    for key in ("pareto_k", "estimated_log_z"):
        assert facts[key] == q.summary[key]
    for words in ([], ["--resample"]):
        assert run("sample", path, "-n", 50, "-o", out, "--density", model, *words).exit_code == 0
        names, rows = table_of(out)
        assert names == ["chain", "draw", "x1", "x2", "log_prob", "log_q"]
        x = rows[:, 2:4]
        np.testing.assert_allclose(rows[:, 5], q.log_prob(x), rtol=1e-4)
        np.testing.assert_allclose(rows[:, 4], -0.5 * ((x - 1) ** 2).sum(axis=1), rtol=1e-4)
    refused = run("sample", path, "-o", tmp_path / "x.csv", "--density", model)
    assert refused.exit_code == 2 and "expected --resample or a .nc file" in refused.stderr


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_arviz_is_given_the_draws_or_asked_for(finished, monkeypatch):
    q = nflow_cli.load(finished[0])
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "arviz", None)
        with pytest.raises(NflowError, match="pip install arviz"):
            q.to_arviz()
    pytest.importorskip("arviz", reason="ArviZ is not installed")
    data = q.to_arviz(n=9, seed=3)
    x = np.stack([data["posterior"][name].values[0] for name in ("x1", "x2")], axis=-1)
    np.testing.assert_array_equal(x, q.sample(9, seed=3))
    assert data["posterior"].attrs["pareto_k"] == q.summary["pareto_k"]
    log_q = data["sample_stats"]["log_q"].values[0]
    np.testing.assert_allclose(log_q, q.log_prob(x), rtol=1e-4)


def test_evaluate_asks_for_the_function(finished, model):
    path, _ = finished
    refused = run("evaluate", path)
    assert refused.exit_code == 1 and "--density FILE.py:log_density" in refused.stderr
    done = run("evaluate", path, "--density", model, "--samples", 2_000, "--seed", 5)
    assert done.exit_code == 0 and "2,000, seed 5" in done.stdout and "log Z" in done.stdout


def test_another_function_or_file_is_not_that_of_the_run(finished, model, tmp_path):
    other = tmp_path / "model.py"
    other.write_text(MODEL + "\nraise SystemExit('it ran')\n")
    densities = {f"{model}:other": "expected log_density", other: "not the file of this run"}
    for density, said in densities.items():
        for name, *options in (["evaluate"], ["resume", "--steps", 30]):
            done = run(name, finished[0], *options, "--density", density)
            assert done.exit_code == 1 and said in done.stderr


def test_plot_and_check_need_no_function(finished, tmp_path, model):
    content = model.read_text()
    model.write_text("raise SystemExit('it ran')")
    try:
        assert run("plot", finished[0]).exit_code == 0
        assert run("check", finished[0]).exit_code == 0
    finally:
        model.write_text(content)


def test_a_preset_never_runs_a_file_that_it_names(finished, tmp_path, model):
    config = finished[0] / "config.yaml"
    refused = run("infer", "--preset", config, "--output", tmp_path / "run")
    assert refused.exit_code == 1 and "never executed from a preset" in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_the_function(finished, model, tmp_path, monkeypatch):
    def stop(self, *arguments, save=Checkpointer.save, **keywords):
        save(self, *arguments, **keywords)
        raise Interrupted(15)

    words = ["infer", f"{model}:log_density", "--dim", 2, *SHORT, "--output", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save", stop)
        stopped = run(*words)
    assert stopped.exit_code == 143
    assert f"--density {model}:log_density" in stopped.stderr
    assert run("resume", tmp_path / "run").exit_code == 1
    assert run("resume", tmp_path / "run", "--density", model).exit_code == 0
    assert_same_run(finished[0], tmp_path / "run")


def rates_of(path):
    """Return the learning rate of the last update of each row by that update."""
    metrics = RunDirectory(path).read_metrics()
    return dict(zip(metrics["update"].tolist(), metrics["learning_rate"].tolist()))


@pytest.mark.slow
def test_early_stopping_cools_down_and_a_run_that_is_extended_is_warm_again(model, tmp_path):
    """Nothing falls by 99 nats, and nothing counts while the density is annealed."""
    path, words = tmp_path / "run", [*SHORT, "--k", 0, "--steps", 600, "--anneal", 40 / 600]
    stopping = "train.early_stopping={patience: 20, min_delta: 99, cool_down: 30}"
    with without_pictures():
        fitted = ["infer", f"{model}:log_density", "--dim", 2, *words, "--output", path]
        done = run(*fitted, "--set", stopping)
    assert done.exit_code == 0, done.stderr
    # From update 40 on two windows of two chunks, then three chunks.
    assert "training: stopped early at 110/600 updates" in done.stderr
    assert "stopped early after 110 of 600 updates in " in done.stdout
    rates = rates_of(path)
    cosine = {n: 0.002 * (1 + math.cos(math.pi * n / 600)) / 2 for n in (70, 80)}
    assert [rates[n] for n in cosine] == pytest.approx(list(cosine.values()), rel=0.01)
    assert rates[100] < 0.3 * cosine[80] and rates[110] == pytest.approx(0, abs=1e-6)
    assert run("check", path).exit_code == 0
    with without_pictures():
        done = run("resume", path, "--steps", 700, "--density", f"{model}:log_density")
    assert "stopped early after 180 of 700 updates in " in done.stdout, done.stderr
    assert rates_of(path)[150] == pytest.approx(
        0.002 * (1 + math.cos(math.pi * 150 / 700)) / 2, rel=0.01
    )
