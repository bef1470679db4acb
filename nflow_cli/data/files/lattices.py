"""Lattice of a column's numbers: whole numbers, quarters, prices that end in .99."""

import numpy as np

from nflow_cli.config.column_kinds import Lattice
from nflow_cli.data.files.written import (
    DIGITS,
    EXACT,
    DistinctNumbers,
    distinct_numbers,
    shifted,
    significant,
)

# Relative to the largest value: errors of 12 digits, and of float32 arithmetic.
TOLERANCES = (1e-11, 5e-7)
ROUNDING = 1e-15  # relative to the largest value: errors of arithmetic
FINENESS = 100  # times the tolerance is a step, at least
SPARSE = 0.02  # share of a lattice's places that occur; numbers with noise have fewer
NOISY = 10  # values that noise makes of one, at most; beside 1e30 all others are noise


def common_lattice(column: DistinctNumbers) -> Lattice | None:
    """Coarsest lattice with all values, of which two are needed, if any."""
    if len(column.values) < 2:
        return None
    exact = None  # of all digits of single precision, whose own lattice is none of the column
    if column.places is not None:
        exact = _exact(column)
    elif column.single is None:
        exact = _measured(column.values, TOLERANCES[0])
    if exact is not None and fills(column, exact, SPARSE):
        return exact
    rough = _measured(column.values, TOLERANCES[1])
    return rough if rough is not None and fills(column, rough, SPARSE) else exact


def _exact(column: DistinctNumbers) -> Lattice:
    places = column.places or 0
    multiples = np.rint(shifted(column.values, places)).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(multiples.view(np.uint64))))  # gaps beyond 2^63, too
    offset = int(multiples[0]) % step
    return Lattice(step=shifted(float(step), -places), offset=shifted(float(offset), -places))


def _measured(values: np.ndarray, part: float) -> Lattice | None:
    """Lattice of inexact numbers, whose errors are a part of the largest."""
    step = _common_step(values, part * float(np.abs(values).max()))
    if step is None:
        return None
    round_one = float(significant(np.array([step]), 6 if part > TOLERANCES[0] else DIGITS)[0])
    return _fitting(values, round_one, part) or _fitting(values, step, part)


def _common_step(values: np.ndarray, tolerance: float) -> float | None:
    """Step of ascending values, by Euclid's algorithm on their differences."""
    gaps = np.diff(values)
    gaps = gaps[gaps > tolerance]
    step = float(gaps.min()) if len(gaps) else 0.0
    while step > FINENESS * tolerance:
        rest = np.abs(gaps - np.rint(gaps / step) * step)
        if rest.max() <= step / FINENESS:
            break
        step = float(rest[rest > step / FINENESS].min())
    span = float(values[-1] - values[0])
    if step <= FINENESS * tolerance or span / step > EXACT:
        return None
    return span / float(np.rint(span / step))


def _fitting(values: np.ndarray, step: float, part: float) -> Lattice | None:
    """Lattice of a step with all values, each on a place of its own, if there is one."""
    errors = 2 * part * np.abs(values) + ROUNDING * float(np.abs(values).max())
    index = values / step
    offset = float(index[0] - np.rint(index[0]))
    offset = 0.0 if abs(offset) < 1 / FINENESS else offset % 1
    places = np.rint(index - offset)
    is_near = np.abs(index - offset - places) * step <= np.minimum(step / FINENESS, errors)
    merged = (np.diff(places) == 0) & (np.diff(values) > errors[1:])
    if not is_near.all() or merged.any() or len(values) > NOISY * len(np.unique(places)):
        return None
    return Lattice(step=step, offset=offset * step)


def lattice_index(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Whole number `i` of each value `offset + i * step`."""
    return np.rint((values - lattice.offset) / lattice.step)


def snapped(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Round values beside a lattice's place to it, if its decimals are known."""
    decimals = decimals_of(lattice)
    if decimals is None:
        return values
    places = lattice.offset + lattice_index(values, lattice) * lattice.step
    near = np.abs(places - values) * FINENESS <= lattice.step
    return np.where(near, np.round(places, decimals), values)


def decimals_of(lattice: Lattice) -> int | None:
    """Decimals of a lattice's values; None if endless."""
    return distinct_numbers(np.array([lattice.step, lattice.offset])).decimals


def fills(column: DistinctNumbers, lattice: Lattice, share: float) -> bool:
    """Whether a share of the lattice's places within the ends occurs."""
    places = (column.values[-1] - column.values[0]) / lattice.step + 1
    return len(column.values) >= share * places
