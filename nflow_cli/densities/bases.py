"""Base distributions: log-density by ``keras.ops``, samples by NumPy."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.constants import LOG_2PI


class Base(ABC):
    """Base distribution ``q0`` of the flows, on R^D.

    Attributes:
        bounded: Whether its support is bounded.
    """

    bounded: ClassVar[bool] = False

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density ``(...)`` in nats of points ``(..., D)``; NaN where one is NaN."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw float32 points; ``shape`` is ``(..., D)``."""

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """Inverse marginal distribution functions at ``u``, float32."""
        raise NotImplementedError(f"quantiles of {type(self).__name__}")

    def sample_columns(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw float32 points ``(..., D, n)``, features first."""
        *leading, dim, n = shape
        return np.moveaxis(self.sample(rng, (*leading, n, dim)), -1, -2)


class _Independent(Base):
    @abstractmethod
    def draw(
        self, shape: tuple[Tensor, ...], dtype: str, seed: keras.random.SeedGenerator
    ) -> Tensor:
        """Draw a tensor, also within a compiled function."""

    def sample_columns(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return self.sample(rng, shape)


class StandardNormal(_Independent):
    """``N(0, I)`` on R^D: ``log q(z) = -|z|^2/2 - (D/2) log 2π`` in nats."""

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (ops.sum(z * z, axis=-1) + z.shape[-1] * LOG_2PI)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    def draw(
        self, shape: tuple[Tensor, ...], dtype: str, seed: keras.random.SeedGenerator
    ) -> Tensor:
        return keras.random.normal(shape, dtype=dtype, seed=seed)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """``Φ⁻¹(u)``, finite at 0 and 1 too."""
        farthest = 1 - np.finfo(float).eps  # beyond it TensorFlow's erfinv is infinite
        inside = np.clip(2 * u - 1, -farthest, farthest)
        return ops.convert_to_numpy(math.sqrt(2) * ops.erfinv(inside)).astype(np.float32)


class UniformBox(_Independent):
    """``U[-h, h]^D``: ``log q(z) = -D log 2h`` in nats inside the box, ``-inf`` outside.

    Args:
        half_width: ``h``.
    """

    bounded = True

    def __init__(self, half_width: float = 3.0):
        self.half_width = half_width

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ops.all(ops.abs(z) <= self.half_width, axis=-1)
        level = -z.shape[-1] * math.log(2 * self.half_width)
        outside = ops.where(ops.any(ops.isnan(z), axis=-1), math.nan, -math.inf)
        return ops.where(inside, ops.full_like(z[..., 0], level), outside)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        unit = rng.random(shape, dtype=np.float32)
        return self.quantiles(unit)

    def draw(
        self, shape: tuple[Tensor, ...], dtype: str, seed: keras.random.SeedGenerator
    ) -> Tensor:
        return keras.random.uniform(shape, -self.half_width, self.half_width, dtype, seed)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        return (2 * u - 1).astype(np.float32) * np.float32(self.half_width)


class StudentT(_Independent):
    """Independent Student's t coordinates, with heavy tails.

    ``log q(z) = Σ log Γ((ν+1)/2) - log Γ(ν/2) - ½ log νπ - ½ (ν+1) log(1 + z²/ν)`` in nats.

    Args:
        df: ``ν``, positive: the tails fall as ``|z|^-(ν + 1)``.
    """

    def __init__(self, df: float = 5.0):
        self.df = df
        halves = math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
        self.level = halves - 0.5 * math.log(df * math.pi)

    def log_prob(self, z: Tensor) -> Tensor:
        tails = ops.sum(ops.log1p(z * z / self.df), axis=-1)
        return z.shape[-1] * self.level - 0.5 * (self.df + 1) * tails

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_t(self.df, shape).astype(np.float32)

    def draw(
        self, shape: tuple[Tensor, ...], dtype: str, seed: keras.random.SeedGenerator
    ) -> Tensor:
        """By polar coordinates (Bailey 1994): ``√(ν (u^(-2/ν) - 1)) cos φ``."""
        u = keras.random.uniform(shape, dtype=dtype, seed=seed)
        turn = keras.random.uniform(shape, dtype=dtype, seed=seed)
        radius = ops.sqrt(self.df * ops.expm1(-2 / self.df * ops.log1p(-u)))
        return radius * ops.cos(2 * math.pi * turn)


class Cauchy(Base):
    """Independent Cauchy coordinates truncated at ±30."""

    reach = 30.0
    angle = math.atan(reach)  # within which arctan z is uniform

    def log_prob(self, z: Tensor) -> Tensor:
        tails = -z.shape[-1] * math.log(2 * self.angle) - ops.sum(ops.log1p(z * z), axis=-1)
        return ops.where(ops.all(ops.abs(z) <= self.reach, axis=-1), tails, -math.inf)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        z = np.tan(self.angle * (2 * rng.random(shape) - 1)).astype(np.float32)
        return np.clip(z, -self.reach, self.reach)


class CauchyRadius(Base):
    """Any direction alike, and a radius ``√D r``, ``r`` half-Cauchy and truncated at 1,000."""

    reach = 1_000.0
    angle = math.atan(reach)  # within which arctan r is uniform

    def log_prob(self, z: Tensor) -> Tensor:
        dim = z.shape[-1]
        square = ops.maximum(ops.sum(z * z, axis=-1), 1e-30) / dim
        sphere = dim / 2 * math.log(math.pi * dim) - math.lgamma(dim / 2) + math.log(2)
        tails = -math.log(self.angle) - sphere - ops.log1p(square) - (dim - 1) / 2 * ops.log(square)
        return ops.where(square <= self.reach**2, tails, -math.inf)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        z = rng.standard_normal(shape)
        z *= np.sqrt(shape[-1] / np.sum(z**2, axis=-1, keepdims=True))
        return (z * np.tan(self.angle * rng.random((*shape[:-1], 1)))).astype(np.float32)
