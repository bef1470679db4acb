"""Grids in the plane, and plot windows."""

import numpy as np

# Share of samples outside a window at each end: of base and fit, and of stages between; border.
OUTER, INNER, BORDER = 0.003, 0.03, 0.1


class Grid:
    """Points ``(n * m, 2)`` of a grid of coordinates ``(n,)`` along rows and ``(m,)``; slices are
    lazy.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``, of values on the grid."""
        return len(self.second), len(self.first)

    def __len__(self) -> int:
        return len(self.first) * len(self.second)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.at(np.arange(*part.indices(len(self))))

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Points ``(m, 2)`` by index."""
        rows, columns = np.unravel_index(indices, self.shape)
        return np.stack([self.first[columns], self.second[rows]], axis=-1)


class Together:
    """Several grids in a row; a slice is an array."""

    def __init__(self, *sets: Grid):
        self.sets = sets

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        parts, first = [], 0
        for points in self.sets:
            parts.append(points[max(start - first, 0) : max(stop - first, 0)])
            first += len(points)
        return np.concatenate(parts)


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
