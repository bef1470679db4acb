"""Draws beside held-out rows: values beyond the training rows, and heaping."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind, Lattice

MULTIPLES = (5, 10, 100)
DIGITS = 10
WIDE = 3.0  # standard errors that a difference by chance stays within


class Shares(NamedTuple):
    """A share of held-out cells beside that of draws.

    Attributes:
        rows: The share of held-out cells; NaN without cells.
        draws: The share of draws.
        standard_error: Of their difference, if both are equal: ``√(p (1 - p) (1/n + 1/m))``, p the
            share in all.
    """

    rows: float
    draws: float
    standard_error: float

    @property
    def sigmas(self) -> float:
        """The difference in standard errors; 0 where both are equal."""
        difference = self.draws - self.rows
        return difference / self.standard_error if difference else 0.0


class Outside(NamedTuple):
    """Shares of cells below the least and above the greatest training value."""

    below: Shares
    above: Shares


class Heaping(NamedTuple):
    """Last digits of a grid column, in steps of its grid.

    Attributes:
        multiples: Shares of the multiples of 5, 10 and 100 steps, by these.
        chi_square: Of the last digits of rows against draws.
        freedom: Its degrees of freedom: one less than the number of digits that occur.
    """

    multiples: Mapping[int, Shares]
    chi_square: float
    freedom: int

    @property
    def sigmas(self) -> float:
        """The largest difference in standard errors, of the multiples and of chi-square."""
        excess = self.chi_square - self.freedom
        of_digits = excess / math.sqrt(2 * self.freedom) if self.freedom else 0.0
        return max(of_digits, *(abs(shares.sigmas) for shares in self.multiples.values()))


def outside_range(
    kinds: Mapping[str, ColumnKind], train: np.ndarray, rows: np.ndarray, draws: np.ndarray
) -> dict[str, Outside]:
    """Return how often cells lie beyond the training rows, of each grid and number column.

    Args:
        kinds: Of the C columns, in their order.
        train: ``(n, C)``, training rows: the values, NaN where missing.
        rows: ``(t, C)``, held-out rows.
        draws: ``(m, C)``, draws of the density.
    """
    found = {}
    for name, parts in _columns(kinds, ("grid", "number"), train, rows, draws):
        seen, *others = parts
        low, high = (seen.min(), seen.max()) if len(seen) else (math.nan, math.nan)
        below, above = ([x < low for x in others], [x > high for x in others])
        found[name] = Outside(_shares(*below), _shares(*above))
    return found


def heaping(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray
) -> dict[str, Heaping]:
    """Return how the last digits of draws compare with those of rows, of each grid column.

    A value is ``k`` steps of the column's lattice from its least offset of 0 or more; the
    last digit is that of ``k``.

    Args:
        kinds: Of the C columns, in their order.
        rows: ``(n, C)``, held-out rows, NaN where missing.
        draws: ``(m, C)``, draws of the density.
    """
    found = {}
    for name, parts in _columns(kinds, ("grid",), rows, draws):
        grid = cast(Lattice, kinds[name].lattice)
        steps = [np.rint((x - grid.offset % grid.step) / grid.step) for x in parts]
        multiples = {of: _shares(*(k % of == 0 for k in steps)) for of in MULTIPLES}
        counts = [np.bincount((k % DIGITS).astype(int), minlength=DIGITS) for k in steps]
        found[name] = Heaping(multiples, *_chi_square(*counts))
    return found


def _columns(
    kinds: Mapping[str, ColumnKind], wanted: tuple[str, ...], *tables: np.ndarray
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and the values, without gaps, of each column of some kinds."""
    for j, (name, kind) in enumerate(kinds.items()):
        if kind.kind in wanted:
            yield name, [table[np.isfinite(table[:, j]), j] for table in tables]


def _shares(rows: np.ndarray, draws: np.ndarray) -> Shares:
    """Compare two shares of truth values ``(n,)`` and ``(m,)``."""
    if not len(rows) or not len(draws):
        known = [float(x.mean()) if len(x) else math.nan for x in (rows, draws)]
        return Shares(known[0], known[1], math.nan)
    p = (rows.sum() + draws.sum()) / (len(rows) + len(draws))
    error = math.sqrt(p * (1 - p) * (1 / len(rows) + 1 / len(draws)))
    return Shares(float(rows.mean()), float(draws.mean()), error)


def _chi_square(rows: np.ndarray, draws: np.ndarray) -> tuple[float, int]:
    """Return the statistic of two sets of counts ``(k,)`` being of one distribution."""
    n, m = rows.sum(), draws.sum()
    both = rows + draws
    seen = both > 0
    if not n or not m:
        return 0.0, 0
    squares = (math.sqrt(m / n) * rows - math.sqrt(n / m) * draws)[seen] ** 2
    return float(np.sum(squares / both[seen])), int(seen.sum()) - 1
