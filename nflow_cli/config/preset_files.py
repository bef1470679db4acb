"""Preset files: shipped ones by name, others by path."""

import contextlib
import re
from pathlib import Path

from nflow_cli.config.flow_options import has_network
from nflow_cli.config.shipped import shipped_presets
from nflow_cli.errors import ConfigError
from nflow_cli.registry import FLOWS, nearest

DEFAULT_K = 8  # of flows


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
