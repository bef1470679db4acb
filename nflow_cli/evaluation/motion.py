"""Motion of a 2-D density through its flows, the plot of one flow, and grids in the plane."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.constants import FAR
from nflow_cli.densities.pushforward import Draw, PushforwardDensity, values_at
from nflow_cli.densities.target import Target
from nflow_cli.errors import TargetError
from nflow_cli.flows.composition import Step, run_maps
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import (
    SHOWN_SAMPLES,
    STRIP_GRID,
    STRIP_PANELS,
    ArrayError,
    check_axes,
)

GRID_POINTS = 200  # along each axis
WINDOW_DRAWS = 2_000  # samples that set the window
MOST_FRAMES = 96  # of an animation
FRAMES_A_FLOW = 24  # at most
FEWEST_FRAMES = 24  # of an animation
MOST_INVERSES = 8_192  # of a map, by about all frames of an animation
# Lines that a flow warps, each way; points of a line; its part beyond each side of the window.
N_LINES = 25
LINE_POINTS = 300
LINE_PART_BEYOND = 0.35
LEAST_SIDE_RATIO = 0.75  # of a flow's window
OUTER_SHARE = 0.003  # of samples of base and fit that are outside a window at each end
INNER_SHARE = 0.03  # the same of the stages between
BORDER = 0.1  # of a window, relative to its sides
DOT_RATIO = 0.05  # sides of the fit's window to the deformation's: below, the fit would be a dot


class Grid(NamedTuple):
    """Grid of coordinates ``(n,)`` along rows and ``(m,)``."""

    first: np.ndarray
    second: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``, of values on the grid."""
        return len(self.second), len(self.first)

    @property
    def points(self) -> np.ndarray:
        """Points ``(m n, 2)``, along rows first."""
        return np.stack(np.meshgrid(self.first, self.second), axis=-1).reshape(-1, 2)


