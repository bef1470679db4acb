"""Maps with scalar maps whose parameters are outputs of a network."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.elementwise import Elementwise
from nflow_cli.flows.map import Map, Memo, Shapes
from nflow_cli.flows.orders import as_matrices, counts

NEAR_IDENTITY = 0.01  # standard deviation of the weights of the last layer, for inputs of size 1


@dataclass(frozen=True)
class Conditioned(Map):
    """Moves coordinates by scalar maps with parameters from a network of other coordinates.

    Weights: ``order (D,)``, not trained, and for each layer ``kernel_i (out, in)`` and
    ``bias_i (out,)``. A context joins the inputs of the first layer.

    Args:
        hidden: Widths of hidden layers; ``None``: 2 of 64 up to D = 8, else of 128.
    """

    untrained: ClassVar = frozenset({"order"})

    hidden: Sequence[int] | None = None

    @property
    def scalar_maps(self) -> Elementwise:
        raise NotImplementedError

    def widths(self, dim: int) -> list[int]:
        """Widths of the network, with inputs and outputs."""
        raise NotImplementedError

    def shapes(self, dim: int) -> Shapes:
        shapes: dict[str, tuple[int, ...]] = {"order": (dim,)}
        for i, (inputs, outputs) in enumerate(itertools.pairwise(self.widths(dim))):
            if inputs:  # none at D = 1: the context alone
                shapes[f"kernel_{i}"] = (outputs, inputs)
            shapes[f"bias_{i}"] = (outputs,)
        return shapes

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Kernels that preserve variance; the last near 0."""
        last = len(self.widths(dim)) - 2
        values = {}
        for name, shape in self.shapes(dim).items():
            if name.startswith("kernel"):
                gain = NEAR_IDENTITY if name == f"kernel_{last}" else np.sqrt(2)  # of a ReLU
                values[name] = gain / np.sqrt(shape[1]) * rng.standard_normal((repeats, *shape))
            elif name.startswith("bias"):
                values[name] = np.zeros((repeats, *shape))
        return values

    def context_spread(self, name: str) -> float | None:
        """The context enters the first layer only."""
        return 1.0 if name == "bias_0" else None

    def part(self, t: float, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Weights of a network with outputs ``t`` times as large."""
        last = len([name for name in raw if name.startswith("bias")]) - 1
        outputs = (f"kernel_{last}", f"bias_{last}")
        return raw | {name: t * raw[name] for name in outputs if name in raw}

    def constrain(self, order: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
        """The order as permutation matrices, both ways, and the layers."""
        return (*as_matrices(order), *layers)

    def margin(self, order: np.ndarray, **layers: np.ndarray) -> tuple[str, np.ndarray]:
        return counts(order)


def network(memo: Memo, layers: Sequence[Tensor], inputs: Tensor, zero: Tensor) -> Tensor:
    """Outputs of a ReLU network: kernels and biases in turn; the first kernel may be missing."""
    layers = list(layers)
    if len(layers) % 2:
        hidden = layers.pop(0) + zero
    else:
        hidden = memo.dense(layers.pop(0), inputs) + layers.pop(0)
    while layers:
        hidden = memo.dense(layers.pop(0), ops.relu(hidden)) + layers.pop(0)
    return hidden


def by_coordinate(parameters: Tensor, size: int) -> Tensor:
    """Reshape outputs ``(*lead, size * N, batch)`` to parameters ``(*lead, size, N, batch)``."""
    *lead, outputs, batch = parameters.shape
    return ops.reshape(parameters, (*lead, size, outputs // size, batch))
