"""What a user's file may hold: each mistake is one line that says where."""

import sys

import numpy as np
import pytest

from nflow_cli.config import presets
from nflow_cli.errors import TargetError
from nflow_cli.inference.log_density import ArrayDensity, TensorDensity
from nflow_cli.inference.trial import subject_again, user_subject
from nflow_cli.inference.user_code import function_of, load_function

FILE = """
import numpy as np
import tensorflow as tf
from keras import ops

def tensors(x): return -0.5*ops.sum(x*x, axis=-1)
def arithmetic(x): return -0.5*(x[:, 0]**2 + x[:, 1]**2)
def arrays(x): return -0.5*(x**2).sum(1), -x
def single(x): return (-0.5*(x**2).sum(1)).astype("f"), (-x).astype("f")
def in_place(x):
    x -= 1
    return -0.5*(x**2).sum(1), -x
def beyond(x): return np.where(x[:, 0] > 0.95, -np.inf, -0.5*(x**2).sum(1)), -x
def one_point(x):
    a, b = x
    return -0.5*(a**2 + b**2)
def pieces(x): return ops.where(ops.all(ops.abs(x) < 1, axis=-1), 0.0, -1e4)
def alone(x): return np.asarray(-0.5*np.sum(np.asarray(x)**2, axis=-1))
def square(x): return -0.5*x*x
def scalar(x): return -0.5*ops.sum(x*x)
def kept(x): return -0.5*ops.sum(x*x, axis=-1, keepdims=True)
def logarithm(x): return ops.log(x[:, 0])
def support(x): return ops.where(x[:, 0] > 0, -x[:, 0], -np.inf)
def nothing(x): return None
def text(x): return "text"
def attribute(x):
    y = x
    return y.no_such
def division(x): return 1/0
def exits(x): raise SystemExit(3)
def constant(x): return ops.zeros((len(x),))
def three(x): return x[:, 0], x, x
def narrow(x): return -0.5*(x**2).sum(1), -x[:, :1]
def summed(x): return -0.5*(x**2).sum(), -x
def sign(x): return -0.5*(x**2).sum(1), x
def doubled(x): return -0.5*(x**2).sum(1), -x*[1, 2]
def undefined(x): return -0.5*(x**2).sum(1)*np.nan, -x
def letters(x): return np.array(["a"]*len(x)), -x
def fixed(x): return np.zeros(3), np.zeros((3, 2))
def branch(x):
    if tf.reduce_sum(x) > 0:
        return -ops.sum(x*x, axis=-1)
    return -0.5*ops.sum(x*x, axis=-1)
def no_argument(): return 1
def two(x, y): return x
def broadcast(x): return ops.sum(x * ops.zeros((7, 5)), axis=-1)
def through_numpy(x): return -0.5*ops.sum(ops.convert_to_tensor(np.square(x)), axis=-1)
def called_back(x):
    return tf.py_function(lambda y: -0.5*tf.reduce_sum(y*y, axis=-1), [x], tf.float32)
def unique(x):
    y, _ = tf.unique(x[:, 0])
    return -0.5*ops.sum(x*x, axis=-1) + 0*tf.reduce_sum(y)
value = 3
def subtracted(x): return (30*tensors(x) + 1e8) - 1e8
def of_float32(x): return (30*arrays(x)[0] + 1e8).astype("f"), -30*x
"""

