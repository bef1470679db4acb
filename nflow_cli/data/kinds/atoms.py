"""Atoms: values of a numeric column more frequent than a smooth density explains."""

from dataclasses import dataclass

import numpy as np

REPEATS = 3  # rows of an atom, at least
NATS = 13.8  # evidence for an atom: a probability of 1e-6 by the smooth part
MANY = 1_000  # distinct values beyond which some repeat by chance
EXCESS = 1.3  # times the smooth part's rows, at least
ROWS = 30  # of a block of neighbours, by which rows are expected
STEEPEST = 4.0  # factor of an extrapolated slope, at most
PASSES = 4  # atoms of a pass are no neighbours in the next


@dataclass(frozen=True, eq=False)
class Heaps:
    """Counts of values against those expected from their neighbours.

    Attributes:
        nats: `(m,)`, -log of the Chernoff bound on the probability of the count; 0: no atom.
        expected: `(m,)`, rows by the smooth part.
    """

    nats: np.ndarray
    expected: np.ndarray

    @property
    def are_atoms(self) -> np.ndarray:
        """Mask of atoms, `(m,)`."""
        return self.nats > 0

    def most(self, limit: int) -> np.ndarray:
        """Indices of the ``limit`` atoms of greatest ``nats``, ascending."""
        order = np.argsort(-self.nats, kind="stable")[:limit]
        return np.sort(order[self.nats[order] > 0])


def heaps(
    places: np.ndarray,
    counts: np.ndarray,
    spacing: np.ndarray | float = 1.0,
    least: float = NATS,
) -> Heaps:
    """Compare the counts of values with those expected from their neighbours.

    Args:
        places: `(m,)`, values in units of their resolution, ascending.
        counts: `(m,)`.
        spacing: `(m,)`, of possible values, in the same units.
        least: Evidence for an atom, in nats.
    """
    rows = counts.astype(float)
    nats = np.zeros(len(counts))
    expected = rows
    behind = -places[::-1]
    for _ in range(PASSES):
        before = nats > 0
        level = np.maximum(_level(places, rows), _level(behind, rows[::-1])[::-1])
        expected = level * spacing
        nats = _nats(counts, expected, least)
        rows = np.where(nats > 0, np.minimum(expected, rows), counts)
        if np.array_equal(before, nats > 0):
            break
    return Heaps(nats, expected)


def _nats(counts: np.ndarray, expected: np.ndarray, least: float) -> np.ndarray:
    """Evidence against the smooth part: c log(c/e) - (c - e); 0 where weak."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nats = counts * np.log(counts / expected) - (counts - expected)
    least = least + np.log(max(1, len(counts) / MANY))
    clear = (counts >= REPEATS) & (counts > EXCESS * expected) & (nats > least)
    return np.where(clear, np.minimum(nats, 1e300), 0.0)


def _level(places: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a place expected from those below it, `(m,)`.

    A block of neighbours gives a density, with a margin for noise; at the last value, with
    neighbours on one side, a second block gives a slope.
    """
    before = np.concatenate([[0.0], np.cumsum(rows)])
    here = np.arange(len(rows))
    near = _starts(before, here)
    rows_near = before[here] - before[near]
    level = rows_near / _mass(places, near, here)
    level *= (here > near) * (1 + 2 / np.sqrt(np.maximum(rows_near, 1)))
    level[-1] *= _rise(places, before, near[-1:])
    return level


def _rise(places: np.ndarray, before: np.ndarray, near: np.ndarray) -> float:
    last = np.array([len(places) - 1])
    far = _starts(before, near)
    if far[0] == near[0] or near[0] == last[0]:
        return 1.0
    level = (before[last] - before[near]) / _mass(places, near, last)
    further = (before[near] - before[far]) / _mass(places, far, near)
    width = places[last] - places[near]
    slope = np.log(level / further) / (_mass(places, far, last) / 2)
    return float(np.clip(np.exp(slope * (width + 1) / 2), 1, STEEPEST)[0])


def _starts(before: np.ndarray, ends: np.ndarray) -> np.ndarray:
    starts = np.searchsorted(before, before[ends] - ROWS, side="right") - 1
    return np.clip(np.minimum(starts, ends - 1), 0, None)


def _mass(places: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.maximum(places[end] - places[first], 1)
