"""2-D target densities, normalised: ``log_prob(z) = -U(z) - log Z`` in nats."""

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from nflow_cli.arrays import Tensor
from nflow_cli.constants import LOG_2PI
from nflow_cli.densities.target import Target
from nflow_cli.flows.numerics import logaddexp
from nflow_cli.inference.fit_2d_config import ring_mass

FAR_AWAY = 3  # distance from 0, in widths of the density


class Mixture(Target):
    """Gaussian mixture ``Σ_i π_i N(μ_i, Σ_i)``, normalised by construction.

    Args:
        weights: ``(n,)``, positive; divided by their sum.
        means: ``(n, 2)``.
        covariances: ``(n, 2, 2)``, positive definite; ``None`` for the identity.
    """

    log_z = 0.0
    log_z_source = "exact"

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike | None = None):
        heights = np.asarray(weights, float)
        self.weights = heights / heights.sum()
        self.means = np.asarray(means, float)
        identities = np.broadcast_to(np.eye(2), (len(self.weights), 2, 2))
        self.covariances = identities if covariances is None else np.asarray(covariances, float)
        self.factors = np.linalg.cholesky(self.covariances)
        self.whiten = np.linalg.inv(self.factors)
        spread = 3.5 * np.sqrt(np.linalg.eigvalsh(self.covariances)[:, -1])[:, None]
        low = (self.means - spread).min(axis=0)
        high = (self.means + spread).max(axis=0)
        self.window = float(np.max(np.maximum(-low, high)))
        if self.window > FAR_AWAY * np.max(high - low):  # with the base beside it, it were a dot
            self.window = float(np.max(high - low) / 2)
            self.center = (low + high) / 2

    def log_prob(self, z: Tensor) -> Tensor:
        terms = []
        for weight, mean, whiten in zip(self.weights, self.means, self.whiten):
            d0 = z[..., 0] - float(mean[0])
            d1 = z[..., 1] - float(mean[1])
            e0 = float(whiten[0, 0]) * d0
            e1 = float(whiten[1, 0]) * d0 + float(whiten[1, 1]) * d1
            level = math.log(weight) + math.log(whiten[0, 0] * whiten[1, 1]) - LOG_2PI
            terms.append(level - 0.5 * (e0 * e0 + e1 * e1))
        return _log_sum(terms)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        components = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, 2))
        return self.means[components] + np.einsum("nij,nj->ni", self.factors[components], noise)


class Multimodal(Mixture):
    """``½ N((2, 2), I) + ½ N((-2, -2), I)``."""

    def __init__(self) -> None:
        super().__init__([0.5, 0.5], [[2.0, 2.0], [-2.0, -2.0]])


class GaussianFromUniform(Mixture):
    """``N((1, 1), I)``, fitted from a uniform box."""

    def __init__(self) -> None:
        super().__init__([1.0], [[1.0, 1.0]])


