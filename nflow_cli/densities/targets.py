"""2-D target densities, normalised: ``log_prob(z) = -U(z) - log Z`` in nats."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.fit_2d import ring_mass
from nflow_cli.constants import LOG_2PI
from nflow_cli.flows.numerics import logaddexp

FAR_AWAY = 3  # distance from 0, in widths of the density


class Target(ABC):
    """Density to fit. A subclass must define :meth:`log_prob`.

    Attributes:
        dim: D.
        log_z: ``log ∫ exp(-U)`` in nats, where ``log_prob`` is ``-U - log_z``; ``None`` if unknown:
            ``log_prob`` may then be unnormalised.
        log_z_source: ``exact`` or ``quadrature``.
        window: Half the side of the plotted square; ``None``: by the samples of the fit.
        center: Of that square, ``(D,)`` or 0.
        sample: ``sample(rng, n)`` draws exact samples ``(n, D)``; ``None`` if unavailable.
    """

    dim: int = 2
    log_z: Any = None
    log_z_source: str | None = None
    window: float | None = None
    center: Any = 0.0
    sample: Callable[[np.random.Generator, int], np.ndarray] | None = None

    @abstractmethod
    def log_prob(self, z: Any) -> Any:
        """Log-density ``(...)`` in nats of points ``(..., D)``, up to a constant."""


class Mixture(Target):
    """Gaussian mixture ``Σ_i π_i N(μ_i, Σ_i)``, normalised by construction.

    Args:
        weights: ``(n,)``, positive; divided by their sum.
        means: ``(n, 2)``.
        covariances: ``(n, 2, 2)``, positive definite; ``None`` for the identity.
    """

    log_z, log_z_source = 0.0, "exact"

    def __init__(self, weights: Any, means: Any, covariances: Any = None):
        self.weights, self.means = np.asarray(weights, float), np.asarray(means, float)
        self.weights = self.weights / self.weights.sum()
        identities = np.broadcast_to(np.eye(2), (len(self.weights), 2, 2))
        self.covariances = identities if covariances is None else np.asarray(covariances, float)
        self.factors = np.linalg.cholesky(self.covariances)
        self.whiten = np.linalg.inv(self.factors)
        spread = 3.5 * np.sqrt(np.linalg.eigvalsh(self.covariances)[:, -1])[:, None]
        low, high = (self.means - spread).min(axis=0), (self.means + spread).max(axis=0)
        self.window = float(np.max(np.maximum(-low, high)))
        if self.window > FAR_AWAY * np.max(high - low):  # with the base beside it, it were a dot
            self.window, self.center = float(np.max(high - low) / 2), (low + high) / 2

    def log_prob(self, z: Any) -> Any:
        terms = []
        for weight, mean, whiten in zip(self.weights, self.means, self.whiten):
            d0, d1 = z[..., 0] - float(mean[0]), z[..., 1] - float(mean[1])
            e0 = float(whiten[0, 0]) * d0
            e1 = float(whiten[1, 0]) * d0 + float(whiten[1, 1]) * d1
            level = math.log(weight) + math.log(whiten[0, 0] * whiten[1, 1]) - LOG_2PI
            terms.append(level - 0.5 * (e0 * e0 + e1 * e1))
        return _log_sum(terms)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        which = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, 2))
        return self.means[which] + np.einsum("nij,nj->ni", self.factors[which], noise)


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

    def __init__(self, weights: Any, centers: Any, radii: Any, widths: Any):
        arrays = (np.asarray(values, float) for values in (weights, centers, radii, widths))
        self.weights, self.centers, self.radii, self.widths = arrays
        masses = np.array(list(map(ring_mass, self.radii, self.widths)))
        self.log_z = float(np.log(np.dot(self.weights, masses)))
        self._masses = self.weights * masses
        reach = np.abs(self.centers).max(axis=1) + self.radii + 3.5 * self.widths
        self.window = float(reach.max())

    def log_prob(self, z: Any) -> Any:
        terms = []
        rings = zip(self.weights, self.centers, self.radii, self.widths)
        for weight, center, radius, width in rings:
            r = _radius(z[..., 0] - float(center[0]), z[..., 1] - float(center[1]))
            e = (r - float(radius)) / float(width)
            terms.append(math.log(weight) - self.log_z - 0.5 * e * e)
        return _log_sum(terms)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples, radii by an inverse CDF on a fine grid."""
        which = rng.choice(len(self.weights), size=n, p=self._masses / self._masses.sum())
        points = np.empty((n, 2))
        for i in range(len(self.weights)):
            chosen = which == i
            low = max(self.radii[i] - 9 * self.widths[i], 0)
            grid = np.linspace(low, self.radii[i] + 9 * self.widths[i], 20001)
            pdf = grid * np.exp(-0.5 * ((grid - self.radii[i]) / self.widths[i]) ** 2)
            cdf = np.cumsum(pdf) - pdf / 2
            r = np.interp(rng.random(chosen.sum()), cdf / cdf[-1], grid)
            angle = rng.uniform(0, 2 * np.pi, chosen.sum())
            points[chosen] = self.centers[i] + np.stack(
                [r * np.cos(angle), r * np.sin(angle)], axis=-1
            )
        return points


