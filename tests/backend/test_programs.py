"""Programs of XLA compute what the function does, and give their memory back."""

import ctypes
import functools
import gc
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from running import assert_same_run
from short_runs import make_run, without_pictures
from tensorflow.core import framework
from tensorflow.python import eager
from tensorflow.python.framework import ops

from nflow_cli.backend import programs
from nflow_cli.backend.programs import compiled, released

pytestmark = pytest.mark.xla
N_OPERATIONS = 60


def test_a_program_takes_and_returns_nested_tensors_and_is_compiled_for_each_shape():
    program = compiled(lambda pair, scale: {"sum": pair[0] + scale * pair[1], "none": None})
    found = program((np.float32([1, 2]), np.float32([3, 4])), np.float32(10))
    assert found["none"] is None
    np.testing.assert_array_equal(found["sum"], [31, 42])
    total = compiled(tf.reduce_sum)
    assert [float(total(tf.ones(n))) for n in (3, 5, 3)] == [3, 5, 3]


def test_a_tensor_that_is_captured_after_a_variable_is_no_variable():
    total, rows = tf.Variable([1.0, 2.0]), tf.reshape(tf.range(400.0), (200, 2))

    def added(x):
        total.assign_add(x)
        return tf.reduce_sum(rows * total, axis=0)

    program = compiled(added)
    for _ in range(2):
        found = program(tf.constant([1.0, 1.0]))
    np.testing.assert_array_equal(total, [3, 4])
    np.testing.assert_array_equal(found, [3 * 39_800, 4 * 40_000])


def test_a_gradient_of_a_program_is_that_of_its_function():
    @tf.custom_gradient
    def cubed(x):
        return x**3, lambda change: 3 * x**2 * change

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cubed(x)
        return tape.gradient(y, x)

    assert float(compiled(slope)(tf.constant(2.0))) == 12


def test_a_program_still_works_after_a_release():
    with released():
        program = compiled(lambda x: x * 2)
        assert float(program(tf.constant(1.0))) == 2
    assert float(program(tf.constant(3.0))) == 6


@pytest.fixture
def in_a_new_process(monkeypatch):
    """Let nothing be known of TensorFlow, nor be said."""
    for name in ("_has_inner_names", "_tell_kept"):
        monkeypatch.setattr(programs, name, functools.cache(getattr(programs, name).__wrapped__))


def without_module(patch, package, name):
    patch.delattr(package, name)
    patch.setitem(sys.modules, f"{package.__name__}.{name}", None)


def without_registry(patch):
    known = {name: getattr(ops.gradient_registry, name) for name in ("register", "lookup", "list")}
    patch.setattr(ops, "gradient_registry", SimpleNamespace(**known))


KEEPS = f"TensorFlow {tf.__version__} is not one that nflow knows: it keeps the memory"


@pytest.mark.usefixtures("in_a_new_process")
@pytest.mark.parametrize(
    "take_away",
    [
        lambda patch: patch.setattr(programs, "LAUNCH", "NoSuchOperation"),
        lambda patch: patch.setattr(programs, "TABLE", "no_such_table"),
        lambda patch: patch.setattr(programs, "TABLE_TYPE", 1),
        lambda patch: patch.delattr(eager.context.Context, "clear_kernel_cache"),
        lambda patch: without_module(patch, eager, "context"),
        lambda patch: without_module(patch, eager, "execute"),
        lambda patch: without_module(patch, framework, "tensor_pb2"),
        without_registry,
    ],
    ids=["operation", "table", "type", "cache", "context", "execute", "tensor_pb2", "registry"],
)
def test_without_an_inner_name_of_tensorflow_a_program_trains_and_the_kept_memory_is_said_once(
    take_away, monkeypatch, capsys
):
    @tf.custom_gradient
    def squared(x):
        return x**2, lambda change: 2 * x * change

    def descend(target):
        with tf.GradientTape() as tape:
            loss = squared(weight - target) / 2
        weight.assign_sub(0.5 * tape.gradient(loss, weight))
        return loss

    weight = tf.Variable(0.0)
    take_away(monkeypatch)
    for _ in range(2):
        with released():
            program = compiled(descend)
            losses = [float(program(np.float32(8))) for _ in range(2)]
    assert losses == [2, 0.5]  # half of the way each time: 32, 8, 2, 0.5
    assert float(weight) == 7.5
    assert capsys.readouterr().err.count(KEEPS) == 1


