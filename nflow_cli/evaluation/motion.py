"""Motion of a 2-D density through its flows, the plot of one flow, and grids in the plane."""

import math
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.constants import FAR
from nflow_cli.densities.pushforward import Draw, PushforwardDensity, values_at
from nflow_cli.densities.targets import Target
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

GRID = 200  # points along each axis
DRAWS = 2_000  # samples that set the window
FRAMES, FRAMES_A_FLOW, FEWEST_FRAMES = 96, 24, 24  # at most, per flow at most, at least
INVERSES = 8_192  # of a map, about the most of an animation
# Grid that a flow warps: lines each way, points per line, part beyond each side of the window.
LINES, ALONG, BEYOND = 25, 300, 0.35
SQUARE = 0.75  # least ratio of the sides of a flow's window
# Share of samples outside a window at each end: of base and fit, and of stages between; border.
OUTER, INNER, BORDER = 0.003, 0.03, 0.1
DOT = 0.05  # side of the fit's window over that of the deformation's, below which it shows a dot


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
        self.density, self.compiles = density, compiles
        self.steps = list(density.flow.composition().steps())
        self._programs: dict[tuple[int, bool], Any] = {}

    def run(self, step: Step, points: Any, inverse: bool = False) -> tuple[Any, Any]:
        """``step.run``, compiled once per map if at all."""
        if not self.compiles:
            return step.run(points, inverse)
        key = (id(step.map), inverse)
        if key not in self._programs:
            one = step.map
            self._programs[key] = compiled(lambda w, z: run_maps([one], [w], 1, z, inverse))
        return self._programs[key](step.weights, points)

    def log_density(self, moment: float, z: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats of points ``(n, D)`` at a moment."""
        points, (k, t) = self.density.tensor(np.clip(z, -FAR, FAR)), _parted(moment)
        total = ops.zeros(len(z), points.dtype)
        part = [self.steps[k].part(t)] if t else []
        for step in reversed([*self.steps[:k], *part]):
            points, log_det = self.run(step, points, inverse=True)
            total = total + log_det
        return ops.convert_to_numpy(self.density.base.log_prob(points) + total)

    def images(self, moments: Any, z0: np.ndarray) -> np.ndarray:
        """Images of base points ``(n, D)`` at increasing moments."""
        images, points, done = [], self.density.tensor(z0), 0
        for moment in moments:
            k, t = _parted(moment)
            for step in self.steps[done:k]:
                points, _ = self.run(step, points)
            done = k
            moved = self.run(self.steps[k].part(t), points)[0] if t else points
            images.append(ops.convert_to_numpy(moved))
        return np.stack(images)

    def log_densities(self, moments: Any, grid: Grid) -> np.ndarray:
        """Log-densities ``(P, m, n)`` in nats at moments on a grid, in the density's units."""
        z, log_det = self.density.units.inside_and_log_det(grid.points)
        log_q = [(self.log_density(m, z) + log_det).reshape(grid.shape) for m in moments]
        return np.stack(log_q)

    def draws(self, seed: int) -> np.ndarray:
        """Base points ``(S, D)``."""
        return self.density.base.sample(stream(seed, "motion"), (DRAWS, self.density.dim))


def _parted(moment: float) -> tuple[int, float]:
    k = math.floor(moment)
    return k, float(moment) - k


def moments_of(length: int) -> np.ndarray:
    """Moments of the frames for ``length`` flows, 0 to ``length``: whole numbers for fewer flows
    than frames.
    """
    if length > FRAMES:
        return np.linspace(0, length, min(FRAMES, max(FEWEST_FRAMES, INVERSES // length)) + 1)
    return np.linspace(0, length, length * min(FRAMES_A_FLOW, FRAMES // length) + 1)


def motion_arrays(motion: Motion, seed: int) -> dict[str, np.ndarray]:
    """Arrays of :func:`~nflow_cli.plotting.plane.animation_files`, in units of the density."""
    moments = moments_of(len(motion.steps))
    draws = motion.density.units.outside(motion.images(moments, motion.draws(seed)))
    grid = grid_of(window_of_all(draws), GRID)
    axes = {"axis_1": grid.first, "axis_2": grid.second}
    log_density = motion.log_densities(moments, grid)
    return {"moments": moments, **axes, "log_density": log_density, "draws": draws}


def deformation_arrays(
    density: PushforwardDensity, z0: np.ndarray, grid: Grid | None = None
) -> dict[str, np.ndarray]:
    """Arrays for the plot of the density after the first k flows, in its units, with the images of
    ``z0`` ``(n, 2)``, on a grid that is by default over these.
    """
    motion = Motion(density, compiles=False)
    panels = strip_panels(len(motion.steps))
    images = density.units.outside(motion.images(panels, z0))
    grid = grid or grid_of(window_of_all(images), STRIP_GRID)
    return {
        "deformation_k": np.array(panels),
        "log_deformation": motion.log_densities(panels, grid),
        **{"deformation_axis_1": grid.first, "deformation_axis_2": grid.second},
        "deformation_samples": images,
    }


def strip_panels(k: int) -> list[int]:
    """Numbers of flows in the deformation picture: 0, ..., k, at most nine."""
    return sorted({round(i) for i in np.linspace(0, k, min(k + 1, STRIP_PANELS))})


def flow_arrays(motion: Motion, number: int, seed: int) -> dict[str, np.ndarray]:
    """Arrays of :func:`~nflow_cli.plotting.plane.flow_figure`, in the coordinates of the flows."""
    moments = (number - 1, number)
    before, after = motion.images(moments, motion.draws(seed))
    window = window_of(np.stack([before, after]), OUTER)
    half = np.maximum(np.ptp(window, axis=0), SQUARE * np.ptp(window, axis=0).max()) / 2
    grid = grid_of(np.stack([window.mean(axis=0) - half, window.mean(axis=0) + half]), GRID)
    log_before, log_after = (
        motion.log_density(m, grid.points).reshape(grid.shape) for m in moments
    )
    lines, step = _lines(grid), motion.steps[number - 1]
    moved, _ = step.run(motion.density.tensor(lines.reshape(-1, 2)))
    return {
        **{"axis_1": grid.first, "axis_2": grid.second},
        **{"log_before": log_before, "log_after": log_after},
        **{"draws_before": before, "draws_after": after, "lines": lines},
        "lines_after": ops.convert_to_numpy(moved).reshape(lines.shape),
    }


def _lines(grid: Grid) -> np.ndarray:
    ends = [(axis[0], axis[-1], np.ptp(axis) * BEYOND) for axis in (grid.first, grid.second)]
    (x, y), (along_x, along_y) = (
        [np.linspace(low - more, high + more, n) for low, high, more in ends]
        for n in (LINES, ALONG)
    )
    across = [np.stack([along_x, np.full(ALONG, at)], axis=-1) for at in y]
    up = [np.stack([np.full(ALONG, at), along_y], axis=-1) for at in x]
    return np.stack([*across, *up])


def window_of(draws: np.ndarray, out: float) -> np.ndarray:
    """Corners ``(2, 2)`` of a window of samples (F, S, 2), without a share ``out`` at each end."""
    low, high = np.nanquantile(draws, [out, 1 - out], axis=1)
    return np.stack([low.min(axis=0), high.max(axis=0)])


def window_of_all(draws: np.ndarray) -> np.ndarray:
    """Corners ``(2, 2)`` of a window for all stages ``(F, S, 2)`` of a flow."""
    ends, between = draws[[0, -1]], draws[1:-1]
    windows = [window_of(ends, OUTER), *([window_of(between, INNER)] if len(between) else [])]
    return np.stack([np.min(windows, axis=0)[0], np.max(windows, axis=0)[1]])


def grid_of(window: np.ndarray, n: int) -> Grid:
    """``n`` × ``n`` grid over a window and a border."""
    middle, half = window.mean(axis=0), (0.5 + BORDER) * np.ptp(window, axis=0)
    return grid_between(middle - half, middle + half, n)


def grid_between(low: np.ndarray, high: np.ndarray, n: int) -> Grid:
    """``n`` × ``n`` grid between two corners ``(2,)``."""
    first, second = np.linspace(low, high, n).T
    return Grid(first, second)


def density_arrays(
    density: PushforwardDensity, target: Target, first: Draw, seed: int, n: int
) -> dict[str, np.ndarray]:
    """Arrays for the plots: densities on an ``n x n`` grid over the target's window, and after each
    flow.

    ``first`` are samples of the fit.
    """
    window = target.window
    if window is None:
        window = float(np.quantile(np.abs(first.x), 0.999))
    center = np.broadcast_to(target.center, 2)
    grid = grid_between(center - window, center + window, n)
    drawn = np.empty((0, target.dim))
    if target.sample is not None:
        drawn = target.sample(stream(seed, "target-samples"), SHOWN_SAMPLES)
    z0 = first.z0[:SHOWN_SAMPLES]
    arrays = {
        **_on_grid(density, target, grid, z0),
        "samples": first.x[:SHOWN_SAMPLES],
        "target_samples": drawn,
        **deformation_arrays(density, z0),
    }
    return {k: a.astype(np.float32) if a.dtype == np.float64 else a for k, a in arrays.items()}


def _on_grid(
    density: PushforwardDensity, target: Target, grid: Grid, z0: np.ndarray
) -> dict[str, np.ndarray]:
    """Log-densities on a grid in the density's units, and its base samples there.

    That of the fit is exact, ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|``.
    """
    z, log_det = density.units.inside_and_log_det(grid.points)
    of_target, of_base = (values_at(p.log_prob, z) + log_det for p in (target, density.base))
    return {
        "axis_1": grid.first,
        "axis_2": grid.second,
        "log_target": of_target.reshape(grid.shape),
        "log_base": of_base.reshape(grid.shape),
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
    first = next(density.draw(SHOWN_SAMPLES, lambda _: rng, even=True))
    with suppress(ArrayError, TargetError), np.errstate(all="ignore"):
        grid = grid_of(window_of(np.stack([rows, first.x]), OUTER), GRID)
        arrays = {} if density.members > 1 else deformation_arrays(density, first.z0)
        sides = [(grid[i], arrays.get(f"deformation_axis_{i + 1}", grid[i])) for i in range(2)]
        check_axes({"axis_1": grid.first, "axis_2": grid.second, **arrays})
        if any(np.ptp(side) < DOT * np.ptp(of_all) for side, of_all in sides):
            arrays = {}
        arrays |= _on_grid(density, target, grid, first.z0)
        arrays["log_target"] = arrays["log_target"] - log_z
        arrays["target_samples"] = rows if target.sample is not None else rows[:0]
        # Axes stay float64: far from 0 its steps may be wider than the grid's.
        return {k: a.astype(np.float32) if k[:4] == "log_" else a for k, a in arrays.items()}
    return {}
