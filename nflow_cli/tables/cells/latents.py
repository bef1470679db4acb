"""Latents of rows, which are normal scores of cells given those before, and back: NumPy, float64.

    z_j = Φ⁻¹(P(X_j < x_j | before) + P(X_j = x_j | before)/2)

Those of rows of the density are independent and, of continuous columns, N(0, 1) (Rosenblatt 1952).
A cell with a mass has an interval, and its latent is of the middle; from N(0, I) rows are draws.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from nflow_cli.arrays import log_ndtr, ndtri
from nflow_cli.constants import LARGEST_CELL
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_distribution import LEAST_MASS, CellDistribution
from nflow_cli.tables.cells.cells_density import ROWS_DRAWN, CellDensity, blocks_of
from nflow_cli.tables.cells.computed_cells import Computed

MIDDLE = 0.5  # of an interval
LEAST = 2.0**-53  # distance of a probability from 1, at least
NEW_LEVEL = -1.0  # value of a level that no training row has
STEP_PART = 2.0**-26  # of a column's step, to which its continuous numbers are found
# Probabilities ``(m,)`` below and at values ``(m,)`` of the rows at indices ``(m,)``.
BelowAndAt = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def latents(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Latents ``(n, D + K)`` of rows ``(n, C)``; NaN if unknown."""
    (u,) = density.by_blocks(lambda block: (block.pit(MIDDLE),), rows)
    return ndtri(np.clip(u, np.finfo(float).tiny, 1 - LEAST), np)


def rows_at(density: CellDensity, latents: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Rows ``(n, C)`` with latents ``(n, D + K)``, at the given columns of ``given`` ``(n, C)``."""
    u = np.minimum(np.exp(log_ndtr(latents, np)), 1 - LEAST)
    rows = given.astype(float)
    for block in blocks_of(len(rows), ROWS_DRAWN):
        unknown = np.ones(rows[block].shape, bool)
        cells = partial(_cells_of_distribution, u[block])
        rows[block] = density.column_by_column(rows[block], unknown, cells)
    if density.unmixing:
        rows = density.unmixing.rows(rows)
    for k, computed in enumerate(density.computed_columns):
        place = len(density.modelled_columns) + k
        rows[:, computed.place] = _computed_cells(computed, rows, u[:, place])
    return rows


def _cells_of_distribution(u: np.ndarray, place: int, distribution: CellDistribution) -> np.ndarray:
    """Values ``(n,)`` of the cells that ``u`` ``(n, D + K)`` is in, at a place."""
    u = u[:, place]
    column = distribution.column
    first = np.zeros(len(u))
    if not column.has_levels:
        p = np.nan_to_num(u)[:, None]
        guess = distribution.quantiles(np.clip(p, LEAST_MASS, 1 - LEAST_MASS))
        first = column.values_at(guess[:, 0])

    def below_and_at(indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return distribution.of_rows(indices).below_and_at(column.encode(values))

    return _cells_at(column, below_and_at, u, first)


def _computed_cells(computed: Computed, rows: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Values ``(n,)`` of a computed column in rows ``(n, C)``, by ``u`` ``(n,)``."""
    column = computed.column
    first = computed.expected(rows).values
    if not column.has_levels:
        first = np.where(np.isnan(first), column.values_at(np.zeros(1)), first)

    def below_and_at(indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows_with_values = rows[indices]
        rows_with_values[:, computed.place] = values
        return computed.below_and_at(rows_with_values)

    return _cells_at(column, below_and_at, u, first)


def _cells_at(
    column: CellColumn, below_and_at: BelowAndAt, u: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Values ``(n,)`` of a column's cells: the last that starts at or below ``u`` ``(n,)``, where a
    gap and a new level are above all others; NaN at a NaN. ``first`` ``(n,)``: guesses of numbers.
    """
    is_continuous = column.kind.kind == "number"

    def is_at_or_below(indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        below, at = below_and_at(indices, values)
        start = np.where(is_continuous & ~np.isnan(values), below + at / 2, below)
        return start <= u[indices]

    known = np.flatnonzero(~np.isnan(u))
    cells = np.full(len(u), np.nan)
    gaps = [] if column.missing_code is None else [np.nan]
    if column.has_levels:
        levels = np.array([*range(len(column.levels)), *gaps, NEW_LEVEL])
        cells[known] = _last_level(is_at_or_below, known, levels)
        return cells
    if gaps:
        known = known[~is_at_or_below(known, np.full(len(known), np.nan))]
    cells[known] = column.written(_last_number(column, is_at_or_below, known, first[known]))
    if is_continuous:  # all numbers half a step from the first or last value are in its interval
        for end in column.ends[~np.isnan(column.ends)]:
            below, at = below_and_at(known, np.full(len(known), end))
            is_end = (below <= u[known]) & (u[known] < below + at)
            cells[known[is_end]] = end
    return cells


def _last_level(
    is_at_or_below: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rows: np.ndarray,
    levels: np.ndarray,
) -> np.ndarray:
    """The last of the ``levels`` for which ``is_at_or_below`` holds, of the rows at indices
    ``(m,)``: by bisection.
    """
    low = np.zeros(len(rows), int)
    high = np.full(len(rows), len(levels) - 1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        holds = is_at_or_below(rows, levels[middle])
        low = np.where(holds, middle, low)
        high = np.where(holds, high, np.maximum(middle - 1, low))
    return levels[low]


def _last_number(
    column: CellColumn,
    is_at_or_below: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rows: np.ndarray,
    first: np.ndarray,
) -> np.ndarray:
    """The last number for which ``is_at_or_below`` holds, of the rows at indices ``(m,)``: from
    ``first`` ``(m,)`` by strides that double, then by bisection. On a grid it is one of its values.
    """

    def number(values: np.ndarray) -> np.ndarray:
        return np.clip(column.nearest(values), -LARGEST_CELL, LARGEST_CELL)

    near = number(first)  # on the side of the first
    is_up = is_at_or_below(rows, near)
    far = near.copy()
    stride = column.step
    active = np.arange(len(rows))
    while len(active):
        far[active] = number(near[active] + np.where(is_up[active], stride, -stride))
        is_near = is_at_or_below(rows[active], far[active]) == is_up[active]
        active = active[is_near & (np.abs(far[active]) < LARGEST_CELL)]
        near[active] = far[active]
        stride *= 2
    low = np.where(is_up, near, far)
    high = np.where(is_up, far, near)
    active = np.arange(len(rows))
    while len(active):
        middle = number(low[active] / 2 + high[active] / 2)
        is_between = (middle > low[active]) & (middle < high[active])
        is_coarse = high[active] - low[active] > STEP_PART * column.step
        is_active = is_between & is_coarse
        active = active[is_active]
        middle = middle[is_active]
        holds = is_at_or_below(rows[active], middle)
        low[active[holds]] = middle[holds]
        high[active[~holds]] = middle[~holds]
    return low
