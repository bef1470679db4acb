"""Keras starts once, quietly, on the backend asked for; what is missing is one line."""

import importlib.util
import os
import subprocess
import sys

import pytest

from nflow_cli import backend
from nflow_cli.errors import NflowError


def python(code, *args, **env):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


LOAD = """
import sys
import nflow_cli
assert not {"keras", "numpy"} & set(sys.modules)
q = nflow_cli.load(sys.argv[1])
print(q.sample(2).shape)
"""


def test_load_says_nothing_of_its_own(short_run):
    done = python(LOAD, short_run())
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 2)\n", "")


@pytest.mark.slow
def test_load_starts_without_a_stderr(short_run):
    code = f"import os; os.close(2); import sys; sys.stderr = None\n{LOAD}"
    assert python(code, short_run()).stdout == "(2, 2)\n"


STARTED = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace()  # somebody's, on whatever backend
from nflow_cli.backend import start_keras
start_keras()
assert "tensorflow" not in sys.modules
"""


def test_keras_that_is_there_already_is_left_alone():
    assert python(STARTED).returncode == 0


def test_without_tensorflow_a_training_is_refused_in_one_line(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for command in (["fit-2d", "--k", "2"], ["train-vae", "--data", "mnist-sample"]):
        result = invoke(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert "need TensorFlow" in line
    assert os.listdir(tmp_path) == []


def test_a_backend_that_does_not_import_is_an_error_of_ours(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    broken = type("Broken", (), {"find_spec": staticmethod(_no_keras)})
    monkeypatch.setattr(sys, "meta_path", [broken, *sys.meta_path])
    with pytest.raises(NflowError, match="cannot be imported: no keras here"):
        backend.start_keras()


def _no_keras(name, *_):
    if name == "keras":
        raise ImportError("no keras here")


def test_a_lack_of_memory_is_told_from_other_errors():
    assert backend.lacks_memory(MemoryError("Unable to allocate 745 GiB"))
    assert not backend.lacks_memory(ValueError("wrong"))


def test_a_lack_of_memory_of_tensorflow_is_one_too():
    errors = pytest.importorskip("tensorflow").errors
    assert backend.lacks_memory(errors.ResourceExhaustedError(None, None, "OOM"))
    assert not backend.lacks_memory(errors.InvalidArgumentError(None, None, "wrong"))