class Ring(Target):
    """Mixture of rings ``exp(-U) = Σ_i π_i exp(-½((|z - c_i| - r_i)/σ_i)^2)``.

    ``Z = Σ_i π_i 2π [σ_i^2 exp(-t_i^2/2) + r_i σ_i √(2π) Φ(t_i)]`` with ``t_i = r_i/σ_i``, exactly.

    Args:
        weights: ``(n,)``, positive: heights, not masses.
        centers: ``(n, 2)``.
        radii: ``(n,)``, 0 or more.
        widths: ``(n,)``, positive.
    """

    log_z_source = "exact"

    def __init__(self, weights: ArrayLike, centers: ArrayLike, radii: ArrayLike, widths: ArrayLike):
        self.weights = np.asarray(weights, float)
        self.centers = np.asarray(centers, float)
        self.radii = np.asarray(radii, float)
        self.widths = np.asarray(widths, float)
        masses = np.array([ring_mass(r, width) for r, width in zip(self.radii, self.widths)])
        self.log_z = float(np.log(np.dot(self.weights, masses)))
        self._masses = self.weights * masses
        reach = np.abs(self.centers).max(axis=1) + self.radii + 3.5 * self.widths
        self.window = float(reach.max())

    def log_prob(self, z: Tensor) -> Tensor:
        terms = []
        rings = zip(self.weights, self.centers, self.radii, self.widths)
        for weight, center, radius, width in rings:
            r = _radius(z[..., 0] - float(center[0]), z[..., 1] - float(center[1]))
            e = (r - float(radius)) / float(width)
            terms.append(math.log(weight) - self.log_z - 0.5 * e * e)
        return _log_sum(terms)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples, radii by an inverse CDF on a fine grid."""
        rings = rng.choice(len(self.weights), size=n, p=self._masses / self._masses.sum())
        points = np.empty((n, 2))
        for i, (center, radius, width) in enumerate(zip(self.centers, self.radii, self.widths)):
            is_on_ring = rings == i
            grid = np.linspace(max(radius - 9 * width, 0), radius + 9 * width, 20001)
            pdf = grid * np.exp(-0.5 * ((grid - radius) / width) ** 2)
            cdf = np.cumsum(pdf) - pdf / 2
            r = np.interp(rng.random(is_on_ring.sum()), cdf / cdf[-1], grid)
            angle = rng.uniform(0, 2 * np.pi, is_on_ring.sum())
            away = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)
            points[is_on_ring] = center + away
        return points


class U1(Target):
    """Energy U1 of the paper's table 1: two modes on a ring.

    ``U = ½((|z| - 2)/0.4)^2 - ln(e^{-½((z1 - 2)/0.6)^2} + e^{-½((z1 + 2)/0.6)^2})``.
    """

    log_z = 1.8775016
    log_z_source = "quadrature"
    window = 4.0

    def log_prob(self, z: Tensor) -> Tensor:
        ring = 0.5 * ((_radius(z[..., 0], z[..., 1]) - 2) / 0.4) ** 2
        right = -0.5 * ((z[..., 0] - 2) / 0.6) ** 2
        left = -0.5 * ((z[..., 0] + 2) / 0.6) ** 2
        return logaddexp(right, left) - ring - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples by rejection, the ring as proposal."""
        ring = Ring([1.0], [[0.0, 0.0]], [2.0], [0.4])

        def accepted(z: np.ndarray) -> np.ndarray:
            # Where one blob is at its height of 1, the other is below 0.004.
            right = np.exp(-0.5 * ((z[:, 0] - 2) / 0.6) ** 2)
            left = np.exp(-0.5 * ((z[:, 0] + 2) / 0.6) ** 2)
            return (right + left) / 1.004

        return _by_rejection(rng, n, lambda m: ring.sample(rng, m), accepted)


