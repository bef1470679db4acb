"""Rules between two cells of a row: the distribution of a cell is cut to the values they allow.

    P(x | before) = w(x) P₀(x | before)
    w = (1 - e)/m + e of allowed values, e of others;  m = P₀(allowed | before)

``P₀`` is the mixture of the networks and the marginal, ``e`` the sum of the probabilities that a
rule is broken. Where m is below e, the cell is not cut. The rules of a cell are those with a known
cell before it. Rows drawn have allowed values alone: their law is that of e = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.arrays import log_ndtr, ndtri
from nflow_cli.config.declared_rules import Rule
from nflow_cli.data.kinds.found_rules import are_broken, rounding_slack
from nflow_cli.tables.cells.cell_columns import CellColumn, Cells
from nflow_cli.tables.cells.cell_distribution import CellDistribution, Lazy, drawn_index

TINY = np.finfo(float).tiny
ON_GRID = 1e-6  # steps: numbers as near to a value of a grid equal it
MOST_DRAWS = 100  # of a cell: one of a number other than 0 may take several


@dataclass(frozen=True, eq=False)
class Allowed:
    """Values of the cells of a column in n rows that rules allow, each array ``(n,)``.

    Attributes:
        low: Least number; -inf without.
        high: Greatest number; inf without.
        never_zero: Whether a number must not be 0.
        never_missing: Whether a cell must not be missing.
        always_missing: Whether it must be.
        break_rate: e, 0 where no rule counts.
    """

    low: np.ndarray
    high: np.ndarray
    never_zero: np.ndarray
    never_missing: np.ndarray
    always_missing: np.ndarray
    break_rate: np.ndarray

    def of_rows(self, indices: np.ndarray) -> "Allowed":
        """Those of the rows at indices ``(m,)``."""
        return Allowed(
            self.low[indices],
            self.high[indices],
            self.never_zero[indices],
            self.never_missing[indices],
            self.always_missing[indices],
            self.break_rate[indices],
        )

    def has(self, values: np.ndarray) -> np.ndarray:
        """Mask, of the shape of values ``(n,)`` or ``(n, k)``, of those that are allowed."""
        by_row = (slice(None), *[None] * (values.ndim - 1))
        is_gap = np.isnan(values)
        is_within = (values >= self.low[by_row]) & (values <= self.high[by_row])
        is_number_allowed = is_within & ~(self.never_zero[by_row] & (values == 0))
        is_number_allowed &= ~self.always_missing[by_row]
        return np.where(is_gap, ~self.never_missing[by_row], is_number_allowed)

    def edges(self, column: CellColumn) -> np.ndarray:
        """Edges ``(n, 2)`` in scores or units of the least and the greatest number of a column."""
        ends = []
        for numbers, side in ((self.low, -1), (self.high, 1)):
            cells = column.encode(np.where(np.isfinite(numbers), numbers, np.nan))
            edge = _ends_of(column, *cells.interval)[side > 0]
            least, greatest = np.array(column.bounds, float)
            beyond = np.where(numbers < least, -np.inf, np.where(numbers > greatest, np.inf, edge))
            edge = np.where(cells.codes == column.new_code, beyond, edge)
            ends.append(np.where(np.isfinite(numbers), edge, side * np.inf))
        return np.stack(ends, axis=1)


@dataclass(frozen=True, eq=False)
class CellRules:
    """Rules between columns of a row.

    Args:
        rules: The rules.
        columns: Given and modelled columns of a row, in order.
    """

    rules: Sequence[Rule]
    columns: Sequence[CellColumn]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Place of each column in a row, by name."""
        return {column.name: place for place, column in enumerate(self.columns)}

    @cached_property
    def _by_place(self) -> dict[int, list[tuple[Rule, int]]]:
        """Rules of each column that has some, with the place of their other column, before it."""
        by_place: dict[int, list[tuple[Rule, int]]] = {}
        for rule in self.rules:
            before, place = sorted(self._places[name] for name in rule.columns)
            by_place.setdefault(place, []).append((rule, before))
        return by_place

    @cached_property
    def _of_place(self) -> dict[int, list[tuple[Rule, int]]]:
        """Rules of each column that has some, with the place of their other column."""
        of_place: dict[int, list[tuple[Rule, int]]] = {}
        for rule in self.rules:
            first, second = (self._places[name] for name in rule.columns)
            of_place.setdefault(first, []).append((rule, second))
            of_place.setdefault(second, []).append((rule, first))
        return of_place

    def has(self, place: int) -> bool:
        """Whether the column at a place of a row has rules."""
        return place in self._by_place

    def involve(self, place: int) -> bool:
        """Whether the column at a place of a row is in a rule."""
        return place in self._of_place

    def allowed(self, place: int, rows: np.ndarray, *, given_all: bool = False) -> Allowed:
        """Values that the cells at a place may have, given the cells before it in rows ``(n, C)``,
        or all others; an unknown one allows all.
        """
        n = len(rows)
        column = self.columns[place]
        low = np.full(n, -np.inf)
        high = np.full(n, np.inf)
        never_zero = np.zeros(n, bool)
        never_missing = np.zeros(n, bool)
        always_missing = np.zeros(n, bool)
        break_rate = np.zeros(n)
        by_place = self._of_place if given_all else self._by_place
        for rule, other_place in by_place.get(place, ()):
            other = rows[:, other_place]
            other_column = self.columns[other_place]
            is_first = rule.columns[0] == column.name
            if rule.rule == "gap":
                is_known = ~np.isnan(other) | (other_column.missing_code is not None)
                always_missing |= is_known & np.isnan(other)
                never_missing |= is_known & ~np.isnan(other)
            elif rule.rule == "order":
                is_known = ~np.isnan(other)
                slack = rounding_slack(column.kind, other_column.kind)
                if is_first:
                    high = np.where(is_known, np.minimum(high, other + slack), high)
                else:
                    low = np.where(is_known, np.maximum(low, other - slack), low)
            elif is_first:  # 0 only where the other is
                is_known = ~np.isnan(other) & (other != 0)
                never_zero |= is_known
            else:
                is_known = other == 0
                low = np.where(is_known, np.maximum(low, 0.0), low)
                high = np.where(is_known, np.minimum(high, 0.0), high)
            break_rate += np.where(is_known, rule.break_rate, 0.0)
        if column.kind.is_grid:
            low = _on_grid(column, low, np.ceil, -ON_GRID)
            high = _on_grid(column, high, np.floor, ON_GRID)
        return Allowed(
            low, high, never_zero, never_missing, always_missing, np.minimum(break_rate, 0.5)
        )

    def are_broken(self, rows: np.ndarray) -> np.ndarray:
        """Mask ``(n, J)`` of the rows ``(n, C)`` that break each of J rules."""
        broken = np.zeros((len(rows), len(self.rules)), bool)
        for i, rule in enumerate(self.rules):
            places = [self._places[name] for name in rule.columns]
            slack = rounding_slack(*(self.columns[place].kind for place in places))
            broken[:, i] = are_broken(rule.rule, *rows[:, places].T, slack=slack)
        return broken

    def are_kept(self, draws: np.ndarray) -> np.ndarray:
        """Mask ``(b, S)`` of the draws ``(b, S, C)`` of b rows that break no rule but those that
        all draws of their row break, as their known cells do; of all draws if none is left.
        """
        rows = draws.reshape(-1, draws.shape[-1])
        broken = self.are_broken(rows).reshape(*draws.shape[:2], len(self.rules))
        are_kept = np.all(~broken | broken.all(axis=1, keepdims=True), axis=2)
        return are_kept | ~np.any(are_kept, axis=1, keepdims=True)


