"""Pictures of single flows of a run, and the animation of all flows."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.data.units import IDENTITY
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.motion import Motion, flow_arrays, motion_arrays
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_report import with_warnings, write_picture
from nflow_cli.flows.composition import Step
from nflow_cli.plotting import plane
from nflow_cli.plotting.plane import animation_files, flow_figure
from nflow_cli.runs.directory import ANIMATION, PLOTS

DIGITS: Any = {"formatter": {"float": "{:.3g}".format}}


def draw_flows(run: Run, numbers: Iterable[int], format: str, dpi: int) -> list[Path]:
    """Draw flows of ``run`` by number, from 1; return the paths of the pictures."""
    motion, paths = motion_of(run), []
    length = motion.density.flow.length
    for number in numbers:
        if number > length:
            raise ConfigError(f"--flow-at: expected a flow from 1 to {length}. Received: {number}")
    notes = [] if motion.density.units is IDENTITY else ["in the coordinates of the flows"]
    for number in dict.fromkeys(numbers):
        arrays = flow_arrays(motion, number, run.config.seed)
        step = motion.steps[number - 1]
        geometry = geometry_of(step)
        weights = (
            f"{name} = {np.array2string(value, separator=', ', **DIGITS)}"
            for name, value in geometry.items()
        )
        names = (step.name, *weights, *notes)
        figure = flow_figure(arrays, with_warnings(run), number, names, geometry)
        paths.append(write_picture(run, f"flow-{number}", figure, format, dpi))
    return paths


def geometry_of(step: Step) -> dict[str, np.ndarray]:
    """Numbers of the formula of a map of the plane by symbol, if it has any to draw."""
    return {
        symbol: np.squeeze(value, (0, -1))
        for symbol, value in step.map.geometry(**step.arrays()).items()
    }


def animate(run: Run) -> list[Path]:
    """Draw the density from its base through all flows, as a GIF and as a WebP."""
    motion = motion_of(run)
    arrays = motion_arrays(motion, run.config.seed)
    names = plane.AXES if motion.density.units is IDENTITY else plane.COLUMN_AXES
    files = animation_files(arrays, with_warnings(run), names)
    return [
        run.directory.write(
            f"{PLOTS}/{ANIMATION}.{format}", lambda file, content=content: file.write(content)
        )
        for format, content in files.items()
    ]


def motion_of(run: Run) -> Motion:
    """The density of flows of two numbers, in motion."""
    trained = run.trained
    received = "none; `nflow fit TABLE --flow planar` fits some"
    if isinstance(trained, PushforwardDensity):
        reasons = {
            f"D = {trained.dim}": trained.dim != 2,
            f"an ensemble of {trained.n_members}": trained.n_members > 1,
            "columns that are given": trained.flow.takes_context,
            "K = 0": not trained.flow.length,
        }
        received = next((reason for reason, holds in reasons.items() if holds), "")
    if received:
        raise ConfigError(
            f"--flow-at, --animate, --live: expected flows of two numbers. Received: {received}"
        )
    return Motion(trained)
