"""The value that a cell of numbers stands for: 3.1 for 3.0999999046325684, or an atom."""

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.dates import in_form
from nflow_cli.data.lattices import snapped
from nflow_cli.data.raw_columns import RawColumn
from nflow_cli.data.written import as_written


def numbers_in(column: RawColumn, kind: ColumnKind) -> np.ndarray:
    """Return the numbers of a column as its kind has them, `(n,)`.

    They are without the noise below 12 digits, or that of single precision; what is beside a place
    of the finest lattice is that place, if its decimals are known. Numbers of a kind that has no
    resolution stay as they are.

    Raises:
        ValueError: The column is of text, or a text is no date in the kind's form.
    """
    numbers = column.numbers if kind.form is None else in_form(column, kind.form)
    if numbers is None:
        raise ValueError("numbers")
    if kind.kind == "number" and kind.resolution is None:
        return numbers
    values = as_written(numbers, column.is_float32)
    return snapped(values, kind.lattices[0]) if kind.lattices else values
