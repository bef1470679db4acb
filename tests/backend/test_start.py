"""Keras starts once, quietly, on the backend asked for; what is missing is one line."""

import gc
import importlib.util
import os
import subprocess
import sys

import pytest

from nflow_cli.backend import start as backend
from nflow_cli.backend.start import Machine, uncollected
from nflow_cli.errors import DeviceError, NflowError


def python(code, *args, **env):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


LOAD = """
import gc, sys
import nflow_cli
assert not {"keras", "numpy"} & set(sys.modules)
q = nflow_cli.load(sys.argv[1])
print(q.sample(2).shape)
assert gc.isenabled() and not gc.get_freeze_count()  # whose process it is collects garbage
"""


LAYERS = """
import nflow_cli.flows, keras
keras.ops.zeros(2)
"""


def test_layers_are_imported_and_a_run_is_loaded_without_a_line_of_native_code(short_run):
    first, rest = LOAD.split("q = ")
    done = python(f"{first}{LAYERS}q = {rest}", short_run())
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 2)\n", "")


@pytest.mark.slow
def test_the_class_of_a_run_is_imported_without_a_line_of_native_code():
    done = python("import nflow_cli; print(nflow_cli.TrainedVAE.__name__)")
    assert (done.stdout, done.stderr) == ("TrainedVAE\n", "")


@pytest.mark.slow
def test_load_starts_without_a_stderr(short_run):
    code = f"import os; os.close(2); import sys; sys.stderr = None\n{LOAD}"
    assert python(code, short_run()).stdout == "(2, 2)\n"


STARTED = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace()  # somebody's, on whatever backend
from nflow_cli.backend.start import start_keras
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


def test_a_lack_of_memory_is_one_line_with_a_remedy_and_no_other_error_is():
    errors = pytest.importorskip("tensorflow").errors
    remedied = backend.memory_errors("lower train.batch_size")
    with pytest.raises(NflowError, match=r"^out of memory; lower train\.batch_size$"), remedied:
        raise MemoryError("Unable to allocate 745 GiB")
    with pytest.raises(NflowError, match="out of memory"), backend.memory_errors(""):
        raise errors.ResourceExhaustedError(None, None, "OOM")
    for wrong in (ValueError("wrong"), errors.InvalidArgumentError(None, None, "wrong")):
        with pytest.raises(type(wrong)), backend.memory_errors(""):
            raise wrong


@pytest.fixture
def tensorflow_with_gpus(monkeypatch):
    """Return a function that gives TensorFlow GPUs of these names, and what is settled of them."""
    import tensorflow as tf

    settled = {}
    experimental = tf.config.experimental

    def with_gpus(*cards):
        def see(gpus, kind):
            settled["seen"] = (gpus, kind)

        details = {"get_device_details": lambda card: {"device_name": card} if card else {}}
        grown = {"set_memory_growth": lambda card, grows: settled.update(growth=(card, grows))}
        tf32 = {"enable_tensor_float_32_execution": lambda on: settled.update(tf32=on)}
        for name, function in {**details, **grown, **tf32}.items():
            monkeypatch.setattr(experimental, name, function)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: list(cards))
        monkeypatch.setattr(tf.config, "set_visible_devices", see)
        monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", settled.get)
        return settled

    return with_gpus


def test_one_gpu_is_seen_its_memory_grows_and_tf32_is_off(tensorflow_with_gpus):
    settled = tensorflow_with_gpus("H100", "A100")
    backend._configure(Machine("gpu:1"))
    assert settled == {"seen": (["A100"], "GPU"), "growth": ("A100", True), "tf32": False}
    settled.clear()
    backend._configure(Machine())  # the processor
    assert settled == {"seen": ([], "GPU"), "tf32": False}


def test_a_gpu_is_known_by_its_card(tensorflow_with_gpus):
    tensorflow_with_gpus("H100", "")
    assert backend.machine_of("gpu").record() == {"device": "gpu:0", "card": "H100"}
    assert backend.machine_of("gpu:1").card == "of unknown name"
    with pytest.raises(DeviceError, match=r"--device gpu:2: .* Received: gpu:0 \(H100\), gpu:1"):
        backend.machine_of("gpu:2")


def test_gpus_are_called_what_cuda_calls_them(tensorflow_with_gpus, monkeypatch):
    tensorflow_with_gpus("H100", "A100")
    monkeypatch.delenv(backend.VISIBLE, raising=False)
    assert backend.gpus("gpu") == ["0", "1"] and backend.gpus("gpu:1") == ["1"]
    monkeypatch.setenv(backend.VISIBLE, "4,GPU-7")
    assert backend.gpus("gpu") == ["4", "GPU-7"] and backend.gpus("gpu:1") == ["GPU-7"]


def test_where_no_gpu_is_seen_a_line_says_what_was_looked_for(
    tensorflow_with_gpus, monkeypatch, invoke, tmp_path
):
    tensorflow_with_gpus()
    monkeypatch.setenv(backend.VISIBLE, "3")
    sweep = ["sweep", "--preset", "u1-planar-k2"]
    for words in (["fit-2d"], ["train-vae"], ["check", "gone"], sweep):
        result = invoke(*words, "--device", "gpu")
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("nflow: error: --device gpu")
        assert "none" in line and "CUDA" in line
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.yaml"))


def test_threads_are_those_asked_for_or_else_tensorflows_or_else_the_usual(monkeypatch):
    monkeypatch.delenv(backend.INTRA_OP, raising=False)
    assert Machine().with_threads(1).record() == {"device": "cpu", "threads": 1}
    assert Machine().with_threads(None).record() == {"device": "cpu", "threads": backend.cores()}
    assert Machine().of(3).with_threads(1).threads == 3
    with pytest.raises(DeviceError, match="--threads: expected --device cpu"):
        Machine("gpu:0").of(2)
    assert Machine("gpu:0").of(None) == Machine("gpu:0")
    monkeypatch.setenv(backend.INTRA_OP, "5")
    assert Machine().with_threads(1).record() == {"device": "cpu", "threads": 5}


def test_what_a_run_says_of_its_machine_is_taken_as_far_as_it_says():
    for machines, expected in (
        *((nothing, Machine()) for nothing in (None, [], "cpu", [7])),
        ([{"device": "gpu:1", "card": "H100"}], Machine("gpu:1")),
        ([{"device": "gpu:0"}, {"device": "cpu", "threads": 1}], Machine("cpu", 1)),
        ([{"device": "gpu:0\n", "threads": "2"}], Machine()),
        ([{"device": "cpu", "threads": -1}], Machine()),
    ):
        assert backend.recorded(machines) == expected


def test_mixed_precision_is_refused():
    keras = pytest.importorskip("keras")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(NflowError, match=r"mixed precision is refused: .* mixed_bfloat16"):
            backend.start_tensorflow()
    finally:
        keras.config.set_dtype_policy(before)


THREADS = """
from nflow_cli.backend.start import Machine, start_tensorflow
start_tensorflow(Machine(threads=3))
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.slow
def test_tensorflow_starts_on_so_many_threads():
    assert python(THREADS).stdout == "3\n"


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_is_left_as_it_was(is_on):
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with pytest.raises(KeyError), uncollected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()
