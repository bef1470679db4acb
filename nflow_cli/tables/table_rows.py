"""Rows of a table given a density of cells: which of their cells it cannot use as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.tables.cells.cells_density import CellDensity

COUNTED_CELLS = {
    "n_new_levels": ("new levels", "{n_new_levels:,} rows have a level that no training row has"),
    "n_impossible": (
        "impossible",
        "{n_impossible_cells:,} cells of {n_impossible:,} rows are off their grid: they are taken "
        "as unknown",
    ),
}


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table given a density, by which their cells are judged once.

    Attributes:
        density: The density.
        values: ``(n, C)``.
    """

    density: CellDensity
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def are_impossible(self) -> np.ndarray:
        """Which modelled or computed cells ``(n, C)`` no row can have: off their grid."""
        (log_p,) = self.density.by_blocks(lambda block: (block.by_marginals,), self.values)
        return np.pad(np.isneginf(log_p), ((0, 0), (self.density.n_given, 0)))

    @property
    def are_empty(self) -> np.ndarray:
        """Which cells ``(n, C)`` are empty in columns that had no empty cells in training."""
        return np.isnan(self.values) & [
            column.missing_code is None for column in self.density.row_columns
        ]

    def unknown_cells(self, *targets: int) -> np.ndarray:
        """Which modelled cells ``(n, C)`` but targets are empty, or such as no row can have."""
        unknown = self.are_empty | self.are_impossible
        unknown[:, list(targets)] = False
        unknown[:, : self.density.n_given] = False
        unknown[:, len(self.density.columns) :] = False
        return unknown

    def counts(self, targets: Sequence[str] = ()) -> dict[str, int]:
        """Numbers of rows and cells, except targets, that are not used as they are."""
        no_targets = np.array([column.name not in targets for column in self.density.row_columns])
        are_impossible = self.are_impossible & no_targets
        are_levels = no_targets & [column.has_levels for column in self.density.row_columns]
        return {
            "n_new_levels": int((self.values[:, are_levels] < 0).any(axis=1).sum()),
            "n_impossible": int(are_impossible.any(axis=1).sum()),
            "n_impossible_cells": int(are_impossible.sum()),
        }
