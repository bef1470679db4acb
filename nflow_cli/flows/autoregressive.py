"""Autoregressive maps with masked networks (MAF, IAF)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.config.flows import masked_widths
from nflow_cli.flows.conditioned import Conditioned, by_coordinate, network
from nflow_cli.flows.elementwise import Move, Scaling
from nflow_cli.flows.map import Memo, product
from nflow_cli.flows.mixture import Mixed
from nflow_cli.flows.numerics import repeated
from nflow_cli.flows.orders import alternating
from nflow_cli.flows.spline import Splined


@dataclass(frozen=True)
class Autoregressive(Conditioned):
    """Moves each coordinate in turn: ``x_i = g(z_i; θ_i(x_1, …, x_{i-1}))``.

    All parameters ``θ`` are outputs of one masked network of ``x`` and the context, so the inverse
    is one pass; forward, ``x`` takes D passes, one a coordinate.
    ``log|det df/dz| = Σ_i log g'(z_i; θ_i)`` in nats. An ``order`` permutes the coordinates, which
    return to their places. The first depends on the context alone.

    One pass undoes D passes up to rounding, for it sees the same coordinates; the other way round,
    rounding in one coordinate changes the parameters of the next.

    Weights: those of :class:`Conditioned`; masked entries of a kernel are unused.

    References:
        Papamakarios, Pavlakou & Murray, *Masked Autoregressive Flow*, 2017, arXiv 1705.07057, eqs.
        3-5. Masks: Germain, Gregor, Murray & Larochelle, *MADE*, 2015, arXiv 1502.03509.
    """

    def widths(self, dim: int) -> list[int]:
        """Widths of the network, from all coordinates but the last."""
        return masked_widths(self.hidden, self.scalar_maps.size, dim)

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Kernels that preserve variance through the masks."""
        values = super().initial(rng, repeats, dim)
        for name, mask in self._masks(dim).items():
            inputs = np.maximum(np.sum(mask, axis=-1, keepdims=True), 1)
            values[name] = values[name] * mask * np.sqrt(mask.shape[-1] / inputs)
        return values

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        return {"order": np.array([alternating(place, dim) for place in places]).reshape(-1, dim)}

    def constrain(self, order: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
        """The order as permutation matrices, both ways, and the masked layers."""
        dim = order.shape[-2]
        masks = self._masks(dim)
        _, *names = self.shapes(dim)
        masked = []
        for name, layer in zip(names, layers):
            if name in masks:
                layer = layer * ops.cast(masks[name][..., None], layer.dtype)
            masked.append(layer)
        return super().constrain(order, *masked)

    def forward(self, memo: Memo, z: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_turn(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._at_once(memo, x, weights, self.scalar_maps.inverse)

    def _masks(self, dim: int) -> dict[str, np.ndarray]:
        """Masks of the kernels ``(out, in)``.

        A unit sees the first coordinates of the order up to some number, and units that see no
        more: hidden units evenly from 0 (the context) to D - 1, output i those before i.
        """
        widths = self.widths(dim)
        reaches = [np.arange(1, dim)]  # how many coordinates each unit sees, of inputs first
        for width in widths[1:-1]:
            reaches.append(np.rint(np.linspace(0, dim - 1, width)))
        reaches.append(np.tile(np.arange(dim), self.scalar_maps.size))
        masks = {}
        for i, (inputs, units) in enumerate(itertools.pairwise(reaches)):
            if len(inputs):
                masks[f"kernel_{i}"] = (units[:, None] >= inputs).astype(float)
        return masks

    def _at_once(
        self, memo: Memo, points: Tensor, weights: Sequence[Tensor], move: Move
    ) -> tuple[Tensor, Tensor]:
        there, back, *layers = weights
        points = memo.dense(there, points)
        parameters = network(memo, layers, points[..., :-1, :], ops.zeros_like(points[..., :1, :]))
        moved, log_slopes = move(by_coordinate(parameters, self.scalar_maps.size), points)
        return memo.dense(back, moved), ops.sum(log_slopes, axis=-2)

    def _in_turn(
        self, memo: Memo, points: Tensor, weights: Sequence[Tensor], move: Move
    ) -> tuple[Tensor, Tensor]:
        """Move one coordinate a pass: by the hidden layers, and the last one for it alone."""
        there, back, *hidden, kernel, bias = weights
        points = memo.dense(there, points)
        dim = points.shape[-2]
        size = self.scalar_maps.size
        shape = (*kernel.shape[:-3], size, dim, *kernel.shape[-2:])
        kernels = ops.moveaxis(ops.reshape(kernel, shape), -3, 0)
        biases = ops.moveaxis(by_coordinate(bias, size), -2, 0)
        rows = ops.moveaxis(points, -2, 0)
        places = ops.convert_to_tensor(np.eye(dim, dtype=bool)[..., None])

        def step(i: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            moved, log_det = state
            units = network(Memo(), hidden, moved[..., :-1, :], ops.zeros_like(moved[..., :1, :]))
            parameters = product(kernels[i], ops.relu(units)) + biases[i]
            row, log_slope = move(ops.expand_dims(parameters, -2), ops.expand_dims(rows[i], -2))
            return ops.where(places[i], row, moved), log_det + log_slope[..., 0, :]

        start = (ops.zeros_like(points), ops.zeros_like(points[..., 0, :]))
        moved, log_det = repeated(step, start, dim)
        return memo.dense(back, moved), log_det


@dataclass(frozen=True)
class AffineAutoregressive(Scaling, Autoregressive):
    """An :class:`Autoregressive` map with :class:`Scaling`."""


@dataclass(frozen=True)
class SplineAutoregressive(Splined, Autoregressive):
    """An :class:`Autoregressive` map with splines (:class:`Splined`)."""


@dataclass(frozen=True)
class MixtureAutoregressive(Mixed, Autoregressive):
    """An :class:`Autoregressive` map with mixtures (:class:`Mixed`)."""


@dataclass(frozen=True)
class InverseAutoregressive(AffineAutoregressive):
    """The inverse direction, forward in one pass: ``x_i = g(z_i; θ_i(z_1, …, z_{i-1}))``.

    References:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, *Improving Variational Inference
        with Inverse Autoregressive Flow*, 2016, arXiv 1606.04934, eqs. 9-11.
    """

    def forward(self, memo: Memo, z: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._at_once(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_turn(memo, x, weights, self.scalar_maps.inverse)
