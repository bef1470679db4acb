"""Coupling maps: half of the coordinates move, given the other half."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.config.flows import coupling_widths
from nflow_cli.flows.conditioned import Conditioned, by_coordinate, network
from nflow_cli.flows.elementwise import Move, Scaling
from nflow_cli.flows.map import Memo
from nflow_cli.flows.mixture import Mixed
from nflow_cli.flows.orders import parting
from nflow_cli.flows.spline import Splined


@dataclass(frozen=True)
class Coupling(Conditioned):
    """Moves ``⌈D/2⌉`` coordinates: ``f(z) = (g(z_1; θ(z_2)), z_2)``, with ``g`` elementwise.

    The parameters ``θ`` are outputs of a network of the other coordinates and the context, so
    ``log|det df/dz| = Σ_i log g'_i`` in nats. An ``order`` says which coordinates move; they return
    to their places.

    Weights: those of :class:`Conditioned`. Cost: one pass through the network both ways.

    References:
        Dinh, Sohl-Dickstein & Bengio, *Density Estimation Using Real NVP*, 2017, arXiv 1605.08803,
        eqs. 4-8.
    """

    def widths(self, dim: int) -> list[int]:
        """Widths of the network, from ``⌊D/2⌋`` coordinates to the others."""
        return coupling_widths(self.hidden, self.scalar_maps.size, dim)

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        return {"order": np.array([parting(place, dim) for place in places]).reshape(-1, dim)}

    def forward(self, memo: Memo, z: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._moved(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._moved(memo, x, weights, self.scalar_maps.inverse)

    def _moved(
        self, memo: Memo, points: Tensor, weights: Sequence[Tensor], move: Move
    ) -> tuple[Tensor, Tensor]:
        there, back, *layers = weights
        points = memo.dense(there, points)
        dim = points.shape[-2]
        count = dim - dim // 2
        moving = points[..., :count, :]
        fixed = points[..., count:, :]
        parameters = network(memo, layers, fixed, ops.zeros_like(moving[..., :1, :]))
        moved, log_slopes = move(by_coordinate(parameters, self.scalar_maps.size), moving)
        points = memo.dense(back, ops.concatenate([moved, fixed], axis=-2))
        return points, ops.sum(log_slopes, axis=-2)


@dataclass(frozen=True)
class AffineCoupling(Scaling, Coupling):
    """A :class:`Coupling` with :class:`Scaling`."""


@dataclass(frozen=True)
class SplineCoupling(Splined, Coupling):
    """A :class:`Coupling` with splines (:class:`Splined`)."""


@dataclass(frozen=True)
class MixtureCoupling(Mixed, Coupling):
    """A :class:`Coupling` with mixtures (:class:`Mixed`)."""