def _on_grid(column: CellColumn, ends: np.ndarray, towards: np.ufunc, slack: float) -> np.ndarray:
    """Ends ``(n,)`` at the nearest value of the column's grid ``towards`` the inside."""
    offset = column.kind.lattice.offset if column.kind.lattice else 0.0
    values = offset + column.step * towards((ends - offset) / column.step + slack)
    if column.kind.decimals is not None:
        values = np.round(values, column.kind.decimals)
    return np.where(np.isfinite(ends), values, ends)


class CutDistribution(CellDistribution):
    """Distributions of a column's cell in n rows, given the cells before it, cut to allowed values.

    Args:
        uncut: The distributions without rules.
        allowed: Values that the rules allow.
    """

    def __init__(self, uncut: CellDistribution, allowed: Allowed):
        self.__dict__.update(uncut.__dict__)
        self.uncut = uncut
        self.allowed = allowed
        gap = self.column.missing_code
        no_gap = np.zeros(self.n)
        self._p_gap = no_gap if gap is None else uncut.p_outcomes[gap]
        self._p_gap_allowed = np.where(allowed.never_missing, 0.0, self._p_gap)
        with np.errstate(over="ignore", invalid="ignore"):
            self._below_low, below_high, self._at_zero = self._ends()
        numbers = np.maximum(below_high - self._below_low - self._at_zero, 0.0)
        self._p_present = np.where(allowed.always_missing, 0.0, numbers)
        mass = self._p_present + self._p_gap_allowed
        self.is_cut = (allowed.break_rate > 0) & (mass > allowed.break_rate)
        self._break_rate = np.where(self.is_cut, allowed.break_rate, 1.0)
        self._mass = np.where(self.is_cut, np.minimum(mass, 1.0), 1.0)
        self.p_outcomes = uncut.p_outcomes * self._weights_of_outcomes()
        if self.column.has_numbers:
            self._low, self._high = allowed.edges(self.column).T

    def _ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities ``(n,)`` of less than the least allowed number, of at most the greatest,
        and of a 0 between them that is not allowed; of levels 0, that of all, and 0.
        """
        allowed = self.allowed
        zeros = np.zeros(self.n)
        p_present = 1 - self._p_gap
        if self.column.has_levels:
            return zeros, p_present, zeros
        has_low = np.isfinite(allowed.low)
        has_high = np.isfinite(allowed.high)
        below_low, at_low = self._at_number(np.where(has_low, allowed.low, 0.0))
        below_high, at_high = self._at_number(np.where(has_high, allowed.high, 0.0))
        _, at_zero = self._at_number(zeros)
        if _is_smooth(self.column):  # half of a narrow interval is beyond the end
            below_low = below_low + at_low / 2
            at_high = at_high / 2
            at_zero = zeros
        is_zero_between = allowed.never_zero & (allowed.low <= 0) & (allowed.high >= 0)
        low = np.where(has_low, below_low, 0.0)
        high = np.where(has_high, below_high + at_high, p_present)
        return low, high, np.where(is_zero_between, at_zero, 0.0)

    def _at_number(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities ``(n,)`` of less than numbers ``(n,)``, and of these, without rules."""
        return self.uncut.below_and_at(self.column.encode(numbers))

    def _weights_of_outcomes(self) -> np.ndarray:
        """Ratios w ``(L, n)`` of the probabilities of outcomes to those without rules; 1 of numbers
        that are no atoms.
        """
        column = self.column
        weights = np.ones_like(self.uncut.p_outcomes)
        numbers = np.tile(np.array([*column.kind.atoms, np.nan]), (self.n, 1))
        if not column.has_numbers:
            numbers = np.tile(np.append(np.zeros(len(column.levels)), np.nan), (self.n, 1))
        of_values = self.weights_of(numbers).T
        weights[: len(of_values) - 1] = of_values[:-1]
        if column.missing_code is not None:
            weights[column.missing_code] = of_values[-1]
        part = np.where(self.allowed.always_missing, 0.0, 1.0)
        if not column.has_levels:
            first, last = self._outliers_within()
            part = part * np.maximum(last - first, 0.0)
        rate = self._break_rate
        weights[column.new_code] = (1 - rate) / self._mass * part + rate
        return weights

    def _outliers_within(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities ``(n,)`` that an outlier is below the least allowed number, and at most the
        greatest.
        """
        low = self.column.encode(np.where(np.isfinite(self.allowed.low), self.allowed.low, 0.0))
        high = self.column.encode(np.where(np.isfinite(self.allowed.high), self.allowed.high, 0.0))
        part = 0.5 if _is_smooth(self.column) else 1.0  # of the interval of an end
        first = low.p_outlier_below + (1 - part) * np.exp(low.log_p_outlier)
        last = high.p_outlier_below + part * np.exp(high.log_p_outlier)
        first = np.where(np.isfinite(self.allowed.low), first, 0.0)
        last = np.where(np.isfinite(self.allowed.high), last, 1.0)
        return first, last

    @property
    def p_number(self) -> np.ndarray:
        """Probability ``(n,)`` of a number that is no atom."""
        return self.below(np.full((1, 1), np.inf))[:, 0]

    def below(self, u: np.ndarray) -> np.ndarray:
        """Probability ``(n, k)`` of a number below units ``(n, k)`` or ``(1, k)``."""
        uncut = self.uncut.below(u)
        low, high, first_zero, last_zero = (
            ends[:, None] for ends in (self._low, self._high, *self._zero_limits)
        )
        within = self.uncut.below(np.clip(u, low, high)) - self.uncut.below(low)
        zeros = self.uncut.below(np.clip(u, first_zero, last_zero)) - self.uncut.below(first_zero)
        allowed = np.where(self.allowed.always_missing[:, None], 0.0, within - zeros)
        rate = self._break_rate[:, None]
        return (1 - rate) / self._mass[:, None] * allowed + rate * uncut

    @Lazy
    def _zero_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges ``(n,)`` of the interval of a 0 that is not allowed between others; of other rows
        they are equal.
        """
        is_zero_between = self._at_zero > 0
        if not is_zero_between.any():
            return self._low, self._low
        centre, half = self.column.encode(np.zeros(1)).interval
        low, high = _ends_of(self.column, centre, half)
        return np.where(is_zero_between, low, 0.0), np.where(is_zero_between, high, 0.0)

    def weights_of(self, values: np.ndarray) -> np.ndarray:
        """Ratios w of the probabilities of values ``(n,)`` or ``(n, k)`` to those without rules."""
        rate = self._break_rate
        weights = (1 - rate) / self._mass + rate
        if values.ndim > 1:
            rate = rate[:, None]
            weights = weights[:, None]
        return np.where(self.allowed.has(values), weights, rate)

    def below_and_at(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """``P(X < x)`` and ``P(X = x)`` ``(n,)`` of cells, in the order of
        :meth:`~nflow_cli.tables.cells.cell_distribution.CellDistribution.below_and_at`.
        """
        below, at = self.uncut.below_and_at(cells)
        is_gap = np.isnan(cells.values)
        is_new = cells.codes == self.column.new_code
        at_within = np.where(self.allowed.has(cells.values), at, 0.0)
        if self.column.has_levels:
            within = np.where(self.allowed.always_missing, 0.0, below)
            above_gaps = within - self._p_gap * ~self.allowed.always_missing + self._p_gap_allowed
            within = np.where(is_new, above_gaps, within)
        else:
            is_above_zero = cells.values > 0
            passed = below - self._below_low - np.where(is_above_zero, self._at_zero, 0.0)
            within = np.clip(passed, 0.0, self._p_present)
            through = np.clip(passed + at, 0.0, self._p_present)
            within = np.where(is_gap, self._p_present, within)
            is_inside = self.allowed.has(cells.values) & ~is_gap
            at_within = np.where(is_inside, through - within, at_within)
        rate = self._break_rate
        below_cut = (1 - rate) * within / self._mass + rate * below
        return below_cut, (1 - rate) * at_within / self._mass + rate * at

    @property
    def log_p_present(self) -> np.ndarray:
        """Log-probability ``(n,)`` in nats that a drawn cell is present, given that it is not
        new.
        """
        uncut = self.uncut.log_p_present
        if self.column.missing_code is None:
            return uncut
        with np.errstate(divide="ignore"):
            of_cut = np.log1p(-np.minimum(self._p_gap_allowed / self._mass, 1.0))
        return np.where(self.is_cut, of_cut, uncut)

    def of_rows(self, indices: np.ndarray) -> "CutDistribution":
        """The distributions in the rows at indices ``(m,)``."""
        return CutDistribution(self.uncut.of_rows(indices), self.allowed.of_rows(indices))

    def draw(
        self,
        rng: np.random.Generator,
        present: np.ndarray | bool = False,
        with_new: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw outcomes and numbers ``(n,)`` as of
        :meth:`~nflow_cli.tables.cells.cell_distribution.CellDistribution.draw`, of allowed values
        alone; with ``with_new`` a cell may break rules.
        """
        codes, units = self.uncut.draw(rng, present, with_new)
        is_free = ~self.is_cut
        if with_new:
            is_free |= rng.random(self.n) < self._break_rate
        missing = self.column.missing_code
        never_missing = np.zeros(self.n, bool) | present
        for _ in range(MOST_DRAWS):
            values = self.column.decode(codes, units)
            is_gap = codes == missing
            wrong = np.flatnonzero(~is_free & ~self.allowed.has(np.where(is_gap, np.nan, values)))
            if not len(wrong):
                break
            of_wrong = self.of_rows(wrong)
            codes[wrong], units[wrong] = of_wrong._drawn_within(rng, never_missing[wrong], with_new)
        return codes, units

    def _drawn_within(
        self, rng: np.random.Generator, present: np.ndarray, with_new: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes and numbers ``(n,)`` drawn within the limits of the allowed values, where the
        outcomes left have a mass; else without rules.
        """
        column = self.column
        shares = self.uncut.p_outcomes.copy()
        shares[column.new_code] *= with_new
        if column.missing_code is not None:
            shares[column.missing_code] *= ~(present | self.allowed.never_missing)
        is_present = np.arange(len(shares)) != column.missing_code
        shares[is_present] *= ~self.allowed.always_missing
        if not column.has_numbers or column.has_levels:
            uncut_codes, units = self.uncut.draw(rng, present, with_new)
            return np.where(shares.sum(axis=0) > 0, drawn_index(shares, rng), uncut_codes), units
        atoms = np.array(column.kind.atoms, float)
        for code, atom in enumerate(atoms):
            shares[code] *= self.allowed.has(np.full(self.n, atom))
        weights, means, scales = self._normals()
        lower = (self._low - means) / scales
        upper = (self._high - means) / scales
        weights = weights * _normal_mass(lower, upper)
        shares[column.number_code] *= weights.sum(axis=0) / np.maximum(self.uncut.p_number, TINY)
        first, last = self._outliers_within()
        shares[column.new_code] *= last - first
        component = drawn_index(weights, rng)
        rows = np.arange(self.n)
        z = _normal_between(lower[component, rows], upper[component, rows], rng.random(self.n))
        numbers = means[component, rows] + scales[component, rows] * z
        codes = drawn_index(shares, rng)
        p_outlier = first + rng.random(self.n) * (last - first)
        units = np.where(codes == column.new_code, p_outlier, numbers)
        uncut_codes, uncut_units = self.uncut.draw(rng, present, with_new)
        has_mass = shares.sum(axis=0) > 0
        return np.where(has_mass, codes, uncut_codes), np.where(has_mass, units, uncut_units)


def _is_smooth(column: CellColumn) -> bool:
    """Whether no number of a column has a mass."""
    return column.kind.is_continuous and not column.kind.repeats


def _ends_of(
    column: CellColumn, centre: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends ``(n,)`` of intervals of a column; of a number without a mass its middle."""
    if _is_smooth(column) and np.isfinite(half).all():
        return centre, centre
    reach = np.where(np.isinf(half), 0.0, np.abs(half))
    low = np.where(half == -np.inf, -np.inf, centre - reach)
    high = np.where(half == np.inf, np.inf, centre + reach)
    return low, high


def _normal_mass(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """``Φ(upper) - Φ(lower)``, accurate in both tails."""
    is_right = lower > 0
    low = np.where(is_right, -upper, lower)
    high = np.where(is_right, -lower, upper)
    return np.maximum(np.exp(log_ndtr(high, np)) - np.exp(log_ndtr(low, np)), 0.0)


def _normal_between(lower: np.ndarray, upper: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Standard normals ``(n,)`` between two ends, at uniform ``u`` ``(n,)``."""
    is_right = lower > 0
    low = np.where(is_right, -upper, lower)
    high = np.where(is_right, -lower, upper)
    below = np.exp(log_ndtr(low, np))
    z = ndtri(below + u * (np.exp(log_ndtr(high, np)) - below), np)
    z = np.clip(z, low, high)
    return np.where(is_right, -z, z)
