"""The value that a cell of numbers stands for: 3.1 for 3.0999999046325684, or an atom."""

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.dates import in_form
from nflow_cli.data.lattices import FINENESS, positions
from nflow_cli.data.raw_columns import RawColumn

CLOSE = 1e-11  # of a number: values this near are one, as to 12 digits
CLOSE_32 = 2e-7  # the same in single precision, where resolution is no finer


def numbers_in(column: RawColumn, kind: ColumnKind) -> np.ndarray:
    """Return the numbers of a column as its kind has them, `(n,)`.

    Noise below the decimals that are written is rounded off, values beside a place of the finest
    lattice, if that is known to the digit, or beside an atom are that; all others stay as they are.

    Raises:
        ValueError: The column is of text, or a text is no date in the kind's form.
    """
    numbers = column.numbers if kind.form is None else in_form(column, kind.form)
    if numbers is None:
        raise ValueError("numbers")
    values = np.array(numbers, float)
    if kind.lattices and kind.decimals is not None:
        fine = kind.lattices[0]
        places = fine.offset + positions(values, fine) * fine.step
        near = np.abs(places - values) * FINENESS <= fine.step
        values = np.where(near, places, values)
    if kind.decimals is not None:
        rounded = np.round(values, kind.decimals)
        near = np.abs(rounded - values) * FINENESS <= 10.0**-kind.decimals
        values = np.where(near, rounded, values)
    return _at_atoms(values, kind)


def _at_atoms(values: np.ndarray, kind: ColumnKind) -> np.ndarray:
    if not kind.atoms:
        return values
    atoms = np.sort(kind.atoms)
    after = np.clip(np.searchsorted(atoms, values), 1, len(atoms) - 1) if len(atoms) > 1 else 0
    before = np.maximum(after - 1, 0)
    is_before = np.abs(values - atoms[before]) <= np.abs(values - atoms[after])
    nearest = np.where(is_before, atoms[before], atoms[after])
    typical = np.median(np.abs(atoms))
    is_32 = kind.decimals is None and (kind.resolution or 0) > CLOSE * typical
    near = np.abs(values - nearest) <= (CLOSE_32 if is_32 else CLOSE) * np.abs(nearest)
    return np.where(near, nearest, values)
