"""The planar flow of Rezende & Mohamed (2015), with its exact inverse."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.flows.base import MapLayer
from nflow_cli.flows.map import Map, Shapes
from nflow_cli.flows.memo import Memo
from nflow_cli.flows.numerics import softplus, tanh

# exp of this is still a normal number; -87 for narrower types.
LOG_SMALLEST = {"float64": -708.0}
# Newton steps that bring the inverse to rounding error at every slope, and one more; 5 for narrower
# types.
NEWTON_STEPS = {"float64": 7}
FLAT = 1e-9  # slope whose square is close to underflow in float32
# Below this |w|^2, w counts as 0: its square is close to underflow. 1e-34 for narrower types.
SMALLEST = {"float64": 1e-290}


@dataclass(frozen=True)
class Planar(Map):
    r"""Planar map ``f(z) = z + û tanh(w.z + b)``, a bijection for every ``u, w, b``.

    ``û = u + (m(w.u) - w.u) w/|w|^2`` with ``m(x) = softplus(x) - 1``, so that ``w.û > -1``, and
    ``log|det df/dz| = log(1 + tanh'(w.z + b) w.û)`` in nats. Where ``w = 0`` the map is a shift:
    ``û = u`` and the log-determinant is 0.

    Weights: ``u (D,)``, ``w (D,)``, ``b ()``. Cost: O(D) both ways.

    References:
        Rezende & Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv 1505.05770,
        eqs. 10-12 and appendix A.1.
    """

    def shapes(self, dim: int) -> Shapes:
        """Return the shapes of ``u``, ``w`` and ``b``."""
        return {"u": (dim,), "w": (dim,), "b": ()}

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw ``w`` of norm 2 in random directions, ``b`` from N(0, 1), ``u`` near the identity.

        So the creases ``w.z + b = 0`` of the K flows cross the base in all directions, near its
        centre, where they split it: a stack that starts with creases further out drops modes.
        ``f`` is the identity where ``w.u = ln(e - 1)`` and ``u`` is along ``w``; a little noise in
        ``u`` breaks the symmetry between the flows.
        """
        w = rng.standard_normal((repeats, dim))
        w *= 2 / np.linalg.norm(w, axis=-1, keepdims=True)
        u = np.log(np.e - 1) / 4 * w + 0.1 * rng.standard_normal((repeats, dim))
        return {"u": u, "w": w, "b": rng.standard_normal(repeats)}

    def constrain(self, u: Any, w: Any, b: Any) -> tuple[Any, ...]:
        """Return ``û``, ``w``, ``b``, and ``1 + w.û`` as :func:`_log_slope` takes it."""
        squared_norm = ops.sum(w * w, axis=-2)
        dtype = keras.backend.standardize_dtype(w.dtype)
        nonzero = squared_norm > SMALLEST.get(dtype, 1e-34)
        wu = ops.sum(w * u, axis=-2)
        # softplus(-x) - 1 is m(x) - x without the cancellation.
        safe = ops.where(nonzero, squared_norm, 1.0)
        u_hat = u + ops.expand_dims((softplus(-wu) - 1) / safe, -2) * w
        # Where û is much smaller than u, w.û is off by the rounding of u: the inverse relies on it.
        off = ops.where(nonzero, softplus(wu) - 1 - ops.sum(w * u_hat, axis=-2), 0.0)
        u_hat = u_hat + ops.stop_gradient(ops.expand_dims(off / safe, -2) * w)
        lowest = LOG_SMALLEST.get(dtype, -87.0)
        floor = ops.exp(lowest + wu - ops.stop_gradient(wu))  # its gradient in w.u is that of exp
        slope = ops.where(nonzero, ops.where(wu < lowest, floor, softplus(wu)), 1.0)
        rest = ops.stop_gradient(ops.where(nonzero, ops.minimum(wu - lowest, 0.0), 0.0))
        return u_hat, w, b, slope, rest

    def forward(
        self, memo: Memo, z: Any, u_hat: Any, w: Any, b: Any, *slope: Any
    ) -> tuple[Any, Any]:
        """Return ``z + û h`` and the log-determinant, with ``h = tanh(w.z + b)``."""
        h = tanh(ops.sum(w * z, axis=-2) + b)
        return z + u_hat * ops.expand_dims(h, -2), _log_slope(h, *slope)

    def inverse(
        self, memo: Memo, x: Any, u_hat: Any, w: Any, b: Any, *slope: Any
    ) -> tuple[Any, Any]:
        """Return ``x - û tanh(v)`` and the log-determinant, for the root ``v``.

        The gradient is that of the implicit function ``v``, not of the iteration: what is added
        to ``h`` is 0 and has the first and second derivatives of ``tanh(v)``, those of a step of
        Halley's iteration. (Only the first where the slope is so small that its square is lost.)
        """
        c = ops.sum(w * x, axis=-2) + b
        h = tanh(memo.root(_signed_root, c, slope[0]))
        moved = c - slope[0] * h
        gap = moved - ops.stop_gradient(moved)
        derivative = _derivative(h, slope[0])
        is_steep = derivative > FLAT
        steep = ops.where(is_steep, derivative, 1.0)
        flat = ops.stop_gradient(ops.where(is_steep, 1.0, derivative))
        bend = ops.stop_gradient(ops.where(is_steep, h / (steep * steep), 0.0))
        h = h + gap * (1 - h * h) / (steep * flat) * (1 - gap * bend)
        return x - u_hat * ops.expand_dims(h, -2), -_log_slope(h, *slope)

    def margin(self, u: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[str, np.ndarray]:
        """Return ``1 + w.û = softplus(w.u)``."""
        return "1 + w.û", np.logaddexp(0, np.sum(w * u, axis=-2))


@keras.saving.register_keras_serializable("nflow_cli")
class PlanarFlow(MapLayer):
    """One :class:`Planar` map with weights of its own: ``u (D,)``, ``w (D,)``, ``b ()``.

    Args:
        seed: Fixes the initial values; ``None`` draws one.
    """

    map: ClassVar = Planar()


def _log_slope(h: Any, slope: Any, rest: Any) -> Any:
    """Return ``log(1 + (1 - h^2) w.û) = log(h^2 + (1 - h^2) (1 + w.û))`` in nats.

    The second form has no cancellation: both terms are positive. ``slope = 1 + w.û`` is kept from
    underflow where ``w.u`` is large and negative; there ``h^2`` outweighs it, and what its
    logarithm lacks, ``rest``, counts where ``h`` is 0. (Between 0 and 1e-15, or 1e-145 in float64,
    the value is finite but not exact.)
    """
    return ops.log(h * h + (1 - h * h) * slope) + ops.where(h == 0, rest, 0.0)


def _signed_root(c: Any, slope: Any) -> Any:
    """Return ``v = w.z + b``, the root of ``v + (w.û) tanh(v) = c``, where ``c = w.x + b``.

    By symmetry the root is sought for ``|c|``, in ``[|c| - |w.û|, |c| + |w.û|]`` and ``v >= 0``.
    There the left side is convex for ``w.û < 0`` and concave for ``w.û > 0``, so Newton's iteration
    is monotone from an upper bound of the root in the first case and from a lower one in the
    second.
    """
    return ops.sign(c) * _root(ops.abs(c), slope)


def _root(c: Any, slope: Any) -> Any:
    reach = ops.abs(slope - 1)
    low, high = ops.relu(c - reach), c + reach
    linear = c / slope  # tanh(v) <= v
    # v - tanh(v) >= v^3 / 4.2 up to v = 1, and >= v - 1 from there.
    above = ops.minimum(ops.exp(ops.log(4.2 * c) / 3) + c, linear)
    below = ops.maximum(_saturated(c, reach), linear)
    v = ops.clip(ops.where(slope < 1, above, below), low, high)
    for _ in range(NEWTON_STEPS.get(keras.backend.standardize_dtype(v.dtype), 5)):
        h, excess = _tanh_and_excess(v)
        v = ops.clip(v - (excess + slope * h - c) / _derivative(h, slope), low, high)
    return v


def _saturated(c: Any, s: Any) -> Any:
    """Return a lower bound of the root for ``s > 0`` that is close where tanh saturates.

    ``v <= u = max(log(2s) / 2, c - s + 1)``: beyond the first ``s (1 - tanh(v)) <= 1``. So
    ``tanh(v) >= (c - u) / s``, which is at most ``1 - 1/s``. (Newton's iteration from a start on
    the slope of tanh would creep: a step for each unit of ``v``.)
    """
    s = ops.maximum(s, 1.0)
    u = ops.maximum(ops.log(2 * s) / 2, c - s + 1)
    t = ops.clip((c - u) / s, 0.0, 1 - 6e-8)
    return ops.log((1 + t) / (1 - t)) / 2


def _derivative(h: Any, slope: Any) -> Any:
    return ops.clip(h * h + (1 - h * h) * slope, 1e-30, 1e30)


def _tanh_and_excess(v: Any) -> tuple[Any, Any]:
    """Return ``tanh(v)`` and ``v - tanh(v)``, the second without cancellation near 0."""
    h = tanh(v)
    v2 = v * v
    series = 1 / 3 - v2 * (2 / 15 - v2 * (17 / 315 - v2 * (62 / 2835 - v2 * 1382 / 155925)))
    return h, ops.where(v2 < 0.01, v * v2 * series, v - h)
