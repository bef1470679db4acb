"""The lattices that a column's numbers lie on: whole numbers, quarters, prices that end in .99."""

import numpy as np

from nflow_cli.config.kinds_schema import Lattice
from nflow_cli.data.written import DIGITS, WHOLE, Written, shifted, significant

# Of the largest value: what numbers to 12 digits leave open, and what float32 arithmetic does.
TOLERANCES = (1e-11, 5e-7)
FINENESS = 100  # a step is so many times the tolerance at least
SPARSE = 0.02  # of a lattice's places that occur: numbers with noise in their last digits


def finest(column: Written) -> Lattice | None:
    """Return the coarsest lattice on which all values lie, if there is one.

    A column needs two values for that.
    """
    if len(column.values) < 2:
        return None
    exact = _measured(column.values, TOLERANCES[0]) if column.places is None else _exact(column)
    if exact is not None and fills(column, exact, SPARSE):
        return exact
    rough = _measured(column.values, TOLERANCES[1])
    return rough if rough is not None and fills(column, rough, SPARSE) else exact


def _exact(column: Written) -> Lattice:
    """Return the lattice of numbers with so many decimals, which are whole numbers of a unit."""
    places = column.places or 0
    whole = np.rint(shifted(column.values, places)).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(whole)))
    offset = int(whole[0]) % step
    return Lattice(step=shifted(float(step), -places), offset=shifted(float(offset), -places))


def _measured(values: np.ndarray, part: float) -> Lattice | None:
    """Return the lattice of inexact numbers: Euclid's algorithm on their differences."""
    tolerance = part * float(np.abs(values).max())
    gaps = np.diff(values)
    gaps = gaps[gaps > tolerance]
    step = float(gaps.min()) if len(gaps) else 0.0
    while step > FINENESS * tolerance:
        rest = np.abs(gaps - np.rint(gaps / step) * step)
        if rest.max() <= step / FINENESS:
            break
        step = float(rest[rest > step / FINENESS].min())
    span = float(values[-1] - values[0])
    if step <= FINENESS * tolerance or span / step > WHOLE:
        return None
    step = span / float(np.rint(span / step))
    snapped = float(significant(np.array([step]), 6 if part > TOLERANCES[0] else DIGITS)[0])
    for candidate in (snapped, step):
        index = values / candidate
        offset = float(index[0] - np.rint(index[0]))
        offset = 0.0 if abs(offset) < 1 / FINENESS else offset % 1
        if np.abs(index - offset - np.rint(index - offset)).max() <= 1 / FINENESS:
            return Lattice(step=candidate, offset=offset * candidate)
    return None


def positions(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return the whole number `i` of each value `offset + i * step`."""
    return np.rint((values - lattice.offset) / lattice.step)


def fills(column: Written, lattice: Lattice, share: float) -> bool:
    """Whether at least a share of the lattice between the ends occurs."""
    places = (column.values[-1] - column.values[0]) / lattice.step + 1
    return len(column.values) >= share * places
