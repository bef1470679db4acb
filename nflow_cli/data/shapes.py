"""The shape of a column of numbers: its lattices, its atoms, and the ends at which rows crowd."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.config.column_schema import MAX_LEVELS
from nflow_cli.config.kinds_schema import MAX_ATOMS, Lattice
from nflow_cli.data.atoms import Heaps, heaps
from nflow_cli.data.lattices import SPARSE, lattices_of, positions, snapped
from nflow_cli.data.written import Written, shifted, spacing, typical_size

REPEATED = 0.25  # of the rows off the atoms that sit on repeated values, where there is a grid
THIN = 0.02  # rows that the smooth part has a place at least, where there is a grid
ALL = 0.9  # of the rows on atoms,
MANY = 0.5  # and of the distinct values that are atoms: they are levels
WORTH = 0.1  # of the excess of all atoms: if those kept have less, ties are of another making
CERTAIN = 20  # distinct values, which share a step by no chance
CROWD = 0.01  # of the rows lie at an end that bounds a column,
NEAR = 0.01  # within this part of the interquartile range,
MAX_PLACES = 20  # of a rounded end, from its first digit on
CROWD_ROWS = 5  # and so many rows at least


@dataclass(frozen=True, eq=False)
class Shape:
    """What the numbers of a column look like.

    Attributes:
        atoms: Values that repeat beyond what a smooth density explains.
        are_levels: Whether atoms, also those beyond the greatest number, are nearly all.
        lattices: Those that the values lie on, the finest first; none of a column of numbers.
        resolution: The step of the finest, or that of the written numbers.
        bounds: `[low, high]` where rows crowd at an end, or None.
    """

    atoms: list[float]
    are_levels: bool
    lattices: list[Lattice]
    resolution: float
    bounds: list[float | None] | None


def shape_of(numbers: Written, lattice: Lattice | None, is_grid: bool) -> Shape:
    """Return what numbers look like.

    Args:
        numbers: The distinct ones.
        lattice: The coarsest on which all lie, if there is one.
        is_grid: Whether they are a grid even if they do not repeat.
    """
    values, counts, resolution = numbers.values, numbers.counts, numbers.resolution
    if lattice is not None and len(values) >= CERTAIN:
        resolution = max(resolution, lattice.step)
    places = values / resolution
    heaped = heaps(places - places[0], counts, _spacing(numbers), 1)
    plain = _shape(values, counts, heaped, [], resolution)
    if lattice is None:
        return plain
    places, first = np.unique(positions(values, lattice), return_index=True)
    values, counts = snapped(values[first], lattice), np.add.reduceat(counts, first)
    found = lattices_of(places, counts, lattice)
    dense = np.average(found.weights, weights=counts) * len(places) >= SPARSE * np.ptp(places)
    if plain.are_levels and not (dense or is_grid):
        return plain
    period = max(grid.step for grid in found.all) / lattice.step
    heaped = heaps(places, counts, found.weights, period)
    if is_grid or _repeats(counts, heaped):
        return _shape(values, counts, heaped, found.all, lattice.step)
    return plain


def _spacing(numbers: Written) -> np.ndarray:
    """Return the spacing of a type's numbers at each value, in that at a typical one, `(m,)`.

    Twice the value's size is its most; decimals lie evenly.
    """
    if numbers.places is not None:
        return np.ones(len(numbers.values))
    return spacing(numbers.values, typical_size(numbers.values))


def _shape(
    values: np.ndarray,
    counts: np.ndarray,
    heaped: Heaps,
    lattices: list[Lattice],
    resolution: float,
) -> Shape:
    kept = heaped.most(MAX_ATOMS)
    if heaped.nats[kept].sum() < WORTH * heaped.nats.sum():
        kept = kept[:0]
    held, many = counts[heaped.are_atoms].sum(), heaped.are_atoms.mean()
    are_levels = many >= MANY and held >= ALL * counts.sum() and len(values) <= MAX_LEVELS
    bounds = crowded_ends(values, counts, heaped.are_atoms, resolution if lattices else 0.0)
    return Shape(values[kept].tolist(), bool(are_levels), lattices, resolution, bounds)


def _repeats(counts: np.ndarray, heaped: Heaps) -> bool:
    """Whether enough rows off the atoms sit on values that repeat, as a grid makes them."""
    off = ~heaped.are_atoms
    rows = counts[off]
    dense = np.average(heaped.expected, weights=counts) >= THIN
    return bool(dense and rows[rows > 1].sum() >= REPEATED * rows.sum())


def crowded_ends(
    values: np.ndarray, counts: np.ndarray, are_atoms: np.ndarray, step: float
) -> list[float | None] | None:
    """Return the ends of a column at which its rows crowd, or None.

    Args:
        values: `(m,)`, ascending.
        counts: `(m,)`, rows of each.
        are_atoms: `(m,)`, which values are atoms.
        step: Of a grid; 0 of numbers.
    """
    ranks = np.cumsum(counts) / counts.sum()
    low, high = values[np.searchsorted(ranks, (0.25, 0.75))]
    reach = NEAR * float(high - low)
    low = _lower_end(values, counts, are_atoms[0], reach, step)
    high = _lower_end(-values[::-1], counts[::-1], are_atoms[-1], reach, step)
    return None if low is None and high is None else [low, None if high is None else 0.0 - high]


def _lower_end(
    values: np.ndarray, counts: np.ndarray, is_atom: bool, reach: float, step: float
) -> float | None:
    """Return the lower end of a column if rows crowd there: no fewer than half those beside.

    That is the lowest value of a grid or an atom, else the roundest number just below it.
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
    """Return the roundest number below a value, but within reach; the value, if none is."""
    first = -int(np.floor(np.log10(max(abs(value), reach)))) - 1
    for places in range(first, min(first + MAX_PLACES, 300)):
        end = shifted(np.ceil(shifted(value, places)) - 1, -places)
        if value - reach <= end < value:
            return float(end + 0.0)
    return float(value)
