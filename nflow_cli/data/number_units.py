"""The units of a column of numbers of a whole table, by its training rows. No Keras here."""

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.column_maps import ColumnMap, Scale
from nflow_cli.data.fit_units import Bounds, fit_units


def units_of_numbers(values: np.ndarray, kind: ColumnKind) -> list[ColumnMap]:
    """Return maps after which values ``(n,)`` are near N(0, 1), in one column's units.

    A bound stands half a step beyond the last value that there may be, where its interval ends. Of
    rows of one value some are to each side of it, as rounding has it: by equal values alone a tail
    is as heavy as it can be.
    """
    step = kind.lattices[0].step if kind.lattices else kind.resolution or 1.0
    if not len(values) or values.min() == values.max():
        return [Scale(float(values[0]) if len(values) else 0.0, step)]
    low, high = kind.bounds or (None, None)
    half = step / 2 + 4 * float(np.spacing(np.abs(values).max()))  # more than rounding
    bounds = Bounds(None if low is None else low - half, None if high is None else high + half)
    return [*fit_units(_spread(values, step)[:, None], [bounds], "none", skewed=True).columns[0]]


def _spread(values: np.ndarray, step: float) -> np.ndarray:
    """Return values ``(n,)``, those that are equal evenly over the interval about them."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(first, counts) + 0.5
    shift = np.empty(len(values))
    shift[order] = place / np.repeat(counts, counts) - 0.5
    return values + step * shift
