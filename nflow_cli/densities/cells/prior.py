"""The distribution of one cell given the cells before it, as one mixture of all networks and the
marginal.
"""

from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.arrays import SQRT_2PI, log_ndtr, ndtri
from nflow_cli.densities.cells.block import Block, Conditionals, Lazy
from nflow_cli.densities.cells.gaps import mixed_outcomes
from nflow_cli.densities.cells.network import PADDING

if TYPE_CHECKING:
    from nflow_cli.densities.cells.density import CellDensity

REACH, STEPS = 9.0, 4096  # of the table of Φ: beyond ± 9 it is 0 or 1; points per unit
AT_ONCE = 2**15  # points of normals: more are not in the processor's cache
KNOTS = np.linspace(-9.0, 9.0, 577)  # of the table of a marginal, per normal
AROUND = np.array([-1.5, 0.0, 1.5])  # scales from a mean: first guesses of quantiles
LEAST = 1e-12  # probabilities below are rounding errors of a difference
SHARED = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])  # the same, of a marginal
CONVERGED, ROUNDS = 1e-12, 100  # error of a probability, and most steps to reach it

_AT = np.arange(-REACH * STEPS, REACH * STEPS + 1) / STEPS
_CDF, _SLOPE = np.exp(log_ndtr(_AT, np)), np.exp(-_AT * _AT / 2) / (SQRT_2PI * STEPS)


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Φ(z) by a Taylor series at the nearest point of a table; absolute error below 1e-12."""
    return _cdf_at(z * STEPS)


def _cdf_at(d: np.ndarray) -> np.ndarray:
    """Φ(d / STEPS); ``d`` is overwritten: in place it takes half the time."""
    end = REACH * STEPS
    np.clip(d, -end, end, out=d)
    found = np.rint(d)
    places = (found + end).astype(np.intp)
    d -= found
    found *= d
    found *= -0.5 / STEPS**2
    found += 1
    found *= d
    found *= _SLOPE.take(places)
    found += _CDF.take(places)
    return found


class MarginalCdf:
    """The distribution function of a mixture ``(M,)``, by a table that is cubic between knots."""

    def __init__(self, log_weights: np.ndarray, means: np.ndarray, scales: np.ndarray):
        self.weights, self.means, self.scales = np.exp(log_weights), means, scales
        self.knots = np.unique(means[:, None] + scales[:, None] * KNOTS)
        self.cdf, self.slope = np.zeros((2, len(self.knots)))
        for weight, mean, scale in zip(self.weights, means, scales):
            z = (self.knots - mean) / scale
            self.cdf += weight * normal_cdf(z)
            self.slope += weight * np.exp(-z * z / 2) / (SQRT_2PI * scale)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Mass below ``u``."""
        u = np.clip(u, self.knots[0], self.knots[-1])
        i = np.clip(np.searchsorted(self.knots, u) - 1, 0, len(self.knots) - 2)
        width = self.knots[i + 1] - self.knots[i]
        t = (u - self.knots[i]) / width
        rise = self.cdf[i + 1] - self.cdf[i]
        first, last = self.slope[i] * width, self.slope[i + 1] * width
        bend = t * (1 - t) * ((1 - t) * (first - rise) - t * (last - rise))
        return self.cdf[i] + t * rise + bend


