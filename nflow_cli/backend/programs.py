"""Programs compiled by XLA: their cache on disk, and the release of their memory.

TensorFlow keeps what ``tf.function(jit_compile=True)`` compiles until the process ends: of a fit
60 to 150 MB, most of it the Python stack of each operation. Here a program is called by the
operation ``XlaLaunch``, of which nothing is kept that :func:`released` does not give back. Both
use inner names of TensorFlow: where one is missing, ``tf.function`` is called, and its memory kept.

The cache is a private folder of the user. TensorFlow keeps compiled programs there, one file each,
and uses one whose instructions are equal in full. Here a file's SHA-256 is in its name, and
verified. Each process works in its own folder with links to the intact files, so it reads nothing
that another is writing; at its end its new programs join the cache. The environment variable
``NFLOW_CACHE`` sets another folder, or ``off``.
"""

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import itertools
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nflow_cli.terminal.output import tell

LAUNCH = "XlaLaunch"  # operation
# TensorFlow's table of compiled programs, a resource of each device: its name, and the hash of its
# C++ type, tensorflow::DeviceCompiler<xla::LocalExecutable, xla::LocalClient>.
TABLE = "xla_device_compiler"
TABLE_TYPE = 0x6B406BD7CBE180FF
VARIABLE = "NFLOW_CACHE"
FLAGS = "TF_XLA_FLAGS"
DIRECTORY = "--tf_xla_persistent_cache_directory"
# On these variables the code depends.
DECIDING = ("XLA_FLAGS", FLAGS, "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
PRIVATE = "process-"  # prefix of a process's folder
MAX_BYTES = 64 * 2**20  # all files are hashed at each start
MAX_AGE = 24 * 3600  # seconds until the folder of a process is taken for abandoned


def compiled(function: Callable[..., Any], xla: bool = True) -> Callable[..., Any]:
    """``function`` of tensors as one program, of XLA or of TensorFlow's own kernels."""
    import tensorflow as tf

    return Program(function) if xla else tf.function(function, autograph=False)


class Program:
    """Function of tensors, compiled by XLA once for each of their shapes."""

    def __init__(self, function: Callable[..., Any]):
        import tensorflow as tf

        self._function = function
        self._traced = self._tracing(())
        self._public = tf.function(function, autograph=False, jit_compile=True)

    def _tracing(self, constants: Sequence[Any]) -> Any:
        """``tf.function`` that captures these tensors first."""
        import tensorflow as tf

        def run(*arguments: Any) -> Any:
            for tensor in constants:  # captured here, before any variable
                tf.identity(tensor)
            return self._function(*arguments)

        return tf.function(run, autograph=False)

    def __call__(self, *arguments: Any) -> Any:
        """``function(*arguments)``."""
        import tensorflow as tf

        tensors = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        if _has_inner_names():
            return self.launch(*tensors)
        return self._public(*tensors)  # whose memory is kept

    def launch(self, *arguments: Any) -> Any:
        """``function(*arguments)`` of tensors, by TensorFlow's inner names."""
        import tensorflow as tf
        from tensorflow.python.eager import context, execute

        program = self._traced.get_concrete_function(*arguments)
        captured = program.captured_inputs
        constants = [tensor for tensor in captured if tensor.dtype != tf.resource]
        if any(tensor.dtype == tf.resource for tensor in captured[: len(constants)]):
            # XlaLaunch takes variables last.
            self._traced = self._tracing(constants)
            return self.launch(*arguments)
        inputs = [*tf.nest.flatten(arguments), *constants]
        attributes = {
            "Tconstants": [],
            "Targs": [tensor.dtype.as_datatype_enum for tensor in inputs],
            "Nresources": len(captured) - len(constants),
            "Tresults": [tensor.dtype.as_datatype_enum for tensor in program.outputs],
            "function": program,
        }
        results = execute.execute(
            LAUNCH,
            len(program.outputs),
            [*inputs, *captured[len(constants) :]],
            tuple(itertools.chain.from_iterable(attributes.items())),
            context.context(),
        )
        return program.function_type.pack_output(results)


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Memory of programs compiled within, released at the end.

    A program that is still in use is compiled again when it is called. A custom gradient that was
    traced within can be taken only by tracing its function again.
    """
    before = _custom_gradients()
    try:
        yield
    finally:
        if "tensorflow" in sys.modules:
            try:
                _release(_custom_gradients() - before)
            except (ImportError, AttributeError):
                _tell_kept()


@functools.cache
def _has_inner_names() -> bool:
    """Whether TensorFlow has all inner names: by a program that is called and released."""
    import tensorflow as tf

    before = _custom_gradients()
    identity = tf.custom_gradient(lambda x: (x, lambda change: change))
    with contextlib.suppress(Exception), tf.device("CPU"):  # whatever another TensorFlow raises
        Program(identity).launch(tf.constant(0.0))
        gradients = _custom_gradients() - before
        if gradients and _release(gradients):
            return True
    _tell_kept()
    return False


@functools.cache
def _tell_kept() -> None:
    import tensorflow as tf

    tell(
        f"TensorFlow {tf.__version__} is not one that nflow knows: it keeps the memory of compiled "
        "programs until the process ends"
    )


def _release(gradients: Iterable[str]) -> bool:
    """Release gradients and programs; whether a device had programs."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    from tensorflow.python.eager import context

    for name in gradients:  # each with its graph
        del _registered_gradients()[name]
    table = tensor_pb2.TensorProto(dtype=tf.resource.as_datatype_enum, tensor_shape={})
    handle = table.resource_handle_val.add(container="localhost", name=TABLE, hash_code=TABLE_TYPE)
    had_programs = False
    for device in tf.config.list_logical_devices():
        handle.device = f"/job:localhost/replica:0/task:0{device.name}"
        with contextlib.suppress(tf.errors.OpError), tf.device(device.name):
            programs = tf.io.parse_tensor(table.SerializeToString(), tf.resource)
            tf.raw_ops.DestroyResourceOp(resource=programs, ignore_lookup_error=False)
            had_programs = True
    context.context().clear_kernel_cache()
    return had_programs


def _registered_gradients() -> dict[str, Any]:
    """TensorFlow's registry of gradients by name, itself."""
    if "tensorflow" not in sys.modules:
        return {}
    try:
        from tensorflow.python.framework import ops

        return ops.gradient_registry._registry
    except (ImportError, AttributeError):
        return {}


def _custom_gradients() -> set[str]:
    """Names of the gradients of ``tf.custom_gradient``; TensorFlow's own come at its import."""
    return {name for name in _registered_gradients() if name.startswith("CustomGradient")}


@contextlib.contextmanager
def cache_enabled(threads: int = 0) -> Iterator[None]:
    """Enable the cache where TensorFlow reads its flags within this context.

    ``threads`` of an operation, on which the code depends; 0: the number of cores.
    """
    flags = os.environ.get(FLAGS)
    folder = None
    if DIRECTORY not in (flags or ""):  # else the user has set it
        with contextlib.suppress(OSError, RuntimeError):  # no home, no space: compile anew
            folder = _open(_home() / _key(threads))
    if folder is None:
        yield
        return
    os.environ[FLAGS] = f"{flags or ''} {DIRECTORY}={folder}"
    try:
        yield
    finally:  # child processes have folders of their own
        if flags is None:
            del os.environ[FLAGS]
        else:
            os.environ[FLAGS] = flags


def _home() -> Path:
    """Folder of all programs; an ``OSError`` where there is to be none."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        raise OSError
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen or Path(base) / "nflow") / "programs"


def _key(threads: int) -> str:
    """Name of all that the code depends on: TensorFlow, processor, cores, flags."""
    package = importlib.util.find_spec("tensorflow")
    origin = package.origin if package else None
    facts: list[Any] = [origin]
    if origin:
        facts += os.stat(origin)[6:9]
    facts += [threads, os.cpu_count()]
    if hasattr(os, "sched_getaffinity"):
        facts.append(len(os.sched_getaffinity(0)))
    facts += [os.environ.get(name) for name in DECIDING]
    facts += [platform.machine(), platform.processor(), _processor()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Model and features of the first processor, on Linux."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(16_384).split("\n\n")[0]
    except OSError:
        return []
    words = ("model name", "flags", "Features", "CPU part")
    return [line for line in first.splitlines() if line.startswith(words)]


def _open(folder: Path) -> Path | None:
    """Private folder of this process with links to the intact programs of ``folder``.

    ``None`` if ``folder`` is not private, or its path has a space, which would end the flag.
    """
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (_is_private(folder.parent) and _is_private(folder)) or " " in str(folder):
        return None
    _tidy(folder)
    private = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=folder))
    atexit.register(_close, private, os.getpid())
    for path in _programs(folder):
        name, _, digest = path.name.rpartition(".")
        if _digest(path) != digest:
            path.unlink(missing_ok=True)
        elif not (private / name).exists():  # two processes may have compiled it
            os.link(path, private / name)
    return private


def _is_private(folder: Path) -> bool:
    status = folder.lstat()
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and status.st_uid == os.getuid()
        and not status.st_mode & 0o077
    )


def _programs(folder: Path) -> list[Path]:
    """Files of a folder, the oldest first."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                files.append((entry.stat().st_mtime_ns, entry.path))
    return [Path(path) for _, path in sorted(files)]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(folder: Path) -> None:
    """Remove folders that processes abandoned, and the oldest programs beyond ``MAX_BYTES``."""
    for path in folder.glob(f"{PRIVATE}*"):
        if time.time() - path.lstat().st_mtime > MAX_AGE:
            shutil.rmtree(path, ignore_errors=True)
    sizes = {path: path.stat().st_size for path in _programs(folder)}
    excess = sum(sizes.values()) - MAX_BYTES
    for path, size in sizes.items():
        if excess > 0:
            path.unlink(missing_ok=True)
            excess -= size


def _close(private: Path, process: int) -> None:
    """Move the new programs of a process to the cache, and remove its folder."""
    if os.getpid() != process:  # a fork
        return
    with contextlib.suppress(OSError):
        for path in _programs(private):
            if path.stat().st_nlink == 1:  # new: not a link
                os.replace(path, private.parent / f"{path.name}.{_digest(path)}")
    shutil.rmtree(private, ignore_errors=True)
