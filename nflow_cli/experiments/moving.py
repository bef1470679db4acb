"""Pictures of single flows of a run, and the animation of all flows."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nflow_cli import experiments
from nflow_cli.data.units import IDENTITY
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.drawing import write_figure
from nflow_cli.experiments.summary import read_summary
from nflow_cli.runs.directory import ANIMATION, RunDirectory


def draw_flows(run: RunDirectory, numbers: Iterable[int], format: str, dpi: int) -> list[Path]:
    """Draw flows of ``run`` by number, from 1; return the paths of the pictures."""
    density, summary = _loaded(run)
    length = density.flow.length
    for number in numbers:
        if number > length:
            raise ConfigError(f"--flow-at: expected a flow from 1 to {length}. Received: {number}")
    from nflow_cli import plotting
    from nflow_cli.evaluation.motion import Motion, flow_arrays

    motion, paths = Motion(density), []
    notes = [] if density.units is IDENTITY else ["in the coordinates of the flows"]
    for number in dict.fromkeys(numbers):
        arrays = flow_arrays(motion, number, density.config.seed)
        names = (motion.steps[number - 1].name, *notes)
        figure = plotting.flow_figure(arrays, summary, number, names)
        paths.append(write_figure(run, f"flow-{number}", figure, format, dpi))
    return paths


def animate(run: RunDirectory) -> list[Path]:
    """Draw the density from its base through all flows, as a GIF and as a WebP."""
    trained, summary = _loaded(run)
    from nflow_cli.evaluation.motion import Motion, motion_arrays
    from nflow_cli.plotting import animation_files, density, table

    arrays = motion_arrays(Motion(trained), trained.config.seed)
    names = density.AXES if trained.units is IDENTITY else table.AXES
    files = animation_files(arrays, summary, names)
    return [
        run.write_plot(ANIMATION, format, lambda file, content=content: file.write(content))
        for format, content in files.items()
    ]


def _loaded(run: RunDirectory) -> tuple[Any, dict[str, Any]]:
    experiment = experiments.of(run.read_config())
    _expect_drawn(experiment.undrawn)
    from nflow_cli.backend.start import start_tensorflow

    start_tensorflow()
    density, summary = experiment.load(run), read_summary(run, experiment)
    _expect_drawn(f"a mixture of {density.members}" if density.members > 1 else "")
    return density, {**summary, "warnings": experiment.warnings(summary)}


def _expect_drawn(reason: str) -> None:
    if reason:
        raise ConfigError(
            f"--flow-at, --animate: expected flows of two numbers. Received: {reason}"
        )
