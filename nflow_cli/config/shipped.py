"""Shipped presets. Imports nothing, for shell completion."""

from pathlib import Path


def presets_folder() -> Path:
    """Folder of the shipped presets: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def shipped_presets() -> dict[str, Path]:
    """Shipped presets by name."""
    return {path.stem: path for path in sorted(presets_folder().glob("*.yaml"))}
