"""Grids in the plane, and plot windows."""

from typing import NamedTuple

import numpy as np

# Share of samples outside a window at each end: of base and fit, and of stages between; border.
OUTER, INNER, BORDER = 0.003, 0.03, 0.1


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