@pytest.mark.usefixtures("in_a_new_process")
def test_a_run_without_an_inner_name_of_tensorflow_has_the_same_bits(tmp_path, monkeypatch, capsys):
    changes = {"flow": {"k": 0, "affine": "full"}, "evaluate": {"samples": 1_000}}
    with without_pictures():
        make_run(tmp_path / "known", **changes)
        assert KEEPS not in capsys.readouterr().err
        programs._has_inner_names.cache_clear()
        monkeypatch.setattr(programs, "LAUNCH", "NoSuchOperation")
        make_run(tmp_path / "another", **changes)
    assert capsys.readouterr().err.count(KEEPS) == 1
    assert_same_run(tmp_path / "known", tmp_path / "another")


class Allocations(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]


def allocated():
    """Megabytes that the process has allocated and not freed."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("only glibc counts what is allocated")
    library.mallinfo2.restype = Allocations
    gc.collect()
    found = library.mallinfo2()
    return (found.field_4 + found.field_7) / 2**20  # hblkhd, mapped; uordblks, of the heaps


def test_a_compiled_program_leaves_no_memory_behind():
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda change: 2 * change

    def many(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in range(N_OPERATIONS):
                y = tf.sin(doubled(y))
        return tape.gradient(y, x)

    sizes = []
    for _ in range(4):
        with released():
            compiled(lambda x: many(x))(tf.ones(7))
        sizes.append(allocated())
    growth = sizes[-1] - sizes[1]
    assert growth < 1  # 17 by `tf.function(jit_compile=True)`


FITS = """
import sys, tempfile
import numpy as np
import nflow_cli
from test_programs import allocated

rng = np.random.default_rng(0)
a, b, c = rng.standard_normal((3, 200))
table, kind = np.stack([a, a + b, c], axis=1), sys.argv[1]

def pair(x):
    return -0.5 * (x**2).sum(axis=1), -x

def fit(folder):
    if kind == "cells":
        nflow_cli.fit(table, steps=40, output=folder)
    elif kind == "flows":
        nflow_cli.fit(table, flow=["spline-coupling"], k=2, steps=40, output=folder)
    elif kind == "infer":
        nflow_cli.infer(pair, dim=2, steps=60, output=folder)
    else:
        from nflow_cli.sklearn import TableDensity
        TableDensity(steps=40).fit(table)

sizes = []
for _ in range(int(sys.argv[2])):
    with tempfile.TemporaryDirectory() as folder:
        fit(folder)
    sizes.append(allocated())
print(max(b - a for a, b in zip(sizes[2:], sizes[3:])))
"""


def test_tensorflow_that_is_imported_within_keeps_its_gradients():
    """As by a command that trains twice in one process: a sweep."""
    code = (
        "from nflow_cli.backend.programs import compiled, released\n"
        "for _ in range(2):\n"
        "    with released():\n"
        "        import tensorflow as tf\n"
        "        x = tf.constant([1.0, 2.0])\n"
        "        print(compiled(lambda x: tf.gradients(tf.reduce_mean(x * x), x))(x)[0].numpy())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == 2 * ["[1. 2.]"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cells", "flows", "infer", "scikit-learn"])
def test_twenty_fits_in_a_process_leave_no_memory_behind(kind, tmp_path):
    command, here = [sys.executable, "-c", FITS, kind, "20"], __file__.rpartition("/")[0]
    environment = {"PYTHONPATH": ":".join([here, *sys.path]), "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert float(done.stdout.splitlines()[-1]) < 3, done.stderr  # 60 to 156 MB a fit before
