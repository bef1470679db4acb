"""Masked maps: each coordinate moves by a scalar map whose parameters those before it decide."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.flow_options import masked_widths
from nflow_cli.flows.conditioned import Conditioned, by_coordinate, network
from nflow_cli.flows.elementwise import Scaling
from nflow_cli.flows.loop import repeated
from nflow_cli.flows.memo import Memo, product
from nflow_cli.flows.mixture import Mixed
from nflow_cli.flows.orders import alternating
from nflow_cli.flows.spline import Splined


@dataclass(frozen=True)
class Autoregressive(Conditioned):
    r"""Moves each coordinate in turn: ``x_i = g(z_i; θ_i(x_1, …, x_{i-1}))``.

    All the parameters ``θ`` are one masked network of the point ``x``, and of a context if there is
    one, so the inverse is one pass through it. Forward, ``x`` is found coordinate by coordinate, in
    D passes. ``log|det df/dz| = Σ_i log g'(z_i; θ_i)`` in nats. An ``order`` of the coordinates
    says which is first; they return to their places. The first has its parameters from the context
    alone, and so has the only one of D = 1.

    What D passes give, one pass undoes to rounding, for it sees the same coordinates. The other way
    round an error of rounding in one coordinate is a change of the parameters of the next.

    Weights: those of :class:`Conditioned`; what is masked of a kernel is 0 and not used. The
    gradient of D passes is that of D passes.

    References:
        Papamakarios, Pavlakou & Murray, *Masked Autoregressive Flow*, 2017, arXiv 1705.07057,
        eqs. 3-5. The masks: Germain, Gregor, Murray & Larochelle, *MADE*, 2015, arXiv 1502.03509.
    """

    def widths(self, dim: int) -> list[int]:
        """Return the widths of the network: of all coordinates but the last, for all."""
        return masked_widths(self.hidden, self.scalar_maps.size, dim)

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw kernels that keep the size of what passes a layer through their masks."""
        values = super().initial(rng, repeats, dim)
        for name, mask in self._masks(dim).items():
            inputs = np.maximum(np.sum(mask, axis=-1, keepdims=True), 1)
            values[name] = values[name] * mask * np.sqrt(mask.shape[-1] / inputs)
        return values

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        """Return the orders; see :func:`~nflow_cli.flows.orders.alternating`."""
        return {"order": np.array([alternating(place, dim) for place in places]).reshape(-1, dim)}

    def constrain(self, order: Any, *layers: Any) -> tuple[Any, ...]:
        """Return the order as matrices of 0 and 1, both ways, and the layers, kernels masked."""
        dim, masked = order.shape[-2], []
        masks = self._masks(dim)
        for name, layer in zip(list(self.shapes(dim))[1:], layers):
            if name in masks:
                layer = layer * ops.cast(masks[name][..., None], layer.dtype)
            masked.append(layer)
        return super().constrain(order, *masked)

    def forward(self, memo: Memo, z: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the moved point and the log-determinant, in D passes."""
        return self._in_turn(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the point that was moved to ``x`` and the log-determinant, in one pass."""
        return self._at_once(memo, x, weights, self.scalar_maps.inverse)

    def _masks(self, dim: int) -> dict[str, np.ndarray]:
        """Return by kernel ``(out, in)`` which units see which.

        A unit sees so many coordinates, the first in the order: in a hidden layer evenly from none
        to all but the last, and none are there for the context to come through. An output sees
        those before its own, a unit those units that see no more than it does.
        """
        widths = self.widths(dim)
        seen = [
            np.arange(1, dim),  # of which an input is the last
            *(np.rint(np.linspace(0, dim - 1, width)) for width in widths[1:-1]),
            np.tile(np.arange(dim), self.scalar_maps.size),
        ]
        return {
            f"kernel_{i}": (units[:, None] >= inputs).astype(float)
            for i, (inputs, units) in enumerate(itertools.pairwise(seen))
            if len(inputs)
        }

    def _at_once(self, memo: Memo, points: Any, weights: Any, move: Any) -> tuple[Any, Any]:
        """Move all coordinates, by parameters that the points decide."""
        there, back, *layers = weights
        points = memo.dense(there, points)
        parameters = network(memo, layers, points[..., :-1, :], ops.zeros_like(points[..., :1, :]))
        moved, log_slopes = move(by_coordinate(parameters, self.scalar_maps.size), points)
        return memo.dense(back, moved), ops.sum(log_slopes, axis=-2)

    def _in_turn(self, memo: Memo, points: Any, weights: Any, move: Any) -> tuple[Any, Any]:
        """Move coordinate after coordinate, by parameters that those already moved decide.

        A pass runs the hidden layers, and of the last one what is for its coordinate.
        """
        there, back, *hidden, kernel, bias = weights
        points = memo.dense(there, points)
        dim, size = points.shape[-2], self.scalar_maps.size
        shape = (*kernel.shape[:-3], size, dim, *kernel.shape[-2:])
        kernels = ops.moveaxis(ops.reshape(kernel, shape), -3, 0)
        biases = ops.moveaxis(by_coordinate(bias, size), -2, 0)
        rows = ops.moveaxis(points, -2, 0)
        places = ops.convert_to_tensor(np.eye(dim, dtype=bool)[..., None])

        def step(i: Any, state: Any) -> Any:
            moved, log_det = state
            units = network(Memo(), hidden, moved[..., :-1, :], ops.zeros_like(moved[..., :1, :]))
            parameters = product(kernels[i], ops.relu(units)) + biases[i]
            one, log_slope = move(ops.expand_dims(parameters, -2), ops.expand_dims(rows[i], -2))
            return ops.where(places[i], one, moved), log_det + log_slope[..., 0, :]

        start = ops.zeros_like(points), ops.zeros_like(points[..., 0, :])
        moved, log_det = repeated(step, start, dim)
        return memo.dense(back, moved), log_det


@dataclass(frozen=True)
class AffineAutoregressive(Scaling, Autoregressive):
    """An :class:`Autoregressive` map that scales and shifts; see :class:`Scaling`."""


@dataclass(frozen=True)
class SplineAutoregressive(Splined, Autoregressive):
    """An :class:`Autoregressive` map by splines; see :class:`Splined`."""


@dataclass(frozen=True)
class MixtureAutoregressive(Mixed, Autoregressive):
    """An :class:`Autoregressive` map by mixtures of normals; see :class:`Mixed`."""


@dataclass(frozen=True)
class InverseAutoregressive(AffineAutoregressive):
    r"""The other direction in one pass: ``x_i = g(z_i; θ_i(z_1, …, z_{i-1}))``.

    References:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, *Improving Variational Inference
        with Inverse Autoregressive Flow*, 2016, arXiv 1606.04934, eqs. 9-11.
    """

    def forward(self, memo: Memo, z: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the moved point and the log-determinant, in one pass."""
        return self._at_once(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the point that was moved to ``x`` and the log-determinant, in D passes."""
        return self._in_turn(memo, x, weights, self.scalar_maps.inverse)
