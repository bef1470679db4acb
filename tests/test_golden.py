"""Runs by earlier releases: this version checks, draws, samples and resumes them."""

import shutil
from pathlib import Path

import pytest
from running import succeed

GOLDEN = Path(__file__).with_name("golden")
END = ".tar.xz"
BROKEN = [("0.1.0", "cells"), ("0.1.0", "flows")]  # of tables: a column has one lattice since
LONG = "infer", "evidence", "images"
KINDS = "fit-2d", "infer", "evidence", "cells", "flows", "images"
RUNS = [
    pytest.param(version, f"{kind}{state}", marks=[pytest.mark.slow] * (kind in LONG))
    for version in sorted(path.name.removesuffix(END) for path in GOLDEN.glob(f"*{END}"))
    for kind in KINDS
    for state in ("", "-interrupted")
    if (version, kind) not in BROKEN
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


@pytest.mark.parametrize(("version", "kind"), BROKEN)
def test_a_run_that_is_read_no_more_is_refused_in_one_line(invoke, tmp_path, version, kind):
    shutil.unpack_archive(GOLDEN / f"{version}{END}", tmp_path)
    result = invoke("sample", kind, "-n", "10", "-o", "sampled.csv")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "unknown key" in result.stderr
