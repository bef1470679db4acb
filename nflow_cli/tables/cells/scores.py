"""Normal scores of a column whose values repeat: each owns the interval of its own probability.

    z = Φ⁻¹(F(x)),    F(x) = Σ_v p_v [v ≤ x] + (1 - Σ_v p_v) S(x)

``F`` is the column's own distribution, with steps at values that repeat and a smooth part ``S``. A
cell is the interval between the scores of its ends: popular values are wide, values never seen
narrow. By N(0, 1) it has the column's own probability, and a mixture of normals there is an ordered
probit, mixed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import LOG_2, log1mexp, log_ndtr
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.files.written import reach_of
from nflow_cli.data.kinds.atoms import heaps
from nflow_cli.tables.cells.marginal import fit_normals
from nflow_cli.tables.cells.outliers import fit_outliers
from nflow_cli.tables.cells.tails import Tailed, score, with_tails

# Of Pitman and Yor's law: d and a.
DISCOUNTS = np.arange(0.0, 1.0, 0.1)
STRENGTHS = 10.0 ** np.arange(-1.0, 7.0, 0.25)
HEAP_EVIDENCE = 6.0  # nats for a value's own share, which costs less than an atom
MULTIPLES = [first * 10**k for k in range(7) for first in (1, 2, 5)][1:]
FEWEST_VALUES = 8  # of a lattice
MOST_PLACES = 5_000  # of a lattice, that are steps
MAX_STEPS = 2**16  # steps
EM_ROUNDS = 50
CLEAR_GAIN = 10.0  # nats that a lattice gains, at least
LEAST_GAIN = 0.03  # nats a row, of steps
CHANCE_GAIN = 8.0  # nats that steps gain where counts are by chance
NARROW = 1e-4  # half width of a score, times 1 + |z|: below, its slope is as good as a difference
FAR_UNITS = 1e140  # units, farther ones of which have no square over the least scale of a normal
LEAST_MASS = 1e-300  # probability between steps, at least
LEAST_HALF = 1e-300  # half width of a value's interval: 0 is of a value off the grid


@dataclass(frozen=True, eq=False)
class Scores:
    """Normal scores of a column.

    Args:
        values: Values with steps ``(m,)``, ascending, in table units.
        units: The same in column units.
        masses: Of the steps ``p_v``, of sum below 1.
        smooth: ``S``, in column units.
    """

    values: np.ndarray
    units: np.ndarray
    masses: np.ndarray
    smooth: Tailed

    @cached_property
    def rest(self) -> float:
        """Mass of the smooth part."""
        return float(1 - self.masses.sum())

    @cached_property
    def _cumulative(self) -> np.ndarray:
        """Sums of the masses ``(m + 1,)``: of no step, of the first, …, of all."""
        return np.append(0.0, np.cumsum(self.masses))

    def _log_steps(self, x: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-masses, ``(n,)`` each, of the steps below, at and above values ``x`` ``(n,)``; a step
        is at a value within ``slack``.
        """
        reach = reach_of(x, 4e-13, slack)  # less than half of the twelfth digit
        below = self._cumulative[np.searchsorted(self.values, x - reach)]
        through = self._cumulative[np.searchsorted(self.values, x + reach, side="right")]
        return (
            _log_mass(below),
            _log_mass(through - below),
            _log_mass(self._cumulative[-1] - through),
        )

    def _log_smooth(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-masses of the smooth part below and above units ``(n,)``."""
        u = np.clip(units, -FAR_UNITS, FAR_UNITS)
        log_rest = np.log(self.rest)
        return log_rest + self.smooth.log_below(u), log_rest + self.smooth.log_above(u)

    def intervals(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of values ``x`` ``(n,)`` in scores: middles and half widths, as of those in
        column units, ``centre ± half``, infinite at the ends. A step is at a value within
        ``slack``.
        """
        is_lowest = half == -np.inf
        is_highest = half == np.inf
        finite_half = np.where(np.isinf(half), 0.0, half)
        log_below, log_step, log_above = self._log_steps(x, slack)
        log_smooth_below, _ = self._log_smooth(centre - finite_half)
        _, log_smooth_above = self._log_smooth(centre + finite_half)
        log_below = np.logaddexp(log_below, np.where(is_lowest, -np.inf, log_smooth_below))
        log_above = np.logaddexp(log_above, np.where(is_highest, -np.inf, log_smooth_above))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_mass = np.logaddexp(
                log_step, np.log(self.rest) + self.smooth.log_mass(centre, half)
            )
        low = score(log_below, np.logaddexp(log_above, log_mass))
        high = score(np.logaddexp(log_below, log_mass), log_above)
        middle = score(
            np.logaddexp(log_below, log_mass - LOG_2), np.logaddexp(log_above, log_mass - LOG_2)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            # Half of the mass over the density of N(0, 1) at the middle.
            by_slope = np.exp(log_mass - LOG_2 + (middle * middle + LOG_2PI) / 2)
            is_narrow = by_slope * (1 + np.abs(middle)) < NARROW
            centre = np.where(is_narrow, middle, (low + high) / 2)
            half = np.maximum(np.where(is_narrow, by_slope, (high - low) / 2), LEAST_HALF)
        centre = np.where(is_lowest, high, np.where(is_highest, low, centre))
        return centre, np.where(is_lowest, -np.inf, np.where(is_highest, np.inf, half))

    def inside(
        self, x: np.ndarray, units: np.ndarray, log_slope: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores ``(n,)`` of values ``x``, of a step its middle, and the log-slope ``(n,)`` of the
        smooth part. ``units`` are the values in column units, with their ``log_slope``.
        """
        log_below, log_step, log_above = self._log_steps(x, slack)
        log_below = np.logaddexp(log_below, log_step - LOG_2)
        log_above = np.logaddexp(log_above, log_step - LOG_2)
        log_smooth_below, log_smooth_above = self._log_smooth(units)
        z = score(
            np.logaddexp(log_below, log_smooth_below), np.logaddexp(log_above, log_smooth_above)
        )
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_density = self.smooth.log_density(units) + np.log(self.rest)
            return z, log_density + (z * z + LOG_2PI) / 2 + log_slope

    def log_wider(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> np.ndarray:
        """Log-ratio ``(n,)``: mass of the smooth part between the steps around a new value, to that
        of the value's own interval ``centre ± half``; 0 of values with a step. Beyond all steps it
        is the mass from the value on.

        By it a new value is no less likely where it has more digits.
        """
        _, log_step, _ = self._log_steps(x, slack)
        place = np.searchsorted(self.values, x)
        ends = np.concatenate([[-np.inf], self.units, [np.inf]])
        finite_half = np.where(np.isinf(half), 0.0, half)
        first = np.where(place == len(self.values), centre - finite_half, ends[place])
        last = np.where(place == 0, centre + finite_half, ends[place + 1])
        log_below_first, log_above_first = self._log_smooth(first)
        log_below_last, log_above_last = self._log_smooth(last)
        is_low = log_below_first < log_above_first
        # By the tail that is smaller: a difference of masses near 1 has few digits.
        log_larger = np.where(is_low, log_below_last, log_above_first)
        log_smaller = np.where(is_low, log_below_first, log_above_last)
        with np.errstate(invalid="ignore"):
            log_between = log_larger + log1mexp(np.minimum(log_smaller - log_larger, -1e-300), np)
        log_own = np.log(self.rest) + self.smooth.log_mass(centre, half)
        return np.where(np.isneginf(log_step), np.maximum(log_between - log_own, 0.0), 0.0)

    def outside(self, z: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Values at scores ``z`` ``(n,)``: those of the steps that the scores are in, else NaN; and
        the column units ``(n,)`` by the smooth part, between the steps around.

        ``exact`` as of :meth:`~nflow_cli.tables.cells.tails.Tailed.units_at`.
        """
        z = np.clip(z, -FAR_UNITS, FAR_UNITS)
        starts, ends = self._step_ends
        place = np.searchsorted(ends, z)  # of the first step that ends above
        values = np.full(len(z), np.nan)
        if len(self.values):
            step = np.minimum(place, len(self.values) - 1)
            is_in_step = (place < len(self.values)) & (z >= starts[step])
            values = np.where(is_in_step, self.values[step], np.nan)
        steps_below = self._cumulative[place]
        log_below = self._log_of_smooth(log_ndtr(z, np), steps_below)
        log_above = self._log_of_smooth(log_ndtr(-z, np), self._cumulative[-1] - steps_below)
        units = np.concatenate([[-np.inf], self.units, [np.inf]])
        within = self.smooth.units_at(log_below, log_above, exact)
        return values, np.clip(within, units[place], units[place + 1])

    def snapped(self, x: np.ndarray, reach: float) -> np.ndarray:
        """Values ``(n,)``, those within ``reach`` of a step moved to it."""
        if not len(self.values):
            return x
        place = np.searchsorted((self.values[1:] + self.values[:-1]) / 2, x)
        return np.where(np.abs(x - self.values[place]) <= reach, self.values[place], x)

    def _log_of_smooth(self, log_p: np.ndarray, step_mass: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` by the smooth part alone of what has ``log_p`` in all, of which
        steps have ``step_mass``.
        """
        log_rest = np.log(np.maximum(np.exp(log_p) - step_mass, LEAST_MASS))
        return np.where(step_mass > 0, log_rest, log_p) - np.log(self.rest)

    @cached_property
    def _step_ends(self) -> np.ndarray:
        """Scores ``(2, m)`` at which each step starts and ends."""
        steps_below = np.stack([self._cumulative[:-1], self._cumulative[1:]])
        log_smooth_below, log_smooth_above = self._log_smooth(self.units)
        log_steps_above = _log_mass(self._cumulative[-1] - steps_below)
        return score(
            np.logaddexp(_log_mass(steps_below), log_smooth_below),
            np.logaddexp(log_steps_above, log_smooth_above),
        )


@np.errstate(divide="ignore")
def _log_mass(mass: np.ndarray) -> np.ndarray:
    """Log of masses, -inf of those that rounding made negative."""
    return np.log(np.maximum(mass, 0.0))


class Numbers(NamedTuple):
    """Numbers of a column, to which its scores are fitted.

    Attributes:
        values: The numbers ``(n,)``.
        centre: Middles of their intervals in column units, of half widths ``half``.
        weights: Of the rows, of sum n, the effective sample size.
        in_units: Map of numbers to column units, and its log-slope.
        decimals: Of the numbers, if known.
        step: Between possible values.
    """

    values: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    weights: np.ndarray
    in_units: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    decimals: int | None
    step: float


def fit_scores(
    numbers: Numbers, floor: float, widest: float | None, least_gain: float = LEAST_GAIN
) -> Scores | None:
    """Fit the scores of a column; ``None`` where steps gain less than ``least_gain`` nats a row
    over a smooth density: to other columns they would be noise.

    A value in more rows than the smooth part explains (a Poisson bound) is a heap, of the share
    ``r/(n + 1)``. The others have Pitman and Yor's (1997)

        (r - d)₊/(m + a) + (a + d K)/(m + a) Σ_k q_k S_k

    of m rows on K values, with d and a of the best leave-one-out likelihood (infinite a: a smooth
    density explains the counts: ``S`` is then that of m draws, else of K). ``S_k`` is ``S`` on
    multiples of the step, where new values are round, as those seen are; ``floor`` is the least
    scale of its normals, ``widest`` the largest.
    """
    distinct, first, places = np.unique(numbers.values, return_index=True, return_inverse=True)
    counts = np.bincount(places, numbers.weights)
    centre = numbers.centre[first]
    half = numbers.half[first]
    slope = np.exp(numbers.in_units(numbers.values)[1])
    n = numbers.weights.sum()
    ends = float(numbers.centre.min()), float(numbers.centre.max())

    def fit_smooth(rows: np.ndarray | slice, *draws: float) -> list[Tailed]:
        """Smooth distributions of some rows, one with tails as of each of the numbers of draws."""
        intervals = numbers.centre[rows], numbers.half[rows]
        normals = fit_normals(*intervals, numbers.weights[rows], floor, widest)
        return [
            with_tails(normals, numbers.values[rows], *intervals, slope[rows], count, ends)
            for count in draws
        ]

    is_not_heap = _are_not_heaps(numbers, distinct, np.bincount(places))
    row_is_not_heap = is_not_heap[places]
    m = numbers.weights[row_is_not_heap].sum()
    smooth_of_rows, smooth_of_values = fit_smooth(row_is_not_heap, m, is_not_heap.sum())
    log_smooth = smooth_of_rows.log_mass(centre, half)
    lattices = _fit_lattices(
        numbers, distinct[is_not_heap], smooth_of_rows, log_smooth[is_not_heap]
    )
    log_outliers = _log_outliers(numbers, distinct) - np.log(n + 1)

    def masses_if_new(smooth: Tailed) -> tuple[np.ndarray, np.ndarray]:
        """Masses ``(K,)`` of new values: on lattices alone; and in all, also as outliers."""
        round_masses = _round_masses(numbers, smooth, lattices, distinct)
        smooth_masses = (1 - np.sum([*lattices.values()])) * np.exp(smooth.log_mass(centre, half))
        return round_masses, smooth_masses + round_masses + np.exp(log_outliers)

    round_masses, new_masses = masses_if_new(smooth_of_values)
    round_by_chance, by_chance = masses_if_new(smooth_of_rows)
    steps, log_leave_one_out, new_weight = _fit_discounts(
        counts[is_not_heap], new_masses[is_not_heap], by_chance[is_not_heap]
    )
    smooth = smooth_of_values
    if new_weight == 1:  # no steps
        smooth = smooth_of_rows
        round_masses = round_by_chance
    share = (m + 1) / (n + 1)  # of values that are no heaps
    masses = counts / (n + 1)
    masses[is_not_heap] = share * (steps + new_weight * round_masses[is_not_heap])
    log_mass = np.log(np.maximum(counts - 1, LEAST_MASS) / n)
    log_mass[is_not_heap] = np.log(share) + log_leave_one_out
    (without_steps,) = fit_smooth(slice(None), n)
    log_without = without_steps.log_mass(centre, half)
    log_without = np.logaddexp(log_without, log_outliers)  # else one row would decide
    if counts @ (log_mass - log_without) < least_gain * n:
        return None
    return _with_lattice_values(
        Scores(distinct, centre, masses, smooth), numbers, lattices, share * new_weight
    )


def _are_not_heaps(numbers: Numbers, distinct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mask ``(K,)`` of the distinct values, in ``counts`` rows each, that are no heaps; of all if
    there are only heaps.
    """
    steps = (distinct - distinct[0]) / numbers.step
    is_heap = heaps(steps, counts, least=HEAP_EVIDENCE).are_atoms
    return ~is_heap if not is_heap.all() else np.ones(len(is_heap), bool)


def _log_outliers(numbers: Numbers, distinct: np.ndarray) -> np.ndarray:
    """Log-masses ``(K,)`` of distinct values if they are outliers."""
    width = np.full(len(distinct), numbers.step)
    outliers = fit_outliers(numbers.values, numbers.step)
    return outliers.log_mass(distinct - width / 2, distinct + width / 2, width)


def _fit_discounts(
    counts: np.ndarray, new: np.ndarray, by_chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Discount and strength of the best leave-one-out likelihood, for values in ``counts`` ``(K,)``
    rows, whose masses are ``new`` ``(K,)`` if they are new.

    Returns the masses of their steps, their leave-one-out log-masses, and the weight of new values.
    Where masses ``by_chance`` ``(K,)`` explain the counts there are no steps, and the weight is 1.
    """
    n = counts.sum()
    other_rows = np.maximum(counts - 1, 0.0)
    n_distinct_others = len(counts) - (other_rows == 0)  # without the row
    with np.errstate(divide="ignore"):
        log_chance = np.log(by_chance)
        best = np.zeros(len(counts)), log_chance, 1.0
        largest = counts @ log_chance + CHANCE_GAIN
        for d in DISCOUNTS:
            for a in STRENGTHS:
                discounted = np.maximum(other_rows - d, 0.0)
                log_mass = np.log((discounted + (a + d * n_distinct_others) * new) / (n - 1 + a))
                log_likelihood = counts @ log_mass
                if log_likelihood > largest:
                    largest = log_likelihood
                    steps = np.maximum(counts - d, 0.0) / (n + a)
                    best = steps, log_mass, (a + d * len(counts)) / (n + a)
    return best


def _fit_lattices(
    numbers: Numbers, distinct: np.ndarray, smooth: Tailed, log_mass: np.ndarray
) -> dict[int, float]:
    """Shares of new values by multiple of the step: by EM, of the maximum likelihood of the
    ``distinct`` values ``(K,)``, whose log-masses are ``log_mass`` if new and on no lattice.

    Without a clear gain, or decimals, there are none.
    """
    if numbers.decimals is None or len(distinct) < FEWEST_VALUES:
        return {}
    low, high = np.quantile(numbers.values, (0.25, 0.75))
    largest_multiple = (high - low) / numbers.step / FEWEST_VALUES
    multiples = [multiple for multiple in MULTIPLES if multiple <= largest_multiple]
    round_masses = [_round_masses(numbers, smooth, {m: 1.0}, distinct) for m in multiples]
    masses = np.stack([np.exp(log_mass), *round_masses])
    shares = np.full(len(masses), 1 / len(masses))
    for _ in range(EM_ROUNDS):
        joint = shares[:, None] * masses
        shares = (joint / np.maximum(joint.sum(axis=0), LEAST_MASS)).mean(axis=1)
    gain = np.log(np.maximum(shares @ masses, LEAST_MASS)) - log_mass
    lattices = {
        multiple: share
        for multiple, share in zip(multiples, shares[1:])
        if share * len(distinct) >= FEWEST_VALUES
    }
    return {} if gain.sum() < CLEAR_GAIN * len(lattices) else lattices


def _lattice_values(
    numbers: Numbers, lattices: Mapping[int, float], distinct: np.ndarray
) -> np.ndarray:
    """Values of the lattices between the least and the greatest of the ``distinct`` values,
    ascending.
    """
    values = [np.zeros(0)]
    for multiple in lattices:
        width = multiple * numbers.step
        first = np.ceil(distinct[0] / width)
        last = np.floor(distinct[-1] / width)
        if last - first < MOST_PLACES:
            values.append(width * np.arange(first, last + 1))
    return np.unique(np.round(np.concatenate(values), numbers.decimals or 0))


def _with_lattice_values(
    scores: Scores, numbers: Numbers, lattices: Mapping[int, float], weight: float
) -> Scores:
    """Scores with steps at the new values of lattices, too, where new values have a ``weight``; of
    all steps the ``MAX_STEPS`` of most mass.
    """
    distinct = scores.values
    rounded = np.round(distinct, numbers.decimals or 0)  # as of lattices: 230 × 0.01 is not 2.3
    new = np.setdiff1d(_lattice_values(numbers, lattices, distinct), rounded)
    new_masses = weight * _round_masses(numbers, scores.smooth, lattices, new)
    values = np.append(distinct, new)
    units = np.append(scores.units, numbers.in_units(new)[0])
    masses = np.append(scores.masses, new_masses)
    order = np.argsort(values)
    excluded_mass = np.sort(masses)[-MAX_STEPS] if len(masses) > MAX_STEPS else 0.0
    order = order[masses[order] > excluded_mass]
    return Scores(values[order], units[order], masses[order], scores.smooth)


def _round_masses(
    numbers: Numbers, smooth: Tailed, lattices: Mapping[int, float], x: np.ndarray
) -> np.ndarray:
    """Masses ``(n,)`` of values ``x`` ``(n,)`` by the lattices that they are on: of intervals as
    wide as the multiple of the step, times its share.
    """
    masses = np.zeros(len(x))
    for multiple, share in lattices.items():
        width = multiple * numbers.step
        distance = np.abs(x / width - np.rint(x / width))
        on_lattice = np.flatnonzero(distance < 1 / (FEWEST_VALUES * multiple))
        ends = np.array([[-1.0], [1.0]])
        units, log_slopes = numbers.in_units(x[on_lattice] + ends * width / 2)
        units = np.where(np.isneginf(log_slopes), ends * np.inf, units)  # beyond a bound
        below = np.exp(smooth.log_below(units))
        masses[on_lattice] += share * (below[1] - below[0])
    return masses
