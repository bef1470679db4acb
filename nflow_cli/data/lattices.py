"""Lattices of a column's numbers: whole numbers, quarters, prices that end in .99."""

from dataclasses import dataclass

import numpy as np

from nflow_cli.config.kinds_schema import MAX_LATTICES, Lattice
from nflow_cli.data.written import DIGITS, WHOLE, Written, shifted, significant, written

# Relative to the largest value: errors of 12 digits, and of float32 arithmetic.
TOLERANCES = (1e-11, 5e-7)
ROUNDING = 1e-15  # relative to the largest value: errors of arithmetic
FINENESS = 100  # times the tolerance is a step, at least
SPARSE = 0.02  # share of a lattice's places that occur; numbers with noise have fewer

MULTIPLES = (2, 4, 5, 8, 10, 12, 16, 20, 25, 50, 60, 100, 200, 250, 500, 1_000)
MULTIPLES += tuple(10**digits * first for digits in range(3, 9) for first in (2, 5, 10))
TRIES = 4  # likely lattices to compare
LEAST_GAIN = 20.0  # nats of a coarse lattice,
LEAST_SHARE = 0.015  # and nats a row
HEAPS = 3  # single places are no lattice
ROUNDS = 50  # of expectation maximisation, for the shares


def finest(column: Written) -> Lattice | None:
    """Coarsest lattice with all values, of which two are needed, if any."""
    if len(column.values) < 2:
        return None
    exact = _measured(column.values, TOLERANCES[0]) if column.places is None else _exact(column)
    if exact is not None and fills(column, exact, SPARSE):
        return exact
    rough = _measured(column.values, TOLERANCES[1])
    return rough if rough is not None and fills(column, rough, SPARSE) else exact


def _exact(column: Written) -> Lattice:
    places = column.places or 0
    whole = np.rint(shifted(column.values, places)).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(whole)))
    offset = int(whole[0]) % step
    return Lattice(step=shifted(float(step), -places), offset=shifted(float(offset), -places))


def _measured(values: np.ndarray, part: float) -> Lattice | None:
    """Lattice of inexact numbers, by Euclid's algorithm on their differences."""
    largest = float(np.abs(values).max())
    tolerance, exact = part * largest, ROUNDING * largest
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
    round_one = float(significant(np.array([step]), 6 if part > TOLERANCES[0] else DIGITS)[0])
    for candidate in (round_one, step):
        index = values / candidate
        offset = float(index[0] - np.rint(index[0]))
        offset = 0.0 if abs(offset) < 1 / FINENESS else offset % 1
        places = np.rint(index - offset)
        off = np.abs(index - offset - places) * candidate
        is_near = off <= np.minimum(candidate / FINENESS, 2 * part * np.abs(values) + exact)
        merged = (np.diff(places) == 0) & (np.diff(values) > 2 * part * np.abs(values[1:]) + exact)
        if is_near.all() and not merged.any():
            return Lattice(step=candidate, offset=offset * candidate)
    return None


