"""Numeric cells without noise: 3.1 for 3.0999999046325684, or an atom."""

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.dates import in_form
from nflow_cli.data.lattices import snapped
from nflow_cli.data.raw_columns import RawColumn
from nflow_cli.data.written import as_written


def numbers_in(column: RawColumn, kind: ColumnKind) -> np.ndarray:
    """Numbers of a column in its kind's resolution, `(n,)`, without noise.

    Noise is below 12 digits, or of single precision. Values beside a place of the lattice
    are moved to it if its decimals are known. Text must be dates in the kind's form (ValueError).
    """
    numbers = column.numbers if kind.form is None else in_form(column, kind.form)
    if numbers is None:
        raise ValueError("numbers")
    if kind.kind == "number" and kind.resolution is None:
        return numbers
    values = as_written(numbers, column.is_float32)
    return snapped(values, kind.lattice) if kind.lattice else values
