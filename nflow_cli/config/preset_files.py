"""Preset files: shipped ones by name, others by path."""

import contextlib
import difflib
from pathlib import Path
from typing import Any

from nflow_cli.config.flow_options import has_network, pattern_name
from nflow_cli.config.flow_schema import Flow
from nflow_cli.config.presets import read_preset
from nflow_cli.config.shipped import shipped_presets
from nflow_cli.errors import ConfigError
from nflow_cli.registry import nearest


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
    """Shipped fit-2d preset of ``target`` with flows closest to ``pattern`` and K (default 8), with
    or without networks as these.
    """
    k = Flow().k if k is None else k
    best: tuple[Any, Path] | None = None
    for path in shipped_presets().values():
        if b"command: fit-2d" not in path.read_bytes():  # parsing all takes 40 ms
            continue
        data = read_preset(path)
        if data.get("command") != "fit-2d" or data.get("target") != target:
            continue
        flow = data["flow"]
        names = [pattern_name(item) for item in flow["pattern"]]
        alike = difflib.SequenceMatcher(None, names, pattern).ratio()
        distance = abs(flow["k"] - k) / (flow["k"] + k + 1)
        order = (has_network(flow["pattern"]) != has_network(pattern), -alike, distance)
        if best is None or order < best[0]:
            best = (order, path)
    if best is None:
        raise ConfigError(f"no preset for the target {target!r}; --preset takes one")
    return best[1]
