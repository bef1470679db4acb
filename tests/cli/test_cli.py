"""``nflow fit-2d`` from its first line to its end, and where it is stopped or diverges."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from reports import read_report
from running import NFLOW, QUICK, assert_same_run, run_where_keras_is_set_up_otherwise, wait_for
from short_runs import without_pictures

from nflow_cli.config import presets
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Return the run of a user's first command, and how that ended."""
    folder = tmp_path_factory.mktemp("first")
    done = run_where_keras_is_set_up_otherwise(folder, "fit-2d", *QUICK)
    return folder / done.stdout.splitlines()[-1], done


def test_a_run_writes_all_its_files_and_prints_its_folder_last(first_run):
    path, done = first_run
    assert path.parent.name == "outputs" and path.name.endswith("-multimodal-planar-k2")
    run = RunDirectory.open(str(path))
    assert {file.name for file in path.iterdir()} == {
        *("config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"),
        *("evaluation.npz", "plots", "report.html", "checkpoints"),
    }
    pictures = {file.stem for file in (path / "plots").iterdir()}
    assert pictures >= {"density", "difference", "deformation", "training"}
    assert read_report(path).pictures.keys() == pictures
    assert list(run.read_metrics()["update"]) == [20, 40]
    record = run.read_json("run.json")
    assert (record["status"], record["command"]) == ("completed", "fit-2d")
    assert record["argv"] == ["fit-2d", *QUICK]
    assert set(run.read_json("summary.json")) >= {
        *("flow", "k", "target", "seed", "steps", "kl", "kl_standard_error", "ess"),
        *("free_energy", "log_z", "log_z_source", "mass", "n_parameters"),
        *("compile_seconds", "train_seconds", "steps_per_second"),
    }
    written = yaml.safe_load((path / "config.yaml").read_text())
    assert (written["flow"]["k"], written["train"]["steps"], written["seed"]) == (2, 40, 0)
    assert (written["train"]["chunk"], written["evaluate"]["samples"]) == (20, 1000)
    lines = done.stderr.splitlines()  # progress alone, even where Keras is set up otherwise
    stages = r"(starting TensorFlow|compiling|scoring: 1,000 draws|(preparing|drawing) pictures)"
    known = rf"training: [\d,]+/40 updates, KL |{stages}(: \d+ s)?$"
    assert lines and all(re.match(known, line) for line in lines)


@pytest.mark.xla
def test_the_config_of_a_run_repeats_it_bit_for_bit(invoke, tmp_path, first_run):
    run, again = first_run[0], tmp_path / "again"
    with without_pictures():
        result = invoke("fit-2d", "--preset", run / "config.yaml", "--output", again)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(again)
    assert (again / "config.yaml").read_bytes() == (run / "config.yaml").read_bytes()
    assert_same_run(again, run)


def test_report_writes_the_page_again(invoke, first_run):
    run = first_run[0]
    (run / "report.html").unlink()
    result = invoke("report", run)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{run / 'report.html'}\n"
    summary = RunDirectory(run).read_json("summary.json")
    assert with_error(summary["kl"], summary["kl_standard_error"]) in read_report(run).text


def test_restarts_are_asked_for_by_option_and_told_of(invoke, tmp_path):
    options = ["--restarts", 2, "--no-halving", "--seed", 5, "--output", tmp_path / "run"]
    with without_pictures():
        result = invoke("fit-2d", *QUICK, *options)
    assert result.exit_code == 0, result.stderr
    run = RunDirectory(tmp_path / "run")
    written = yaml.safe_load((run.path / "config.yaml").read_text())["train"]
    assert (written["restarts"], written["halving"]) == (2, False)
    told = run.read_json("summary.json")["restarts"]
    assert (told["count"], told["updates"]) == (2, [40, 40])
    kls = ", ".join(f"{kl:.4f}" for kl in told["kl"])
    assert f"restarts KL {kls}; seed {5 + told['best']} is kept" in " ".join(result.stdout.split())


def test_a_run_that_diverges_exits_3_and_says_what_to_try(invoke, tmp_path):
    far = "target={name: mixture, weights: [1], means: [[1.0e+30, 0]]}"
    result = invoke("fit-2d", *QUICK, "--k", 0, "--set", far, "--output", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (3, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("nflow: error: training diverged by update ")
    assert "check the target" in line and "learning_rate" in line
    assert RunDirectory(tmp_path / "run").read_json("run.json")["status"] == "diverged"


ENDLESS = ["--k", "2", "--steps", "1000000000", "--set", "train.chunk=20", "--output", "run"]
TO_GO_ON = "nflow: interrupted; to go on: nflow resume run"


def is_written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def interrupted(tmp_path, once):
    """Start a run as a user does, send SIGINT once a file of it is there; return its stderr."""
    run = subprocess.Popen(
        [NFLOW, "fit-2d", *ENDLESS], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        wait_for(lambda: is_written(tmp_path / "run" / once))
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert (run.returncode, out) == (130, b"")
    return err.decode().splitlines()


@pytest.mark.slow
def test_ctrl_c_exits_130_and_says_how_to_go_on(tmp_path):
    assert interrupted(tmp_path, once="metrics.csv")[-1] == TO_GO_ON
    run = RunDirectory.open(str(tmp_path / "run"))
    assert run.read_json("run.json")["status"] == "interrupted"
    assert len(run.read_metrics()["update"])


def test_ctrl_c_while_tensorflow_starts_leaves_the_config_that_the_line_names(tmp_path):
    assert interrupted(tmp_path, once="run.json") == [TO_GO_ON]
    presets.validate(presets.read_preset(tmp_path / "run" / "config.yaml"), "written")


def test_sigterm_exits_143_and_gives_the_handlers_back(invoke, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        wait_for(lambda: is_written(tmp_path / "run" / "metrics.csv"))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    result = invoke("fit-2d", *ENDLESS)
    thread.join()
    assert result.exit_code == 143
    assert TO_GO_ON in result.stderr
    assert RunDirectory(tmp_path / "run").read_json("run.json")["status"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before
