"""Programs compiled by XLA, and the release of their memory.

TensorFlow keeps what ``tf.function(jit_compile=True)`` compiles until the process ends: of a fit
60 to 150 MB, most of it the Python stack of each operation. Here a program is called by the
operation ``XlaLaunch``, of which nothing is kept that :func:`released` does not give back. Both
use inner modules of TensorFlow.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

# TensorFlow's table of compiled programs, a resource of each device: its name, and the hash of its
# C++ type, tensorflow::DeviceCompiler<xla::LocalExecutable, xla::LocalClient>.
TABLE, TABLE_TYPE = "xla_device_compiler", 0x6B406BD7CBE180FF


def compiled(function: Callable[..., Any], xla: bool = True) -> Callable[..., Any]:
    """``function`` of tensors as one program, of XLA or of TensorFlow's own kernels."""
    import tensorflow as tf

    return Program(function) if xla else tf.function(function, autograph=False)


class Program:
    """Function of tensors, compiled by XLA once for each of their shapes."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._traced = self._tracing(())

    def _tracing(self, constants: Sequence[Any]) -> Any:
        import tensorflow as tf

        def run(*arguments: Any) -> Any:
            for tensor in constants:  # captured here, before any variable
                tf.identity(tensor)
            return self._function(*arguments)

        return tf.function(run, autograph=False)

    def __call__(self, *arguments: Any) -> Any:
        """``function(*arguments)``."""
        import tensorflow as tf
        from tensorflow.python.eager import context, execute

        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        program = self._traced.get_concrete_function(*arguments)
        captured = program.captured_inputs
        constants = [tensor for tensor in captured if tensor.dtype != tf.resource]
        if any(tensor.dtype == tf.resource for tensor in captured[: len(constants)]):
            # XlaLaunch takes variables last.
            self._traced = self._tracing(constants)
            return self(*arguments)
        inputs = [*tf.nest.flatten(arguments), *constants]
        attributes = {
            "Tconstants": [],
            "Targs": [tensor.dtype.as_datatype_enum for tensor in inputs],
            "Nresources": len(captured) - len(constants),
            "Tresults": [tensor.dtype.as_datatype_enum for tensor in program.outputs],
            "function": program,
        }
        results = execute.execute(
            "XlaLaunch",
            len(program.outputs),
            [*inputs, *captured[len(constants) :]],
            tuple(part for attribute in attributes.items() for part in attribute),
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
            _release(_custom_gradients() - before)


def _release(gradients: Iterable[str]) -> None:
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    from tensorflow.python.eager import context

    for name in gradients:  # each with its graph
        del _registered_gradients()[name]
    table = tensor_pb2.TensorProto(dtype=tf.resource.as_datatype_enum, tensor_shape={})
    handle = table.resource_handle_val.add(container="localhost", name=TABLE, hash_code=TABLE_TYPE)
    for device in tf.config.list_logical_devices():
        handle.device = f"/job:localhost/replica:0/task:0{device.name}"
        with contextlib.suppress(tf.errors.OpError), tf.device(device.name):
            found = tf.io.parse_tensor(table.SerializeToString(), tf.resource)
            tf.raw_ops.DestroyResourceOp(resource=found, ignore_lookup_error=True)
    context.context().clear_kernel_cache()


def _registered_gradients() -> dict[str, Any]:
    if "tensorflow" not in sys.modules:
        return {}
    from tensorflow.python.framework import ops

    return ops.gradient_registry._registry


def _custom_gradients() -> set[str]:
    """Names of those of ``tf.custom_gradient``; TensorFlow registers its own at its import."""
    return {name for name in _registered_gradients() if name.startswith("CustomGradient")}
