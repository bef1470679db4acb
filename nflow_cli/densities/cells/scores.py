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
from nflow_cli.data.atoms import heaps
from nflow_cli.data.written import reach_of
from nflow_cli.densities.cells.marginal import fit_normals
from nflow_cli.densities.cells.outliers import fit_outliers
from nflow_cli.densities.cells.tails import Tailed, score, with_tails

DISCOUNTS = np.arange(0.0, 1.0, 0.1)
STRENGTHS = 10.0 ** np.arange(-1.0, 7.0, 0.25)
HEAP = 6.0  # nats of evidence for a value's own share: it costs less than an atom
MULTIPLES = [first * 10**k for k in range(7) for first in (1, 2, 5)][1:]
FEWEST_VALUES = 8  # of a lattice
MOST_PLACES = 5_000  # of a lattice, that are steps
MAX_STEPS = 2**16  # steps
EM_ROUNDS = 50
CLEAR_GAIN = 10.0  # nats that a lattice gains, at least
LEAST_GAIN = 0.03  # nats a row, of steps
BY_CHANCE = 8.0  # nats that steps gain where counts are by chance
NARROW = 1e-4  # half width of a score, times 1 + |z|: below, its slope is as good as a difference
FAR_UNITS = 1e140  # units, farther ones of which have no square over the least scale of a normal
LEAST_MASS = 1e-300  # probability between steps, at least


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
        return np.append(0.0, np.cumsum(self.masses))

    def _log_steps(self, x: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-masses of the steps below, at and above values ``(n,)``."""
        near = reach_of(x, 4e-13, slack)  # less than half of the twelfth digit
        below = self._cumulative[np.searchsorted(self.values, x - near)]
        through = self._cumulative[np.searchsorted(self.values, x + near, side="right")]
        return _log(below), _log(through - below), _log(self._cumulative[-1] - through)

    def _log_smooth(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-masses of the smooth part below and above units ``(n,)``."""
        u = np.clip(units, -FAR_UNITS, FAR_UNITS)
        log_rest = np.log(self.rest)
        return log_rest + self.smooth.log_below(u), log_rest + self.smooth.log_above(u)

    def intervals(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of values ``(n,)`` in scores, from those in column units."""
        is_low = half == -np.inf
        is_high = half == np.inf
        wide = np.where(np.isinf(half), 0.0, half)
        below, step, above = self._log_steps(x, slack)
        smooth_below, _ = self._log_smooth(centre - wide)
        _, smooth_above = self._log_smooth(centre + wide)
        below = np.logaddexp(below, np.where(is_low, -np.inf, smooth_below))
        above = np.logaddexp(above, np.where(is_high, -np.inf, smooth_above))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            mass = np.logaddexp(step, np.log(self.rest) + self.smooth.log_mass(centre, half))
        low = score(below, np.logaddexp(above, mass))
        high = score(np.logaddexp(below, mass), above)
        middle = score(np.logaddexp(below, mass - LOG_2), np.logaddexp(above, mass - LOG_2))
        with np.errstate(over="ignore", invalid="ignore"):
            by_slope = np.exp(mass - LOG_2 + (middle * middle + LOG_2PI) / 2)
            is_narrow = by_slope * (1 + np.abs(middle)) < NARROW
            centre = np.where(is_narrow, middle, (low + high) / 2)
            half = np.where(is_narrow, by_slope, (high - low) / 2)
        centre = np.where(is_low, high, np.where(is_high, low, centre))
        return centre, np.where(is_low, -np.inf, np.where(is_high, np.inf, half))

    def inside(
        self, x: np.ndarray, units: np.ndarray, log_slope: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores of values ``(n,)``, of a step its middle, and the log-slope of the smooth part."""
        below, step, above = self._log_steps(x, slack)
        below = np.logaddexp(below, step - LOG_2)
        above = np.logaddexp(above, step - LOG_2)
        smooth_below, smooth_above = self._log_smooth(units)
        z = score(np.logaddexp(below, smooth_below), np.logaddexp(above, smooth_above))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_f = self.smooth.log_density(units) + np.log(self.rest)
            return z, log_f + (z * z + LOG_2PI) / 2 + log_slope

    def log_wider(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> np.ndarray:
        """Log-ratio ``(n,)`` of the mass between the steps around a new value to that of the value;
        else 0. Beyond all steps it is the mass from the value on.

        By it a new value is no less likely where it has more digits.
        """
        _, step, _ = self._log_steps(x, slack)
        place = np.searchsorted(self.values, x)
        ends = np.concatenate([[-np.inf], self.units, [np.inf]])
        wide = np.where(np.isinf(half), 0.0, half)
        first = np.where(place == len(self.values), centre - wide, ends[place])
        last = np.where(place == 0, centre + wide, ends[place + 1])
        below_first, above_first = self._log_smooth(first)
        below_last, above_last = self._log_smooth(last)
        is_low = below_first < above_first
        large = np.where(is_low, below_last, above_first)
        small = np.where(is_low, below_first, above_last)
        with np.errstate(invalid="ignore"):
            gap = large + log1mexp(np.minimum(small - large, -1e-300), np)
        log_mass = np.log(self.rest) + self.smooth.log_mass(centre, half)
        return np.where(np.isneginf(step), np.maximum(gap - log_mass, 0.0), 0.0)

    def outside(self, z: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Values of steps at scores ``(n,)``, else NaN; and units, between steps.

        ``exact`` as of :meth:`~nflow_cli.densities.cells.tails.Tailed.units_at`.
        """
        z = np.clip(z, -FAR_UNITS, FAR_UNITS)
        starts, ends = self._step_ends
        place = np.searchsorted(ends, z)  # of the first step that ends above
        values = np.full(len(z), np.nan)
        if len(self.values):
            step = np.minimum(place, len(self.values) - 1)
            is_on = (place < len(self.values)) & (z >= starts[step])
            values = np.where(is_on, self.values[step], np.nan)
        passed = self._cumulative[place]
        below = self._within(log_ndtr(z, np), passed)
        above = self._within(log_ndtr(-z, np), self._cumulative[-1] - passed)
        units = np.concatenate([[-np.inf], self.units, [np.inf]])
        within = self.smooth.units_at(below, above, exact)
        return values, np.clip(within, units[place], units[place + 1])

    def snapped(self, x: np.ndarray, reach: float) -> np.ndarray:
        """Values ``(n,)``, those within ``reach`` of a step moved to it."""
        if not len(self.values):
            return x
        place = np.searchsorted((self.values[1:] + self.values[:-1]) / 2, x)
        return np.where(np.abs(x - self.values[place]) <= reach, self.values[place], x)

    def _within(self, log_p: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Log-probability by the smooth part, of one that steps have a mass of."""
        rest = np.log(np.maximum(np.exp(log_p) - steps, LEAST_MASS))
        return np.where(steps > 0, rest, log_p) - np.log(self.rest)

    @cached_property
    def _step_ends(self) -> np.ndarray:
        """Scores ``(2, m)`` at which steps start and end."""
        passed = np.stack([self._cumulative[:-1], self._cumulative[1:]])
        below, above = self._log_smooth(self.units)
        left = _log(self._cumulative[-1] - passed)
        return score(np.logaddexp(_log(passed), below), np.logaddexp(left, above))


@np.errstate(divide="ignore")
def _log(mass: np.ndarray) -> np.ndarray:
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


def fit_scores(numbers: Numbers, floor: float, widest: float | None) -> Scores | None:
    """Fit the scores of a column; ``None`` where steps gain less than 0.03 nats a row over a smooth
    density: to other columns they would be noise.

    A value in more rows than the smooth part explains (a Poisson bound) is a heap, of the share
    ``r/(n + 1)``. The others have Pitman and Yor's (1997)

        (r - d)₊/(m + a) + (a + d K)/(m + a) Σ_k q_k S_k

    of m rows on K values, with d and a of the best leave-one-out likelihood (infinite a: a smooth
    density explains the counts: ``S`` is then that of m draws, else of K). ``S_k`` is ``S`` on
    multiples of the step, where new values are round, as those seen are; ``floor`` is the least
    scale of its normals, ``widest`` the largest.
    """
    distinct, first, which = np.unique(numbers.values, return_index=True, return_inverse=True)
    counts = np.bincount(which, numbers.weights)
    centre = numbers.centre[first]
    half = numbers.half[first]
    slope = np.exp(numbers.in_units(numbers.values)[1])
    n = numbers.weights.sum()

    def tailed(rows: np.ndarray | slice, *draws: float) -> list[Tailed]:
        """Smooth distributions of some rows, with tails as of these numbers of draws."""
        intervals = numbers.centre[rows], numbers.half[rows]
        normals = fit_normals(*intervals, numbers.weights[rows], floor, widest)
        return [
            with_tails(normals, numbers.values[rows], *intervals, slope[rows], count)
            for count in draws
        ]

    is_rest = _are_no_heaps(numbers, distinct, np.bincount(which))
    in_rest = is_rest[which]
    m = numbers.weights[in_rest].sum()
    of_rows, of_values = tailed(in_rest, m, is_rest.sum())
    log_smooth = of_rows.log_mass(centre, half)
    lattices = _lattices(numbers, distinct[is_rest], of_rows, log_smooth[is_rest])
    log_outliers = _log_outliers(numbers, distinct) - np.log(n + 1)

    def masses_if_new(smooth: Tailed) -> tuple[np.ndarray, np.ndarray]:
        """Masses of values by the lattices, and of all: outliers among them."""
        round_masses = _round_masses(numbers, smooth, lattices, distinct)
        smooth_masses = (1 - np.sum([*lattices.values()])) * np.exp(smooth.log_mass(centre, half))
        return round_masses, smooth_masses + round_masses + np.exp(log_outliers)

    round_masses, new_masses = masses_if_new(of_values)
    round_by_chance, by_chance = masses_if_new(of_rows)
    steps, log_left_out, weight = _discounted(
        counts[is_rest], new_masses[is_rest], by_chance[is_rest]
    )
    smooth = of_values
    if weight == 1:  # no steps
        smooth = of_rows
        round_masses = round_by_chance
    share = (m + 1) / (n + 1)  # of values that are no heaps
    masses = counts / (n + 1)
    masses[is_rest] = share * (steps + weight * round_masses[is_rest])
    log_mass = np.log(np.maximum(counts - 1, LEAST_MASS) / n)
    log_mass[is_rest] = np.log(share) + log_left_out
    (without_steps,) = tailed(slice(None), n)
    log_without = without_steps.log_mass(centre, half)
    log_without = np.logaddexp(log_without, log_outliers)  # else one row would decide
    if counts @ (log_mass - log_without) < LEAST_GAIN * n:
        return None
    return _with_places(Scores(distinct, centre, masses, smooth), numbers, lattices, share * weight)


def _are_no_heaps(numbers: Numbers, distinct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Which distinct values ``(K,)`` are no heaps; all, if there are only heaps."""
    places = (distinct - distinct[0]) / numbers.step
    is_heap = heaps(places, counts, least=HEAP).are_atoms
    return ~is_heap if not is_heap.all() else np.ones(len(is_heap), bool)


def _log_outliers(numbers: Numbers, distinct: np.ndarray) -> np.ndarray:
    """Log-masses ``(K,)`` of distinct values if they are outliers."""
    width = np.full(len(distinct), numbers.step)
    outliers = fit_outliers(numbers.values, numbers.step)
    return outliers.log_mass(distinct - width / 2, distinct + width / 2, width)


def _discounted(
    counts: np.ndarray, new: np.ndarray, by_chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Steps of values with counts ``(K,)`` and masses ``new`` if new, their leave-one-out log-mass,
    and the weight of the new. Without steps the masses of rows are ``by_chance``.
    """
    n = counts.sum()
    other_rows = np.maximum(counts - 1, 0.0)
    k = len(counts) - (other_rows == 0)  # distinct values without the row
    with np.errstate(divide="ignore"):
        log_chance = np.log(by_chance)
        best = np.zeros(len(counts)), log_chance, 1.0
        largest = counts @ log_chance + BY_CHANCE
        for d in DISCOUNTS:
            for a in STRENGTHS:
                discounted = np.maximum(other_rows - d, 0.0)
                log_mass = np.log((discounted + (a + d * k) * new) / (n - 1 + a))
                log_likelihood = counts @ log_mass
                if log_likelihood > largest:
                    largest = log_likelihood
                    steps = np.maximum(counts - d, 0.0) / (n + a)
                    best = steps, log_mass, (a + d * len(counts)) / (n + a)
    return best


def _lattices(
    numbers: Numbers, distinct: np.ndarray, smooth: Tailed, log_mass: np.ndarray
) -> dict[int, float]:
    """Multiples of the step on which new values lie, with the share of each.

    By maximum likelihood of the ``distinct`` values, by EM; none without a clear gain.
    """
    if numbers.decimals is None or len(distinct) < FEWEST_VALUES:
        return {}
    low, high = np.quantile(numbers.values, (0.25, 0.75))
    most = (high - low) / numbers.step / FEWEST_VALUES
    multiples = [multiple for multiple in MULTIPLES if multiple <= most]
    masses = [_round_masses(numbers, smooth, {m: 1.0}, distinct) for m in multiples]
    mass = np.stack([np.exp(log_mass), *masses])
    shares = np.full(len(mass), 1 / len(mass))
    for _ in range(EM_ROUNDS):
        parts = shares[:, None] * mass
        shares = (parts / np.maximum(parts.sum(axis=0), LEAST_MASS)).mean(axis=1)
    gain = np.log(np.maximum(shares @ mass, LEAST_MASS)) - log_mass
    lattices = {
        multiple: share
        for multiple, share in zip(multiples, shares[1:])
        if share * len(distinct) >= FEWEST_VALUES
    }
    return {} if gain.sum() < CLEAR_GAIN * len(lattices) else lattices


def _places(numbers: Numbers, lattices: Mapping[int, float], distinct: np.ndarray) -> np.ndarray:
    """Values of the lattices within the range of the ``distinct`` values."""
    places = [np.zeros(0)]
    for multiple in lattices:
        width = multiple * numbers.step
        first = np.ceil(distinct[0] / width)
        last = np.floor(distinct[-1] / width)
        if last - first < MOST_PLACES:
            places.append(width * np.arange(first, last + 1))
    return np.unique(np.round(np.concatenate(places), numbers.decimals or 0))


def _with_places(
    scores: Scores, numbers: Numbers, lattices: Mapping[int, float], weight: float
) -> Scores:
    """Scores with steps at new values of lattices, too, of which new values have a ``weight``; the
    ``MAX_STEPS`` of most mass.
    """
    distinct = scores.values
    rounded = np.round(distinct, numbers.decimals or 0)  # as places are: 230 × 0.01 is not 2.3
    new = np.setdiff1d(_places(numbers, lattices, distinct), rounded)
    new_masses = weight * _round_masses(numbers, scores.smooth, lattices, new)
    values = np.append(distinct, new)
    units = np.append(scores.units, numbers.in_units(new)[0])
    masses = np.append(scores.masses, new_masses)
    order = np.argsort(values)
    least = np.sort(masses)[-MAX_STEPS] if len(masses) > MAX_STEPS else 0.0
    order = order[masses[order] > least]
    return Scores(values[order], units[order], masses[order], scores.smooth)


def _round_masses(
    numbers: Numbers, smooth: Tailed, lattices: Mapping[int, float], x: np.ndarray
) -> np.ndarray:
    """Masses of values ``(n,)`` by the lattices that they lie on."""
    total = np.zeros(len(x))
    for multiple, share in lattices.items():
        width = multiple * numbers.step
        distance = np.abs(x / width - np.rint(x / width))
        on = np.flatnonzero(distance < 1 / (FEWEST_VALUES * multiple))
        ends = np.array([[-1.0], [1.0]])
        units, log_slopes = numbers.in_units(x[on] + ends * width / 2)
        units = np.where(np.isneginf(log_slopes), ends * np.inf, units)  # beyond a bound
        below = np.exp(smooth.log_below(units))
        total[on] += share * (below[1] - below[0])
    return total
