"""How a run begins, and what is left where it does not."""

import json
import subprocess
import sys

import pytest
from running import QUICK, assert_same_run
from short_runs import TABLE

import nflow_cli
from nflow_cli.errors import ConfigError, NflowError
from nflow_cli.experiments.run import Run
from nflow_cli.inference import reverse_kl_training
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables import flows_training

# Forks processes that begin a run and are killed at the n-th file operation, n = 1, 2, ...; then
# others that begin again: by the same command, or as a worker of a sweep does.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from nflow_cli.experiments import running
from nflow_cli.cli import main
from nflow_cli.config import presets
from nflow_cli.sweeps import worker
from nflow_cli.experiments.run import Run

BEGAN, OPERATIONS = 42, ("open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "fcntl.flock")
sys.argv = ["nflow", "fit-2d", "--output", "run"]
preset = presets.validate({"command": "fit-2d"}, "a test")

def command():
    main()

def work():
    worker.train("run", preset.model_dump(mode="json"), [], ".", "cpu", 1)

try:
    running.start_tensorflow = lambda *_: sys.exit()
    main()  # imports all that it takes, once
except SystemExit:
    shutil.rmtree("run")
running.start_tensorflow = lambda *_: os._exit(BEGAN)

def forked(act, kill_at=None):
    if not (child := os.fork()):
        left = kill_at

        def count(event, args):
            nonlocal left
            if left and event in OPERATIONS and "run" in str(args):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        act()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

turn, states = 1, set()
while forked(command, turn) == -signal.SIGKILL:
    left = {path.name for path in Path("run").iterdir()} if Path("run").exists() else set()
    states.add("begun" if "run.json" in left else "unbegun" if left else "nothing")
    if "run.json" in left:
        Run.open("run").config
    else:
        shutil.copytree("run", "copy") if left else None
        assert forked(command) == BEGAN, left
        shutil.rmtree("run")
        os.rename("copy", "run") if left else None
    assert forked(work) == BEGAN, left
    shutil.rmtree("run")
    turn += 1
print(turn, *sorted(states))
"""


def test_a_run_that_is_killed_while_it_begins_is_resumed_or_begun_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    turns, *states = done.stdout.split()
    assert int(turns) > 10
    assert states == ["begun", "nothing", "unbegun"]


@pytest.fixture
def trained(monkeypatch):
    """Let a training do what a test puts in here; it is handed the config."""
    does = []
    monkeypatch.setattr("nflow_cli.experiments.running.start_tensorflow", lambda *_: None)
    monkeypatch.setattr(reverse_kl_training, "train", lambda config, *_: does[0](config))
    return does


def test_a_chunk_that_is_shortened_is_told_and_recorded_and_kept(invoke, tmp_path, trained):
    seen = []

    def stop(settings):
        seen.append(settings.train.chunk)
        raise MemoryError

    trained.append(stop)
    result = invoke("fit-2d", "--batch-size", 1_000_000, "--output", "run")
    note, _ = result.stderr.splitlines()
    assert note == "train.chunk: 33 instead of 500, to fit in memory"
    path = tmp_path / "run" / "config.yaml"
    assert Run.open("run").config.train.chunk == 33
    path.write_text(path.read_text().replace("chunk: 33", "chunk: 500"))
    result = invoke("resume", "run")
    assert len(result.stderr.splitlines()) == 1
    assert seen == [33, 500]


def test_a_lack_of_memory_is_one_line_and_the_run_can_go_on(invoke, trained):
    def allocate(_):
        raise MemoryError("Unable to allocate 745. GiB for an array with shape (1, 2)")

    trained.append(allocate)
    words = ["fit-2d", *QUICK, "--output", "run"]
    result = invoke(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("nflow: error: out of memory; lower train.batch_size (")
    record = RunDirectory.open("run").read_json("run.json")
    assert (record["status"], record["argv"]) == ("interrupted", words)  # what was typed


def test_a_lack_of_memory_in_python_says_what_to_lower(tmp_path, monkeypatch):
    def allocate(*_):
        raise MemoryError

    monkeypatch.setattr(flows_training, "train", allocate)
    sizes = {"train.batch_size": 64, "train.ensemble": 3}
    with pytest.raises(NflowError) as caught:
        nflow_cli.fit("rings", flow=["planar"], k=4, settings=sizes, output=tmp_path / "run")
    lowered = "lower train.batch_size (64) or train.ensemble (3) or flow.k (4)"
    assert str(caught.value) == f"out of memory; {lowered}"


def test_an_extended_run_is_running_before_its_config_says_more(tmp_path):
    run = RunDirectory.create("any", str(tmp_path / "run"))
    with run.recorded({}, "steps: 1"):
        pass
    statuses = []
    write = run.write

    def note(name, fill):
        statuses.append((name, json.loads((run.path / "run.json").read_text())["status"]))
        return write(name, fill)

    run.write = note
    with run.recorded({}, "steps: 2"):
        pass
    assert statuses == [
        ("run.json", "completed"),
        ("config.yaml", "running"),
        ("run.json", "running"),
    ]
    assert (run.path / "config.yaml").read_text() == "steps: 2"


# `--minutes`: the length of a training by the time of the whole command.
FLOWS = "--flow planar --k 2"
INFER = "infer banana --k 2 --set train.chunk=10 --set train.first_stage=10"
TIMED = {
    "cells": f"fit {TABLE} --set cells.width=8 --set train.chunk=10 --set train.ensemble=2",
    "flows": f"fit {TABLE} {FLOWS} --set train.chunk=10",
    "log-density": f"{INFER} --set evaluate.samples=1000",
    "annealed": f"{INFER} --set evaluate.samples=1000 --anneal 0.5",
    "images": "train-vae --data mnist-sample --k 2 --set model.hidden=[8]",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TIMED)
def test_the_recorded_config_repeats_the_run_to_the_bit(nflow, tmp_path, kind):
    command, *rest = TIMED[kind].split()
    done = nflow(command, *rest, "--minutes", "0.2", "--output", "run")
    assert done.returncode == 0, done.stderr
    assert ", as the run records, about " in done.stderr
    done = nflow(command, "--preset", "run/config.yaml", "--output", "again")
    assert done.returncode == 0, done.stderr
    first, again = tmp_path / "run", tmp_path / "again"
    assert (first / "config.yaml").read_text() == (again / "config.yaml").read_text()
    assert_same_run(first, again)


def test_minutes_in_python_are_a_number_above_0_and_the_only_length():
    for minutes in (0, -1, float("nan"), "soon", [1]):
        with pytest.raises(ConfigError, match=r"a number of minutes above 0\. Received: "):
            nflow_cli.fit("two-moons", minutes=minutes)
    with pytest.raises(ConfigError, match=r"minutes and train\.steps: expected one"):
        nflow_cli.fit("two-moons", minutes=1, steps=9)
    with pytest.raises(ConfigError, match=r"minutes and train\.steps: expected one"):
        nflow_cli.infer("banana", minutes=1, settings={"train.steps": 9})
