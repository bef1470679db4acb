"""``nflow evidence`` as a user types it."""

import json
import math
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from running import assert_same_run
from short_runs import edit_json

import nflow_cli
from nflow_cli.cli import main
from nflow_cli.errors import Interrupted
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.session import Checkpointer

LOG_Z = 2.5
SHORT = [
    *("--log-p", "log_post", "--k", 1, "--flow", "affine-autoregressive", "--steps", 40),
    *("--set", "train.chunk=20"),
]


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="nflow")


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """Three chains of a correlated normal (a, log b), of which b has a bound, times e^2.5."""
    folder, rng, files = tmp_path_factory.mktemp("chains"), np.random.default_rng(0), []
    root = np.linalg.cholesky([[1.0, 0.6], [0.6, 1.0]])
    for chain in range(3):
        noise = rng.standard_normal((500, 2))
        z = noise @ root.T
        log_p = -0.5 * (noise**2).sum(axis=1) - math.log(2 * math.pi * 0.8) - z[:, 1] + LOG_Z
        table = np.column_stack([z[:, 0], np.exp(z[:, 1]), log_p])
        files.append(folder / f"chain_{chain}.csv")
        np.savetxt(files[-1], table, "%.12g", ",", header="a,b,log_post", comments="")
    return files


@pytest.fixture(scope="module")
def finished(chains, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    found = run("evidence", *chains, *SHORT, "--bounds", "b=0:", "--output", path)
    assert found.exit_code == 0, found.output
    return path, found


def test_log_z_and_moments_of_a_normal_are_found_within_their_errors(finished):
    path, found = finished
    summary = json.loads((path / "summary.json").read_text())
    error = summary["log_z_standard_error"]
    assert abs(summary["log_z"] - LOG_Z) < 4 * error
    assert 0 < error < 0.05
    mean, spread = summary["moments"]["a"]
    assert spread == pytest.approx(1, abs=0.1) and abs(mean) < 4 / math.sqrt(1_500)
    assert summary["moments_standard_error"]["a"] == pytest.approx(1 / math.sqrt(1_500), rel=0.2)
    assert found.stdout.splitlines()[-1] == str(path)
    assert "no other is in it" in found.stdout
    space = "constrained: log_post is taken for the log-density of b; if it is that of log b, "
    for shown in (found.stdout, run("evaluate", path).stdout):
        assert f"space {space}--space unconstrained" in " ".join(shown.split())
        assert "chain_0.csv and 2 more" in shown
    assert sorted(p.name for p in (path / "plots").iterdir()) == [
        "log-z.png",
        "ratios.png",
        "training.png",
    ]


@pytest.mark.slow
def test_a_generated_column_has_a_warning_and_a_parameter_has_none(finished, tmp_path):
    rng, files = np.random.default_rng(1), []
    for chain in range(3):
        a = rng.standard_normal(1_000)
        table = np.column_stack([a, a + rng.standard_normal(1_000), -0.5 * a**2])
        files.append(tmp_path / f"chain_{chain}.csv")
        np.savetxt(files[-1], table, "%.12g", ",", header="a,g,log_post", comments="")
    longer = ("--steps", 400, "--set", "train.learning_rate=0.01")
    found = run("evidence", *files, *SHORT, *longer, "--output", tmp_path / "run")
    assert found.exit_code == 0, found.output
    assert "log p is not the log-density of these columns" in found.stdout
    sound = json.loads((finished[0] / "summary.json").read_text())
    assert abs(sound["kl_by_likelihood"]) < 3 * sound["kl_by_likelihood_standard_error"]


DENSITY = """
import math
from keras import ops

def log_density(x):
    a, b = x[:, 0], ops.log(x[:, 1])
    return -(a * a - 1.2 * a * b + b * b) / 1.28 - b
"""


def test_a_log_density_gives_a_bridge_estimate_beside(finished, tmp_path):
    (tmp_path / "model.py").write_text(DENSITY)
    found = run("evaluate", finished[0], "--density", tmp_path / "model.py", "--json")
    assert found.exit_code == 0, found.output
    scores = json.loads(found.stdout)
    expected = math.log(2 * math.pi * 0.8)
    error = scores["bridge_log_z_standard_error"]
    assert 0 < error < scores["log_z_standard_error"]
    assert scores["bridge_log_z"] == pytest.approx(expected, abs=4 * error)
    assert scores["log_p_difference"] == pytest.approx(expected - LOG_Z, abs=1e-4)
    assert scores["warnings"] == []


def test_a_run_passes_its_checks_until_its_draws_change(finished, chains):
    checked = run("check", finished[0])
    assert checked.exit_code == 0 and "draws found again" in checked.output, checked.output
    content = chains[2].read_text()
    try:
        chains[2].write_text(content.replace("\n", "\n0.1,1.0,-2\n", 1))
        assert run("check", finished[0]).exit_code == 1
    finally:
        chains[2].write_text(content)


def test_a_run_is_evaluated_to_the_same_figures_by_its_own_draws_alone(finished):
    path, _ = finished
    again = json.loads(run("evaluate", path, "--json").stdout)
    recorded = json.loads((path / "summary.json").read_text())
    for key in ("log_z", "log_z_standard_error", "pareto_k", "rhat", "effective_draws"):
        assert again[key] == pytest.approx(recorded[key], rel=1e-6)
    found = run("evaluate", path, "--data", "x.csv")
    assert found.exit_code == 1 and "has draws of its own" in found.output


def test_the_density_is_sampled_and_loaded(finished, tmp_path):
    written = run("sample", finished[0], "-n", 50, "-o", tmp_path / "draws.csv")
    assert written.exit_code == 0, written.output
    assert (tmp_path / "draws.csv").read_text().startswith("a,b,log_q\n")
    q = nflow_cli.load(finished[0])
    assert (q.sample(100)[:, 1] > 0).all()
    assert "log Z" in repr(q)


@pytest.mark.slow
def test_a_run_that_is_stopped_and_resumed_ends_as_one_that_was_not(
    chains, finished, tmp_path, monkeypatch
):
    saved = Checkpointer.after

    def stopped(self, logs):
        saved(self, logs)
        self.save(finished=False)
        raise Interrupted(2)

    path = tmp_path / "run"
    monkeypatch.setattr(Checkpointer, "after", stopped)
    run("evidence", *chains, *SHORT, "--bounds", "b=0:", "--output", path)
    assert not RunDirectory(path).has("summary.json")
    monkeypatch.undo()
    resumed = run("resume", path)
    assert resumed.exit_code == 0, resumed.output
    assert_same_run(path, finished[0])


def test_two_runs_have_a_log_bayes_factor(finished, tmp_path):
    other = shutil.copytree(finished[0], tmp_path / "other")
    summary = json.loads((other / "summary.json").read_text())
    edit_json(other / "summary.json", log_z=summary["log_z"] - 1.5)
    found = json.loads(run("compare", finished[0], other, "--json").stdout)["log_bayes_factor"]
    assert found["log_bayes_factor"] == pytest.approx(1.5)
    error = math.sqrt(2) * summary["log_z_standard_error"]
    assert found["standard_error"] == pytest.approx(error)
    text = f"log Bayes factor of {finished[0]} over {other}: {with_error(1.5, error)} nats"
    assert text in run("compare", finished[0], other).stdout