class Prior:
    """The distribution of cell ``j`` of n rows given the cells before it.

    Args:
        block: The rows, whatever they have in cell ``j``.
        j: Index of the column.
        marginal: The column's, of :func:`marginal_cdf`, if it has numbers.

    Attributes:
        outcomes: Probabilities ``(L, n)`` of the outcomes.
        weights: Of the normals of the networks ``(C, n)``, times the probability of a number.
        means: ``(C, n)``, in scores or units.
        scales: The same.
        alone: Probabilities ``(n,)`` of a number by the marginal.
    """

    def __init__(self, block: Block, j: int, marginal: MarginalCdf | None):
        density, layout = block.density, block.layout
        self.column, self.n = density.cells[j], len(block.rows)
        of_networks, of_marginals = _parts(block, j)
        of_marginal = np.sum(of_marginals, axis=0)
        self.outcomes = np.sum(of_networks, axis=0) + of_marginal
        if marginal is not None:
            number, m = self.column.number, layout.mixed.index(j)
            every = [[a[m] for a in found.parameters[1:]] for found in block.networks]
            every = every or [np.ones((3, 1, 1))]
            mixtures = [np.broadcast_to(a, (*np.shape(a)[:2], self.n)) for a in every]
            self.weights = np.concatenate(
                [p[number] * np.exp(mix[0]) for p, mix in zip(of_networks, mixtures)]
            )
            self.means, self.scales = (np.concatenate([mix[i] for mix in mixtures]) for i in (1, 2))
            self.alone = of_marginal[number]
            self.marginal = marginal

    @property
    def number(self) -> np.ndarray:
        """Probability ``(n,)`` of a number that is no atom."""
        return self.weights.sum(axis=0) + self.alone

    def below(self, u: np.ndarray) -> np.ndarray:
        """Probability ``(n, k)`` of a number below units ``(n, k)`` or ``(1, k)``."""
        found = self.alone[:, None] * self.marginal(u)
        count = max(AT_ONCE // max(found.size, 1), 1)
        for start in range(0, len(self.means), count):
            some = slice(start, start + count)
            away = u - self.means[some, :, None]
            away *= STEPS / self.scales[some, :, None]
            found += np.sum(self.weights[some, :, None] * _cdf_at(away), axis=0)
        return found

    def masses(self, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities ``(n, k)`` of a number between edges ``(n, k + 1)`` or ``(1, k + 1)``,
        all below the first and above the last included; and the same without outliers, the broad
        normal of the marginal.
        """
        edges = edges.copy()
        edges[:, 0], edges[:, -1] = -np.inf, np.inf
        below, found = self.below(edges), self.marginal
        mass = np.diff(below)
        usual = mass
        if len(found.scales) > 1:
            broad = int(np.argmax(found.scales))
            cdf = normal_cdf((edges - found.means[broad]) / found.scales[broad])
            usual = mass - found.weights[broad] * self.alone[:, None] * np.diff(cdf)
        least = LEAST * self.number[:, None]
        return np.where(mass > least, mass, 0.0), np.where(usual > least, usual, 0.0)

    def reach(self, least: float) -> tuple[float, float]:
        """Ends of the units, of all rows, beyond which each normal has mass below ``least``."""
        weights = self.weights.max(axis=1)
        of_marginal = self.alone.max() * self.marginal.weights
        low, high = [], []
        for weight, mean, scale in [
            *zip(weights, self.means, self.scales),
            *zip(of_marginal, self.marginal.means, self.marginal.scales),
        ]:
            if weight > least:
                away = np.sqrt(2 * np.log(weight / least)) * scale
                low.append(np.min(mean - away))
                high.append(np.max(mean + away))
        return (min(low), max(high)) if low else (0.0, 0.0)

    def quantiles(self, p: np.ndarray) -> np.ndarray:
        """Units ``(n, k)`` below which a number that is no atom lies with probability ``p``
        ``(n, k)``: a root between two guesses, by false position (Illinois).
        """
        x, low, high, below, above = self._guesses(p)
        side = np.zeros(p.shape)
        for _ in range(ROUNDS):
            off = self._cdf(x) - p
            if not (np.abs(off) > CONVERGED).any():
                break
            is_low = off < 0
            above = np.where(is_low, np.where(side < 0, above / 2, above), off)
            below = np.where(is_low, off, np.where(side > 0, below / 2, below))
            low, high = np.where(is_low, x, low), np.where(is_low, high, x)
            side = np.where(is_low, -1.0, 1.0)
            x = low - (high - low) * below / np.maximum(above - below, 1e-300)
        return x

    def guessed_quantiles(self, p: np.ndarray) -> np.ndarray:
        """Quantiles ``(n, k)`` at ``p`` ``(k,)``, as between normals: rough, and in order."""
        return self._guesses(p[None])[0]

    def _cdf(self, u: np.ndarray) -> np.ndarray:
        number = self.number[:, None]
        return self.below(u) / np.where(number > 0, number, 1.0)

    @Lazy
    def _known(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points ``(n, K)`` in units, in order, the distribution function there, and its score."""
        known = self.marginal.knots
        low = np.minimum((self.means - REACH * self.scales).min(axis=0), known[0])[:, None]
        high = np.maximum((self.means + REACH * self.scales).max(axis=0), known[-1])[:, None]
        middle = (self.means[..., None] + self.scales[..., None] * AROUND).swapaxes(0, 1)
        shared = np.broadcast_to(np.interp(SHARED, self.marginal.cdf, known), (self.n, len(SHARED)))
        points = np.concatenate([low, middle.reshape(self.n, -1), shared, high], axis=1)
        points.sort(axis=1)
        cdf = self._cdf(points)
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        return points, cdf, _score(cdf)

    def _guesses(self, p: np.ndarray) -> list[np.ndarray]:
        """A quantile, and the ends of an interval about it with ``F - p`` there."""
        _, cdf, _ = self._known
        i = np.stack([(cdf[:, 1:-1] < one[:, None]).sum(axis=1) for one in p.T], axis=1)
        ends = [[np.take_along_axis(a, k, 1) for k in (i, i + 1)] for a in self._known]
        (low, high), (below, above), (left, right) = ends
        part = np.clip((_score(p) - left) / np.maximum(right - left, 1e-300), 0.0, 1.0)
        return [low + part * (high - low), low, high, below - p, above - p]


def _score(p: np.ndarray) -> np.ndarray:
    return ndtri(np.clip(p, LEAST, 1 - LEAST), np)


def _parts(block: Block, j: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parts ``(L, n)`` in the outcomes of the networks, and of the marginal beside each."""
    density, marginal = block.density, _outcomes(block, block.marginals, j)
    if not density.networks:
        marginal = np.broadcast_to(marginal, (len(marginal), len(block.rows)))
        return [0 * marginal], [marginal]
    place, outcomes = density.layout.modelled.index(j), density.layout.outcomes[j]
    before = np.exp(block.log_weights_before[:, :, j - density.n_given])
    pairs = [
        [weight * part for part in mixed_outcomes(outcomes, member.shares[place], own, marginal)]
        for weight, member, own in zip(
            before, density.networks, (_outcomes(block, found, j) for found in block.networks)
        )
    ]
    of_networks, of_marginals = (list(parts) for parts in zip(*pairs))
    return of_networks, of_marginals


def _outcomes(block: Block, found: Conditionals, j: int) -> np.ndarray:
    """Probabilities ``(L, n)`` or ``(L, 1)`` of the outcomes of a column."""
    for bank, shares in zip(block.layout.banks, found.parameters.log_shares):
        if j in bank.modelled and shares is not None:
            return np.exp(shares[bank.modelled.index(j)][: block.layout.outcomes[j].count])
    return np.ones((1, 1))


def marginal_cdf(density: "CellDensity", j: int) -> MarginalCdf:
    """The marginal distribution function of the numbers of a column."""
    m = density.layout.mixed.index(j)
    parts = [array[m][:, 0] for array in density.marginal[1:]]
    return MarginalCdf(*(part[parts[0] > PADDING / 2] for part in parts))
