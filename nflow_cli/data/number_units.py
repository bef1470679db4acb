"""The units of a column of numbers of a whole table, by its training rows. No Keras here."""

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.column_maps import ColumnMap, Scale
from nflow_cli.data.fit_units import Bounds, fit_units


def units_of_numbers(values: np.ndarray, kind: ColumnKind) -> list[ColumnMap]:
    """Return maps after which values ``(n,)`` are near N(0, 1), in one column's units.

    A bound stands half a step beyond the last value that there may be, where its interval ends.
    """
    step = kind.lattices[0].step if len(kind.lattices) == 1 else kind.resolution or 1.0
    if not len(values) or values.min() == values.max():
        return [Scale(float(values[0]) if len(values) else 0.0, step)]
    low, high = kind.bounds or (None, None)
    bounds = Bounds(
        None if low is None else low - step / 2, None if high is None else high + step / 2
    )
    return [*fit_units(values[:, None], [bounds]).columns[0]]