WRONG = {
    "alone": r"expected log_p \(n,\) with its gradient \(n, 2\), or.*Received: array\(",
    "square": r"log_p of shape \(3,\).*Received: shape \(3, 2\)",
    "scalar": r"Received: shape \(\)",
    "kept": r"Received: shape \(3, 1\)",
    "logarithm": "expected a finite log-density at x1=-0.08.*nan; give its support by --bounds",
    "support": "expected a finite log-density.*-inf; give its support by --bounds",
    "nothing": "Received: None",
    "text": "Received: 'text'",
    "attribute": r"model\.py:28: AttributeError",
    "division": r"model\.py:29: ZeroDivisionError: division by zero",
    "exits": r"model\.py:30: SystemExit: 3",
    "broadcast": r"model\.py:\d+: InvalidArgumentError: Incompatible shapes: \[3,2\] vs\. "
    r"\[7,5\]; it receives points \(n, 2\)$",
    "one_point": r"model\.py:15: ValueError: too many values.*; it receives points \(n, 2\)$",
    "constant": "expected a gradient. Received: None; its value is constant",
    "pieces": "expected a gradient. Received: None; its value is constant, piecewise constant",
    "three": "expected a pair.*Received: 3 values",
    "narrow": r"gradient of shape \(3, 2\).*Received: shape \(3, 1\)",
    "summed": r"log_p of shape \(3,\).*Received: shape \(\)",
    "sign": "wrong gradient by x1.*by finite differences. Received",
    "doubled": "wrong gradient by x2",
    "undefined": "nan, as at every trial point; correct the function, or give its support by",
    "letters": "Received: shape .*<U1",
    "fixed": r"log_p of shape \(60,\) for 60 points",
    "branch": r"model\.py:41: .*symbolic",
    "no_argument": "takes 0 positional arguments",
    "two": "missing 1 required positional argument",
    "through_numpy": "expected a gradient. Received: None.*outside of Keras and TensorFlow",
    "called_back": "cannot be compiled: the operation EagerPyFunc; --no-compile",
    "unique": "its gradient: LookupError",
    "value": "expected a function 'value'.*Received: a int",
    "tensor": r"expected a function 'tensor' \(did you mean 'tensors'\?\). Received: no such name; "
    r"functions in the file: tensors, arithmetic, arrays, single, ",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "model.py"
    path.write_text(FILE)
    return path


@pytest.fixture(autouse=True)
def same_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def config(name="f", path="model.py", dim=2, **density):
    parts = {"name": name, "path": str(path), "dim": dim, **density}
    return presets.validate({"command": "infer", "density": parts}, "a test")


def subject(path, name):
    return user_subject(config(name, path), load_function(f"{path}:{name}"))


def test_what_a_function_is_is_found_by_calling_it(path):
    for name in ("tensors", "arithmetic"):
        assert type(subject(path, name).target) is TensorDensity
    for name in ("arrays", "single", "in_place", "beyond"):
        assert type(subject(path, name).target) is ArrayDensity


@pytest.mark.parametrize("name", ["subtracted", "of_float32"])
def test_a_right_gradient_beside_rounded_values_has_a_note_of_their_steps(path, name):
    (note,) = subject(path, name).notes
    assert note.startswith("log p has steps of 8 nats") and "before summing" in note


@pytest.mark.xla  # which refuses a call back into Python
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_function_is_refused_in_one_line(path, name):
    with pytest.raises(TargetError, match=WRONG[name]) as refusal:
        subject(path, name)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 600


def test_a_density_that_ends_within_its_bounds_needs_smaller_ones(path):
    for name, said in [
        ("undefined", "as at every trial point; correct the function, or give a smaller support"),
        ("support", "-inf; give a smaller support by --bounds"),
    ]:
        given = config(name, path, bounds={"x1": [-9, 9]})
        with pytest.raises(TargetError, match=f"expected a finite log-density.*{said}"):
            user_subject(given, load_function(f"{path}:{name}"))


def test_a_file_that_fails_says_where_and_what_names_no_function_is_refused(tmp_path):
    for content, said in [
        ("import no_such_module\n", r"bad\.py:1: ModuleNotFoundError"),
        ("x = 1\ndef f(:\n", r"bad\.py:2: SyntaxError"),
        ("raise SystemExit\n", r"bad\.py:1: SystemExit"),
    ]:
        (tmp_path / "bad.py").write_text(content)
        with pytest.raises(TargetError, match=said):
            load_function(f"{tmp_path}/bad.py:f")
    for place, said in [
        ("gone.py:f", "no such file"),
        ("gone.py", "no such file"),
        ("model.txt:f", "expected FILE.py:FUNCTION"),
        ("model.py:a b", "expected FILE.py:FUNCTION"),
    ]:
        with pytest.raises(TargetError, match=said):
            load_function(place)


def test_a_file_may_import_what_is_beside_it(tmp_path):
    (tmp_path / "beside_it_for_a_test.py").write_text("half = 0.5\n")
    code = "from beside_it_for_a_test import half\n"
    code += "def log_density(x): return -half*(x**2).sum(1), -x\n"
    (tmp_path / "model.py").write_text(code)
    function = load_function(str(tmp_path / "model.py"))
    assert function.name == "log_density"
    assert function.function(np.ones((2, 2)))[0].tolist() == [-1, -1]


def test_another_file_than_that_of_the_run_is_not_run(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')\n")
    settings = config("f", path, sha256="0" * 64)
    with pytest.raises(TargetError, match="not the file of this run; expected SHA-256 000"):
        subject_again(settings, f"{path}:f")
    assert not (tmp_path / "it ran").exists()


def test_a_function_of_python_is_told_by_the_file_it_is_in():
    def wrong(x):
        return x.no_such

    with pytest.raises(TargetError, match=r"test_user_code\.py:\d+: AttributeError"):
        function_of(wrong).function(np.zeros((3, 2)))
    with pytest.raises(TargetError, match="expected a function of points"):
        function_of(3)


def test_many_coordinates_are_compared_along_directions():
    def right(x):
        return -0.5 * (x**2).sum(1), -x

    def wrong(x):
        slopes = -x.copy()
        slopes[:, 7] *= 5
        return -0.5 * (x**2).sum(1), slopes

    user_subject(config(dim=40), function_of(right))
    with pytest.raises(TargetError, match="wrong gradient along a direction"):
        user_subject(config(dim=40), function_of(wrong))
