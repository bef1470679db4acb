"""Runs by releases, and by this development version, are checked, drawn, sampled and resumed."""

import shutil
from pathlib import Path

import pytest
from golden.make import FEW
from running import succeed
from trees import matching

from nflow_cli.images import vae_scoring

GOLDEN = Path(__file__).with_name("golden")
END = ".tar.xz"
LONG = "infer", "evidence", "images"


@pytest.fixture(
    scope="module", params=[path.name.removesuffix(END) for path in matching(GOLDEN, f"*{END}")]
)
def release(request, tmp_path_factory):
    """Return the folder of its runs, each of which one test uses."""
    folder = tmp_path_factory.mktemp("golden")
    shutil.unpack_archive(GOLDEN / f"{request.param}{END}", folder, filter="data")
    return folder


@pytest.mark.parametrize("state", ["", "-interrupted"])
@pytest.mark.parametrize(
    "kind",
    ["fit-2d", "cells", "flows", *(pytest.param(kind, marks=pytest.mark.slow) for kind in LONG)],
)
def test_a_run_of_a_release_is_resumed_checked_drawn_and_sampled(
    invoke, monkeypatch, release, kind, state
):
    run = kind + state
    monkeypatch.chdir(release)
    for name, few in FEW.items():
        monkeypatch.setattr(vae_scoring, name, few)
    if state:
        assert invoke("resume", run).exit_code == 0
    assert "FAIL" not in succeed(invoke, "check", run)
    succeed(invoke, "plot", run)
    if kind != "images":
        succeed(invoke, "sample", run, "-n", "10", "-o", "sampled.csv")