class U1(Target):
    """Energy U1 of the paper's table 1: two modes on a ring.

    ``U = ½((|z| - 2)/0.4)^2 - ln(e^{-½((z1 - 2)/0.6)^2} + e^{-½((z1 + 2)/0.6)^2})``.
    """

    log_z, log_z_source, window = 1.8775016, "quadrature", 4.0

    def log_prob(self, z: Any) -> Any:
        ring = 0.5 * ((_radius(z[..., 0], z[..., 1]) - 2) / 0.4) ** 2
        right = -0.5 * ((z[..., 0] - 2) / 0.6) ** 2
        left = -0.5 * ((z[..., 0] + 2) / 0.6) ** 2
        return logaddexp(right, left) - ring - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples by rejection, the ring as proposal."""
        ring = Ring([1.0], [[0.0, 0.0]], [2.0], [0.4])

        def accepted(z: np.ndarray) -> np.ndarray:
            # Where one blob is at its height of 1, the other is below 0.004.
            right, left = (np.exp(-0.5 * ((z[:, 0] + x) / 0.6) ** 2) for x in (-2, 2))
            return (right + left) / 1.004

        return _by_rejection(rng, n, lambda m: ring.sample(rng, m), accepted)


class WavyRing(Target):
    """Ring of radius √2 whose height varies along z1: ``U = 2 (|z|^2 - 2)^2 - sin(πz1)``."""

    log_z, log_z_source, window = 1.6119973590547, "quadrature", 2.2

    def log_prob(self, z: Any) -> Any:
        off = z[..., 0] * z[..., 0] + z[..., 1] * z[..., 1] - 2
        return ops.sin(math.pi * z[..., 0]) - 2 * off * off - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples by rejection: without the sine, ``|z|^2`` is a truncated normal."""

        def ring(m: int) -> np.ndarray:
            squares, angle = rng.normal(2.0, 0.5, m), rng.uniform(0, 2 * np.pi, m)
            directions = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
            return (np.sqrt(np.maximum(squares, 0.0))[:, None] * directions)[squares > 0]

        return _by_rejection(rng, n, ring, lambda z: np.exp(np.sin(np.pi * z[:, 0]) - 1))


class _Wave(Target):
    """Energies U2-U4: branches along ``sin(πz1/2)``, between walls at ``|z1| = 4``.

    The paper's are flat along z1 and not normalisable; ``wall = 50 max(|z1| - 4, 0)^2`` makes them
    proper, with ``Z = (8 + 0.1 √(2π)) s √(2π)``, ``s`` the sum of the branches' widths.
    """

    log_z_source, window = "exact", 4.75
    widths: tuple[float, ...]

    @property
    def log_z(self) -> float:
        root = math.sqrt(2 * math.pi)
        return math.log((8 + 0.1 * root) * sum(self.widths) * root)

    def shifts(self, z1: Any, functions: Any) -> list[Any]:
        """Distance of each branch below ``sin(πz1/2)``."""
        raise NotImplementedError

    def log_prob(self, z: Any) -> Any:
        z1, z2 = z[..., 0], z[..., 1]
        off = z2 - ops.sin(math.pi / 2 * z1)
        terms = [
            -0.5 * ((off + shift) / width) ** 2
            for shift, width in zip(self.shifts(z1, ops), self.widths)
        ]
        beyond = ops.relu(ops.abs(z1) - 4)
        return _log_sum(terms) - 50 * beyond * beyond - self.log_z

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exact samples: z1 flat with Gaussian edges, then z2."""
        flat = rng.random(n) < 8 / (8 + 0.1 * math.sqrt(2 * math.pi))
        edge = 0.1 * rng.standard_normal(n)
        z1 = np.where(flat, rng.uniform(-4, 4, n), np.sign(edge) * 4 + edge)
        widths = np.asarray(self.widths)
        which = rng.choice(len(widths), size=n, p=widths / widths.sum())
        shifts = np.stack([np.zeros(n) + s for s in self.shifts(z1, np)])
        center = np.sin(np.pi / 2 * z1) - shifts[which, np.arange(n)]
        return np.stack([z1, center + widths[which] * rng.standard_normal(n)], axis=-1)


class U2(_Wave):
    """Energy U2 of the paper: one wave."""

    widths = (0.4,)

    def shifts(self, z1: Any, functions: Any) -> list[Any]:
        return [0.0]


class U3(_Wave):
    """Energy U3 of the paper: a wave that splits and joins again."""

    widths = (0.35, 0.35)

    def shifts(self, z1: Any, functions: Any) -> list[Any]:
        """Second branch ``w2 = 3 exp(-½((z1 - 1)/0.6)^2)`` below."""
        return [0.0, 3 * functions.exp(-0.5 * ((z1 - 1) / 0.6) ** 2)]


class U4(_Wave):
    """Energy U4 of the paper: a wave that splits."""

    widths = (0.4, 0.35)

    def shifts(self, z1: Any, functions: Any) -> list[Any]:
        """Second branch ``w3 = 3 σ((z1 - 1)/0.3)`` below."""
        return [0.0, 1.5 * (1 + functions.tanh((z1 - 1) / 0.6))]


def _by_rejection(
    rng: np.random.Generator,
    n: int,
    propose: Callable[[int], np.ndarray],
    accepted: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    points = np.empty((0, 2))
    while len(points) < n:
        proposed = propose(2 * n)
        chosen = rng.random(len(proposed)) < accepted(proposed)
        points = np.concatenate([points, proposed[chosen]])
    return points[:n]


def _log_sum(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = logaddexp(total, term)
    return total


def _radius(z1: Any, z2: Any) -> Any:
    """``|z|`` with a finite gradient at the origin."""
    squared = z1 * z1 + z2 * z2
    positive = squared > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squared, 1.0)), 0.0)
