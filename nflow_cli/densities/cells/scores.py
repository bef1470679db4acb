"""Normal scores of a column whose values repeat: each owns the interval of its own probability.

    z = Φ⁻¹(F(x)),    F(x) = Σ_v p_v [v ≤ x] + (1 - Σ_v p_v) S(x)

``F`` is the column's own distribution, with steps at values that repeat and a smooth part ``S``. A
cell is the interval between the scores of its ends: popular values are wide, values never seen
narrow. By N(0, 1) it has the column's own probability, and a mixture of normals there is an ordered
probit, mixed.
"""

from collections.abc import Callable, Sequence
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
FEW, MANY = 8, 5_000  # values of a lattice, at least; and places with steps, at most
MAX_STEPS = 2**16  # steps
ROUNDS, CLEAR = 50, 10.0  # of EM; and nats that a lattice gains, at least
LEAST_GAIN = 0.03  # nats a row, of steps
BY_CHANCE = 8.0  # nats that steps gain where counts are by chance
NARROW = 1e-4  # half width of a score, times 1 + |z|: below, its slope is as good as a difference
FAR = 1e140  # units, farther ones of which have no square over the least scale of a normal
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

    def _steps(self, x: np.ndarray, slack: float) -> list[np.ndarray]:
        """Log-masses of the steps below, at and above values ``(n,)``."""
        near = reach_of(x, 4e-13, slack)  # less than half of the twelfth digit
        first = np.searchsorted(self.values, x - near)
        last = np.searchsorted(self.values, x + near, side="right")
        below, through = self._cumulative[first], self._cumulative[last]
        return [_log(mass) for mass in (below, through - below, self._cumulative[-1] - through)]

    def _smooth(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-masses of the smooth part below and above units ``(n,)``."""
        u, log_rest = np.clip(units, -FAR, FAR), np.log(self.rest)
        return log_rest + self.smooth.log_below(u), log_rest + self.smooth.log_above(u)

    def intervals(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of values ``(n,)`` in scores, from those in column units."""
        is_low, is_high = half == -np.inf, half == np.inf
        wide = np.where(np.isinf(half), 0.0, half)
        below, step, above = self._steps(x, slack)
        lower, upper = self._smooth(centre - wide)[0], self._smooth(centre + wide)[1]
        below = np.logaddexp(below, np.where(is_low, -np.inf, lower))
        above = np.logaddexp(above, np.where(is_high, -np.inf, upper))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            mass = np.logaddexp(step, np.log(self.rest) + self.smooth.log_mass(centre, half))
        low, high = score(below, np.logaddexp(above, mass)), score(np.logaddexp(below, mass), above)
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
        below, step, above = self._steps(x, slack)
        smooth_below, smooth_above = self._smooth(units)
        below, above = np.logaddexp(below, step - LOG_2), np.logaddexp(above, step - LOG_2)
        z = score(np.logaddexp(below, smooth_below), np.logaddexp(above, smooth_above))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_f = self.smooth.log_density(units) + np.log(self.rest)
            return z, log_f + (z * z + LOG_2PI) / 2 + log_slope

    def log_wider(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> np.ndarray:
        """Log-ratio ``(n,)`` of the mass between the steps around a new value to its own; else 0.
        Beyond all steps it is the mass from the value on.

        By it a new value is no less likely where it has more digits.
        """
        _, step, _ = self._steps(x, slack)
        place = np.searchsorted(self.values, x)
        ends = np.concatenate([[-np.inf], self.units, [np.inf]])
        wide = np.where(np.isinf(half), 0.0, half)
        first = np.where(place == len(self.values), centre - wide, ends[place])
        last = np.where(place == 0, centre + wide, ends[place + 1])
        low, over = self._smooth(first)
        through, high = self._smooth(last)
        below = low < over
        large, small = np.where(below, through, over), np.where(below, low, high)
        with np.errstate(invalid="ignore"):
            gap = large + log1mexp(np.minimum(small - large, -1e-300), np)
        own = np.log(self.rest) + self.smooth.log_mass(centre, half)
        return np.where(np.isneginf(step), np.maximum(gap - own, 0.0), 0.0)

    def outside(self, z: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Values of steps at scores ``(n,)``, else NaN; and units, between steps.

        ``exact`` as of :meth:`~nflow_cli.densities.cells.tails.Tailed.units_at`.
        """
        z = np.clip(z, -FAR, FAR)
        starts, ends = self._step_ends
        place = np.searchsorted(ends, z)  # of the first step that ends above
        some = np.minimum(place, max(len(self.values) - 1, 0))
        values = np.full(len(z), np.nan)
        if len(self.values):
            on = (place < len(self.values)) & (z >= starts[some])
            values = np.where(on, self.values[some], np.nan)
        passed = self._cumulative[place]
        below = self._within(log_ndtr(z, np), passed)
        above = self._within(log_ndtr(-z, np), self._cumulative[-1] - passed)
        units = np.concatenate([[-np.inf], self.units, [np.inf]])
        within = self.smooth.units_at(below, above, exact)
        units = np.clip(within, units[place], units[place + 1])
        return values, units

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
        below, above = self._smooth(self.units)
        left = _log(self._cumulative[-1] - passed)
        return score(np.logaddexp(_log(passed), below), np.logaddexp(left, above))


@np.errstate(divide="ignore")
def _log(mass: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(mass, 0.0))


class Fitted(NamedTuple):
    """What scores are fitted to.

    Attributes:
        values: Numbers ``(n,)``.
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


def fit_scores(of: Fitted, floor: float, widest: float | None) -> Scores | None:
    """Fit the scores of a column; ``None`` where steps gain less than 0.03 nats a row over a smooth
    density: to other columns they would be noise.

    A value in more rows than the smooth part explains (a Poisson bound) has its own share
    ``r/(n + 1)``. The others have Pitman and Yor's (1997)

        (r - d)₊/(m + a) + (a + d K)/(m + a) Σ_k q_k S_k

    of m rows on K values, with d and a of the best leave-one-out likelihood (infinite a: a smooth
    density explains the counts: ``S`` is then that of m draws, else of K). ``S_k`` is ``S`` on
    multiples of the step, where new values are round, as those seen are; ``floor`` is the least
    scale of its normals, ``widest`` the largest.
    """
    distinct, first, which = np.unique(of.values, return_index=True, return_inverse=True)
    counts, at = np.bincount(which, of.weights), (of.centre[first], of.half[first])
    places = (distinct - distinct[0]) / of.step
    is_heap = heaps(places, np.bincount(which), least=HEAP).are_atoms
    off = ~is_heap if not is_heap.all() else np.ones(len(is_heap), bool)
    rest = off[which]
    normals = fit_normals(of.centre[rest], of.half[rest], of.weights[rest], floor, widest)
    slope = np.exp(of.in_units(of.values)[1])
    every = of.values, of.centre, of.half, slope
    n, m, others = of.weights.sum(), of.weights[rest].sum(), np.maximum(counts - 1, 0.0)
    of_rest = [part[rest] for part in every]
    of_rows = with_tails(normals, *of_rest, count=m)
    of_values = with_tails(normals, *of_rest, count=off.sum())
    log_smooth = of_rows.log_mass(*at)
    multiples, shares = _multiples(of, distinct[off], of_rows, log_smooth[off])

    width = np.full(len(distinct), of.step)
    log_outliers = fit_outliers(of.values, of.step).log_mass(
        distinct - width / 2, distinct + width / 2, width
    ) - np.log(n + 1)

    def new_masses(smooth: Tailed) -> tuple[np.ndarray, np.ndarray]:
        """Masses of values that lie on multiples, and of all, if new: outliers among them."""
        round_masses = _round_masses(of, smooth, multiples, shares[1:], distinct)
        smooth_masses = shares[0] * np.exp(smooth.log_mass(*at))
        return round_masses, smooth_masses + round_masses + np.exp(log_outliers)

    (round_mass, new), (round_by_chance, by_chance) = map(new_masses, (of_values, of_rows))
    own, left_out, weight = _discounted(counts[off], new[off], by_chance[off])
    smooth, part = of_values, (m + 1) / (n + 1)
    if weight == 1:  # no steps
        smooth, round_mass = of_rows, round_by_chance
    masses, log_mass = counts / (n + 1), np.log(np.maximum(others, LEAST_MASS) / n)
    masses[off] = part * (own + weight * round_mass[off])
    log_mass[off] = np.log(part) + left_out
    normals = fit_normals(of.centre, of.half, of.weights, floor, widest)
    alone = with_tails(normals, *every, count=n).log_mass(*at)
    alone = np.logaddexp(alone, log_outliers)  # else one row would decide
    if counts @ (log_mass - alone) < LEAST_GAIN * n:
        return None
    seen = np.round(distinct, of.decimals or 0)  # as places are: 230 steps of 0.01 are not 2.3
    unseen = np.setdiff1d(_places(of, multiples, distinct), seen)
    values = np.append(distinct, unseen)
    of_unseen = part * weight * _round_masses(of, smooth, multiples, shares[1:], unseen)
    masses, order = np.append(masses, of_unseen), np.argsort(values)
    least = np.sort(masses)[-MAX_STEPS] if len(masses) > MAX_STEPS else 0.0
    order = order[masses[order] > least]
    units = np.append(of.centre[first], of.in_units(unseen)[0])
    return Scores(values[order], units[order], masses[order], smooth)


def _discounted(
    counts: np.ndarray, new: np.ndarray, by_chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Steps of values with counts ``(K,)`` and masses ``new`` if new, their leave-one-out log-mass,
    and the weight of the new. Without steps the masses of rows are ``by_chance``.
    """
    n, others = counts.sum(), np.maximum(counts - 1, 0.0)
    k = len(counts) - (others == 0)  # distinct values without the row
    with np.errstate(divide="ignore"):
        log_chance = np.log(by_chance)
        best, least = (np.zeros(len(counts)), log_chance, 1.0), counts @ log_chance + BY_CHANCE
        for d in DISCOUNTS:
            for a in STRENGTHS:
                log_mass = np.log((np.maximum(others - d, 0.0) + (a + d * k) * new) / (n - 1 + a))
                if (gain := counts @ log_mass) > least:
                    steps, least = np.maximum(counts - d, 0.0) / (n + a), gain
                    best = steps, log_mass, (a + d * len(counts)) / (n + a)
    return best


def _multiples(
    of: Fitted, distinct: np.ndarray, smooth: Tailed, log_mass: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """Multiples of the step on which new values lie, and shares of the step and of each.

    By maximum likelihood of the ``distinct`` values, by EM; none without a clear gain.
    """
    none = list[int](), np.ones(1)
    if of.decimals is None or len(distinct) < FEW:
        return none
    low, high = np.quantile(of.values, (0.25, 0.75))
    found = [m for m in MULTIPLES if FEW * m <= (high - low) / of.step]
    alone = [_round_masses(of, smooth, [m], np.ones(1), distinct) for m in found]
    mass = np.stack([np.exp(log_mass), *alone])
    shares = np.full(len(mass), 1 / len(mass))
    for _ in range(ROUNDS):
        parts = shares[:, None] * mass
        shares = (parts / np.maximum(parts.sum(axis=0), LEAST_MASS)).mean(axis=1)
    kept = [k for k in range(1, len(mass)) if shares[k] * len(distinct) >= FEW]
    gain = np.log(np.maximum(shares @ mass, LEAST_MASS)) - log_mass
    if not kept or gain.sum() < CLEAR * len(kept):
        return none
    return [found[k - 1] for k in kept], np.append(1 - shares[kept].sum(), shares[kept])


def _places(of: Fitted, multiples: Sequence[int], distinct: np.ndarray) -> np.ndarray:
    """Multiples within the range of the ``distinct`` values."""
    found, ends = [np.zeros(0)], distinct[[0, -1]]
    for m in multiples:
        first, last = np.ceil(ends[0] / (m * of.step)), np.floor(ends[1] / (m * of.step))
        if last - first < MANY:
            found.append(m * of.step * np.arange(first, last + 1))
    return np.unique(np.round(np.concatenate(found), of.decimals or 0))


def _round_masses(
    of: Fitted, smooth: Tailed, multiples: Sequence[int], shares: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Masses of values ``(n,)`` on multiples of the step."""
    total = np.zeros(len(x))
    for m, share in zip(multiples, shares):
        width = m * of.step
        on = np.flatnonzero(np.abs(x / width - np.rint(x / width)) < 1 / (FEW * m))
        ends = np.array([[-1.0], [1.0]])
        units, log_slopes = of.in_units(x[on] + ends * width / 2)
        units = np.where(np.isneginf(log_slopes), ends * np.inf, units)  # beyond a bound
        below = np.exp(smooth.log_below(units))
        total[on] += share * (below[1] - below[0])
    return total
