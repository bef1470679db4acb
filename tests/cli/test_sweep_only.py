"""The runs of a sweep one by one: as `xargs`, GNU parallel or a queue starts them."""

import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest
from running import NFLOW, assert_same_run, run_nflow, typed_in_bash

from nflow_cli.runs.directory import RunDirectory

GRID = ["sweep", "--preset", "multimodal-planar", "--set", "flow.k=2", "--seeds", "0:2"]
GRID += ["--set", "train.chunk=20", "--set", "evaluate.samples=1000", "--output", "the runs"]
SHORT = [*GRID, "--set", "train.steps=40"]
LONG = [*GRID, "--set", "train.steps=6000", "--set", "train.checkpoint_seconds=0"]
NAMES = ["multimodal-planar-k2,seed=0", "multimodal-planar-k2,seed=1"]


def test_a_command_a_run_as_a_shell_reads_it_and_no_run_begins(invoke, tmp_path):
    result = invoke(*SHORT, "--commands")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert lines == [["nflow", *SHORT, "--only", name] for name in NAMES]
    assert [path.name for path in (tmp_path / "the runs").iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline"])
def test_commands_name_a_folder_that_no_line_can_show(invoke, tmp_path, name):
    result = invoke(*SHORT[:-3], os.fsdecode(name), *SHORT[-2:], "--commands")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 2)
    for line in lines:
        assert typed_in_bash(line)[-5] == name
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_a_run_that_another_process_trains_is_taken(invoke, tmp_path):
    run = RunDirectory.at(str(tmp_path / "the runs" / NAMES[1]))
    assert invoke(*SHORT, "--commands").exit_code == 1  # the folder holds no sweep
    shutil.rmtree(tmp_path / "the runs")
    assert invoke(*SHORT, "--commands").exit_code == 0
    run = RunDirectory.at(str(run.path))
    with run.locked():
        result = invoke(*SHORT, "--only", NAMES[1])
    assert (result.exit_code, result.stdout) == (4, "")
    path = f"the runs/{NAMES[1]}"
    assert result.stderr == f"nflow: error: {path}: another nflow is writing this run\n"


def wait_for(condition):
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.mark.slow
def test_xargs_trains_them_and_the_sweep_finds_them_done(tmp_path):
    bin_folder = {"PATH": f"{NFLOW.parent}:{os.environ['PATH']}"}
    for words in (SHORT, SHORT):  # the second time each is finished already
        listed = run_nflow(tmp_path, *words, "--commands")
        done = subprocess.run(
            ["xargs", "-P", "2", "-d", "\n", "-I{}", "sh", "-c", "{}"],
            input=listed.stdout,
            cwd=tmp_path,
            env={**os.environ, **bin_folder},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the runs/multimodal-planar-k2") == 2
    assert done.stderr.count(": finished already") == 2
    ended = run_nflow(tmp_path, *SHORT)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "the runs")
    assert "done," not in ended.stderr  # nothing was trained
    straight = run_nflow(tmp_path, *SHORT[:-3], "other", *SHORT[-2:])
    assert straight.returncode == 0, straight.stderr
    for name in NAMES:
        assert_same_run(tmp_path / "the runs" / name, tmp_path / "other" / name)


@pytest.mark.slow
def test_one_that_is_killed_costs_its_run_alone_and_is_gone_on_with(tmp_path):
    words = [*LONG, "--only", NAMES[0]]
    process = subprocess.Popen(
        [NFLOW, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = RunDirectory(tmp_path / "the runs" / NAMES[0])
    try:
        metrics = run.path / "metrics.csv"
        wait_for(lambda: metrics.exists() and metrics.stat().st_size > 200)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    other = run_nflow(tmp_path, *LONG, "--only", NAMES[1])
    assert other.returncode == 0, other.stderr
    assert run.read_json("run.json")["status"] == "running"
    again = run_nflow(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    record = run.read_json("run.json")
    assert (record["status"], record["resumed"]) == ("completed", 1)
    done = run_nflow(tmp_path, *LONG)
    assert done.returncode == 0, done.stderr
    assert [line.split()[3] for line in done.stdout.splitlines()[1:2]] == ["2"]  # seeds
