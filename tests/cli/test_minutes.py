"""``--minutes``: the length of a training by the time of the whole command."""

import json

import pytest
from short_runs import TABLE

import nflow_cli
from nflow_cli.errors import ConfigError

FLOWS = "--flow planar --k 2"
INFER = "infer banana --k 2 --set train.chunk=10 --set train.first_stage=10"
SHORT = {
    "cells": f"fit {TABLE} --set cells.width=8 --set train.chunk=10 --set train.ensemble=2",
    "flows": f"fit {TABLE} {FLOWS} --set train.chunk=10",
    "log-density": f"{INFER} --set evaluate.samples=1000",
    "annealed": f"{INFER} --set evaluate.samples=1000 --anneal 0.5",
    "images": "train-vae --data mnist-sample --k 2 --set model.hidden=[8]",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHORT)
def test_the_recorded_config_repeats_the_run_to_the_bit(nflow, tmp_path, kind):
    command, *rest = SHORT[kind].split()
    done = nflow(command, *rest, "--minutes", "0.2", "--output", "run")
    assert done.returncode == 0, done.stderr
    assert ", as the run records, about " in done.stderr
    done = nflow(command, "--preset", "run/config.yaml", "--output", "again")
    assert done.returncode == 0, done.stderr
    first, again = (tmp_path / name for name in ("run", "again"))
    assert (first / "config.yaml").read_text() == (again / "config.yaml").read_text()
    one, other = (json.loads((run / "summary.json").read_text()) for run in (first, again))
    assert one["model_sha256"] == other["model_sha256"]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), "soon", [1]])
def test_minutes_in_python_are_a_number_above_0(minutes):
    with pytest.raises(ConfigError, match=r"expected a number of minutes above 0\. Received: "):
        nflow_cli.fit("two-moons", minutes=minutes)


def test_minutes_in_python_replace_other_lengths():
    with pytest.raises(ConfigError, match=r"minutes and train\.steps: expected one of the two"):
        nflow_cli.fit("two-moons", minutes=1, steps=9)
    with pytest.raises(ConfigError, match=r"minutes and train\.steps: expected one of the two"):
        nflow_cli.infer("banana", minutes=1, settings={"train.steps": 9})
