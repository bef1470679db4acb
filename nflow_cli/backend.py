"""The start of Keras and of what it runs on, without the chatter of native code."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator

from nflow_cli import program_cache
from nflow_cli.errors import NflowError
from nflow_cli.signals import Held

NO_MEMORY = "not enough memory; fewer samples, a smaller batch or fewer restarts take less"


def expect_tensorflow() -> None:
    """See that TensorFlow is installed, without the seconds that importing it takes.

    Raises:
        NflowError: If it is not.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise NflowError("the commands need TensorFlow; install it with: pip install tensorflow")


def start_tensorflow() -> None:
    """Import Keras on TensorFlow, in single precision, whatever ``keras.json`` says.

    Raises:
        NflowError: If one of them cannot be imported.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with program_cache.told():
        start_keras()
    import keras

    keras.config.set_floatx("float32")


def start_keras() -> None:
    """Import Keras on the backend that it is set up for, unless somebody has already.

    Raises:
        NflowError: If it cannot be imported.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with Held(), _silent_stderr():  # what a handler raises in an import can get lost there
        try:
            import keras

            keras.ops.zeros(())  # the first operation looks for devices, and says so
        except (ImportError, ValueError) as error:  # ValueError: keras.json holds nonsense
            raise NflowError(f"Keras or its backend cannot be imported: {error}") from None


def lacks_memory(error: BaseException) -> bool:
    """Return whether NumPy or TensorFlow found no memory."""
    tensorflow = sys.modules.get("tensorflow")
    exhausted = (tensorflow.errors.ResourceExhaustedError,) if tensorflow else ()
    return isinstance(error, (MemoryError, *exhausted))


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: native code writes there, past ``sys.stderr``."""
    try:
        saved = os.dup(2)
    except OSError:  # it is closed: nobody listens
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
