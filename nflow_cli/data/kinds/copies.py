"""Copies: rows that equal an earlier row in every cell, a number that chance does not repeat among
these.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from nflow_cli.data.files.lattices import common_lattice
from nflow_cli.data.files.written import distinct_numbers
from nflow_cli.data.kinds.asked import AskedColumn
from nflow_cli.data.kinds.found_kinds import kind_left_out

NEAR = 100  # steps between neighbouring values, by which chance coincidences are counted
RARE = 0.05  # of the values of several rows: by chance, or of rows that differ elsewhere
UNEVEN = 2.0  # variance of the times that rows stand, over their mean; of draws 1 at most


def originals(
    columns: Iterable[AskedColumn], n: int, others: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Number ``(n,)`` of the first copy of each row; of a row without copies its own.

    Compared are the columns that are not left out, and ``others`` ``(n,)``. Two rows may be equal
    by nature, so some column must have numbers that two rows do not share by chance: their values
    are far apart in its steps, and nearly all values that stand in several rows stand in rows that
    are equal throughout. Besides, no row may stand much more often than draws with replacement
    would: such rows are frequent, not copied. A single column has no other cell to tell.
    """
    counted = [
        request.column
        for request in columns
        if len(request.column.cells) and kind_left_out(request) is None
    ]
    alone = np.arange(n)
    if len(counted) < 2:
        return alone
    keys = row_keys([*(column.cells for column in counted), *others])
    ordered = np.sort(keys)
    if (ordered[1:] != ordered[:-1]).all():
        return alone
    _, first, which, times = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    are_told = np.zeros(len(first), bool)
    for column in counted:
        if column.numbers is not None:
            are_told |= _are_told(column.numbers[first], times, column.is_float32)
    if not are_told.any() or times[are_told].var() > UNEVEN * times[are_told].mean():
        return alone
    return np.where(are_told[which], first[which], alone)


def _are_told(values: np.ndarray, times: np.ndarray, is_float32: bool) -> np.ndarray:
    """Which different rows ``(m,)`` have a number that no other has, if chance repeats none.

    ``values`` are a column's, ``times`` the number of each row's copies.
    """
    known = np.isfinite(values)
    distinct, which, rows = np.unique(values[known], return_inverse=True, return_counts=True)
    are_own = np.zeros(len(values), bool)
    are_own[known] = (rows == 1)[which]
    copied = (times[are_own] > 1).sum()
    shared = (rows > 1).sum()
    if not copied or shared + _coincidences(distinct, is_float32) > RARE * copied:
        return np.zeros(len(values), bool)
    return are_own


def _coincidences(values: np.ndarray, is_float32: bool) -> float:
    """Expected pairs of equal values among ascending ones, by the pairs that are near."""
    if len(values) < 2:
        return np.inf
    numbers = distinct_numbers(values, is_float32)
    lattice = common_lattice(numbers)
    step = max(numbers.resolution, lattice.step if lattice else 0.0)
    width = min(NEAR * step, float(np.ptp(values)))
    pairs = np.searchsorted(values, values + width, "right") - np.arange(len(values)) - 1
    return float(pairs.sum()) * step / width


def row_keys(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Keys ``(n,)`` of rows, by their cells ``(n,)``: different ones are equal with a probability
    of 2⁻⁶⁴; missing cells are equal.
    """
    keys = np.zeros(len(cells[0]), np.uint64)
    for values in cells:
        numbers = np.where(np.isnan(values), np.nan, values) + 0.0  # no negative zero
        keys ^= numbers.astype(np.float64).view(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # SplitMix64
            keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
        keys ^= keys >> np.uint64(31)
    return keys


def note_of_copies(first: np.ndarray, in_each_part: bool = False) -> list[str]:
    """Note on rows that are copies; they count once, or once ``in_each_part``."""
    count = len(first) - len(np.unique(first))
    if not count:
        return []
    equal = "equals" if count == 1 else "equal"
    they_count = "it counts" if count == 1 else "they count"
    return [
        f"{count:,} of {len(first):,} rows {equal} an earlier row in every cell, numbers of many "
        f"digits among them: {they_count} once{' in each part' * in_each_part}"
    ]