class Motion:
    """Flows of a 2-D density, run partially.

    At moment ``k + t`` the first k flows and a part ``t`` of the next
    (:meth:`~nflow_cli.flows.map.Map.part`) have been applied, in the coordinates of the flows.

    Args:
        density: One member, without given columns.
        compiles: Each map once, which takes longer than a few moments.
    """

    def __init__(self, density: PushforwardDensity, compiles: bool = True):
        self.density = density
        self.compiles = compiles
        self.steps = list(density.flow.composition().steps())
        self._programs: dict[tuple[int, bool], Callable[..., tuple[Any, Any]]] = {}

    def run(self, step: Step, points: Any, inverse: bool = False) -> tuple[Any, Any]:
        """Image of a tensor of points ``(n, D)`` by a step, and its log-determinants ``(n,)``; the
        map is compiled once, if the motion compiles.
        """
        if not self.compiles:
            return step.run(points, inverse)
        key = (id(step.map), inverse)
        if key not in self._programs:
            maps = [step.map]
            self._programs[key] = compiled(lambda w, z: run_maps(maps, [w], 1, z, inverse))
        return self._programs[key](step.weights, points)

    def log_density(self, moment: float, z: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats of points ``(n, D)`` at a moment."""
        points = self.density.tensor(np.clip(z, -FAR, FAR))
        k, t = _flows_at(moment)
        steps = self.steps[:k]
        if t:
            steps.append(self.steps[k].part(t))
        log_dets = ops.zeros(len(z), points.dtype)
        for step in reversed(steps):
            points, log_det = self.run(step, points, inverse=True)
            log_dets = log_dets + log_det
        return ops.convert_to_numpy(self.density.base.log_prob(points) + log_dets)

    def images(self, moments: Sequence[float] | np.ndarray, z0: np.ndarray) -> np.ndarray:
        """Images ``(F, n, D)`` of base points ``(n, D)`` at F increasing moments, in the
        coordinates of the flows.
        """
        images = []
        points = self.density.tensor(z0)
        n_applied = 0
        for moment in moments:
            k, t = _flows_at(moment)
            for step in self.steps[n_applied:k]:
                points, _ = self.run(step, points)
            n_applied = k
            image = self.run(self.steps[k].part(t), points)[0] if t else points
            images.append(ops.convert_to_numpy(image))
        return np.stack(images)

    def log_densities(self, moments: Sequence[float] | np.ndarray, grid: Grid) -> np.ndarray:
        """Log-densities ``(P, m, n)`` in nats at moments on a grid, in the density's units."""
        z, log_det = self.density.units.inside_and_log_det(grid.points)
        log_q = [(self.log_density(m, z) + log_det).reshape(grid.shape) for m in moments]
        return np.stack(log_q)

    def draws(self, seed: int) -> np.ndarray:
        """Base points ``(S, D)`` whose images set the window."""
        return self.density.base.sample(stream(seed, "motion"), (WINDOW_DRAWS, self.density.dim))


def _flows_at(moment: float) -> tuple[int, float]:
    """Number k of complete flows before a moment ``k + t``, and the part ``t`` of the next."""
    k = math.floor(moment)
    return k, float(moment) - k


def moments_of(length: int) -> np.ndarray:
    """Moments of the frames for ``length`` flows, 0 to ``length``: whole numbers for fewer flows
    than frames.
    """
    if length > MOST_FRAMES:
        return np.linspace(
            0, length, min(MOST_FRAMES, max(FEWEST_FRAMES, MOST_INVERSES // length)) + 1
        )
    return np.linspace(0, length, length * min(FRAMES_A_FLOW, MOST_FRAMES // length) + 1)


def motion_arrays(motion: Motion, seed: int) -> dict[str, np.ndarray]:
    """Arrays by name of :func:`~nflow_cli.plotting.plane.animation_files`, in units of the
    density.
    """
    moments = moments_of(len(motion.steps))
    draws = motion.density.units.outside(motion.images(moments, motion.draws(seed)))
    grid = grid_over(window_of_stages(draws), GRID_POINTS)
    return {
        "moments": moments,
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_density": motion.log_densities(moments, grid),
        "draws": draws,
    }


def deformation_arrays(
    density: PushforwardDensity, z0: np.ndarray, grid: Grid | None = None
) -> dict[str, np.ndarray]:
    """Arrays for the plot of the density after the first k flows, in its units, with the images of
    ``z0`` ``(n, 2)``, on a grid that is by default over these.
    """
    motion = Motion(density, compiles=False)
    panels = strip_panels(len(motion.steps))
    images = density.units.outside(motion.images(panels, z0))
    grid = grid or grid_over(window_of_stages(images), STRIP_GRID)
    return {
        "deformation_k": np.array(panels),
        "log_deformation": motion.log_densities(panels, grid),
        "deformation_axis_1": grid.first,
        "deformation_axis_2": grid.second,
        "deformation_samples": images,
    }


def strip_panels(k: int) -> list[int]:
    """Numbers of flows in the deformation picture: 0, ..., k, at most nine."""
    return sorted({round(i) for i in np.linspace(0, k, min(k + 1, STRIP_PANELS))})


def flow_arrays(motion: Motion, number: int, seed: int) -> dict[str, np.ndarray]:
    """Arrays by name of :func:`~nflow_cli.plotting.plane.flow_figure`, of a flow by its ``number``
    from 1, in the coordinates of the flows.
    """
    before, after = motion.images((number - 1, number), motion.draws(seed))
    window = window_of(np.stack([before, after]), OUTER_SHARE)
    sides = np.ptp(window, axis=0)
    half = np.maximum(sides, LEAST_SIDE_RATIO * sides.max()) / 2
    centre = window.mean(axis=0)
    grid = grid_over(np.stack([centre - half, centre + half]), GRID_POINTS)
    lines = _warped_lines(grid)
    points = motion.density.tensor(lines.reshape(-1, 2))
    moved, _ = motion.steps[number - 1].run(points)
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_before": motion.log_density(number - 1, grid.points).reshape(grid.shape),
        "log_after": motion.log_density(number, grid.points).reshape(grid.shape),
        "draws_before": before,
        "draws_after": after,
        "lines": lines,
        "lines_after": ops.convert_to_numpy(moved).reshape(lines.shape),
    }


def _warped_lines(grid: Grid) -> np.ndarray:
    """Points of the lines that a flow warps ``(2 N_LINES, LINE_POINTS, 2)``: horizontal, then
    vertical.
    """
    along_x = _coordinates_beyond(grid.first, LINE_POINTS)
    along_y = _coordinates_beyond(grid.second, LINE_POINTS)
    lines = [
        np.stack([along_x, np.full(LINE_POINTS, y)], -1)
        for y in _coordinates_beyond(grid.second, N_LINES)
    ]
    lines += [
        np.stack([np.full(LINE_POINTS, x), along_y], -1)
        for x in _coordinates_beyond(grid.first, N_LINES)
    ]
    return np.stack(lines)


def _coordinates_beyond(axis: np.ndarray, n: int) -> np.ndarray:
    """``n`` coordinates over an axis and a part beyond each of its ends."""
    beyond = np.ptp(axis) * LINE_PART_BEYOND
    return np.linspace(axis[0] - beyond, axis[-1] + beyond, n)


def window_of(draws: np.ndarray, share_outside: float) -> np.ndarray:
    """Corners ``(2, 2)`` of a window of samples ``(F, S, 2)`` at F stages, of each without a
    ``share_outside`` at each end.
    """
    low, high = np.nanquantile(draws, [share_outside, 1 - share_outside], axis=1)
    return np.stack([low.min(axis=0), high.max(axis=0)])


def window_of_stages(draws: np.ndarray) -> np.ndarray:
    """Corners ``(2, 2)`` of a window for samples ``(F, S, 2)`` at all stages of a flow; between the
    first and the last fewer need to be inside.
    """
    windows = [window_of(draws[[0, -1]], OUTER_SHARE)]
    stages_between = draws[1:-1]
    if len(stages_between):
        windows.append(window_of(stages_between, INNER_SHARE))
    return np.stack([np.min(windows, axis=0)[0], np.max(windows, axis=0)[1]])


def grid_over(window: np.ndarray, n: int) -> Grid:
    """``n`` × ``n`` grid over a window with corners ``(2, 2)``, and a border."""
    middle = window.mean(axis=0)
    half = (0.5 + BORDER) * np.ptp(window, axis=0)
    return grid_between(middle - half, middle + half, n)


def grid_between(low: np.ndarray, high: np.ndarray, n: int) -> Grid:
    """``n`` × ``n`` grid between two corners ``(2,)``."""
    first, second = np.linspace(low, high, n).T
    return Grid(first, second)


def density_arrays(
    density: PushforwardDensity, target: Target, fit_draws: Draw, seed: int, n: int
) -> dict[str, np.ndarray]:
    """Arrays for the plots: densities on an ``n x n`` grid over the target's window, and after each
    flow.

    ``fit_draws`` are samples of the fit.
    """
    window = target.window
    if window is None:
        window = float(np.quantile(np.abs(fit_draws.x), 0.999))  # but for outliers
    center = np.broadcast_to(target.center, 2)
    grid = grid_between(center - window, center + window, n)
    target_samples = np.empty((0, target.dim))
    if target.sample is not None:
        target_samples = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    z0 = fit_draws.z0[:SHOWN_SAMPLES]
    arrays = {
        **_grid_arrays(density, target, grid, z0),
        "samples": fit_draws.x[:SHOWN_SAMPLES],
        "target_samples": target_samples,
        **deformation_arrays(density, z0),
    }
    doubles = [name for name, array in arrays.items() if array.dtype == np.float64]
    return arrays | {name: arrays[name].astype(np.float32) for name in doubles}


def _grid_arrays(
    density: PushforwardDensity, target: Target, grid: Grid, z0: np.ndarray
) -> dict[str, np.ndarray]:
    """Log-densities of target, base and fit on a grid, by name, with its axes, and base points
    ``z0`` ``(S, 2)``: all in the density's units.

    That of the fit is exact, ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|``.
    """
    z, log_det = density.units.inside_and_log_det(grid.points)
    log_target = values_at(target.log_prob, z) + log_det
    log_base = values_at(density.base.log_prob, z) + log_det
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_target": log_target.reshape(grid.shape),
        "log_base": log_base.reshape(grid.shape),
        "log_q": density.log_prob(grid.points).reshape(grid.shape),
        "base_samples": density.units.outside(z0),
    }


def plane_arrays(
    density: PushforwardDensity, target: Target, rows: np.ndarray, seed: int, log_z: float
) -> dict[str, np.ndarray]:
    """Arrays of :func:`density_arrays` over a window of samples of the fit and of ``rows`` of the
    target ``(n, 2)``, in the density's units; ``log_z`` is subtracted from ``log p``.

    None where ``p`` fails on the grid, or the samples have no window. Without the deformation of a
    mixture, and where the fit would be a dot beside the base.
    """
    rng = stream(seed, "evaluation")
    fit_draws = next(density.draw(SHOWN_SAMPLES, lambda _: rng, even=True))
    with suppress(ArrayError, TargetError), np.errstate(all="ignore"):
        grid = grid_over(window_of(np.stack([rows, fit_draws.x]), OUTER_SHARE), GRID_POINTS)
        deformation = {}
        if density.n_members == 1:
            deformation = deformation_arrays(density, fit_draws.z0)
        check_axes({"axis_1": grid.first, "axis_2": grid.second, **deformation})
        if deformation and _is_dot(grid, deformation):
            deformation = {}
        arrays = deformation | _grid_arrays(density, target, grid, fit_draws.z0)
        arrays["log_target"] -= log_z
        arrays["target_samples"] = rows if target.sample is not None else rows[:0]
        # Axes stay float64: far from 0 its steps may be wider than the grid's.
        log_densities = [name for name in arrays if name.startswith("log_")]
        return arrays | {name: arrays[name].astype(np.float32) for name in log_densities}
    return {}


def _is_dot(grid: Grid, deformation: Mapping[str, np.ndarray]) -> bool:
    """Whether the window of a fit is so small beside that of its deformation that the fit is a
    dot.
    """
    sides = np.array([np.ptp(grid.first), np.ptp(grid.second)])
    axes = [deformation["deformation_axis_1"], deformation["deformation_axis_2"]]
    return bool(np.any(sides < DOT_RATIO * np.ptp(axes, axis=1)))
