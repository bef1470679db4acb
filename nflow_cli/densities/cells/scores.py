"""Normal scores of a column whose values repeat: each owns the interval of its own probability.

    z = Φ⁻¹(F(x)),    F(x) = Σ_v p_v [v ≤ x] + (1 - Σ_v p_v) S(x)

``F`` is the column's own distribution, with steps at values that repeat and a smooth part ``S``. A
cell is the interval between the scores of its ends: popular values are wide, values never seen
narrow. By N(0, 1) it has the column's own probability, and a mixture of normals there is an ordered
probit, mixed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.arrays import ndtri
from nflow_cli.constants import LOG_2PI
from nflow_cli.data.atoms import heaps
from nflow_cli.densities.cells.normals import Normals, fit_normals
from nflow_cli.mixtures import from_normal_score, log_cdf, log_density, log_sf

DISCOUNTS = np.arange(0.0, 1.0, 0.1)
STRENGTHS = 10.0 ** np.arange(-1.0, 7.0, 0.25)
NARROW = 1e-3  # half width of a score, below which its slope is more accurate than a difference
LEAST_GAIN = 0.03  # nats a row, of steps
LEAST = 1e-300  # probability with a finite score


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
    smooth: Normals

    @cached_property
    def rest(self) -> float:
        """Mass of the smooth part."""
        return float(1 - self.masses.sum())

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.append(0.0, np.cumsum(self.masses))

    def _steps(self, x: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mass of the steps below, at and above values ``(n,)``."""
        near = np.maximum(1e-12 * np.abs(x), slack)
        first = np.searchsorted(self.values, x - near)
        last = np.searchsorted(self.values, x + near, side="right")
        below, through = self._cumulative[first], self._cumulative[last]
        return below, through - below, self._cumulative[-1] - through

    def _smooth(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mass of the smooth part below and above units ``(n,)``."""
        u, parts = np.clip(units, -1e150, 1e150), self._parts
        return self.rest * np.exp(log_cdf(u, *parts, np)), self.rest * np.exp(log_sf(u, *parts, np))

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.smooth.log_weights, self.smooth.means, self.smooth.scales

    def intervals(
        self, x: np.ndarray, centre: np.ndarray, half: np.ndarray, slack: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of values ``(n,)`` in scores, from those in column units."""
        is_low, is_high = half == -np.inf, half == np.inf
        wide = np.where(np.isinf(half), 0.0, half)
        below, step, above = self._steps(x, slack)
        below = below + np.where(is_low, 0.0, self._smooth(centre - wide)[0])
        above = above + np.where(is_high, 0.0, self._smooth(centre + wide)[1])
        with np.errstate(divide="ignore"):
            mass = step + self.rest * np.exp(self.smooth.log_mass(centre, half))
        low, high = score(below, above + mass), score(below + mass, above)
        middle = score(below + mass / 2, above + mass / 2)
        by_slope = 0.5 * mass * np.exp((middle * middle + LOG_2PI) / 2)
        is_narrow = by_slope < NARROW
        with np.errstate(invalid="ignore"):
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
        z = score(below + step / 2 + smooth_below, above + step / 2 + smooth_above)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_f = log_density(units, *self._parts, np) + np.log(self.rest)
            return z, log_f + (z * z + LOG_2PI) / 2 + log_slope

    def outside(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of steps at scores ``(n,)``, else NaN; and units, between steps."""
        place = np.searchsorted(self._ends, z)  # of the first step that ends above
        some = np.minimum(place, max(len(self.values) - 1, 0))
        values = np.full(len(z), np.nan)
        if len(self.values):
            on = (place < len(self.values)) & (z >= self._starts[some])
            values = np.where(on, self.values[some], np.nan)
        below, above = _probabilities(z)
        passed = self._cumulative[place]
        low = np.clip((below - passed) / self.rest, LEAST, 1.0)
        high = np.clip((above - self._cumulative[-1] + passed) / self.rest, LEAST, 1.0)
        log_weights, means, scales = (part[:, None] for part in self._parts)
        units = from_normal_score(score(low, high), log_weights, means, scales, np, axis=0)
        return values, units

    @cached_property
    def _starts(self) -> np.ndarray:
        below, above = self._smooth(self.units)
        before, after = self._cumulative[:-1], self._cumulative[-1] - self._cumulative[:-1]
        return score(before + below, after + above)

    @cached_property
    def _ends(self) -> np.ndarray:
        below, above = self._smooth(self.units)
        through, after = self._cumulative[1:], self._cumulative[-1] - self._cumulative[1:]
        return score(through + below, after + above)


def score(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """``Φ⁻¹`` of a probability and the rest, by the smaller; infinite where one is 0."""
    z = ndtri(np.clip(np.minimum(below, above), LEAST, 0.5), np)
    z = np.where(below < above, z, -z)
    return np.where(below <= 0, -np.inf, np.where(above <= 0, np.inf, z))


def _probabilities(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    standard = np.zeros(1), np.zeros(1), np.ones(1)
    return np.exp(log_cdf(z, *standard, np)), np.exp(log_sf(z, *standard, np))


def fit_scores(
    values: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    weights: np.ndarray,
    step: float,
    limits: tuple[float, float | None],
) -> Scores | None:
    """Fit the scores of values ``(n,)`` with intervals ``centre ± half`` in column units.

    A value in more rows than the smooth part explains (a Poisson bound) has its own share
    ``r/(n + 1)``. The others have Pitman and Yor's (1997)

        (r - d)₊/(m + a) + (a + d K)/(m + a) S

    of m rows on K values, with d and a of the best leave-one-out likelihood: no steps (infinite a)
    where a smooth density explains the counts. ``None`` where steps gain less than 0.03 nats a row
    over a smooth density alone: they are noise to other columns. ``weights`` of the rows sum to n, the effective
    sample size; ``step`` is between possible values; ``limits`` are the least scale of a normal of
    ``S``, and the scale of the broad one.
    """
    if not len(values):
        return None
    distinct, first, which = np.unique(values, return_index=True, return_inverse=True)
    counts, places = np.bincount(which, weights), (distinct - distinct[0]) / step
    are_heaps = heaps(places, np.bincount(which), np.ones(len(places)), 1).are_atoms
    are_heaps &= not are_heaps.all()
    rest, at = ~are_heaps[which], (centre[first], half[first])
    smooth = fit_normals(centre[rest], half[rest], weights[rest], *limits)
    n, others = weights.sum(), np.maximum(counts - 1, 0.0)
    masses, left_out = counts / (n + 1), np.log(np.maximum(others, LEAST) / n)
    part, of_rest = (weights[rest].sum() + 1) / (n + 1), smooth.log_mass(*at)[~are_heaps]
    found = _discounted(counts[~are_heaps], of_rest)
    masses[~are_heaps], left_out[~are_heaps] = part * found[0], np.log(part) + found[1]
    alone = fit_normals(centre, half, weights, *limits).log_mass(*at)
    if counts @ (left_out - alone) < LEAST_GAIN * n:
        return None
    kept = masses > 0
    return Scores(distinct[kept], centre[first][kept], masses[kept], smooth)


def _discounted(counts: np.ndarray, log_smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masses ``(m,)`` of steps of values with counts ``(m,)`` and a smooth log-mass each, and the
    leave-one-out log-mass of the values.
    """
    n, smooth, others = counts.sum(), np.exp(log_smooth), np.maximum(counts - 1, 0.0)
    k = len(counts) - (others == 0)  # distinct values without the row
    masses, left_out = np.zeros(len(counts)), log_smooth
    for d in DISCOUNTS:
        for a in STRENGTHS:
            mass = np.maximum(others - d, 0.0) + (a + d * k) * smooth
            with np.errstate(divide="ignore"):
                log_mass = np.log(mass / (n - 1 + a))
            if counts @ log_mass > counts @ left_out:
                masses, left_out = np.maximum(counts - d, 0.0) / (n + a), log_mass
    return masses, left_out
