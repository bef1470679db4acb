"""The density fitted to points, in the user's units: its mass, and what is drawn."""

import numpy as np

from nflow_cli.evaluation import (
    STRIP_GRID,
    grid_points,
    partial_log_densities,
    partial_samples,
    strip_panels,
)
from nflow_cli.point_data import PointData
from nflow_cli.streams import stream
from nflow_cli.trained import TrainedOnPoints

SHOWN_POINTS = 2_000
SHOWN_GRID = 400
# Points that the pictures may leave out, in each coordinate at each end; and their border.
STRAYS, BORDER = 0.001, 0.12
WIDER = 0.25  # of the window, at each side, for what lies between the base and the points
Axes = tuple[np.ndarray, np.ndarray]


def density_of_points(trained: TrainedOnPoints, data: PointData) -> dict[str, np.ndarray]:
    """Return the arrays to plot.

    All arrays are in the user's units; densities are in nats per unit of area.
    """
    config = trained.config
    window = shown_window(data)
    axes = _axes(window, SHOWN_GRID)
    coarse = _axes(window + WIDER * np.array([[-1], [1]]) * np.ptp(window, axis=0), STRIP_GRID)
    panels = strip_panels(config.flow.k)
    inside = data.units.inside(grid_points(*coarse)).astype(np.float32)
    found = partial_log_densities(trained.flow, trained.base, dict.fromkeys(panels, inside))
    strip = np.stack([found[k].reshape(STRIP_GRID, STRIP_GRID) for k in panels])
    return {
        "axis_1": axes[0],
        "axis_2": axes[1],
        "log_q": trained.log_prob(grid_points(*axes)).reshape(SHOWN_GRID, SHOWN_GRID),
        "samples": trained.sample(SHOWN_POINTS, seed=config.seed),
        "test_points": data.test[:SHOWN_POINTS],
        "deformation_k": np.array(panels),
        "log_deformation": strip.astype(np.float64) + data.units.log_det,
        "deformation_axis_1": coarse[0],
        "deformation_axis_2": coarse[1],
        "deformation_samples": deformation_samples(trained, panels),
    }


def deformation_samples(trained: TrainedOnPoints, panels: list[int]) -> np.ndarray:
    """Draw from the density after the first k flows, for each k of ``panels``: ``(P, n, 2)``."""
    rng = stream(trained.config.seed, "deformation")
    z0 = trained.base.sample(rng, (SHOWN_POINTS, 2))
    return trained.units.outside(partial_samples(trained.flow, z0, panels))


def shown_window(data: PointData) -> np.ndarray:
    """Return the corners ``(2, 2)`` of what the pictures show: all training points but strays."""
    low, high = np.quantile(data.train, [STRAYS, 1 - STRAYS], axis=0)
    middle, half = (low + high) / 2, (0.5 + BORDER) * np.maximum(high - low, data.units.scale)
    return np.stack([middle - half, middle + half])


def _axes(window: np.ndarray, n: int) -> Axes:
    first, second = np.linspace(window[0], window[1], n).T
    return first, second
