"""Affine map: shift and scale, diagonal or triangular."""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo, Shapes


@dataclass(frozen=True)
class Affine(Map):
    """Affine map ``f(z) = m + L z``, ``L`` diagonal or lower triangular.

    The diagonal of ``L`` is ``exp(s)``, so all weights give a bijection, and
    ``log|det df/dz| = Σ_i s_i`` in nats. Lower triangles with a positive diagonal map N(0, I) to
    every Gaussian.

    Weights: ``shift (D,)`` is ``m``, ``log_scale (D,)`` is ``s``, and for a triangle
    ``lower (D (D - 1) / 2,)`` the entries below the diagonal, by row. Cost: O(D), or O(D^2), both
    ways.

    Args:
        full: Whether ``L`` is a triangle.

    References:
        Scale and shift: Dinh, Sohl-Dickstein & Bengio, *Density Estimation Using Real NVP*, 2017,
        arXiv 1605.08803. Triangles of a 1 x 1 convolution: Kingma & Dhariwal, *Glow*, 2018, arXiv
        1807.03039.
    """

    full: bool = False

    def shapes(self, dim: int) -> Shapes:
        shapes: dict[str, tuple[int, ...]] = {"shift": (dim,), "log_scale": (dim,)}
        if self.full and dim > 1:
            shapes["lower"] = (math.comb(dim, 2),)
        return shapes

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """All from N(0, 0.01^2); 0 is the identity."""
        return {
            name: 0.01 * rng.standard_normal((repeats, *shape))
            for name, shape in self.shapes(dim).items()
        }

    def moments(self, mean: np.ndarray, cholesky: np.ndarray) -> dict[str, np.ndarray]:
        """Weights that map N(0, I) to a Gaussian of ``mean`` ``(D,)`` and Cholesky factor
        ``(D, D)``; for a diagonal map, to its diagonal.
        """
        scale = np.diagonal(cholesky) if self.full else np.sqrt(np.sum(cholesky**2, axis=-1))
        below = cholesky[np.tril_indices(len(mean), -1)]
        weights = {"shift": mean, "log_scale": np.log(scale), "lower": below}
        return {name: weights[name] for name in self.shapes(len(mean))}

    def part(self, t: float, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """``t`` times the weights: the diagonal of ``L`` becomes ``exp(t s)``."""
        return {name: t * value for name, value in raw.items()}

    def constrain(self, shift: Tensor, log_scale: Tensor, *lower: Tensor) -> tuple[Tensor, ...]:
        """``m``, the log-determinant, and ``L`` or its diagonal."""
        scale = ops.exp(log_scale)
        log_det = ops.sum(log_scale, axis=-2)
        if self.full:
            scale = triangle(scale, *lower)
        return shift, log_det, scale

    def forward(
        self, memo: Memo, z: Tensor, shift: Tensor, log_det: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        moved = memo.dense(scale, z) if self.full else scale * z
        return shift + moved, log_det + ops.zeros_like(z[..., 0, :])

    def inverse(
        self, memo: Memo, x: Tensor, shift: Tensor, log_det: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        moved = _solved(scale, x - shift) if self.full else (x - shift) / scale
        return moved, ops.zeros_like(x[..., 0, :]) - log_det


def triangle(scale: Tensor, lower: Tensor | None = None) -> Tensor:
    """Lower triangles ``(..., D, D, batch)`` from diagonals and entries below."""
    dim = scale.shape[-2]
    diagonal = ops.expand_dims(scale, -3) * ops.cast(np.eye(dim)[..., None], scale.dtype)
    if lower is None:
        return diagonal
    place = np.zeros((dim, dim), int)
    place[np.tril_indices(dim, -1)] = np.arange(math.comb(dim, 2))
    below = ops.take(lower, place.ravel(), axis=-2)
    below = ops.reshape(below, (*lower.shape[:-2], dim, dim, lower.shape[-1]))
    return diagonal + below * ops.cast(np.tril(np.ones((dim, dim)), -1)[..., None], scale.dtype)


def _solved(triangle: Tensor, points: Tensor) -> Tensor:
    """``L^-1 y`` of triangles ``(..., D, D, batch or 1)``."""
    if triangle.shape[-1] == 1:
        matrix = triangle[..., 0] + ops.zeros_like(points[..., :1])  # the solver does not broadcast
        return ops.solve_triangular(matrix, points, lower=True)
    solved = []
    for i in range(points.shape[-2]):
        solved.append(points[..., i, :] / triangle[..., i, i, :])
        points = points - triangle[..., i, :] * ops.expand_dims(solved[-1], -2)
    return ops.stack(solved, axis=-2)