class WavyRing(Target):
    """Ring of radius √2 whose height varies along z1: ``U = 2 (|z|^2 - 2)^2 - sin(πz1)``."""

    log_z = 1.6119973590547
    log_z_source = "quadrature"
    window = 2.2

    def log_prob(self, z: Tensor) -> Tensor:
        off = z[..., 0] * z[..., 0] + z[..., 1] * z[..., 1] - 2
        return ops.sin(math.pi * z[..., 0]) - 2 * off * off - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples by rejection: without the sine, ``|z|^2`` is a truncated normal."""

        def ring(m: int) -> np.ndarray:
            squares = rng.normal(2.0, 0.5, m)
            angle = rng.uniform(0, 2 * np.pi, m)
            directions = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
            return (np.sqrt(np.maximum(squares, 0.0))[:, None] * directions)[squares > 0]

        return _by_rejection(rng, n, ring, lambda z: np.exp(np.sin(np.pi * z[:, 0]) - 1))


class _Wave(Target):
    """Energies U2-U4: branches along ``sin(πz1/2)``, between walls at ``|z1| = 4``.

    The paper's are flat along z1 and not normalisable; ``wall = 50 max(|z1| - 4, 0)^2`` makes them
    proper, with ``Z = (8 + 0.1 √(2π)) s √(2π)``, ``s`` the sum of the branches' widths.
    """

    log_z_source = "exact"
    window = 4.75
    widths: tuple[float, ...]

    @property
    def log_z(self) -> float:
        root = math.sqrt(2 * math.pi)
        return math.log((8 + 0.1 * root) * sum(self.widths) * root)

    def shifts(self, z1: Tensor, xp: ModuleType) -> list[Tensor]:
        """Distance of each branch below ``sin(πz1/2)``."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        z1 = z[..., 0]
        off = z[..., 1] - ops.sin(math.pi / 2 * z1)
        branches = zip(self.shifts(z1, ops), self.widths)
        terms = [-0.5 * ((off + shift) / width) ** 2 for shift, width in branches]
        beyond = ops.relu(ops.abs(z1) - 4)
        return _log_sum(terms) - 50 * beyond * beyond - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples: z1 flat with Gaussian edges, then z2."""
        is_flat = rng.random(n) < 8 / (8 + 0.1 * math.sqrt(2 * math.pi))
        edge = 0.1 * rng.standard_normal(n)
        z1 = np.where(is_flat, rng.uniform(-4, 4, n), np.sign(edge) * 4 + edge)
        widths = np.asarray(self.widths)
        branches = rng.choice(len(widths), size=n, p=widths / widths.sum())
        shifts = np.stack([np.zeros(n) + shift for shift in self.shifts(z1, np)])
        center = np.sin(np.pi / 2 * z1) - shifts[branches, np.arange(n)]
        return np.stack([z1, center + widths[branches] * rng.standard_normal(n)], axis=-1)


class U2(_Wave):
    """Energy U2 of the paper: one wave."""

    widths = (0.4,)

    def shifts(self, z1: Tensor, xp: ModuleType) -> list[Tensor]:
        return [0.0]


class U3(_Wave):
    """Energy U3 of the paper: a wave that splits and joins again."""

    widths = (0.35, 0.35)

    def shifts(self, z1: Tensor, xp: ModuleType) -> list[Tensor]:
        """Second branch ``w2 = 3 exp(-½((z1 - 1)/0.6)^2)`` below."""
        return [0.0, 3 * xp.exp(-0.5 * ((z1 - 1) / 0.6) ** 2)]


class U4(_Wave):
    """Energy U4 of the paper: a wave that splits."""

    widths = (0.4, 0.35)

    def shifts(self, z1: Tensor, xp: ModuleType) -> list[Tensor]:
        """Second branch ``w3 = 3 σ((z1 - 1)/0.3)`` below."""
        return [0.0, 1.5 * (1 + xp.tanh((z1 - 1) / 0.6))]


def _by_rejection(
    rng: np.random.Generator,
    n: int,
    propose: Callable[[int], np.ndarray],
    accepted: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Draw ``n`` points ``(n, 2)`` of proposals, each with its probability of being accepted."""
    points = np.empty((0, 2))
    while len(points) < n:
        proposed = propose(2 * n)
        is_accepted = rng.random(len(proposed)) < accepted(proposed)
        points = np.concatenate([points, proposed[is_accepted]])
    return points[:n]


def _log_sum(terms: list[Tensor]) -> Tensor:
    """``log Σ exp`` of terms ``(...)``."""
    total = terms[0]
    for term in terms[1:]:
        total = logaddexp(total, term)
    return total


def _radius(z1: Tensor, z2: Tensor) -> Tensor:
    """``|z|`` with a finite gradient at the origin."""
    squared = z1 * z1 + z2 * z2
    is_positive = squared > 0
    return ops.where(is_positive, ops.sqrt(ops.where(is_positive, squared, 1.0)), 0.0)
