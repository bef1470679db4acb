"""Built-in point sets in the plane, with exact densities."""

import math
from abc import ABC, abstractmethod

import numpy as np

from nflow_cli.constants import LOG_2PI

NODES = 24  # of a panel of a curve
BLOCK = 2**15  # numbers at a time


class PointSet(ABC):
    """Density ``p`` in the plane with samples."""

    @abstractmethod
    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Exact log-density ``(n,)`` in nats at points ``(n, 2)``."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw points ``(n, 2)``."""


class _Smeared(PointSet):
    """Centres under Gaussian noise: ``p(x) = Σ_i w_i N(x; c_i, σ^2 I)``.

    Args:
        centres: ``(m, 2)``.
        weights: ``(m,)``, of sum 1.
        noise: σ.
    """

    def __init__(self, centres: np.ndarray, weights: np.ndarray, noise: float):
        self.centres = centres
        self.weights = weights
        self.noise = noise

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        log_p = np.empty(len(x))
        rows = BLOCK // len(self.centres)
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            first = np.subtract.outer(part[:, 0], self.centres[:, 0])
            second = np.subtract.outer(part[:, 1], self.centres[:, 1])
            exponent = (first**2 + second**2) / (-2 * self.noise**2)
            top = exponent.max(axis=1)
            total = np.exp(exponent - top[:, None]) @ self.weights
            log_p[start : start + rows] = top + np.log(total)
        return log_p - LOG_2PI - 2 * math.log(self.noise)


class _Curves(_Smeared):
    """Two curves under noise; the integral along each is a Gauss-Legendre sum.

    Each curve is cut into panels of at most ten σ, of 24 nodes. Along a panel the integrand is a
    Gaussian about five σ to either side, whose Legendre expansion is cut off after degree 47:
    within ten σ of the curves, where all points are drawn, the error of ``log p`` is below 1e-10.
    Farther out the integrand is narrower: at twenty σ the error is 2e-5.

    Args:
        end: Of the curves' parameter ``t``, from 0.
        panels: Of each curve.
        noise: σ.
    """

    def __init__(self, end: float, panels: int, noise: float):
        node, weight = np.polynomial.legendre.leggauss(NODES)
        half = end / panels / 2
        t = (half * (2 * np.arange(panels)[:, None] + 1 + node)).ravel()
        weights = self.density(t) * np.tile(half * weight, panels)
        super().__init__(np.concatenate(self.curves(t)), np.tile(weights / 2, 2), noise)

    @staticmethod
    @abstractmethod
    def curves(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both curves ``(n, 2)`` at ``t``."""

    @staticmethod
    @abstractmethod
    def density(t: np.ndarray) -> np.ndarray:
        """Density ``(n,)`` of ``t``."""


class TwoMoons(_Curves):
    """Two interleaving half circles of radius 1.

    The upper one is ``(cos t, sin t)``, the lower ``(1 - cos t, 1/2 - sin t)``, ``t`` uniform in
    [0, π]; the noise is N(0, 0.1^2 I). Its log-density sums 96 nodes a half circle.
    """

    def __init__(self) -> None:
        super().__init__(np.pi, panels=4, noise=0.1)

    @staticmethod
    def curves(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arc = np.stack([np.cos(t), np.sin(t)], axis=-1)
        return arc, [1, 0.5] - arc

    @staticmethod
    def density(t: np.ndarray) -> np.ndarray:
        return np.full(len(t), 1 / np.pi)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.uniform(0, np.pi, n)
        lower = rng.random(n) < 0.5
        first, second = self.curves(t)
        return np.where(lower[:, None], second, first) + self.noise * rng.standard_normal((n, 2))


class Spirals(_Curves):
    """Two spirals of one and a half turns about 0.

    They are ``±(-cos t, sin t) t / 3``, ``t = 3π √u``, ``u`` uniform in [0, 1]; the noise is
    N(0, 0.1^2 I). Its log-density sums 768 nodes a spiral, whose length is 15.3.
    """

    def __init__(self) -> None:
        super().__init__(3 * np.pi, panels=32, noise=0.1)

    @staticmethod
    def curves(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arm = (t / 3)[:, None] * np.stack([-np.cos(t), np.sin(t)], axis=-1)
        return arm, -arm

    @staticmethod
    def density(t: np.ndarray) -> np.ndarray:
        """``2t / (3π)^2``, the density of ``3π √u``."""
        return 2 * t / (3 * np.pi) ** 2

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        t = 3 * np.pi * np.sqrt(rng.random(n))
        sign = rng.choice([-1.0, 1.0], n)
        arm = sign[:, None] * self.curves(t)[0]
        return arm + self.noise * rng.standard_normal((n, 2))


class EightGaussians(_Smeared):
    """Eight equally likely Gaussians, N(μ, 0.2^2 I), on a circle of radius 2."""

    def __init__(self) -> None:
        angle = np.pi / 4 * np.arange(8)
        centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        super().__init__(centres, np.full(8, 1 / 8), noise=0.2)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        centres = self.centres[rng.integers(8, size=n)]
        return centres + self.noise * rng.standard_normal((n, 2))


class Checkerboard(PointSet):
    """The 8 dark squares, of side 2, of a 4 x 4 board on [-4, 4]^2; the lower left one is dark."""

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """``-log 32`` nats, or ``-inf``."""
        square = np.floor(x / 2)
        dark = (square.sum(axis=-1) % 2 == 0) & (np.abs(square + 0.5) < 2).all(axis=-1)
        return np.where(dark, -math.log(32), -np.inf)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        column = rng.integers(4, size=n)
        row = 2 * rng.integers(2, size=n) + column % 2
        return 2 * (np.stack([column, row], axis=-1) + rng.random((n, 2))) - 4


class Rings(PointSet):
    """Equally likely circles about 0 of radius 1, 2 and 3, under radial noise N(0, 0.1^2)."""

    radii = np.array([1.0, 2.0, 3.0])
    noise = 0.1

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats at points ``(n, 2)``.

        ``p(x) = ⅓ Σ_R [N(ρ; R, 0.1^2) + N(-ρ; R, 0.1^2)] / (2πρ)``, ``ρ = |x|``: noise beyond the
        centre comes out on the other side. At 0 it is infinite.
        """
        rho = np.hypot(x[:, 0], x[:, 1])
        away = np.concatenate([np.subtract.outer(sign * rho, self.radii) for sign in (1, -1)], 1)
        of_radius = np.logaddexp.reduce(-0.5 * (away / self.noise) ** 2, axis=1)
        level = 0.5 * LOG_2PI + math.log(self.noise * len(self.radii))
        with np.errstate(divide="ignore"):
            return of_radius - level - LOG_2PI - np.log(rho)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        radius = self.radii[rng.integers(3, size=n)] + self.noise * rng.standard_normal(n)
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
