"""User functions and models: loading, calling, and errors with file and line.

Files are executed only if named on the command line or passed in Python.
"""

import functools
import hashlib
import importlib.util
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from nflow_cli.errors import NflowError, TargetError, one_line
from nflow_cli.inference.infer_config import DEFAULT_FUNCTION, IN_PYTHON
from nflow_cli.inference.models import Coordinates, numpyro_model, pymc_model
from nflow_cli.registry import nearest

OF_MODEL = ("dim", "names", "bounds")  # options
MODULE = "nflow_density"  # module name of a user's file
MOST_BYTES = 2**26  # of a file
MOST_LETTERS = 300  # of an exception's text
# TensorFlow's position of a failed operation, which names nothing of the user's code.
_OF_TENSORFLOW = re.compile(r"\{\{function_node .*?\}\} | \[Op:\w+\](?: name:.*)?$")


class UserFunction(NamedTuple):
    """User's function, whose errors have file and line; ``path`` is ``<python>`` without a file.

    ``coordinates`` are those of a model of NumPyro or PyMC; ``None`` of a function.
    """

    function: Callable[[Any], Any]
    name: str
    path: str
    sha256: str | None
    coordinates: Coordinates | None = None

    @property
    def density(self) -> dict[str, Any]:
        """Entries of a config."""
        entries = {"name": self.name, "path": self.path, "sha256": self.sha256}
        if self.coordinates is None:
            return entries
        names, bounds = self.coordinates
        return {**entries, "dim": len(names), "names": names, "bounds": bounds}

    def expect_free(self, options: Mapping[str, Any]) -> None:
        """Refuse options that a model decides."""
        refused = [name for name in OF_MODEL if options.get(name)]
        if self.coordinates and refused:
            raise TargetError(f"--{refused[0]}: expected none: the model {self.name} has its own")


def load_function(
    place: str, default: str = DEFAULT_FUNCTION, sha256: str | None = None
) -> UserFunction:
    """Execute a file and return its function ``FILE.py:name``, ``default`` without a name.

    ``sha256``: expected checksum of the file, tested before execution; ``None``: any.
    """
    path, name = _path_and_name(place, default)
    digest = hashlib.sha256(_content_of(path)).hexdigest()
    if sha256 not in (None, digest):
        raise TargetError(
            f"{path}: not the file of this run; expected SHA-256 {sha256}, received {digest}"
        )
    module = _executed(path)
    function = getattr(module, name, None)
    data = getattr(module, "data", None)
    user = _user_function(function, data, name, str(path), str(path), digest)
    if user is None:
        known = [
            key for key, value in vars(module).items() if _is_own_function(value) and key[0] != "_"
        ]
        received = "no such name" if function is None else f"a {type(function).__name__}"
        functions = textwrap.shorten(", ".join(known), MOST_LETTERS, placeholder=" …") or "none"
        raise TargetError(
            f"{path}: expected a function {name!r}{nearest(name, known)}. Received: {received}; "
            f"functions in the file: {functions}"
        )
    return user


def _content_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TargetError(f"{path}: expected a Python file of at most {MOST_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from None


def _executed(path: Path) -> ModuleType:
    """Module executed from a user's Python file, with the file's folder on ``sys.path``."""
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path}: expected a Python file, with a name in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[MODULE] = module  # so that it may be pickled, and have dataclasses
    guarded(spec.loader.exec_module, str(path))(module)
    return module


def function_of(function: Any) -> UserFunction:
    """Function or model passed in Python."""
    unbound = getattr(function, "func", function)  # of a partial
    name = getattr(unbound, "__name__", type(function).__name__)
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    user = _user_function(function, None, name, file, IN_PYTHON, None)
    if user is None:
        raise TargetError(f"expected a function of points (n, D). Received: {function!r:.60}")
    return user


def _user_function(
    value: Any, data: Any, name: str, file: str, path: str, sha256: str | None
) -> UserFunction | None:
    """Model or function of a ``file`` with ``data``, or ``None``."""
    model = guarded(lambda: pymc_model(value) or numpyro_model(value, data), file)()
    if model is not None:
        function = guarded(model.function, file)
        return UserFunction(function, name, path, sha256, model.coordinates)
    return UserFunction(guarded(value, file), name, path, sha256) if callable(value) else None


def _is_own_function(value: Any) -> bool:
    """Whether the value is a function of the user's module, none that it imports."""
    return callable(value) and getattr(value, "__module__", MODULE) == MODULE


def _path_and_name(place: str, default: str) -> tuple[Path, str]:
    """Existing file and function name of ``FILE.py:FUNCTION``."""
    path, colon, name = place.rpartition(":")
    if not colon or name.endswith(".py"):
        path = place
        name = default
    if not path.endswith(".py") or not name.isidentifier():
        raise TargetError(
            f"expected FILE.py:FUNCTION, such as model.py:{DEFAULT_FUNCTION}. "
            f"Received: {place!r:.200}"
        )
    if not Path(path).is_file():
        raise TargetError(f"{path}: no such file; expected FILE.py:FUNCTION")
    return Path(path), name


def guarded(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    """Function that raises :class:`TargetError`: one line, with file and line number."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except NflowError:
            raise
        except (Exception, SystemExit) as error:
            raise TargetError(_error_text(error, path)) from None

    # Else TensorFlow would rewrite the function, and not say which line failed.
    vars(call)["__ag_compiled"] = True
    return call


def _error_text(error: BaseException, path: str) -> str:
    """Exception in one line, with the last line of the user's file that it came through."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    message = textwrap.shorten(_OF_TENSORFLOW.sub("", one_line(error)), MOST_LETTERS)
    text = f"{type(error).__name__}: {message}"
    file = Path(path).absolute() if path else None
    frames = traceback.extract_tb(error.__traceback__)
    user_lines = [frame.lineno for frame in frames if Path(frame.filename).absolute() == file]
    if not user_lines:
        return f"{path or DEFAULT_FUNCTION}: {text}"
    return f"{path}:{user_lines[-1]}: {text}"
