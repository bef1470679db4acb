"""Pictures of a run, drawn after training and by `nflow plot`."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from nflow_cli import plotting
from nflow_cli.backend.start import uncollected
from nflow_cli.constants import DPI
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.parts import part
from nflow_cli.experiments.run import Run
from nflow_cli.registry import nearest
from nflow_cli.runs.directory import PLOTS


@uncollected()
def draw(run: Run, format: str = "png", dpi: int = DPI, only: Collection[str] = ()) -> list[Path]:
    """Draw pictures into ``run``, all or ``only`` some; return their paths."""
    report = part(run.config, "report")
    curves = run.curves(report.CURVES)
    pictures = report.figures_of(run.config, run.shown_arrays, curves, with_warnings(run))
    for name in only:
        if name not in pictures:
            known = ", ".join(pictures)
            hint = nearest(name, list(pictures))
            raise ConfigError(f"--only: {name!r} is no picture of this run{hint}; known: {known}")
    return [
        write_picture(run, name, figure, format, dpi)
        for name, figure in pictures.items()
        if not only or name in only
    ]


def with_warnings(run: Run) -> dict[str, Any]:
    """Summary with its warnings, as pictures take it."""
    return {**run.facts, "warnings": run.warnings}


def write_picture(run: Run, name: str, figure: Any, format: str, dpi: int) -> Path:
    """Write a picture into the plots of a run; return its path."""
    return run.directory.write(
        f"{PLOTS}/{name}.{format}", lambda file: plotting.save_figure(figure, file, format, dpi)
    )
