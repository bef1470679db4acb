"""Grids in the plane. No Keras here."""

import numpy as np


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
