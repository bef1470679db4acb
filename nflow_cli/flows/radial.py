"""The radial flow of Rezende & Mohamed (2015), with its exact inverse."""

from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo, Shapes
from nflow_cli.flows.numerics import inverse_softplus, softplus
from nflow_cli.flows.stack import MapLayer


@dataclass(frozen=True)
class Radial(Map):
    r"""Radial map ``f(z) = z + β̂ (z - c) / (α + r)``, ``r = |z - c|``, always a bijection.

    ``α = softplus(alpha)`` and ``β̂ = softplus(beta) - α``, so that ``β̂ > -α``. With
    ``B = softplus(beta)`` and in nats, ``log|det df/dz| = (D - 1) log((r + B) / (r + α)) + log((r^2
    + 2αr + αB) / (r + α)^2)``.

    Weights: ``center (D,)``, ``alpha ()``, ``beta ()``. Cost: O(D) both ways.

    References:
        Rezende & Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv 1505.05770,
        eq. 14 and appendix A.2.
    """

    def shapes(self, dim: int) -> Shapes:
        return {"center": (dim,), "alpha": (), "beta": ()}

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Centres from N(0, 2^2 I), ``alpha`` from N(1, 1), ``beta`` from N(alpha, 1).

        ``f`` is the identity for ``beta = alpha``: some flows expand, others contract.
        """
        alpha = 1 + rng.standard_normal(repeats)
        return {
            "center": 2 * rng.standard_normal((repeats, dim)),
            "alpha": alpha,
            "beta": alpha + rng.standard_normal(repeats),
        }

    def constrain(self, center: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        """``center``, ``α`` and ``B = α + β̂``, both positive."""
        return center, softplus(alpha), softplus(beta)

    def forward(
        self, memo: Memo, z: Tensor, center: Tensor, alpha: Tensor, outer: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``z + (z - c) β̂ / (r + α)`` and the log-determinant."""
        away = z - center
        r = _norm(away)
        scale = ops.expand_dims((outer - alpha) / (r + alpha), -2)
        return z + away * scale, _log_det(r, alpha, outer, z.shape[-2])

    def inverse(
        self, memo: Memo, x: Tensor, center: Tensor, alpha: Tensor, outer: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``x - (x - c) β̂ / (r + B)`` and the log-determinant.

        ``r`` is the positive root of ``r^2 + (B - g) r - α g = 0``, ``g = |x - c|``.
        """
        away = x - center
        g = _norm(away)
        half = (outer - g) / 2
        root = ops.sqrt(half * half + alpha * g) + ops.abs(half)
        r = ops.where(half > 0, g * (alpha / root), root)
        scale = ops.expand_dims((outer - alpha) / (r + outer), -2)
        return x - away * scale, -_log_det(r, alpha, outer, x.shape[-2])

    def part(
        self, t: float, center: np.ndarray, alpha: np.ndarray, beta: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Weights of ``f_t(z) = z + t β̂ (z - c) / (α + r)``."""
        inner = np.logaddexp(0, alpha)
        outer = np.logaddexp(0, beta)
        beta = inverse_softplus((1 - t) * inner + t * outer)
        return {"center": center, "alpha": alpha, "beta": beta}

    def geometry(
        self, center: np.ndarray, alpha: np.ndarray, beta: np.ndarray
    ) -> dict[str, np.ndarray]:
        inner = np.logaddexp(0, alpha)
        outer = np.logaddexp(0, beta)
        return {"c": center, "α": inner, "β̂": outer - inner}

    def margin(
        self, center: np.ndarray, alpha: np.ndarray, beta: np.ndarray
    ) -> tuple[str, np.ndarray]:
        """``α + β̂ = softplus(beta)``."""
        return "α + β̂", np.logaddexp(0, beta)


@keras.saving.register_keras_serializable("nflow_cli")
class RadialFlow(MapLayer):
    """One :class:`Radial` map with its own weights: ``center (D,)``, ``alpha ()``, ``beta ()``.

    Args:
        seed: Fixes the initial values; ``None`` draws one.
    """

    map: ClassVar = Radial()


def _log_det(r: Tensor, alpha: Tensor, outer: Tensor, dim: int) -> Tensor:
    """Log-determinant by sums of positive terms, without cancellation."""
    near = alpha / (r + alpha)
    far = r / (r + alpha)
    stretch = outer / (r + alpha)
    return (dim - 1) * ops.log(far + stretch) + ops.log(far * (far + 2 * near) + near * stretch)


def _norm(vector: Tensor) -> Tensor:
    """Euclidean norm over the features, with gradient 0 at 0."""
    squared = ops.sum(vector * vector, axis=-2)
    positive = squared > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squared, 1.0)), 0.0)
