"""What the flows of a density in the plane do: one of them, and all of them moment by moment."""

import math
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.grids import OUTER, Grid, grid_of, window_of, window_of_all
from nflow_cli.flows.composition import Step
from nflow_cli.flows.fold import run_maps
from nflow_cli.random_streams import stream
from nflow_cli.training.trainer import compiled

GRID = 200  # points of a density along each axis
DRAWS = 2_000  # that a window is chosen by
FRAMES, OF_A_FLOW, LEAST = 96, 24, 24  # moments in all at most, of a flow at most, in all at least
INVERSES = 8_192  # of a map, about as many as a moving picture takes
# Of the grid that a flow warps: lines each way, points of each, what part lies beyond each side.
LINES, ALONG, BEYOND = 25, 300, 0.35
SQUARE = 0.75  # of the longer side of the window of a flow, at least the shorter one


class Motion:
    """The flows of a density in the plane, run one by one or a part of the way.

    At a moment ``k + t`` the first k flows have moved the base, and the next one a part ``t`` of
    its way (:meth:`~nflow_cli.flows.map.Map.part`). All is in the coordinates of the flows.

    Args:
        density: Of D = 2, whose flows take no context.
    """

    def __init__(self, density: FlowDensity):
        self.density = density
        self.steps = list(density.flow.composition().steps())
        self._programs: dict[tuple[int, bool], Any] = {}

    def run(self, step: Step, points: Any, inverse: bool = False) -> tuple[Any, Any]:
        """Return what ``step.run`` does, by a program that serves all steps of a map."""
        key = (id(step.map), inverse)
        if key not in self._programs:
            one = step.map
            self._programs[key] = compiled(lambda w, z: run_maps([one], [w], 1, z, inverse))
        return self._programs[key](step.weights, points)

    def log_density(self, moment: float, z: np.ndarray) -> np.ndarray:
        """Return the log-density ``(n,)`` in nats at points ``(n, 2)``, at a moment."""
        points, (k, t) = self.tensor(z), _parted(moment)
        total = ops.zeros(len(z), points.dtype)
        part = [self.steps[k].part(t)] if t else []
        for step in reversed([*self.steps[:k], *part]):
            points, log_det = self.run(step, points, inverse=True)
            total = total + log_det
        return ops.convert_to_numpy(self.density.base.log_prob(points) + total)

    def images(self, moments: Any, z0: np.ndarray) -> np.ndarray:
        """Return where points ``(n, 2)`` of the base are at each of rising moments."""
        images, points, done = [], self.tensor(z0), 0
        for moment in moments:
            k, t = _parted(moment)
            for step in self.steps[done:k]:
                points, _ = self.run(step, points)
            done = k
            moved = self.run(self.steps[k].part(t), points)[0] if t else points
            images.append(ops.convert_to_numpy(moved))
        return np.stack(images)

    def draws(self, seed: int) -> np.ndarray:
        """Draw points ``(S, 2)`` from the base."""
        return self.density.base.sample(stream(seed, "motion"), (DRAWS, self.density.dim))

    def tensor(self, points: np.ndarray) -> Any:
        """Return points in the type of the flows."""
        return ops.convert_to_tensor(points, self.density.flow.variable_dtype)


def _parted(moment: float) -> tuple[int, float]:
    k = math.floor(moment)
    return k, float(moment) - k


def moments_of(length: int) -> np.ndarray:
    """Return the moments that a moving picture of so many flows shows, from 0 to ``length``.

    All that are whole numbers are among them, unless there are more flows than pictures.
    """
    if length > FRAMES:
        return np.linspace(0, length, min(FRAMES, max(LEAST, INVERSES // length)) + 1)
    return np.linspace(0, length, length * min(OF_A_FLOW, FRAMES // length) + 1)


def motion_arrays(motion: Motion, seed: int) -> dict[str, np.ndarray]:
    """Return what the moving picture is drawn from, in the units of the density.

    Returns:
        ``moments (F,)``, ``axis_1 (n,)``, ``axis_2 (m,)``, at each moment ``log_density (F, m, n)``
        in nats and where ``draws (F, S, 2)`` of the base are.
    """
    units, moments = motion.density.units, moments_of(len(motion.steps))
    images = motion.images(moments, motion.draws(seed))
    draws = units.outside(images)
    grid = grid_of(window_of_all(draws), GRID)
    z, log_det = units.inside_and_log_det(grid[:])
    log_density = [(motion.log_density(m, z) + log_det).reshape(grid.shape) for m in moments]
    axes = {"axis_1": grid.first, "axis_2": grid.second}
    return {"moments": moments, **axes, "log_density": np.stack(log_density), "draws": draws}


def flow_arrays(motion: Motion, number: int, seed: int) -> dict[str, np.ndarray]:
    """Return what the picture of one flow is drawn from, in the coordinates of the flows.

    Returns:
        ``axis_1 (n,)``, ``axis_2 (m,)``, the densities ``log_before`` and ``log_after`` it
        ``(m, n)`` in nats, ``draws_before`` and ``draws_after`` ``(S, 2)``, the ``lines`` of a grid
        and where it takes them, ``lines_after`` ``(L, P, 2)``, and the map's
        :meth:`~nflow_cli.flows.map.Map.geometry`.
    """
    moments = (number - 1, number)
    before, after = motion.images(moments, motion.draws(seed))
    window = window_of(np.stack([before, after]), OUTER)
    half = np.maximum(np.ptp(window, axis=0), SQUARE * np.ptp(window, axis=0).max()) / 2
    grid = grid_of(np.stack([window.mean(axis=0) - half, window.mean(axis=0) + half]), GRID)
    log_before, log_after = (motion.log_density(m, grid[:]).reshape(grid.shape) for m in moments)
    lines, step = _lines(grid), motion.steps[number - 1]
    moved, _ = step.run(motion.tensor(lines.reshape(-1, 2)))
    geometry = step.map.geometry(**step.arrays())
    return {
        **{"axis_1": grid.first, "axis_2": grid.second},
        **{"log_before": log_before, "log_after": log_after},
        **{"draws_before": before, "draws_after": after, "lines": lines},
        "lines_after": ops.convert_to_numpy(moved).reshape(lines.shape),
        **{name: np.squeeze(value, (0, -1)) for name, value in geometry.items()},
    }


def _lines(grid: Grid) -> np.ndarray:
    """Return the lines ``(L, P, 2)`` of a coarse grid over the window and what is around it."""
    ends = [(axis[0], axis[-1], np.ptp(axis) * BEYOND) for axis in (grid.first, grid.second)]
    (x, y), (along_x, along_y) = (
        [np.linspace(low - more, high + more, n) for low, high, more in ends]
        for n in (LINES, ALONG)
    )
    across = [np.stack([along_x, np.full(ALONG, at)], axis=-1) for at in y]
    up = [np.stack([np.full(ALONG, at), along_y], axis=-1) for at in x]
    return np.stack([*across, *up])
