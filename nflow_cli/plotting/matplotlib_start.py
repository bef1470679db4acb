"""The import of Matplotlib: a matplotlibrc that is damaged or no file stops no picture.

Matplotlib reads that of the current folder, or else the user's, when it is imported.
"""

import os
import sys
from importlib.util import find_spec, module_from_spec
from typing import Any


def import_matplotlib() -> None:
    """Import Matplotlib, if nobody has."""
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    vars(module)["open"] = _opened
    sys.modules["matplotlib"] = module
    spec.loader.exec_module(module)


def _opened(name: Any, *args: Any, **options: Any) -> Any:
    """The text of a file, whatever its bytes; empty if it is none that may be read."""
    is_readable = os.path.isfile(name) and os.access(name, os.R_OK)
    return open(name if is_readable else os.devnull, *args, **options, errors="replace")
