"""Shape of a numeric column: lattice, atoms, ends where rows accumulate."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.config.column_kinds import MAX_ATOMS, Lattice
from nflow_cli.data.files.lattices import SPARSE, lattice_index, snapped
from nflow_cli.data.files.written import DistinctNumbers, shifted, spacing
from nflow_cli.data.kinds.atoms import Heaps, heaps

REPEATED = 0.25  # of a grid's rows without atoms are on repeated values
THIN = 0.02  # rows of the smooth part per place of a grid, at least
MIN_EXCESS = 0.1  # of all atoms' excess in the kept ones; with less, ties are no atoms
FINE = 1e-6  # resolution of repeated values over their range, at least
CERTAIN = 20  # distinct values with a common step that is no chance
CROWD = 0.01  # of the rows are at a bound,
NEAR = 0.01  # within this part of the interquartile range,
MAX_PLACES = 20  # of a rounded end, from its first digit on
CROWD_ROWS = 5  # and this number, at least


@dataclass(frozen=True, eq=False)
class Shape:
    """Shape of a numeric column.

    Attributes:
        atoms: Values more frequent than a smooth density explains.
        repeats: Whether values repeat more often than a density explains.
        is_grid: Whether values repeat on the lattice.
        lattice: Of a grid, and of numbers that differ by a step with an offset.
        resolution: Step of the lattice, or of written numbers.
        bounds: `[low, high]` where rows accumulate, or None.
    """

    atoms: list[float]
    repeats: bool
    is_grid: bool
    lattice: Lattice | None
    resolution: float
    bounds: list[float | None] | None


def shape_of(numbers: DistinctNumbers, lattice: Lattice | None, is_grid: bool) -> Shape:
    """Shape of a column, by its distinct values and their coarsest lattice, if any.

    ``is_grid``: even if values do not repeat.
    """
    values = numbers.values
    counts = numbers.counts
    resolution = numbers.resolution
    if lattice is not None and len(values) >= CERTAIN:
        resolution = max(resolution, lattice.step)
    places = values / resolution
    of_places = 1.0 if numbers.places is not None else spacing(values, numbers.typical)
    heaped = heaps(places - places[0], counts, of_places)
    if lattice is not None:
        on = lattice_index(values, lattice)
        on, first = np.unique(on, return_index=True)
        moved = snapped(values[first], lattice)
        rows = np.add.reduceat(counts, first)
        of_grid = heaps(on, rows)
        is_dense = len(on) >= SPARSE * np.ptp(on)
        if is_grid or (is_dense and _repeats(rows, of_grid)):
            return _shape(moved, rows, of_grid, lattice, lattice.step, is_grid=True)
    if numbers.places is None and heaped.are_atoms.any():
        # Else new values, of all digits of their type, outweigh all other cells.
        resolution = max(resolution, FINE * float(np.ptp(values)))
    # Multiples of the resolution have no other lattice.
    is_shifted = lattice is not None and lattice.offset and lattice.step == resolution
    if not is_shifted or numbers.decimals is None:
        lattice = None
    return _shape(values, counts, heaped, lattice, resolution)


def _shape(
    values: np.ndarray,
    counts: np.ndarray,
    heaped: Heaps,
    lattice: Lattice | None,
    resolution: float,
    is_grid: bool = False,
) -> Shape:
    kept = heaped.most(MAX_ATOMS)
    if heaped.nats[kept].sum() < MIN_EXCESS * heaped.nats.sum():
        kept = kept[:0]
    bounds = crowded_ends(values, counts, heaped.are_atoms, resolution if is_grid else 0.0)
    repeats = is_grid or bool(heaped.are_atoms.any())
    return Shape(values[kept].tolist(), repeats, is_grid, lattice, resolution, bounds)


def _repeats(counts: np.ndarray, heaped: Heaps) -> bool:
    rows = counts[~heaped.are_atoms]
    dense = np.average(heaped.expected, weights=counts) >= THIN
    return bool(dense and rows[rows > 1].sum() >= REPEATED * rows.sum())


def crowded_ends(
    values: np.ndarray, counts: np.ndarray, are_atoms: np.ndarray, step: float
) -> list[float | None] | None:
    """Ends at which rows accumulate, or None.

    ``values`` ``(m,)`` ascend; ``step`` is of a grid, or 0.
    """
    ranks = np.cumsum(counts) / counts.sum()
    low, high = values[np.searchsorted(ranks, (0.25, 0.75))]
    reach = NEAR * float(high - low)
    low = _lower_end(values, counts, are_atoms[0], reach, step)
    high = _lower_end(-values[::-1], counts[::-1], are_atoms[-1], reach, step)
    if high is not None:
        high = 0.0 - high
    return None if low is None and high is None else [low, high]


def _lower_end(
    values: np.ndarray, counts: np.ndarray, is_atom: bool, reach: float, step: float
) -> float | None:
    """Lower end, if its rows are at least half of those next to it: the lowest value of a grid or
    atom, else the roundest number just below.
    """
    width = max(reach, step / 2)
    from_end = values - values[0]
    rows = counts[from_end <= width].sum()
    if rows < max(CROWD_ROWS, CROWD * counts.sum()):
        return None
    if rows < counts[(from_end > width) & (from_end <= max(2 * reach, 1.5 * step))].sum() / 2:
        return None
    return float(values[0]) if step or is_atom or not reach else _rounded_down(values[0], reach)


def _rounded_down(value: float, reach: float) -> float:
    first = -int(np.floor(np.log10(max(abs(value), reach)))) - 1
    for places in range(first, min(first + MAX_PLACES, 300)):
        end = shifted(np.ceil(shifted(value, places)) - 1, -places)
        if value - reach <= end < value:
            return float(end + 0.0)
    return float(value)
