"""Columns of a density of cells: values as outcomes and intervals, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.data.column_maps import ColumnMap
from nflow_cli.data.written import as_written
from nflow_cli.densities.cells.layout import Outcomes

UNKNOWN = -1  # code of an unknown cell, which is left out of the sum
END = 0.01  # steps: a value this close to the last one within bounds equals it
SMALL = 1e-5  # half width below which the slope is more accurate than a difference


class Interval(NamedTuple):
    """Intervals of numbers ``(n,)`` on one lattice, in column units.

    Attributes:
        centre: Middles; off a coarse lattice, the boundary between its neighbours there.
        half: Half widths; 0 off the lattice; ``-inf`` or ``inf`` for the first and last value
            within bounds, whose interval is all below or above ``centre``.
    """

    centre: np.ndarray
    half: np.ndarray


class Cells(NamedTuple):
    """Encoded cells of n rows.

    Attributes:
        codes: Outcome of each ``(n,)``, or ``UNKNOWN``; of a number on several lattices, the
            coarsest.
        fine: Intervals on the finest lattice.
        coarse: On each of the others.
    """

    codes: np.ndarray
    fine: Interval
    coarse: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class CellColumn:
    """Column whose kind is fixed by the training rows.

    Outcomes, in order: levels or atoms; a number, one per lattice; missing; and new, a level or a
    number beyond found bounds that no training row has.

    Args:
        kind: With all levels.
        maps: Units of its numbers, the user's side first.
        floor: Least scale of a normal, in units.
        low: Lower end of the training numbers, in units: normals of a network stay within.
        high: Upper end.
    """

    name: str
    kind: ColumnKind
    maps: tuple[ColumnMap, ...] = ()
    floor: float = 0.0
    low: float = -1e5
    high: float = 1e5

    @property
    def has_numbers(self) -> bool:
        """Whether values have intervals, and the column a mixture."""
        return self.kind.kind in ("grid", "number")

    @property
    def first(self) -> Sequence[Any]:
        """The levels or the atoms."""
        return self.kind.atoms if self.has_numbers else self.kind.levels or []

    @property
    def n_lattices(self) -> int:
        """R: 1 without a grid, 0 for levels."""
        return max(len(self.kind.lattices), 1) if self.has_numbers else 0

    @property
    def number(self) -> int | None:
        """First outcome that is a number, if any."""
        return len(self.first) if self.has_numbers else None

    def are_numbers(self, codes: np.ndarray) -> np.ndarray:
        """Whether codes are numbers, on any lattice."""
        first = len(self.first)
        return (codes >= first) & (codes < first + self.n_lattices)

    @property
    def missing(self) -> int | None:
        """Outcome of a missing cell, if any."""
        return len(self.first) + self.n_lattices if self.kind.missing else None

    @property
    def new(self) -> int | None:
        """Outcome of a new level or a number beyond found bounds, if any."""
        if self.has_numbers and not self.kind.is_open:
            return None
        return len(self.first) + self.n_lattices + self.kind.missing

    @cached_property
    def outcomes(self) -> Outcomes:
        """The outcomes, for a network's layout."""
        has_new = self.new is not None
        count = len(self.first) + self.n_lattices + self.kind.missing + has_new
        summed = len(self.first) if self.kind.kind == "grid" else 0
        has_ends, has_gaps = self.kind.bounds is not None, self.kind.missing
        lattices = max(self.n_lattices, 1)
        return Outcomes(count, self.number, summed, has_ends, has_new, lattices, has_gaps)

    @property
    def step(self) -> float:
        """Width of a value's interval, in table units, on the finest lattice."""
        lattices = self.kind.lattices
        return lattices[0].step if lattices else self.kind.resolution or 0.0

    @property
    def log_measure(self) -> float:
        """Log-width of a number's interval, in nats: from mass to density; 0 on a grid."""
        return float(np.log(self.step)) if self.kind.kind == "number" else 0.0

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Outcomes of values ``(n,)``, as of :class:`Cells`."""
        gaps = np.isnan(values)
        if not self.has_numbers:
            codes = np.where(gaps, 0, values).astype(np.int64)
            codes = np.where(codes < 0, len(self.first) + self.kind.missing, codes)
        else:
            codes, beyond = self._atoms(np.where(gaps, 0.0, values)), self._beyond(values) > 0
            for lattice in range(1, self.n_lattices):
                is_on = self._is_on_grid(values, lattice) & ~beyond & self.are_numbers(codes)
                codes = np.where(is_on, len(self.first) + lattice, codes)
            if self.new is not None:
                codes = np.where(beyond, self.new, codes)
        return np.where(gaps, UNKNOWN if self.missing is None else self.missing, codes)

    def encode(self, values: np.ndarray) -> Cells:
        """Outcomes and intervals of values ``(n,)``."""
        codes = self.codes(values)
        if not self.has_numbers:
            zeros = np.zeros(len(values))
            return Cells(codes, Interval(zeros, zeros))
        gaps, beyond = np.isnan(values), self._beyond(values) > 0
        is_none = gaps | beyond
        numbers = np.where(is_none, self._typical, values)
        centre, half = self._interval(numbers)
        if self.new is None:
            half = np.where(beyond, 0.0, half)
        fine = Interval(np.where(is_none, 0.0, centre), np.where(gaps, 1.0, half))
        coarse = []
        for lattice in range(1, self.n_lattices):
            centre, half = self._interval(numbers, lattice)
            coarse.append(Interval(centre, np.where(is_none, 0.0, half)))
        return Cells(codes, fine, tuple(coarse))

    def _beyond(self, values: np.ndarray) -> np.ndarray:
        low, high = self.kind.bounds or (None, None)
        below = -np.inf if low is None else (low - values) / self.step
        above = -np.inf if high is None else (values - high) / self.step
        steps = np.maximum(below, above)
        return np.where(steps > 0.01, steps, 0.0)

    def log_beyond(self, values: np.ndarray) -> np.ndarray:
        """Log-probability in nats of values ``(n,)`` given that they exceed the bounds; 0 within.

        Exponential with scale one unit, half of it at each bound; for a number, the mass of its
        interval.
        """
        steps, spread = self._beyond(values), self._spread
        ends = [end for end in self.kind.bounds or () if end is not None]
        each = np.log(-np.expm1(-1 / spread)) - (steps - 1) / spread - np.log(len(ends) or 1)
        each = np.where(self._is_on_grid(values), each, -np.inf)
        return np.where(steps > 0, each, 0.0)

    @cached_property
    def log_farther(self) -> float:
        """Log-ratio of the probability beyond the bounds, from a value on, to that of the value."""
        return -float(np.log(-np.expm1(-1 / self._spread)))

    def _atoms(self, values: np.ndarray) -> np.ndarray:
        codes = np.full(len(values), self.number)
        for i, atom in enumerate(self.kind.atoms):
            codes[np.abs(values - atom) <= max(1e-12 * abs(atom), 1e-6 * self.step)] = i
        return codes

    @cached_property
    def _typical(self) -> float:
        return float(self.values_at(np.zeros(1))[0])

    @np.errstate(over="ignore")  # of numbers near the largest
    def _interval(self, values: np.ndarray, lattice: int = 0) -> Interval:
        """Those within the bounds partition R."""
        at, step = self.nearest(values, lattice), self._step(lattice)
        below, above = at - step / 2, at + step / 2
        low, high = self.inside(below)[0], self.inside(above)[0]
        middle, log_slope = self.inside(at)
        by_slope = 0.5 * step * np.exp(log_slope)
        is_small = (by_slope < SMALL) | (np.abs(above - below - step) > END * step)
        centre = np.where(is_small, middle, 0.5 * (low + high))
        half = np.where(is_small, by_slope, 0.5 * (high - low))
        least, most = self.kind.bounds or (None, None)
        reach = step - END * self.step if self.kind.kind == "grid" else END / 2 * step
        if least is not None:  # the lowest interval is all below its upper end
            is_end = at - least <= reach
            centre, half = np.where(is_end, high, centre), np.where(is_end, -np.inf, half)
        if most is not None:
            is_end = most - at <= reach
            centre, half = np.where(is_end, low, centre), np.where(is_end, np.inf, half)
        if self.kind.kind == "grid":
            is_on = self._is_on_grid(values, lattice)
            half = np.where(is_on, half, 0.0)
            if lattice:
                centre = np.where(is_on, centre, self._between(values, lattice))
        return Interval(centre, half)

    def _between(self, values: np.ndarray, lattice: int) -> np.ndarray:
        step, offset = self._step(lattice), self.kind.lattices[lattice].offset
        below = offset + step * np.floor((values - offset) / step)
        least, most = self.kind.bounds or (None, None)
        ends = self.inside(below + step / 2)[0]
        if least is not None:
            ends = np.where(below < least - END * self.step, -np.inf, ends)
        if most is not None:
            ends = np.where(below + step > most + END * self.step, np.inf, ends)
        return ends

    def _is_on_grid(self, values: np.ndarray, lattice: int = 0) -> np.ndarray:
        return np.abs(self.nearest(values, lattice) - values) <= END * self.step

    def _step(self, lattice: int) -> float:
        return self.kind.lattices[lattice].step if lattice else self.step

    def nearest(self, values: np.ndarray, lattice: int = 0) -> np.ndarray:
        """Nearest values on a lattice, if there is one."""
        if self.kind.kind != "grid":
            return values
        offset, step = self.kind.lattices[lattice].offset, self._step(lattice)
        return offset + step * np.rint((values - offset) / step)

    def inside(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values in units, and ``log|du/dx|``."""
        total = np.zeros_like(values)
        for one in self.maps:
            values, log_slope = one.inside(values)
            total = total + log_slope
        return values, total

    def _plain(self, units: np.ndarray) -> np.ndarray:
        values = units
        for one in reversed(self.maps):
            values, _ = one.outside(values)
        return values

    def values_at(self, units: np.ndarray, lattice: int = 0) -> np.ndarray:
        """Table values ``(n,)`` at units: on a lattice, with the column's decimals."""
        values = written = self._plain(units)
        with np.errstate(over="ignore"):
            if self.kind.kind == "grid":
                written = self.nearest(values, lattice)
            elif self.kind.decimals is not None:
                written = self.step * np.rint(values / self.step)
            if self.kind.decimals is not None:
                written = np.round(written, self.kind.decimals)
        low, high = self._ends(lattice)
        written = np.fmin(np.fmax(np.where(np.isfinite(written), written, values), low), high)
        return as_written(written)  # as a table is read

    def _ends(self, lattice: int) -> tuple[float, float]:
        bounds = [np.nan if end is None else end for end in self.kind.bounds or (None, None)]
        if self.kind.kind != "grid" or self.kind.bounds is None:
            return bounds[0], bounds[1]
        ends, step = self.nearest(np.array(bounds), lattice), self._step(lattice)
        away = np.array([1, -1]) * (ends - bounds) < -END * self.step
        ends = np.where(away, ends + np.array([step, -step]), ends)
        low, high = np.where(self._is_on_grid(np.array(bounds), lattice), bounds, ends)
        return float(low), float(high)

    def _drawn_beyond(self, uniform: np.ndarray) -> np.ndarray:
        low, high = self.kind.bounds or (None, None)
        both = low is not None and high is not None
        is_below = (uniform < 0.5) if both else np.full(len(uniform), low is not None)
        part = np.clip(np.mod(2 * uniform, 1.0) if both else uniform, 0.0, 1.0)
        steps = 1 + np.floor(-self._spread * np.log1p(-part * (1 - 1e-12)))
        above, below = (high or 0.0) + steps * self.step, (low or 0.0) - steps * self.step
        values = np.where(is_below, below, above)
        return values if self.kind.decimals is None else np.round(values, self.kind.decimals)

    @cached_property
    def _spread(self) -> float:
        return float(np.diff(self._plain(np.array([-1.0, 1.0])))[0] / (2 * self.step))

    def decode(self, codes: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` of outcomes; of numbers, at ``units``."""
        if not self.has_numbers:
            values = np.where(codes == self.new, -1.0, codes)
        else:
            first = np.append(self.kind.atoms, np.nan)
            values = first[np.minimum(codes, len(first) - 1)]
            for lattice in range(self.n_lattices):
                is_on = codes == len(self.first) + lattice
                values = np.where(is_on, self.values_at(units, lattice), values)
            if self.new is not None:
                values = np.where(codes == self.new, self._drawn_beyond(units), values)
        return values if self.missing is None else np.where(codes == self.missing, np.nan, values)