def positions(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Whole number `i` of each value `offset + i * step`."""
    return np.rint((values - lattice.offset) / lattice.step)


def snapped(values: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Round values beside a lattice's place to it, if its decimals are known."""
    decimals = decimals_of(lattice)
    if decimals is None:
        return values
    places = lattice.offset + positions(values, lattice) * lattice.step
    near = np.abs(places - values) * FINENESS <= lattice.step
    return np.where(near, np.round(places, decimals), values)


def decimals_of(lattice: Lattice) -> int | None:
    """Decimals of a lattice's values; None if endless."""
    return written(np.array([lattice.step, lattice.offset])).decimals


def fills(column: Written, lattice: Lattice, share: float) -> bool:
    """Whether a share of the lattice's places within the ends occurs."""
    places = (column.values[-1] - column.values[0]) / lattice.step + 1
    return len(column.values) >= share * places


@dataclass(frozen=True, eq=False)
class Lattices:
    """Lattices of a column of repeated values.

    Attributes:
        all: At most four, finest first; all values lie on the finest.
        weights: `(m,)`, probability of a place relative to one on the finest alone.
    """

    all: list[Lattice]
    weights: np.ndarray


def lattices_of(places: np.ndarray, counts: np.ndarray, fine: Lattice) -> Lattices:
    """Finest lattice and coarser ones that hold clearly more rows, by a mixture model.

    A row is on lattice r with some share, at a place of multiple m_r; shares are fitted by maximum
    likelihood, which an added lattice must raise enough. ``places`` `(m,)` are whole numbers on the
    finest lattice ``fine``, ``counts`` `(m,)` their rows.
    """
    chosen: list[tuple[int, int]] = []
    gain, weights, least = 0.0, np.ones(len(places)), LEAST_SHARE * counts.sum()
    multiples = _multiples(places, counts)
    while len(chosen) < MAX_LATTICES - 1:
        likely = _likeliest(places, counts, chosen, multiples)
        tries = [(*_likelihood(places, counts, [*chosen, lattice]), lattice) for lattice in likely]
        best = max(tries, key=lambda found: found[0], default=None)
        if best is None or best[0] < gain + max(LEAST_GAIN, least):
            break
        gain, weights = best[0], best[1]
        chosen.append(best[2])
    coarse = [
        Lattice(step=fine.step * m, offset=(fine.offset + r * fine.step) % (fine.step * m))
        for m, r in sorted(chosen)
    ]
    return Lattices([fine, *coarse], weights)


def _multiples(places: np.ndarray, counts: np.ndarray) -> list[int]:
    ranks = np.cumsum(counts) / counts.sum()
    low, high = places[np.searchsorted(ranks, (0.25, 0.75))]
    return [multiple for multiple in MULTIPLES if high - low >= 2 * multiple]


def _likeliest(
    places: np.ndarray, counts: np.ndarray, chosen: list[tuple[int, int]], multiples: list[int]
) -> list[tuple[int, int]]:
    """Multiples with offsets that hold most more rows than by chance, among places on no coarse
    lattice, and on each.
    """
    known, found = np.zeros(len(places), bool), []
    for m, r in chosen:
        on = places % m == r
        known |= on
        coarser = [multiple for multiple in multiples if multiple % m == 0 and multiple > m]
        found += _heaped(places[on], counts[on], coarser, m)
    return found + _heaped(places[~known], counts[~known], multiples, 1)


def _heaped(
    places: np.ndarray, counts: np.ndarray, multiples: list[int], step: int
) -> list[tuple[int, int]]:
    found = []
    for multiple in multiples if len(places) else ():
        rests, where = np.unique(places.astype(np.int64) % multiple, return_inverse=True)
        held = np.bincount(where, counts)
        share = held.max() / held.sum()
        excess = share * np.log(share * multiple / step)
        found.append((excess, multiple, int(rests[held.argmax()])))
    return [lattice[1:] for lattice in sorted(found, reverse=True)[:TRIES]]


def _likelihood(
    places: np.ndarray, counts: np.ndarray, chosen: list[tuple[int, int]]
) -> tuple[float, np.ndarray]:
    """Nats that coarse lattices add, and the weights of places.

    The three most frequent places of each are ignored: single heaps are no lattice.
    """
    member = np.stack([np.ones(len(places), bool), *(places % m == r for m, r in chosen)])
    rows = counts.astype(float)
    for on in member[1:]:
        inside = np.flatnonzero(on)
        rows[inside[np.argsort(counts[inside])[-HEAPS:]]] = 0
    where = (member * 2 ** np.arange(len(member))[:, None]).sum(0)
    patterns = np.arange(1, 2 ** len(member), 2)  # all lie on the finest
    where = where // 2
    seen = np.bincount(where, rows, len(patterns))
    bits = patterns[:, None] >> np.arange(len(member)) & 1
    factors = bits * np.array([1, *(m for m, _ in chosen)])
    shares = np.full(len(member), 1 / len(member))
    for _ in range(ROUNDS):
        parts = factors * shares
        shares = seen @ (parts / parts.sum(1, keepdims=True)) / max(seen.sum(), 1)
        shares = np.maximum(shares, 1e-6) / np.maximum(shares, 1e-6).sum()
    weights = factors @ shares
    return float(seen @ np.log(weights)), weights[where]
