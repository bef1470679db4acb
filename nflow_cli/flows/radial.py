"""The radial flow of Rezende & Mohamed (2015), with its exact inverse."""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.flows.base import ElementaryFlow
from nflow_cli.flows.numerics import softplus


@keras.saving.register_keras_serializable("nflow_cli")
class RadialFlow(ElementaryFlow):
    r"""Radial flow ``f(z) = z + β̂ (z - c) / (α + r)``, ``r = |z - c|``, always a bijection.

    ``α = softplus(alpha)`` and ``β̂ = softplus(beta) - α``, so that ``β̂ > -α``. With
    ``B = softplus(beta)`` and in nats, ``log|det df/dz| = (D - 1) log((r + B) / (r + α))
    + log((r^2 + 2αr + αB) / (r + α)^2)``.

    Weights: ``center (D,)``, ``alpha ()``, ``beta ()``. Cost: O(D) both ways.

    References:
        Rezende & Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv 1505.05770,
        eq. 14 and appendix A.2.
    """

    vectors: ClassVar = ("center",)
    scalars: ClassVar = ("alpha", "beta")

    @staticmethod
    def initial_values(rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw centres from N(0, 2^2 I), ``alpha`` from N(1, 1), and ``beta`` from N(alpha, 1).

        ``f`` is the identity where ``beta = alpha``: so some flows push out and some pull in.
        """
        alpha = 1 + rng.standard_normal(repeats)
        return {
            "center": 2 * rng.standard_normal((repeats, dim)),
            "alpha": alpha,
            "beta": alpha + rng.standard_normal(repeats),
        }

    @staticmethod
    def constrain(center: Any, alpha: Any, beta: Any) -> tuple[Any, ...]:
        """Return ``center``, ``α`` and ``B = α + β̂``, both positive."""
        return center, softplus(alpha), softplus(beta)

    @staticmethod
    def transform(z: Any, center: Any, alpha: Any, outer: Any) -> tuple[Any, Any]:
        """Return ``z + (z - c) β̂ / (r + α)`` and the log-determinant."""
        away = z - center
        r = _norm(away)
        return z + away * ((outer - alpha) / (r + alpha)), _log_det(r, alpha, outer, z.shape[0])

    @staticmethod
    def invert(x: Any, _: Any, center: Any, alpha: Any, outer: Any) -> tuple[Any, Any]:
        """Return ``x - (x - c) β̂ / (r + B)`` and the log-determinant.

        ``r`` is the positive root of ``r^2 + (B - g) r - α g = 0``, ``g = |x - c|``.
        """
        away = x - center
        g = _norm(away)
        half = (outer - g) / 2
        root = ops.sqrt(half * half + alpha * g) + ops.abs(half)
        r = ops.where(half > 0, g * (alpha / root), root)
        z = x - away * ((outer - alpha) / (r + outer))
        return z, -_log_det(r, alpha, outer, x.shape[0])


def _log_det(r: Any, alpha: Any, outer: Any, dim: int) -> Any:
    """Return the log-determinant from sums of positive terms only: nothing cancels."""
    near, far = alpha / (r + alpha), r / (r + alpha)
    stretch = outer / (r + alpha)
    return (dim - 1) * ops.log(far + stretch) + ops.log(far * (far + 2 * near) + near * stretch)


def _norm(vector: Any) -> Any:
    """Return the Euclidean norm over the first axis, with the gradient 0 where it is 0."""
    squared = ops.sum(vector * vector, axis=0)
    positive = squared > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squared, 1.0)), 0.0)
