"""Maps of a rounded numeric column to about N(0, 1), by its training rows."""

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.column_maps import ColumnMap, Scale
from nflow_cli.data.fit_units import Bounds, fit_units


def units_of_numbers(values: np.ndarray, kind: ColumnKind) -> list[ColumnMap]:
    """Maps of values ``(n,)`` of a column to about N(0, 1).

    A bound is half a step beyond the last possible value, at its interval's end. Equal values are
    spread over their intervals: otherwise the fitted tail is as heavy as it can be.
    """
    step = kind.step or 1.0
    if not len(values) or values.min() == values.max():
        return [Scale(float(values[0]) if len(values) else 0.0, step)]
    low, high = kind.bounds or (None, None)
    half = step / 2 + 4 * float(np.spacing(np.abs(values).max()))  # more than rounding
    bounds = Bounds(None if low is None else low - half, None if high is None else high + half)
    spread = _spread(values, _steps(values, bounds, step))
    return fit_units(spread, bounds, "none", skewed=True)


def _steps(values: np.ndarray, bounds: Bounds, step: float) -> np.ndarray:
    low, high = (end if end is not None else np.inf * sign for end, sign in zip(bounds, (-1, 1)))
    return np.minimum(step, 2 * np.minimum(values - low, high - values))


def _spread(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(first, counts) + 0.5
    shift = np.empty(len(values))
    shift[order] = place / np.repeat(counts, counts) - 0.5
    return values + steps * shift
