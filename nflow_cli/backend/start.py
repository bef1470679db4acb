"""Start Keras and TensorFlow on a device, and silence their native log."""

import contextlib
import ctypes
import functools
import gc
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from nflow_cli.backend import programs
from nflow_cli.errors import DeviceError, NflowError
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.signals import DeferredSignals

CPU = "cpu"
GPU = "gpu"  # the first; also gpu:N
INTRA_OP = "TF_NUM_INTRAOP_THREADS"  # TensorFlow's variable for the number of threads
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICE = re.compile(r"cpu|gpu:\d{1,3}")
MOST_THREADS = 1024
M_TOP_PAD = -2  # from glibc's malloc.h
HEAP_PAD = 16 << 20  # bytes of address space, not of memory


def cores() -> int:
    """Cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """Device of TensorFlow: an option of the command, never of a config.

    Attributes:
        device: ``cpu``, or ``gpu:N``.
        threads: Threads of one operation on the CPU; ``None``: TensorFlow's default.
        card: Name of the GPU.
    """

    device: str = CPU
    threads: int | None = None
    card: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device != CPU

    @property
    def number(self) -> int:
        """Number of the GPU."""
        return int(self.device.removeprefix(f"{GPU}:"))

    def of(self, threads: int | None) -> "Machine":
        """The machine with a number of threads, if not ``None``; a GPU takes none."""
        if threads and self.is_gpu:
            raise DeviceError(f"--threads: expected --device cpu. Received: {self.device}")
        return replace(self, threads=threads or self.threads)

    def with_threads(self, default: int | None) -> "Machine":
        """The machine with a default number of threads, unless one is set."""
        if self.is_gpu or self.threads or INTRA_OP in os.environ:
            return self
        return replace(self, threads=default)

    def record(self) -> dict[str, str | int]:
        """Record in ``run.json``."""
        if self.is_gpu:
            return {"device": self.device, "card": self.card}
        variable = os.environ.get(INTRA_OP, "")
        default = int(variable) if variable.isdecimal() else 0
        return {"device": self.device, "threads": self.threads or default or cores()}


PROCESSOR = Machine()


def recorded(machines: Any) -> Machine:
    """Last machine that ``run.json`` records, with at most as many threads as cores."""
    record = machines[-1] if isinstance(machines, list) and machines else None
    if not isinstance(record, dict):
        record = {}
    device = str(record.get("device"))
    if not DEVICE.fullmatch(device):
        device = CPU
    threads = record.get("threads")
    count = min(threads, cores()) if isinstance(threads, int) and threads > 0 else None
    return Machine(device, count)


def expect_tensorflow() -> None:
    """Check that TensorFlow is installed, without importing it."""
    if importlib.util.find_spec("tensorflow") is None:
        raise NflowError("the commands need TensorFlow; install it with: pip install tensorflow")


def start_tensorflow(machine: Machine | None = PROCESSOR) -> None:
    """Import Keras on TensorFlow, in single precision, whatever ``keras.json`` says.

    ``machine``: device, unless Keras is loaded already; ``None``: TensorFlow's default.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    threads = machine.threads if machine else None
    with programs.cache_enabled(threads or 0):
        if machine is None:
            start_keras()
        else:
            start_keras(functools.partial(_configure, machine))
    import keras

    keras.config.set_floatx("float32")
    policy = keras.config.dtype_policy()
    if policy.compute_dtype != policy.variable_dtype:
        raise NflowError(
            f"mixed precision is refused: expected the policy float32, received {policy.name}; "
            "its 8 or 11 bits round a log-density of -10 nats by 0.01 or more"
        )


def start_keras(configure: Callable[[], None] = lambda: None) -> None:
    """Import Keras on its configured backend, unless it is loaded.

    ``configure`` sets up the backend before the first operation.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _let_malloc_keep_memory()
    # An exception that a signal handler raises in an import can be lost.
    with DeferredSignals(), _silent_stderr(), uncollected():
        try:
            import keras

            configure()
            keras.ops.zeros(())  # the first operation looks for devices, and logs it
        except (ImportError, ValueError, AssertionError) as error:  # of an invalid keras.json
            reason = str(error) or "keras.json is invalid"  # 3.12 only asserts
            raise NflowError(f"Keras or its backend cannot be imported: {reason}") from None


def _let_malloc_keep_memory() -> None:
    """Let malloc keep freed memory for the next operation: page faults were half of an update.

    XLA allocates the buffers of a matrix product at each call. Before TensorFlow makes threads,
    which pad their heaps.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_TOP_PAD, HEAP_PAD)


def machine_of(device: str) -> Machine:
    """Machine of ``cpu``, ``gpu`` or ``gpu:N``; a GPU starts TensorFlow, and prints a note."""
    machine = Machine(f"{GPU}:0" if device == GPU else device)
    if not machine.is_gpu:
        return machine
    start_tensorflow(machine)
    cards = _cards()
    if machine.number >= len(cards):
        raise DeviceError(_missing(device, cards))
    machine = replace(machine, card=cards[machine.number])
    tell(f"computing on {machine.device} ({machine.card})")
    return machine


def gpus(device: str) -> list[str]:
    """``CUDA_VISIBLE_DEVICES`` names of ``gpu:N``, or all for ``gpu``; none is used here."""
    start_tensorflow()
    cards = _cards()
    names = os.environ.get(VISIBLE) or ",".join(map(str, range(len(cards))))
    chosen = names.split(",")[: len(cards)]
    if device != GPU:
        number = Machine(device).number
        chosen = chosen[number : number + 1]
    if not chosen:
        raise DeviceError(_missing(device, cards))
    return chosen


def _configure(machine: Machine) -> None:
    """Show TensorFlow one GPU or none, let its memory grow, and turn TF32 off.

    With the 11 bits of TF32 `nflow check` would fail.
    """
    import tensorflow as tf

    if machine.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(machine.threads)
    devices = tf.config.list_physical_devices("GPU")
    chosen = devices[machine.number : machine.number + 1] if machine.is_gpu else []
    tf.config.set_visible_devices(chosen, "GPU")
    for gpu in chosen:
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gc.freeze()  # a command's process keeps its imports


def _cards() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    devices = tf.config.list_physical_devices("GPU")
    return [str(details(gpu).get("device_name", "of unknown name")) for gpu in devices]


def _missing(device: str, cards: list[str]) -> str:
    """Message for a missing GPU: the GPUs of the machine, or what TensorFlow lacks for any."""
    import tensorflow as tf

    if cards:
        received = ", ".join(f"gpu:{n} ({card})" for n, card in enumerate(cards))
    elif not tf.test.is_built_with_cuda():
        received = f"none, for TensorFlow {tf.__version__} here is built without CUDA"
    else:
        visible = os.environ.get(VISIBLE)
        received = "none" if visible is None else f"none of {VISIBLE}={visible}"
        received += (
            "; looked for: an NVIDIA driver, and the libraries of CUDA, which "
            "pip install '.[cuda]' in nflow's checkout brings"
        )
    return f"--device {device}: expected a GPU that TensorFlow sees. Received: {received}"


@contextlib.contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn an out-of-memory error of NumPy or TensorFlow into one line with a remedy."""
    try:
        yield
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")
        errors = [MemoryError]
        if tensorflow:
            errors.append(tensorflow.errors.ResourceExhaustedError)
        if not isinstance(error, tuple(errors)):
            raise
        raise NflowError(f"out of memory; {remedy}") from None


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to null: native code writes past ``sys.stderr``."""
    try:
        saved = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector while many objects are made and none freed: imports, pictures.

    Collections take a sixth of the time of TensorFlow's import.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
