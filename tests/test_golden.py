"""Runs of every kind by earlier releases: this version checks, draws, samples and resumes them."""

import shutil
from pathlib import Path

import keras
import pytest
from running import succeed

pytestmark = [
    pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="it is trained by it"),
    pytest.mark.usefixtures("without_xla"),
]
GOLDEN = Path(__file__).with_name("golden")
END = ".tar.xz"
LONG = "infer", "evidence", "images"
KINDS = "fit-2d", "infer", "evidence", "cells", "flows", "images"
RUNS = [
    pytest.param(version, f"{kind}{state}", marks=[pytest.mark.slow] * (kind in LONG))
    for version in sorted(path.name.removesuffix(END) for path in GOLDEN.glob(f"*{END}"))
    for kind in KINDS
    for state in ("", "-interrupted")
]


@pytest.mark.parametrize(("version", "run"), RUNS)
def test_a_run_of_a_release_is_resumed_checked_drawn_and_sampled(invoke, tmp_path, version, run):
    shutil.unpack_archive(GOLDEN / f"{version}{END}", tmp_path)
    if run.endswith("-interrupted"):
        assert invoke("resume", run).exit_code == 0
    assert "FAIL" not in succeed(invoke, "check", run)
    succeed(invoke, "plot", run)
    if not run.startswith("images"):
        succeed(invoke, "sample", run, "-n", "10", "-o", "sampled.csv")
