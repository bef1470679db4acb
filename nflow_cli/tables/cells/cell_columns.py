"""Columns of a density of cells: values as outcomes and intervals, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.column_maps import ColumnMap
from nflow_cli.data.files.written import as_written, reach_of
from nflow_cli.data.kinds.cycles import harmonics
from nflow_cli.tables.cells.layout import UNKNOWN, Outcomes
from nflow_cli.tables.cells.outliers import NONE_KNOWN, Outliers
from nflow_cli.tables.cells.scores import Scores

NEAR_END = 0.01  # steps: a value this close to the last one within bounds equals it
LEAST_TAIL = 1e-12  # probability of an outlier farther away than any that is drawn
NARROW_HALF = 1e-5  # half width below which the slope is more accurate than a difference


class Interval(NamedTuple):
    """Intervals of numbers ``(n,)``, in scores or units.

    Attributes:
        centre: Middles.
        half_width: 0 off the grid; ``-inf`` or ``inf`` for the first and last value
            within bounds, whose interval is all below or above ``centre``.
    """

    centre: np.ndarray
    half_width: np.ndarray


class Cells(NamedTuple):
    """Encoded cells of n rows.

    Attributes:
        codes: Outcome of each ``(n,)``, or ``UNKNOWN``.
        interval: Of each number.
        units: Middles in units ``(n,)``, inputs of a network.
        harmonics: Of dates and times ``(E, n)``, inputs of a network.
        log_p_outlier: Log-probability ``(n,)`` in nats of a number if it is an outlier; 0 of a new
            level, else -inf.
        p_outlier_below: Probability ``(n,)`` that an outlier is less than a number.
        values: As in a row ``(n,)``.
    """

    codes: np.ndarray
    interval: Interval
    units: np.ndarray
    harmonics: np.ndarray
    log_p_outlier: np.ndarray
    p_outlier_below: np.ndarray
    values: np.ndarray

    def of_rows(self, places: np.ndarray) -> "Cells":
        """The cells of some of the rows, by their places ``(m,)``."""
        interval = Interval(self.interval.centre[places], self.interval.half_width[places])
        return Cells(
            self.codes[places],
            interval,
            self.units[places],
            self.harmonics[:, places],
            self.log_p_outlier[places],
            self.p_outlier_below[places],
            self.values[places],
        )


@dataclass(frozen=True)
class CellColumn:
    """Column of a density of cells: its kind, units and scores, fixed by the training rows.

    Outcomes, in order: levels or atoms; a number; missing; and new: a level that no training row
    has, or an outlier. A number may be of a training row's kind or an outlier, but beyond found
    bounds, or below 0 where no training row is, it is an outlier alone.

    Args:
        kind: With all levels.
        maps: Units of its numbers, the user's side first.
        least_scale: Of a normal, in units.
        low: Lower end of the training numbers, in units: normals of a network stay within.
        high: Upper end.
        normal_scores: Of a modelled column whose values repeat: its intervals are in these.
        is_hurdle: Hurdle model: an earlier column predicts atoms, which have no steps.
        outliers: Distribution of its outliers.
    """

    name: str
    kind: ColumnKind
    maps: tuple[ColumnMap, ...] = ()
    least_scale: float = 0.0
    low: float = -1e5
    high: float = 1e5
    normal_scores: Scores | None = None
    is_hurdle: bool = False
    outliers: Outliers = NONE_KNOWN

    @property
    def has_scores(self) -> bool:
        """Whether its intervals, as outcomes, are in normal scores."""
        return self.has_numbers and self.kind.repeats

    @property
    def has_numbers(self) -> bool:
        """Whether values have intervals, and the column a mixture: numbers, and places of levels
        in order.
        """
        return self.kind.has_intervals

    @property
    def has_levels(self) -> bool:
        """Whether its values are levels, in order or not."""
        return self.kind.kind == "levels"

    @property
    def levels(self) -> Sequence[str]:
        """The levels."""
        return self.kind.levels or []

    @property
    def coded_values(self) -> Sequence[str | float]:
        """The levels or the atoms."""
        return self.kind.atoms if self.has_numbers else self.kind.levels or []

    @cached_property
    def outcomes(self) -> Outcomes:
        """The possible outcomes."""
        number = len(self.coded_values) if self.has_numbers else None
        has_gaps = self.kind.missing
        count = len(self.coded_values) + self.has_numbers + has_gaps + 1
        has_ends = self.bounds != (None, None)
        return Outcomes(count, number, has_ends, True, has_gaps)

    @property
    def n_cycles(self) -> int:
        """Number of cycles of its dates or times that are inputs."""
        return len(self.kind.calendar or ()) if self.has_numbers else 0

    @property
    def number_code(self) -> int | None:
        """Outcome of a number that is no atom, if any."""
        return self.outcomes.number_code

    @property
    def missing_code(self) -> int | None:
        """Outcome of a missing cell, if any."""
        return self.outcomes.missing_code

    @property
    def new_code(self) -> int:
        """Outcome of a new level or an outlier."""
        return self.outcomes.n_outcomes - 1

    @property
    def step(self) -> float:
        """Width of a value's interval, in table units."""
        return self.kind.step

    @property
    def log_width(self) -> float:
        """Log-width in nats of a number's interval, by which its mass becomes a density; 0 of other
        columns, whose cells have a mass.
        """
        return float(np.log(self.step)) if self.kind.is_continuous else 0.0

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Outcomes ``(n,)`` of values, indices of levels or numbers; ``UNKNOWN`` of a gap of a
        column without gaps.
        """
        is_gap = np.isnan(values)
        if not self.has_numbers:
            codes = np.where(is_gap, 0, values).astype(np.int64)
            codes = np.where(codes < 0, self.new_code, codes)
        else:
            codes = self._codes_of_numbers(np.where(is_gap, 0.0, values))
            codes = np.where(self._steps_beyond_bounds(values) > 0, self.new_code, codes)
        return np.where(is_gap, UNKNOWN if self.missing_code is None else self.missing_code, codes)

    def encode(self, values: np.ndarray) -> Cells:
        """Outcomes, intervals and inputs of the cells with values ``(n,)``; those without a number,
        or outliers, have the interval ``0 ± 1`` and the input 0.
        """
        codes = self.codes(values)
        if not self.has_numbers:
            zeros = np.zeros(len(values))
            no_dates = np.zeros((0, len(values)))
            log_outlier = np.where(codes == self.new_code, 0.0, -np.inf)
            return Cells(codes, Interval(zeros, zeros), zeros, no_dates, log_outlier, zeros, values)
        is_no_number = np.isnan(values) | (codes == self.new_code)
        numbers = np.where(is_no_number, self._middle_number, values)
        unit_interval = self._interval(numbers)
        centre, half = unit_interval
        if self.normal_scores:
            centre, half = self.normal_scores.intervals(
                self.nearest(numbers), *unit_interval, self.slack
            )
        if self.kind.is_grid:
            half = np.where(self._is_on_grid(numbers), half, 0.0)
        interval = Interval(np.where(is_no_number, 0.0, centre), np.where(is_no_number, 1.0, half))
        units = np.where(is_no_number, 0.0, unit_interval.centre)
        log_outlier, outlier_below = self._outliers(values)
        calendar = harmonics(values, self.kind)
        return Cells(codes, interval, units, calendar, log_outlier, outlier_below, values)

    def _outliers(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probability ``(n,)`` in nats of values if they are outliers, -inf if impossible, and
        the probability ``(n,)`` that an outlier is less; 0 of gaps.
        """
        is_gap = np.isnan(values)
        if self.has_levels:  # a new one is outside of the order
            return np.where(values < 0, 0.0, -np.inf), np.zeros(len(values))
        numbers = self.nearest(np.where(is_gap, self.outliers.centre, values))
        low = numbers - self.step / 2
        high = numbers + self.step / 2
        is_possible = ~is_gap
        if self.is_closed:  # the last values have the outliers beyond them
            least, greatest = self.ends
            low = np.where(numbers <= least + self.slack, -np.inf, low)
            high = np.where(numbers >= greatest - self.slack, np.inf, high)
            is_possible &= self._steps_beyond_bounds(values) == 0
        if self.kind.is_grid:
            is_possible &= self._is_on_grid(values)
        width = np.where(np.isinf(low) | np.isinf(high), np.inf, self.step)
        log_mass = self.outliers.log_mass(low, high, width)
        below = np.where(is_gap, 0.0, self.outliers.below(low))
        return np.where(is_possible, log_mass, -np.inf), below

    @property
    def is_closed(self) -> bool:
        """Whether no number, not even an outlier, is beyond its bounds."""
        return self.kind.bounds is not None and not self.kind.is_open

    def log_wider(self, values: np.ndarray) -> np.ndarray:
        """Log-ratio ``(n,)`` of the mass of new numbers between those with steps, around a value,
        to the mass of its own interval; 0 of values with a step, and in columns without scores.
        """
        log_ratios = np.zeros(len(values))
        places = np.flatnonzero(self.codes(values) == self.number_code)
        if self.normal_scores and len(places):
            numbers = self.nearest(values[places])
            interval = self._interval(numbers)
            log_ratios[places] = self.normal_scores.log_wider(numbers, *interval, self.slack)
        return log_ratios

    @property
    def slack(self) -> float:
        """Distance within which a number has a step's value."""
        return NEAR_END * self.step if self.kind.is_grid else 1e-6 * self.step

    @cached_property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest number that is no outlier: bounds of its kind, and 0 where its units
        end there.
        """
        low, high = self.kind.bounds or (None, None)
        if low is None and self.maps and np.isfinite(self.maps[0].support[0]):
            low = 0.0
        return low, high

    def _steps_beyond_bounds(self, values: np.ndarray) -> np.ndarray:
        """Steps ``(n,)`` from the bounds, 0 within."""
        low, high = self.bounds
        below = -np.inf if low is None else (low - values) / self.step
        above = -np.inf if high is None else (values - high) / self.step
        steps = np.maximum(below, above)
        return np.where(steps > NEAR_END, steps, 0.0)

    def _codes_of_numbers(self, values: np.ndarray) -> np.ndarray:
        """Outcomes of numbers ``(n,)`` within the bounds: an atom or another number."""
        codes = np.full(len(values), self.number_code)
        atoms = np.array(self.kind.atoms)
        for i, reach in enumerate(reach_of(atoms, 1e-12, 1e-6 * self.step)):
            codes[np.abs(values - atoms[i]) <= reach] = i
        return codes

    @cached_property
    def _middle_number(self) -> float:
        """Number at 0 in scores or units, in place of cells without one."""
        return float(self.values_at(np.zeros(1))[0])

    @np.errstate(over="ignore")  # of numbers near the largest
    def _interval(self, values: np.ndarray) -> Interval:
        """Intervals, in units, of values ``(n,)`` and half a step around; those within the bounds
        partition R.
        """
        step = self.step
        values = self.nearest(values)
        below = values - step / 2
        above = values + step / 2
        low, _ = self.in_units(below)
        high, _ = self.in_units(above)
        middle, log_slope = self.in_units(values)
        by_slope = 0.5 * step * np.exp(log_slope)
        is_narrow = (by_slope < NARROW_HALF) | (np.abs(above - below - step) > NEAR_END * step)
        centre = np.where(is_narrow, middle, 0.5 * (low + high))
        half = np.where(is_narrow, by_slope, 0.5 * (high - low))
        least, greatest = self.bounds
        reach = NEAR_END / 2 * step
        if self.kind.is_grid:
            reach = (1 - NEAR_END) * step  # a bound may be off the grid
        if least is not None:  # the lowest interval is all below its upper end
            is_lowest = values - least <= reach
            centre = np.where(is_lowest, high, centre)
            half = np.where(is_lowest, -np.inf, half)
        if greatest is not None:
            is_highest = greatest - values <= reach
            centre = np.where(is_highest, low, centre)
            half = np.where(is_highest, np.inf, half)
        return Interval(centre, half)

    def _is_on_grid(self, values: np.ndarray) -> np.ndarray:
        """Mask ``(n,)`` of values on the grid."""
        return np.abs(self.nearest(values) - values) <= NEAR_END * self.step

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Nearest values on the grid, if there is one."""
        return self._on_lattice(values) if self.kind.is_grid else values

    def _on_lattice(self, values: np.ndarray) -> np.ndarray:
        """Nearest values ``(n,)`` at whole steps from the offset."""
        offset = self.kind.lattice.offset if self.kind.lattice else 0.0
        return offset + self.step * np.rint((values - offset) / self.step)

    def in_interval_units(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values ``(n,)`` in scores or units, as intervals are, and the log-slope ``(n,)``."""
        units, log_slope = self.in_units(values)
        if self.normal_scores is None:
            return units, log_slope
        return self.normal_scores.inside(values, units, log_slope, self.slack)

    def in_units(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values ``(n,)`` in units, and ``log|du/dx|``."""
        total_log_slope = np.zeros_like(values)
        for column_map in self.maps:
            values, log_slope = column_map.inside(values)
            total_log_slope = total_log_slope + log_slope
        return values, total_log_slope

    def _outside(self, units: np.ndarray) -> np.ndarray:
        """Numbers ``(n,)`` at units: of any decimals, also between the steps of a grid."""
        values = units
        for column_map in reversed(self.maps):
            values, _ = column_map.outside(values)
        return values

    def values_at(self, units: np.ndarray, exact: bool = True) -> np.ndarray:
        """Table values ``(n,)`` at scores or units: on the grid, with the column's decimals.

        ``exact`` as of :meth:`~nflow_cli.tables.cells.tails.Tailed.units_at`.
        """
        if self.normal_scores:
            step_values, units = self.normal_scores.outside(units, exact)
            values = self.normal_scores.snapped(self._outside(units), 0.51 * self.step)
            values = np.where(np.isnan(step_values), values, step_values)
        else:
            values = self._outside(units)
        return self._written(values, is_within=True)

    def _written(self, values: np.ndarray, is_within: bool) -> np.ndarray:
        """Values ``(n,)`` as a table has them: on the grid and with the column's decimals.

        Values that are, but for rounding, ``is_within`` bounds are not beyond the first or the last
        one.
        """
        written = values
        with np.errstate(over="ignore"):
            if self.kind.is_grid or self.kind.decimals is not None:
                written = self._on_lattice(values)
            if self.kind.decimals is not None:
                written = np.round(written, self.kind.decimals)
        written = np.where(np.isfinite(written), written, values)
        if is_within:
            low, high = self.ends
            written = np.fmin(np.fmax(written, low), high)
        return as_written(written, self.kind.single is not None, self.kind.type == "whole")

    @cached_property
    def ends(self) -> np.ndarray:
        """First and last value within the bounds ``(2,)``, NaN without one."""
        bounds = np.array(self.bounds, float)
        ends = self.nearest(bounds)
        slack = NEAR_END * self.step
        is_on_bound = np.abs(ends - bounds) <= slack
        inwards = np.array([1, -1])  # directions
        is_beyond = inwards * (ends - bounds) < -slack
        ends = np.where(is_beyond, ends + inwards * self.step, ends)
        return np.where(is_on_bound, bounds, ends)

    def written(self, values: np.ndarray) -> np.ndarray:
        """Numbers ``(n,)`` as a table has them; those within rounding of an atom, a step, or the
        first or last value equal it.
        """
        if self.kind.is_grid:
            return self._written(values, is_within=self.is_closed)
        reach = NEAR_END * self.step
        for mark in (*self.kind.atoms, *self.ends):
            values = np.where(np.abs(values - mark) <= reach, mark, values)
        if self.normal_scores:
            values = self.normal_scores.snapped(values, reach)
        if self.kind.decimals is not None:
            values = np.round(values, self.kind.decimals)
        return as_written(values, self.kind.single is not None, self.kind.type == "whole")

    def _outliers_at(self, p: np.ndarray) -> np.ndarray:
        """Outliers ``(n,)`` at probabilities, as written; of levels in order a new one."""
        if self.has_levels:
            return np.full(len(p), -1.0)
        values = self.outliers.quantile(np.clip(p, LEAST_TAIL, 1 - LEAST_TAIL))
        return self._written(values, is_within=self.is_closed)

    def decode(self, codes: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` of outcomes; ``units`` ``(n,)`` are those of numbers, in scores or units,
        and of outliers the probabilities below them.
        """
        if self.has_numbers:
            atoms = np.append(self.kind.atoms, np.nan)
            values = atoms[np.minimum(codes, len(atoms) - 1)]
            values = np.where(codes == self.number_code, self.values_at(units), values)
            values = np.where(codes == self.new_code, self._outliers_at(units), values)
        else:
            values = np.where(codes == self.new_code, -1.0, codes)
        return (
            values
            if self.missing_code is None
            else np.where(codes == self.missing_code, np.nan, values)
        )
