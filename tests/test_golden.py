"""Runs by releases, and by this development version, are checked, drawn, sampled and resumed."""

import shutil
from pathlib import Path

import pytest
from running import succeed

GOLDEN = Path(__file__).with_name("golden")
END = ".tar.xz"
LONG = "infer", "evidence", "images"


@pytest.fixture(
    scope="module", params=sorted(path.name.removesuffix(END) for path in GOLDEN.glob(f"*{END}"))
)
def release(request, tmp_path_factory):
    """Return a version and the folder of its runs, each of which one test uses."""
    folder = tmp_path_factory.mktemp("golden")
    shutil.unpack_archive(GOLDEN / f"{request.param}{END}", folder, filter="data")
    return request.param, folder


@pytest.mark.parametrize("state", ["", "-interrupted"])
@pytest.mark.parametrize(
    "kind",
    ["fit-2d", "cells", "flows", *(pytest.param(kind, marks=pytest.mark.slow) for kind in LONG)],
)
def test_a_run_of_a_release_is_resumed_checked_drawn_and_sampled(
    invoke, monkeypatch, release, kind, state
):
    version, folder = release
    run = kind + state
    monkeypatch.chdir(folder)
    if ".dev" in version and run == "images":
        pytest.skip("a development version's set has no pixels")
    if state:
        assert invoke("resume", run).exit_code == 0
    assert "FAIL" not in succeed(invoke, "check", run)
    succeed(invoke, "plot", run)
    if kind != "images":
        succeed(invoke, "sample", run, "-n", "10", "-o", "sampled.csv")
