import ctypes
import gc
import os
import shutil
from contextlib import suppress
from functools import partial

import pytest
from click.testing import CliRunner
from hypothesis import settings
from running import run_nflow

from nflow_cli.backend import programs

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NFLOW_CACHE", "off")  # what a test compiles is no other's
if "PYTEST_XDIST_WORKER" in os.environ:  # each has a core: more threads only wait for each other
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
XLA = programs.Program
examples = int(os.environ.get("HYPOTHESIS_EXAMPLES", "30"))
# Without a deadline: a busy machine, or a first call, is no fault.
settings.register_profile("nflow", deadline=None, max_examples=examples)
settings.load_profile("nflow")
gc.set_threshold(100_000, 20, 20)  # TensorFlow's programs are many objects, and few are garbage


def pytest_collection_finish():
    """Leave what was imported out of garbage collection: it took a sixth of the layers' time."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def tidy():
    """Release what a file of tests compiled, and leave what stays out of garbage collection."""
    with programs.released():
        yield
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def quiet():
    """Name no phase that takes long on a busy machine: tests expect an empty stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nflow_cli.terminal.progress.QUIET_SECONDS", 600.0)
        yield


@pytest.fixture(scope="session")
def short_run(tmp_path_factory):
    """Return a function that trains each short run once, for the tests of all processes."""
    from short_runs import made_once

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return partial(made_once, folder)


def by_own_kernels(function):
    """Compile by TensorFlow's own kernels, in half the time; only the rounding is another.

    And without TensorFlow's rewriting of graphs: it orders sums by the names of operations, which
    count what the process compiled before, so that a seed had other last bits in each test.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return programs.compiled(function, xla=False)


@pytest.fixture(scope="session", autouse=True)
def without_xla():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "Program", by_own_kernels)
        yield


@pytest.fixture(autouse=True)
def kernels(request, monkeypatch):
    """Compile by XLA in a test that is marked ``xla``."""
    if request.node.get_closest_marker("xla"):
        monkeypatch.setattr(programs, "Program", XLA)


@pytest.fixture
def nflow(tmp_path):
    """Return a function that runs ``nflow`` as a user does, in an empty folder."""
    return lambda *args, **env: run_nflow(tmp_path, *args, **env)


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that runs ``nflow`` in this process, in an empty folder: it is faster."""
    from short_runs import without_layout

    from nflow_cli.cli import main

    monkeypatch.chdir(tmp_path)
    with without_layout():
        yield lambda *args: CliRunner().invoke(main, [str(a) for a in args], prog_name="nflow")


@pytest.fixture
def at_home(invoke, home, monkeypatch):
    """Return ``invoke`` in the folder that the ``home`` of a module begins with."""
    monkeypatch.chdir(home[0])
    return invoke


@pytest.fixture
def copy(at_home, tmp_path):
    """Return a copy of the ``run`` at home, to be edited."""
    return shutil.copytree("run", tmp_path / "copy")
