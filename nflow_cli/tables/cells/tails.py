"""Smooth distribution of a column's numbers: normals between the outermost numbers, and
exponential tails beyond these.

Beyond the outermost numbers a mixture of normals has the form of a normal, whatever the numbers. An
exponential tail has their share of one new number and their mean excess.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import LOG_2, ndtri_exp
from nflow_cli.mixtures import from_normal_score, log_cdf, log_density, log_sf, normal_score
from nflow_cli.tables.cells.marginal import Normals

KNOTS = np.linspace(-9.0, 9.0, 577)  # of the table of the normals, each
NEWTON_STEPS = 2  # from the table to all digits
FLATTEST = 600.0  # nats: minus the log-slope of a score, of which the inverse is a float
LEAST_MASS = 1e-300  # probability of the normals between the ends, at least
MOST_MASS = 1 / 3  # of a tail
REACH = 20.0  # nats that a tail loses up to the outermost value of its column, at most


class Tail(NamedTuple):
    """Exponential tail beyond an end, in column units; ``mass`` is its probability."""

    end: float
    scale: float
    mass: float

    def log_beyond(self, distance: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of numbers that are farther from the end."""
        return np.log(self.mass) - np.maximum(distance, 0.0) / self.scale

    def log_density(self, distance: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats at a distance from the end."""
        return self.log_beyond(distance) - np.log(self.scale)

    @np.errstate(divide="ignore")
    def log_mass(self, distance: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of intervals that begin at a distance from the end."""
        return self.log_beyond(distance) + np.log(-np.expm1(-width / self.scale))

    def distance(self, log_p: np.ndarray) -> np.ndarray:
        """Distance ``(n,)`` beyond which numbers have a log-probability."""
        return self.scale * (np.log(self.mass) - log_p)


@dataclass(frozen=True, eq=False)
class Tailed:
    """Distribution of numbers in column units ``u``: normals ``N`` between ends ``l`` and ``h``.

        S(u) = p exp((u - l)/s)                              below l
        S(u) = p + (1 - p - q) (N(u) - N(l))/(N(h) - N(l))
        S(u) = 1 - q exp((h - u)/t)                          above h

    Args:
        normals: ``N``.
        lower: Tail with ``l``, ``s`` and ``p``.
        upper: Tail with ``h``, ``t`` and ``q``.
    """

    normals: Normals
    lower: Tail
    upper: Tail

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.normals.log_weights, self.normals.means, self.normals.scales

    @cached_property
    def _outside(self) -> tuple[float, float]:
        """Probabilities of the normals below and above the ends."""
        ends = np.array([self.lower.end, self.upper.end])
        below = np.exp(log_cdf(ends, *self._parts, np))
        above = np.exp(log_sf(ends, *self._parts, np))
        return float(below[0]), float(above[1])

    @cached_property
    def _factor(self) -> float:
        """Probability between the ends over that of the normals."""
        between = 1 - sum(self._outside)
        return (1 - self.lower.mass - self.upper.mass) / max(between, LEAST_MASS)

    def log_below(self, u: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of numbers below ``u``."""
        inner = np.clip(u, self.lower.end, self.upper.end)
        by_normals = np.exp(log_cdf(inner, *self._parts, np)) - self._outside[0]
        within = np.log(self.lower.mass + self._factor * np.maximum(by_normals, 0.0))
        above = np.log1p(-np.exp(self.upper.log_beyond(u - self.upper.end)))
        below = self.lower.log_beyond(self.lower.end - u)
        return np.where(u < self.lower.end, below, np.where(u > self.upper.end, above, within))

    def log_above(self, u: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of numbers above ``u``."""
        inner = np.clip(u, self.lower.end, self.upper.end)
        by_normals = np.exp(log_sf(inner, *self._parts, np)) - self._outside[1]
        within = np.log(self.upper.mass + self._factor * np.maximum(by_normals, 0.0))
        below = np.log1p(-np.exp(self.lower.log_beyond(self.lower.end - u)))
        above = self.upper.log_beyond(u - self.upper.end)
        return np.where(u < self.lower.end, below, np.where(u > self.upper.end, above, within))

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats at ``u``."""
        within = np.log(self._factor) + log_density(u, *self._parts, np)
        below = self.lower.log_density(self.lower.end - u)
        above = self.upper.log_density(u - self.upper.end)
        return np.where(u < self.lower.end, below, np.where(u > self.upper.end, above, within))

    def log_mass(self, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Log-probability ``(n,)`` in nats of intervals, as of
        :meth:`~nflow_cli.tables.cells.marginal.Normals.log_mass`.
        """
        lower = self.lower
        upper = self.upper
        low = np.where(half == np.inf, centre, centre - np.abs(half))
        high = np.where(half == -np.inf, centre, centre + np.abs(half))
        width = 2 * np.abs(half)
        is_inner = (low >= lower.end) & (high <= upper.end)
        first = np.clip(low, lower.end, upper.end)
        last = np.clip(high, lower.end, upper.end)
        middles = np.where(is_inner, centre, (first + last) / 2)
        halves = np.where(is_inner, half, (last - first) / 2)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            within = np.log(self._factor) + self.normals.log_mass(middles, halves)
            # The width is known to more digits than the ends of an interval far away.
            below = np.where(high <= lower.end, width, np.maximum(lower.end - low, 0.0))
            above = np.where(low >= upper.end, width, np.maximum(high - upper.end, 0.0))
            outside = np.logaddexp(
                lower.log_mass(lower.end - high, below), upper.log_mass(low - upper.end, above)
            )
            return np.logaddexp(np.where(first < last, within, -np.inf), outside)

    def units_at(
        self, log_below: np.ndarray, log_above: np.ndarray, exact: bool = True
    ) -> np.ndarray:
        """Numbers ``(n,)`` with these log-probabilities in nats below and above them.

        Those that are not ``exact`` are by cubic interpolation alone, in a third of the time.
        """
        below = self._by_normals_alone(log_below, self.lower, self._outside[0])
        above = self._by_normals_alone(log_above, self.upper, self._outside[1])
        units = self._by_normals(score(below, above), exact)
        units = np.clip(units, self.lower.end, self.upper.end)
        farther_below = self.lower.end - self.lower.distance(log_below)
        farther_above = self.upper.end + self.upper.distance(log_above)
        units = np.where(log_below < np.log(self.lower.mass), farther_below, units)
        return np.where(log_above < np.log(self.upper.mass), farther_above, units)

    def _by_normals_alone(self, log_p: np.ndarray, tail: Tail, outside: float) -> np.ndarray:
        """Log-probability ``(n,)`` by the normals of what has ``log_p``, a tail in it."""
        between = np.maximum(np.exp(log_p) - tail.mass, 0.0) / max(self._factor, LEAST_MASS)
        return np.log(np.maximum(outside + between, LEAST_MASS))

    def _by_normals(self, z: np.ndarray, exact: bool) -> np.ndarray:
        """Numbers with scores ``(n,)`` by the normals, between knots of a table: by Newton's
        method, or by cubic Hermite interpolation.
        """
        knots, known, per_score = self._table
        place = np.clip(np.searchsorted(known, z), 1, len(knots) - 1)
        low = knots[place - 1]
        high = knots[place]
        if exact:
            units = np.interp(z, known, knots)
            for _ in range(NEWTON_STEPS):
                at, log_slope = normal_score(units, *self._parts, np)
                step = (at - z) * np.exp(np.minimum(-log_slope, FLATTEST))
                units = np.clip(units - step, low, high)
        else:
            width = known[place] - known[place - 1]
            part = np.clip((z - known[place - 1]) / width, 0.0, 1.0)
            rest = 1 - part
            units = rest**2 * ((1 + 2 * part) * low + part * width * per_score[place - 1])
            units += part**2 * ((1 + 2 * rest) * high - rest * width * per_score[place])
            units = np.clip(units, low, high)
        far = (z < known[0]) | (z > known[-1])
        units[far] = from_normal_score(z[far], *self._parts, np)
        return units

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers, their scores by the normals, and the slope of the inverse."""
        knots = np.unique(self.normals.means[:, None] + self.normals.scales[:, None] * KNOTS)
        scores, log_slope = normal_score(knots, *self._parts, np)
        return knots, scores, np.exp(np.minimum(-log_slope, FLATTEST))


def score(log_below: np.ndarray, log_above: np.ndarray) -> np.ndarray:
    """``Φ⁻¹`` of the log of a probability and of the rest, by the smaller."""
    z = ndtri_exp(np.minimum(np.minimum(log_below, log_above), -LOG_2), np)
    return np.where(log_below < log_above, z, -z)


def with_tails(
    normals: Normals,
    numbers: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    slope: np.ndarray,
    count: float,
    ends: tuple[float, float],
) -> Tailed:
    """Add tails beyond the outermost numbers ``(n,)``, of intervals ``centre ± half`` in units.

    A new draw is beyond each end with probability ``1/(count + 1)``, ``count`` the draws seen; at
    most 1/3, so that one draw has as much itself. The scale is the mean excess of the outermost
    ``⌈√K⌉`` of K distinct numbers over the next: that of an exponential tail in table units, where
    units are ``slope`` ``(n,)`` times as long. It is larger where the outermost values of the
    column, ``ends`` in units, are heaps so far away that a tail would lose more than ``REACH``.
    """
    distinct, first = np.unique(numbers, return_index=True)
    centre = centre[first]
    half = half[first]
    slope = slope[first]
    mass = min(1 / (count + 1), MOST_MASS)
    below = _mean_excess(-distinct[::-1]) * slope[0] or 2 * half[0]
    above = _mean_excess(distinct) * slope[-1] or 2 * half[-1]
    low = float(centre[0] - half[0])
    high = float(centre[-1] + half[-1])
    below = max(float(below), (low - ends[0]) / REACH)
    above = max(float(above), (ends[1] - high) / REACH)
    return Tailed(normals, Tail(low, below, mass), Tail(high, above, mass))


def _mean_excess(values: np.ndarray) -> float:
    """Mean excess of the largest of ascending values ``(K,)``; 0 of one value."""
    count = min(int(np.ceil(np.sqrt(len(values)))), len(values) - 1)
    if not count:
        return 0.0
    return float(np.mean(values[-count:] - values[-count - 1]))
