"""The Householder Sylvester flow of van den Berg et al. (2018), with its exact inverse."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.config.flows import sylvester_sizes
from nflow_cli.flows.affine import triangle
from nflow_cli.flows.map import Map, Memo, Shapes
from nflow_cli.flows.numerics import (
    implicit,
    inverse_softplus,
    is_direction,
    log_slope,
    repeated,
    signed_root,
    slope_of,
    softplus,
    tanh,
)

NORM = 2.0  # initial, of a row of R̃ Qᵀ


@dataclass(frozen=True)
class Sylvester(Map):
    """``f(z) = z + Q R tanh(R̃ Qᵀ z + b)``, a bijection for all weights.

    The M columns of ``Q`` are orthonormal, the first of a product of Householder reflections; ``R``
    and ``R̃`` are upper triangles. With ``h = tanh(R̃ Qᵀ z + b)`` and in nats,
    ``log|det df/dz| = Σ_i log(1 + (1 - h_i²) r_ii r̃_ii)``, and
    ``1 + r_ii r̃_ii = softplus(slope_i) > 0``. ``r̃_ii = softplus(scale_i)``: tanh is odd, so its
    sign is no loss. At M = 1 it is a planar map.

    Weights: ``reflections (H, D)``, ``bias (M,)``, ``slope (M,)``, ``scale (M,)``, and for M > 1
    the entries above the diagonal, by column, ``outer`` of ``R`` and ``inner`` of ``R̃``
    ``(M (M - 1) / 2,)``. Cost: O(D M) both ways.

    Args:
        width: M, at most D; ``None``: D, at most 16.
        reflections: H; ``None``: M, enough for every ``Q``.

    References:
        van den Berg, Hasenclever, Tomczak & Welling,
        *Sylvester Normalizing Flows for Variational Inference*, 2018, arXiv 1803.05649, eqs. 8, 13
        and section 3.3.
    """

    width: int | None = None
    reflections: int | None = None

    def shapes(self, dim: int) -> Shapes:
        width, reflections = sylvester_sizes(self.width, self.reflections, dim)
        shapes: dict[str, tuple[int, ...]] = {
            "reflections": (reflections, dim),
            "bias": (width,),
            "slope": (width,),
            "scale": (width,),
        }
        if width > 1:
            entries = math.comb(width, 2)
            shapes["outer"] = (entries,)
            shapes["inner"] = (entries,)
        return shapes

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Units as of :class:`~nflow_cli.flows.planar.Planar`, in orthogonal directions.

        ``R = 0`` is the identity; noise breaks the symmetry between flows.
        """
        noise = {
            name: 0.1 * rng.standard_normal((repeats, *shape))
            for name, shape in self.shapes(dim).items()
        }
        centres = {"slope": np.log(np.e - 1), "scale": np.log(np.expm1(NORM))}
        values = {name: centres.get(name, 0.0) + value for name, value in noise.items()}
        return values | {name: 10 * noise[name] for name in ("reflections", "bias")}

    def constrain(
        self, reflections: Tensor, bias: Tensor, slope: Tensor, scale: Tensor, *above: Tensor
    ) -> tuple[Tensor, ...]:
        """``Q R``, ``R̃ Qᵀ``, ``R̃ R``, ``b``, and the slopes for ``log_slope``."""
        inner_diagonal = softplus(scale)
        outer_diagonal = (softplus(slope) - 1) / inner_diagonal
        above_outer, above_inner = above or (None, None)  # none at M = 1
        outer = ops.swapaxes(triangle(outer_diagonal, above_outer), -2, -3)
        inner = ops.swapaxes(triangle(inner_diagonal, above_inner), -2, -3)
        columns = _reflected(reflections, slope.shape[-2])
        rows = ops.swapaxes(columns, -2, -3)
        out = _times(columns, outer)
        into = _times(inner, rows)
        between = _times(inner, outer)
        return out, into, between, bias, *slope_of(slope)

    def forward(
        self,
        memo: Memo,
        z: Tensor,
        out: Tensor,
        into: Tensor,
        between: Tensor,
        bias: Tensor,
        *slopes: Tensor,
    ) -> tuple[Tensor, Tensor]:
        h = tanh(memo.dense(into, z) + bias)
        return z + memo.dense(out, h), ops.sum(log_slope(h, *slopes), axis=-2)

    def inverse(
        self,
        memo: Memo,
        x: Tensor,
        out: Tensor,
        into: Tensor,
        between: Tensor,
        bias: Tensor,
        *slopes: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """``x - Q R h`` and the log-determinant.

        ``v = R̃ Qᵀ z + b`` solves ``v + R̃ R tanh(v) = R̃ Qᵀ x + b``. ``R̃ R`` is an upper
        triangle: from the last unit on, each is one equation of one unknown.
        """
        c = memo.dense(into, x) + bias
        roots = memo.root(partial(_from_the_last, _tanh_of_root), c, between, slopes[0])
        roots = ops.moveaxis(roots, -2, 0)
        h = _from_the_last(lambda i, *unit: implicit(roots[i], *unit), c, between, slopes[0])
        return x - memo.dense(out, h), -ops.sum(log_slope(h, *slopes), axis=-2)

    def part(self, t: float, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Weights of ``f_t(z) = z + t Q R tanh(R̃ Qᵀ z + b)``."""
        weights = dict(raw)
        if "outer" in raw:
            weights["outer"] = t * raw["outer"]
        weights["slope"] = inverse_softplus(1 + t * (np.logaddexp(0, raw["slope"]) - 1))
        return weights

    def margin(self, **raw: np.ndarray) -> tuple[str, np.ndarray]:
        """``1 + r r̃ = softplus(slope)``."""
        return "1 + r r̃", np.logaddexp(0, raw["slope"])


def _reflected(reflections: Tensor, width: int) -> Tensor:
    """First columns ``(…, D, M, batch)`` of a product of reflections ``(…, H, D, batch)``; a zero
    vector reflects nothing.
    """
    squared = ops.sum(reflections * reflections, axis=-2, keepdims=True)
    nonzero = is_direction(squared)
    factors = ops.where(nonzero, 2 / ops.where(nonzero, squared, 1.0), 0.0)
    along = ops.moveaxis(reflections, -3, 0)[..., None, :]
    away = ops.moveaxis(factors * reflections, -3, 0)[..., None, :]
    count, dim = reflections.shape[-3:-1]
    start = ops.cast(np.eye(dim, width)[..., None], squared.dtype) + ops.zeros_like(along[0])

    def reflect(i: Tensor, state: tuple[Tensor]) -> tuple[Tensor]:
        (columns,) = state
        i = count - 1 - i
        return (columns - away[i] * ops.sum(along[i] * columns, axis=-3, keepdims=True),)

    return repeated(reflect, (start,), count)[0]


def _tanh_of_root(i: Tensor, c: Tensor, slope: Tensor) -> Tensor:
    """``tanh(v)`` at the root ``v`` of ``v + (s - 1) tanh(v) = c``, without a gradient."""
    return tanh(signed_root(c, slope))


def _from_the_last(
    solve: Callable[..., Tensor], c: Tensor, between: Tensor, slope: Tensor
) -> Tensor:
    """``h_i = solve(i, c_i - Σ_{j > i} (R̃ R)_ij h_j, s_i)`` for each unit ``i``."""
    width = c.shape[-2]
    places = ops.convert_to_tensor(np.eye(width, dtype=bool)[..., None])
    columns = ops.moveaxis(between, -2, 0)
    slopes = ops.moveaxis(slope, -2, 0)

    def step(i: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        c, h = state
        i = width - 1 - i
        c_i = ops.sum(ops.where(places[i], c, 0.0), axis=-2)
        h_i = ops.expand_dims(solve(i, c_i, slopes[i]), -2)
        return c - columns[i] * h_i, ops.where(places[i], h_i, h)

    return repeated(step, (c, ops.zeros_like(c)), width)[1]


def _times(a: Tensor, b: Tensor) -> Tensor:
    return ops.sum(ops.expand_dims(a, -2) * ops.expand_dims(b, -4), axis=-3)
