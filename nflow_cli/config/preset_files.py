"""Preset files: shipped ones by name, others by path; and the names of their runs."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config import presets
from nflow_cli.config.flows import Flow, has_network, pattern_name
from nflow_cli.config.keys import is_within
from nflow_cli.config.options import shipped_presets
from nflow_cli.config.schema import RUNS, Config
from nflow_cli.errors import ConfigError
from nflow_cli.registry import FLOWS, POINT_SETS, nearest

DEFAULT_K = 8  # of flows
MAX_LABEL = 40  # characters of a value in a folder's name
# Keys of an experiment, other than training and evaluation.
EXPERIMENT: Any = {
    **dict.fromkeys(
        ("command", "target", "base", "model", "flow", "cells", "prior", "density"), True
    ),
    "data": {"name", "binarization"},
}


def preset_label(path: Path) -> str:
    """Name of a preset in errors; of a file its path."""
    return path.stem if shipped_presets().get(path.stem) == path else str(path)


def find_preset(name_or_path: str) -> Path:
    """Path of a preset given by name or path."""
    shipped = shipped_presets()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    with contextlib.suppress(OSError, ValueError):  # a name too long, or invalid: "\0"
        if path.is_file():
            return path
    raise ConfigError(
        f"no preset named {name_or_path!r}, and no such file{nearest(name_or_path, list(shipped))}"
        "; `nflow presets` lists them"
    )


def nearest_preset(target: str, pattern: list[str], k: int | None) -> Path:
    """Shipped fit-2d preset of ``target`` with or without networks as ``pattern``, and K nearest.

    The name of a preset says target, flow and K, where it is not the default, 8.
    """
    k = DEFAULT_K if k is None else k
    form = rf"{target}-({'|'.join(FLOWS)})(?:-k(\d+))?"
    found = [match for name in shipped_presets() if (match := re.fullmatch(form, name))]

    def distance(name: re.Match[str]) -> tuple[bool, float]:
        its_k = int(name[2] or DEFAULT_K)
        return has_network([name[1]]) != has_network(pattern), abs(its_k - k) / (its_k + k + 1)

    return shipped_presets()[min(found, key=distance)[0]]


def run_name(resolved: Config, preset: Path) -> str:
    """Name of a run: the preset's for the same experiment, else :func:`made_name`."""
    return preset.stem if _same_experiment(resolved, preset) else made_name(resolved)


def made_name(resolved: Config, varied: Iterable[str] = ()) -> str:
    """Name of target or data, flows and K, such as ``two-moons-planar-k32``.

    A VAE's prior follows (``prior-affine-coupling-k4``). Parts that the dotted keys ``varied``
    change are left out.
    """
    flow, prior = resolved.flow, getattr(resolved, "prior", None)
    words = {resolved.subject_key: _subject(resolved)}
    if flow is None:
        words["cells"] = "cells"
    else:
        words |= {"flow.pattern": _pattern(flow), "flow.k": f"k{flow.k}"}
        if flow.k is None:  # by the size of the table
            del words["flow.k"]
        elif not flow.k:
            del words["flow.pattern"]
    if prior:
        words["prior"] = f"prior-{_pattern(prior)}-k{prior.k}"
    return "-".join(word for key, word in words.items() if not touches(varied, key))


def touches(keys: Iterable[str], path: str) -> bool:
    """Whether a dotted key is at ``path``, below it or above it."""
    return any(is_within(key, path) or is_within(path, key) for key in keys)


def _pattern(flow: Flow) -> str:
    pattern = "-".join(map(pattern_name, flow.pattern))
    return pattern if len(pattern) <= MAX_LABEL else "mixed"


def _subject(resolved: Config) -> str:
    name = resolved.subject
    if resolved.subject_key != "data" or name in POINT_SETS:
        return text_of(name)[:MAX_LABEL]
    return text_of(Path(name).stem)[:MAX_LABEL] or "data"


def _same_experiment(resolved: Config, preset: Path) -> bool:
    try:
        alone = presets.validate(presets.read_preset(preset), str(preset), RUNS)
    except ConfigError:  # incomplete without the changes
        return False
    return alone.model_dump(include=EXPERIMENT) == resolved.model_dump(include=EXPERIMENT)


def text_of(value: Any) -> str:
    """Value as text that is valid in file names; "" for a mapping."""
    if isinstance(value, Mapping):
        return ""
    if isinstance(value, list):
        return "+".join(map(text_of, value))
    plain = {None: "null", True: "true", False: "false"}
    text = plain[value] if value is None or isinstance(value, bool) else str(value)
    return re.sub(r"[^\w.+-]+", "_", text).strip("._")
