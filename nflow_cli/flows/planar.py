"""The planar flow of Rezende & Mohamed (2015), with its exact inverse."""

from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo, Shapes
from nflow_cli.flows.numerics import (
    implicit,
    inverse_softplus,
    is_direction,
    log_slope,
    signed_root,
    slope_of,
    softplus,
    tanh,
)
from nflow_cli.flows.stack import MapLayer


@dataclass(frozen=True)
class Planar(Map):
    """Planar map ``f(z) = z + û tanh(w.z + b)``, a bijection for every ``u, w, b``.

    ``û = u + (m(w.u) - w.u) w/|w|^2`` with ``m(x) = softplus(x) - 1``, so that ``w.û > -1``, and
    ``log|det df/dz| = log(1 + tanh'(w.z + b) w.û)`` in nats. For ``w = 0`` the map is a shift by
    ``û = u`` with log-determinant 0.

    Weights: ``u (D,)``, ``w (D,)``, ``b ()``. Cost: O(D) both ways.

    References:
        Rezende & Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv 1505.05770,
        eqs. 10-12 and appendix A.1.
    """

    def shapes(self, dim: int) -> Shapes:
        return {"u": (dim,), "w": (dim,), "b": ()}

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """``w`` of norm 2 in random directions, ``b`` from N(0, 1), ``u`` near the identity.

        The creases ``w.z + b = 0`` of the K flows cross the base in all directions near its centre;
        with creases further out a stack misses modes. ``f`` is the identity where
        ``w.u = ln(e - 1)`` and ``u`` is along ``w``; noise in ``u`` breaks the symmetry between
        flows.
        """
        w = rng.standard_normal((repeats, dim))
        w *= 2 / np.linalg.norm(w, axis=-1, keepdims=True)
        u = np.log(np.e - 1) / 4 * w + 0.1 * rng.standard_normal((repeats, dim))
        return {"u": u, "w": w, "b": rng.standard_normal(repeats)}

    def constrain(self, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """``û``, ``w``, ``b``, and ``1 + w.û`` for :func:`log_slope`."""
        squared_norm = ops.sum(w * w, axis=-2)
        nonzero = is_direction(squared_norm)
        wu = ops.sum(w * u, axis=-2)
        # softplus(-x) - 1 is m(x) - x without the cancellation.
        safe = ops.where(nonzero, squared_norm, 1.0)
        u_hat = u + ops.expand_dims((softplus(-wu) - 1) / safe, -2) * w
        # Where û is much smaller than u, w.û is off by the rounding of u: the inverse relies on it.
        off = ops.where(nonzero, softplus(wu) - 1 - ops.sum(w * u_hat, axis=-2), 0.0)
        u_hat = u_hat + ops.stop_gradient(ops.expand_dims(off / safe, -2) * w)
        slope, rest = slope_of(wu)
        slope = ops.where(nonzero, slope, 1.0)
        rest = ops.where(nonzero, rest, 0.0)
        return u_hat, w, b, slope, rest

    def forward(
        self, memo: Memo, z: Tensor, u_hat: Tensor, w: Tensor, b: Tensor, *slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``z + û h`` and the log-determinant, ``h = tanh(w.z + b)``."""
        h = tanh(ops.sum(w * z, axis=-2) + b)
        return z + u_hat * ops.expand_dims(h, -2), log_slope(h, *slope)

    def inverse(
        self, memo: Memo, x: Tensor, u_hat: Tensor, w: Tensor, b: Tensor, *slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``x - û tanh(v)`` and the log-determinant, for the root ``v = w.z + b``."""
        c = ops.sum(w * x, axis=-2) + b
        h = implicit(tanh(memo.root(signed_root, c, slope[0])), c, slope[0])
        return x - u_hat * ops.expand_dims(h, -2), -log_slope(h, *slope)

    def part(self, t: float, u: np.ndarray, w: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
        """Weights of ``f_t(z) = z + t û tanh(w.z + b)``."""
        wu, along = self._along(u, w)
        change = (inverse_softplus(1 + t * (along - 1)) - t * wu) * _over(w)
        return {"u": t * u + change, "w": w, "b": b}

    def geometry(self, u: np.ndarray, w: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
        wu, along = self._along(u, w)
        return {"w": w, "b": b, "û": u + (along - 1 - wu) * _over(w)}

    def _along(self, u: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``w.u`` and ``1 + w.û``."""
        wu = np.sum(w * u, axis=-2, keepdims=True)
        return wu, np.logaddexp(0, wu)

    def margin(self, u: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[str, np.ndarray]:
        """``1 + w.û = softplus(w.u)``."""
        return "1 + w.û", np.logaddexp(0, np.sum(w * u, axis=-2))


@keras.saving.register_keras_serializable("nflow_cli")
class PlanarFlow(MapLayer):
    """One :class:`Planar` map with its own weights: ``u (D,)``, ``w (D,)``, ``b ()``.

    Args:
        seed: Fixes the initial values; ``None`` draws one.
    """

    map: ClassVar = Planar()


def _over(w: np.ndarray) -> np.ndarray:
    """``w / |w|²``, 0 for ``w = 0``."""
    squared = np.sum(w * w, axis=-2, keepdims=True)
    return np.divide(w, squared, out=np.zeros_like(w), where=squared > 0)
