"""Computed columns: functions of other columns, broken with a small probability.

    P(x | the row) = (1 - e) [x = f(the row)] + e m(x)

``m`` is the column's marginal: masses, of intervals for numbers. Where rounding leaves some values,
``f(the row)`` is one of them: of a tie each with probability 1/2; if the other columns were
rounded, too, by the sum of their errors, the largest uniform and the rest a normal. A cell is
missing where a source is. Where a source is new, or missing though never in training rows, or ``f``
is undefined, the probability is ``m``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.arrays import SQRT_2PI, ndtri
from nflow_cli.config.column_kinds import Relation
from nflow_cli.data.files.dates import DAY
from nflow_cli.data.files.written import as_written, significant, spacing
from nflow_cli.data.kinds.date_parts import by_calendar
from nflow_cli.data.kinds.formulas import NOISE, combined, errors_of, steps_of_digits
from nflow_cli.tables.cells.cell_columns import UNKNOWN, CellColumn
from nflow_cli.tables.cells.cell_distribution import CellDistribution
from nflow_cli.tables.cells.marginal import Marginal, normal_cdf

EQUAL_STEPS = 1e-6  # of the last decimal: closer numbers are equal
MOST_SUMMED = 1_000  # more values that rounding leaves have a density
HALF_STEP = 0.499  # of the last decimal: numbers beside a value that it is rounded to
QUANTILES = ndtri((np.arange(20) + 0.5) / 20, np)  # of a column, in its units


class Expected(NamedTuple):
    """Values of a computed column by its function, each ``(n,)``.

    Attributes:
        values: As written in the table, NaN for missing.
        exact: Before rounding.
        slack: Rounding error of the arithmetic.
        known: The function is defined.
        low: Least of the values that rounding leaves, such as both of a tie.
        count: Their number.
        step: From one to the next.
        widest: Largest error by one rounded column, 0 without any.
        rest: Standard deviation of the sum of the errors by the others.
    """

    values: np.ndarray
    exact: np.ndarray
    slack: np.ndarray
    known: np.ndarray
    low: np.ndarray
    count: np.ndarray
    step: np.ndarray
    widest: np.ndarray
    rest: np.ndarray

    def before(self, places: np.ndarray) -> np.ndarray:
        """Probabilities ``(n,)`` that the cell is one of the values before places ``(n,)``, from 0
        to ``count``, among those that rounding leaves.
        """
        if not (self.widest > 0).any():  # the usual case
            return places / self.count
        cdf_first = self._cdf(np.zeros_like(self.count))
        cdf_last = self._cdf(self.count)
        with np.errstate(invalid="ignore"):
            by_errors = (self._cdf(places) - cdf_first) / (cdf_last - cdf_first)
        return np.where(self.widest > 0, by_errors, places / self.count)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Probabilities ``(n,)`` of the values at places ``(n,)``; of one of very many by the
        density of the errors, as a difference has no digits.
        """
        probabilities = self.before(places + 1) - self.before(places)
        are_many = (self.widest > 0) & (self.count > MOST_SUMMED)
        if not are_many.any():
            return probabilities
        lower, upper = self._ends(places + 0.5)
        density = (normal_cdf(upper) - normal_cdf(lower)) * self.step / (2 * self._width)
        return np.where(are_many, density, probabilities)

    @property
    def _width(self) -> np.ndarray:
        """Half width ``(n,)`` of the uniform error; 1 without any, in place of 0."""
        return np.where(self.widest > 0, self.widest, 1.0)

    @property
    def _scale(self) -> np.ndarray:
        """Standard deviation ``(n,)`` of the normal error, positive."""
        return np.maximum(self.rest, EQUAL_STEPS * self._width)

    def _ends(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends, ``(n,)`` each, of the uniform error around the lower edges of the values at places,
        in scales of the normal error.
        """
        distance = np.nan_to_num(self.low - self.exact) + self.step * (places - 0.5)
        return (distance - self._width) / self._scale, (distance + self._width) / self._scale

    def _cdf(self, places: np.ndarray) -> np.ndarray:
        """Probability ``(n,)`` that the sum of a uniform and a normal error is before places: the
        integral of Φ between the ends, divided by their distance.
        """
        lower, upper = self._ends(places)
        integral = _integral_of_cdf(upper) - _integral_of_cdf(lower)
        return integral * self._scale / (2 * self._width)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws ``(n,)`` of the values that rounding leaves, by their probabilities."""
        uniform = rng.random(len(self.low))
        normal = rng.standard_normal(len(self.low))
        error = self.widest * (2 * uniform - 1) + self.rest * normal
        by_errors = np.rint((self.exact + error - self.low) / self.step)
        places = np.where(self.widest > 0, by_errors, np.floor(uniform * self.count))
        return self.low + self.step * np.clip(places, 0, self.count - 1)


def _integral_of_cdf(z: np.ndarray) -> np.ndarray:
    """``∫ Φ`` up to ``z``."""
    return z * normal_cdf(z) + np.exp(-z * z / 2) / SQRT_2PI


@dataclass(frozen=True, eq=False)
class Computed:
    """Column computed from others.

    Args:
        column: Its kind has the relation.
        place: Its index in a row.
        others: Given and modelled columns, in row order.
        marginal: Of its cells.
        broken: e, the probability of a draw from the marginal.
    """

    column: CellColumn
    place: int
    others: Sequence[CellColumn]
    marginal: Marginal
    broken: float

    @property
    def relation(self) -> Relation:
        """Its relation to other columns."""
        return cast(Relation, self.column.kind.relation)  # the schema asks for one

    @cached_property
    def sources(self) -> list[tuple[int, CellColumn]]:
        """The sources, with their index in a row."""
        places = {column.name: i for i, column in enumerate(self.others)}
        return [(places[name], self.others[places[name]]) for name in self.relation.columns]

    # The function.

    def expected(self, rows: np.ndarray) -> Expected:
        """Values of the function at rows ``(n, C)``, and what rounding leaves of them."""
        sources = [(column, rows[:, place]) for place, column in self.sources]
        rounding_errors = np.zeros((len(rows), 1))
        rule = self.relation.rule
        if rule in ("map", "date"):
            exact = self._by_map(*sources[0]) if rule == "map" else self._by_date(sources)
            term_size = np.abs(exact)
        else:
            x = np.column_stack([_numbers_of(*source) for source in sources])
            exact, term_size = _values_by_formula(self.relation, x)
            if self.relation.is_rounded:
                decimals = [column.kind.decimals for _, column in self.sources]
                rounding_errors = errors_of(self.relation, x, decimals, exact)
            if self.relation.is_sum:
                term_size = np.maximum(term_size, self._median_size)
        are_gaps = [
            np.isnan(values) & (column.missing_code is not None) for column, values in sources
        ]
        is_gap = np.any(are_gaps, axis=0)
        known = np.where(is_gap, self.column.missing_code is not None, np.isfinite(exact))
        exact = np.where(is_gap | ~known, np.nan, exact)
        values = self._written(exact)
        low, count, step = self._values_of_rounding(values, exact, rounding_errors.sum(axis=1))
        # The largest error is uniform, the sum of the others normal: h²/3 is the variance of each.
        *other_errors, widest = np.sort(np.where(known[:, None], rounding_errors, 0.0)).T
        rest = np.sqrt(np.sum(np.square(other_errors), axis=0) / 3) + np.zeros(len(rows))
        return Expected(values, exact, NOISE * term_size, known, low, count, step, widest, rest)

    def _by_date(self, sources: Sequence[tuple[CellColumn, np.ndarray]]) -> np.ndarray:
        """Values ``(n,)`` of the rule ``date``, in units of the column, by its sources and their
        values.
        """
        are_days = sources[0][0].kind.type == "date"
        exact = by_calendar(self.relation, [_numbers_of(*source) for source in sources], are_days)
        is_date = self.relation.part is None and self.column.kind.type == "date"
        return exact / DAY if is_date else exact

    def _values_of_rounding(
        self, values: np.ndarray, exact: np.ndarray, error: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values that rounding leaves, whose exact ones are ``exact`` with errors up to ``error``
        ``(n,)``: the least, their number, and the step between them, each ``(n,)``.

        One value, as given, where there is no rounding.
        """
        kind = self.column.kind
        ones = np.ones(len(values))
        if not self.column.has_numbers:
            return values, ones, ones
        step = self._steps_near(np.nan_to_num(np.abs(exact) - error))
        if self.relation.rule == "map":
            return values, ones, step
        if kind.decimals is None and kind.kind == "number":
            count = np.fmax(1.0, np.floor(2 * error / step))
            return np.where(count > 1, exact - error, values), count, step
        origin = kind.lattice.offset if kind.lattice and kind.decimals is None else 0.0
        place = (exact - origin) / step
        reach = error / step + 0.5 + EQUAL_STEPS
        first = np.ceil(place - reach)
        count = np.fmax(1.0, np.floor(place + reach) - first + 1)
        return np.where(count > 1, origin + step * first, values), count, step

    def _by_map(self, source: CellColumn, values: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` by the map of a source's ``values`` ``(n,)``; NaN where it has none. Of
        numbers the nearest key counts.
        """
        keys = self.relation.keys
        map_values = np.append(self._map_values, np.nan)
        if source.kind.type in ("text", "truth"):
            key_indices: dict[str | float, int] = {key: i for i, key in enumerate(keys)}
            key_of_level = np.array([key_indices.get(level, -1) for level in source.levels] + [-1])
            return map_values[key_of_level[_level_indices(values)]]
        numbers = _numbers_of(source, values)
        nearest = _nearest_index(np.array(keys, float), numbers)
        return np.where(np.isnan(numbers), np.nan, map_values[nearest])

    @cached_property
    def _map_values(self) -> np.ndarray:
        """Values of a map, one for each of its keys: numbers, or indices of levels, NaN of no
        level.
        """
        values = self.relation.values
        levels = self.column.coded_values
        if self.column.has_numbers:
            return np.array(values, float)
        if self.column.kind.type in ("text", "truth"):
            level_indices: dict[str | float, int] = {level: i for i, level in enumerate(levels)}
            return np.array([level_indices.get(value, np.nan) for value in values])
        return _nearest_index(np.array(levels, float), np.array(values, float)).astype(float)

    def _written(self, values: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` as the table has them: rounded, or nearly on the grid, on it."""
        kind = self.column.kind
        if not self.column.has_numbers:
            return values
        if kind.decimals is not None:
            digits = self.relation.digits
            values = significant(values, digits) if digits else values
            return np.round(values, kind.decimals) + 0.0
        nearest = self.column.nearest(values)
        is_near = np.abs(nearest - values) <= 0.01 * self.column.step  # off it by arithmetic alone
        return as_written(np.where(is_near, nearest, values), kind.single is not None)

    def holds(self, rows: np.ndarray, expected: Expected) -> np.ndarray:
        """Mask ``(n,)`` of the rows ``(n, C)`` whose cell is a value that the function and rounding
        allow.
        """
        values = rows[:, self.place]
        agrees = (values == expected.values) | (np.isnan(values) & np.isnan(expected.values))
        if self.column.has_numbers:
            steps = (values - expected.low) / expected.step
            agrees |= (steps >= -EQUAL_STEPS) & (steps <= expected.count - 1 + EQUAL_STEPS)
            agrees |= np.abs(values - expected.exact) <= HALF_STEP * expected.step + expected.slack
        return agrees & expected.known

    def _steps_near(self, values: np.ndarray) -> np.ndarray:
        """Steps ``(n,)`` between the numbers that the column may have near values."""
        kind = self.column.kind
        if kind.decimals is not None:
            steps = np.full(len(values), 10.0**-kind.decimals)
            digits = self.relation.digits
            return np.fmax(steps, steps_of_digits(values, digits)) if digits else steps
        if kind.kind == "grid":
            return np.full(len(values), self.column.step)
        return self.column.step * spacing(values, self._median_size)

    @cached_property
    def _median_size(self) -> float:
        """Median size of the column's numbers."""
        return float(np.median(np.abs(self.column.values_at(QUANTILES)))) or 1.0

    # Probabilities and draws.

    @property
    def by_marginal(self) -> "Computed":
        """Column that is always broken: each cell is by the marginal."""
        return replace(self, broken=1.0)

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of the cells; 0 if unknown."""
        expected = self.expected(rows)
        cells = self.column.encode(rows[:, self.place])
        broken = np.where(expected.known, self.broken, 1.0)
        log_marginal = self.marginal.log_prob(cells.codes, *cells.interval, cells.log_p_outlier)
        with np.errstate(divide="ignore"):
            p_of_value = expected.at(self._places_in_rounding(rows, expected))
            log_unbroken = np.log1p(-broken) + np.log(p_of_value)
            log_unbroken = np.where(self.holds(rows, expected), log_unbroken, -np.inf)
            log_p = np.logaddexp(log_unbroken, np.log(broken) + log_marginal)
        return np.where(cells.codes == UNKNOWN, 0.0, log_p)

    def below_and_at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``P(X < x)`` and ``P(X = x)`` ``(n,)`` of cells, as of
        :meth:`~nflow_cli.tables.cells.cell_distribution.CellDistribution.below_and_at`.
        """
        values = rows[:, self.place]
        expected = self.expected(rows)
        broken = np.where(expected.known, self.broken, 1.0)
        below, at = self._marginal_distribution(len(rows)).below_and_at(self.column.encode(values))
        holds = self.holds(rows, expected)
        places = self._places_in_rounding(rows, expected)
        is_above = expected.known & (self._rank(expected.values) < self._rank(values))
        below_unbroken = np.where(holds, expected.before(places), is_above)
        at_unbroken = np.where(holds, expected.at(places), 0.0)
        below = (1 - broken) * below_unbroken + broken * below
        return below, (1 - broken) * at_unbroken + broken * at

    def _places_in_rounding(self, rows: np.ndarray, expected: Expected) -> np.ndarray:
        """Places ``(n,)`` of the cells among the values that rounding leaves; 0 of levels."""
        if not self.column.has_numbers:
            return np.zeros(len(rows))
        steps = np.nan_to_num((rows[:, self.place] - expected.low) / expected.step)
        return np.clip(np.rint(steps), 0, expected.count - 1)

    def _marginal_distribution(self, n: int) -> CellDistribution:
        """Distribution of n cells by the marginal."""
        return CellDistribution(self.column, self.marginal, n)

    def _rank(self, values: np.ndarray) -> np.ndarray:
        """Keys ``(n,)`` by which values are in the order of cells, missing above all numbers."""
        if self.column.has_numbers:
            return np.where(np.isnan(values), np.inf, values)
        return self.column.codes(values).astype(float)

    def draw(
        self, rows: np.ndarray, rng: np.random.Generator, with_new: bool = False
    ) -> np.ndarray:
        """Cells ``(n,)`` of rows ``(n, C)``: by the function, else from the marginal.

        With ``with_new`` a cell may be broken or new, else neither.
        """
        expected = self.expected(rows)
        is_broken = with_new & (rng.random(len(rows)) < self.broken)
        marginal_rows = np.flatnonzero(~expected.known | is_broken)
        values = expected.values
        rounded_rows = np.flatnonzero(expected.count > 1)
        rounded_values = Expected(*(part[rounded_rows] for part in expected))
        values[rounded_rows] = self._written(rounded_values.draw(rng))
        drawn = self._marginal_distribution(len(marginal_rows)).draw(rng, with_new=with_new)
        values[marginal_rows] = self.column.decode(*drawn)
        return values


def _values_by_formula(relation: Relation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(n,)`` of a formula at numbers ``(n, k)``, and the size ``(n,)`` of its terms, by
    which arithmetic has rounding errors.
    """
    plain, size = combined(relation, x)
    if relation.is_sum:
        values = plain + relation.constant
        return values, np.maximum(size, np.abs(values))
    with np.errstate(all="ignore"):
        values = plain * relation.constant
    return values, np.abs(values)


def _numbers_of(column: CellColumn, values: np.ndarray) -> np.ndarray:
    """Numbers ``(n,)`` of a column's values, also of levels that are numbers; NaN of gaps."""
    if not column.has_levels:
        return values
    levels = np.array([*column.levels, np.nan], float)
    return levels[_level_indices(values)]


def _level_indices(values: np.ndarray) -> np.ndarray:
    """Indices of levels ``(n,)``, -1 of a gap or a new level."""
    return np.where(np.isnan(values), -1, values).astype(int)


def _nearest_index(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index ``(n,)`` of the point nearest to each value."""
    order = np.argsort(points)
    ordered = points[order]
    return order[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, np.nan_to_num(values))]
