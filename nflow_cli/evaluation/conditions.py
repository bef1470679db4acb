"""What is given with rows: some that lie far apart, and how it is written. No Keras here."""

import math

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.text import printable

TAIL = 0.1  # of the rows at each end of a given number are as far out as any
LEVEL = 0.4  # how far apart two levels are, beside 0.8 between the tails of a number


def spread_conditions(rows: np.ndarray, roles: Roles, most: int = 4) -> list[int]:
    """Return which of the rows ``(n, C)`` show how a density varies with what is given.

    At most so many: the furthest from the mean, then always that which is furthest from those
    before it, by the ranks of given numbers and by whether given categories differ; in the order of
    the first given column. Rows with a cell that is not known are left out.
    """
    known = np.flatnonzero(np.isfinite(rows).all(axis=1))
    given = rows[known][:, roles.places(roles.given)]
    if not len(known):
        return []
    points = _places(given, len(roles.given_numbers))
    squares = np.sum((points - points.mean(axis=0)) ** 2, axis=1)
    chosen: list[int] = []
    while len(chosen) < most and (squares.max() > 0 or not chosen):
        chosen.append(int(np.argmax(squares)))
        apart = np.sum((points - points[chosen[-1]]) ** 2, axis=1)
        squares = np.minimum(squares, apart) if len(chosen) > 1 else apart
    return known[sorted(chosen, key=lambda row: tuple(given[row]))].tolist()


def _places(given: np.ndarray, n_numbers: int) -> np.ndarray:
    """Return a point ``(n, m)`` for what is given ``(n, G)``, whose distances are told above."""
    numbers, categories = given[:, :n_numbers], given[:, n_numbers:]
    spans = (np.unique(column, return_inverse=True) for column in numbers.T)
    ranks = [(np.cumsum(np.bincount(at)) / len(at))[at] for _, at in spans]
    levels = [column[:, None] == np.unique(column) for column in categories.T]
    return np.column_stack(
        [
            *(np.clip(rank, TAIL, 1 - TAIL) for rank in ranks),
            *(LEVEL / np.sqrt(2) * level for level in levels),
        ]
    )


def place_text(low: float, high: float, category: str | None) -> str:
    """Write which values a bin holds, in as few digits as tell its ends apart."""
    if category is not None:
        return printable(category)
    if low == high:
        return short_text(low)
    texts = ((short_text(low, d), short_text(high, d)) for d in range(3, 19))
    return "..".join(next((a, b) for a, b in texts if a != b))


def short_text(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, and all those before the point."""
    size = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    if not -4 <= size < 7:
        return f"{value:.{digits}g}"
    precision = max(digits, size + 1)
    return np.format_float_positional(value, precision, fractional=False, trim="-")
