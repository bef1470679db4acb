"""Grids in the plane, and the windows that they cover. No Keras here."""

import numpy as np

# Draws that a window may leave out at each end: of the base and the fit, and of what is between.
OUTER, INNER, BORDER = 0.003, 0.03, 0.1


class Grid:
    """The points ``(n * m, 2)`` of a grid, the first coordinate along rows.

    A slice of it is an array: the whole, of which a picture can have millions, need never be.

    Args:
        first: First coordinates ``(n,)``.
        second: Second coordinates ``(m,)``.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``, of an array with a value for each point."""
        return len(self.second), len(self.first)

    def __len__(self) -> int:
        return len(self.first) * len(self.second)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.at(np.arange(*part.indices(len(self))))

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Return points by their numbers, ``(m, 2)``."""
        rows, columns = np.unravel_index(indices, self.shape)
        return np.stack([self.first[columns], self.second[rows]], axis=-1)


class Together:
    """Several sets of points ``(n, 2)``, one after the other; a slice of it is an array."""

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
    """Return the corners ``(2, 2)`` of a window that holds all but ``out`` of draws (F, S, 2)."""
    low, high = np.nanquantile(draws, [out, 1 - out], axis=1)
    return np.stack([low.min(axis=0), high.max(axis=0)])


def window_of_all(draws: np.ndarray) -> np.ndarray:
    """Return the corners ``(2, 2)`` of a window of all of a flow, from the base to the fit.

    Args:
        draws: After more and more of the flow ``(F, S, 2)``.
    """
    ends, between = draws[[0, -1]], draws[1:-1]
    windows = [window_of(ends, OUTER), *([window_of(between, INNER)] if len(between) else [])]
    return np.stack([np.min(windows, axis=0)[0], np.max(windows, axis=0)[1]])


def grid_of(window: np.ndarray, n: int) -> Grid:
    """Return a grid of ``n`` points along each axis over a window and a border."""
    middle, half = window.mean(axis=0), (0.5 + BORDER) * np.ptp(window, axis=0)
    first, second = np.linspace(middle - half, middle + half, n).T
    return Grid(first, second)
