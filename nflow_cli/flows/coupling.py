"""Couplings: half of a point moves, by scalar maps whose parameters the other half decides."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from nflow_cli.config.flow_options import network_widths
from nflow_cli.flows.elementwise import Elementwise, ScaleAndShift
from nflow_cli.flows.map import Map, Shapes
from nflow_cli.flows.memo import Memo
from nflow_cli.flows.orders import as_matrices, counts, parting
from nflow_cli.flows.spline import Spline

NEAR_IDENTITY = 0.01  # standard deviation of the weights of the last layer, for inputs of size 1


@dataclass(frozen=True)
class Coupling(Map):
    r"""Moves ``⌈D/2⌉`` coordinates: ``f(z) = (g(z_1; θ(z_2)), z_2)``, with ``g`` elementwise.

    The parameters ``θ`` are a network of the other coordinates, and of a context if there is one,
    so ``log|det df/dz| = Σ_i log g'_i`` in nats. An ``order`` of the coordinates says which are
    moved; they return to their places.

    Weights: ``order (D,)``, not trained, and of each layer of the network ``kernel_i (out, in)``
    and ``bias_i (out,)``. Cost: one pass through the network both ways.

    Args:
        hidden: Widths of the network's hidden layers; ``None``: 2 of 64 up to D = 8, else of 128.

    References:
        Dinh, Sohl-Dickstein & Bengio, *Density Estimation Using Real NVP*, 2017, arXiv 1605.08803,
        eqs. 4-8.
    """

    untrained: ClassVar = frozenset({"order"})

    hidden: Sequence[int] | None = None

    @property
    def scalar_maps(self) -> Elementwise:
        """What moves a coordinate."""
        raise NotImplementedError

    def shapes(self, dim: int) -> Shapes:
        """Return the shapes of ``order``, and of the kernels and biases."""
        widths = self._widths(dim)
        shapes: dict[str, tuple[int, ...]] = {"order": (dim,)}
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            if inputs:  # none at D = 1: nothing decides there but the context
                shapes[f"kernel_{i}"] = (outputs, inputs)
            shapes[f"bias_{i}"] = (outputs,)
        return shapes

    def _widths(self, dim: int) -> list[int]:
        return network_widths(self.hidden, self.scalar_maps.size, dim)

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw kernels that keep the size of what passes a layer; the last layer's are near 0."""
        last = len(self._widths(dim)) - 2
        values = {}
        for name, shape in self.shapes(dim).items():
            if name.startswith("kernel"):
                gain = NEAR_IDENTITY if name == f"kernel_{last}" else np.sqrt(2)  # of a ReLU
                values[name] = gain / np.sqrt(shape[1]) * rng.standard_normal((repeats, *shape))
            elif name.startswith("bias"):
                values[name] = np.zeros((repeats, *shape))
        return values

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        """Return the orders; see :func:`~nflow_cli.flows.orders.parting`."""
        return {"order": np.array([parting(place, dim) for place in places]).reshape(-1, dim)}

    def context_spread(self, name: str) -> float | None:
        """Let the context join the inputs of the network's first layer."""
        return 1.0 if name == "bias_0" else None

    def constrain(self, order: Any, *layers: Any) -> tuple[Any, ...]:
        """Return the order as matrices of 0 and 1, both ways, and the weights of the layers."""
        return (*as_matrices(order), *layers)

    def forward(self, memo: Memo, z: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the moved point and the log-determinant."""
        return self._run(memo, z, weights, self.scalar_maps.forward)

    def inverse(self, memo: Memo, x: Any, *weights: Any) -> tuple[Any, Any]:
        """Return the point that was moved to ``x`` and the log-determinant."""
        return self._run(memo, x, weights, self.scalar_maps.inverse)

    def margin(self, order: np.ndarray, **layers: np.ndarray) -> tuple[str, np.ndarray]:
        """Return how often each coordinate is in its order."""
        return counts(order)

    def _run(self, memo: Memo, points: Any, weights: Any, move: Any) -> tuple[Any, Any]:
        there, back, *layers = weights
        points = memo.dense(there, points)
        dim = points.shape[-2]
        moving, fixed = points[..., : dim - dim // 2, :], points[..., dim - dim // 2 :, :]
        parameters = _network(memo, layers, fixed, ops.zeros_like(moving[..., :1, :]))
        shape = (*parameters.shape[:-2], self.scalar_maps.size, *moving.shape[-2:])
        moved, log_slopes = move(ops.reshape(parameters, shape), moving)
        points = memo.dense(back, ops.concatenate([moved, fixed], axis=-2))
        return points, ops.sum(log_slopes, axis=-2)


@dataclass(frozen=True)
class AffineCoupling(Coupling):
    """A :class:`Coupling` that scales and shifts; see :class:`ScaleAndShift`."""

    @property
    def scalar_maps(self) -> Elementwise:
        """What moves a coordinate."""
        return ScaleAndShift()


@dataclass(frozen=True)
class SplineCoupling(Coupling):
    """A :class:`Coupling` by splines; see :class:`Spline`.

    Args:
        bins: Of each spline.
        bound: Where they end, and the identity begins.
    """

    bins: int = 8
    bound: float = 5.0

    @property
    def scalar_maps(self) -> Elementwise:
        """What moves a coordinate."""
        return Spline(self.bins, self.bound)


def _network(memo: Memo, layers: Sequence[Any], inputs: Any, zero: Any) -> Any:
    """Return the outputs of a network: kernels and biases in turn, the first kernel if any."""
    layers = list(layers)
    if len(layers) % 2:
        hidden = layers.pop(0) + zero
    else:
        hidden = memo.dense(layers.pop(0), inputs) + layers.pop(0)
    while layers:
        hidden = memo.dense(layers.pop(0), ops.relu(hidden)) + layers.pop(0)
    return hidden
