"""Pictures of a run, drawn after training and by `nflow plot`."""

import importlib
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from nflow_cli import experiments
from nflow_cli.backend.garbage import uncollected
from nflow_cli.constants import DPI
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.picture_data import PictureData, read_picture_data
from nflow_cli.registry import nearest
from nflow_cli.runs.directory import RunDirectory


def import_ahead() -> None:
    """Import the plotting modules in a thread: a compiled training leaves Python idle."""

    def import_pictures() -> None:
        with suppress(ImportError):  # told by the one who needs it
            importlib.import_module("nflow_cli.plotting")

    threading.Thread(target=import_pictures).start()


def redraw(
    run: RunDirectory, format: str = "png", dpi: int = DPI, only: Collection[str] = ()
) -> list[Path]:
    """Draw pictures of ``run`` from its files, all or ``only`` some; return their paths."""
    experiment = experiments.of(run.read_config())
    return draw(run, experiment, read_picture_data(run, experiment), format, dpi, only)


@uncollected()
def draw(
    run: RunDirectory,
    experiment: Experiment,
    data: PictureData,
    format: str = "png",
    dpi: int = DPI,
    only: Collection[str] = (),
) -> list[Path]:
    """Draw pictures into ``run``, all or ``only`` some; return their paths."""
    pictures = experiment.draw(*data)
    for name in only:
        if name not in pictures:
            known = ", ".join(pictures)
            hint = nearest(name, list(pictures))
            raise ConfigError(f"--only: {name!r} is no picture of this run{hint}; known: {known}")
    return [
        write_figure(run, name, figure, format, dpi)
        for name, figure in pictures.items()
        if not only or name in only
    ]


def write_figure(run: RunDirectory, name: str, figure: Any, format: str, dpi: int) -> Path:
    """Write a picture into the plots of a run; return its path."""
    from nflow_cli import plotting

    return run.write_plot(
        name, format, lambda file: plotting.save_figure(figure, file, format, dpi)
    )
