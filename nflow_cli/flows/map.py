"""Maps: the mathematics of flows, without weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor

# Initial standard deviation of a raw weight over contexts of unit mean square.
INITIAL_SPREAD = 0.1
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
WeightSets: TypeAlias = Sequence[Sequence[Tensor]]  # the constrained weights of each map


class Memo:
    """Computes products and roots without saving them, for the backend's own gradient.

    A loop with its own gradient saves them for the backward pass.
    """

    def dense(self, weights: Tensor, points: Tensor) -> Tensor:
        return product(weights, points)

    def root(self, solve: Callable[..., Tensor], *known: Tensor) -> Tensor:
        """``solve(*known)``, without a gradient."""
        return ops.stop_gradient(solve(*map(ops.stop_gradient, known)))


@dataclass(frozen=True)
class Map:
    """An invertible, differentiable map of R^D, for any raw weights.

    Its fields are its options. Weights come from a table, or are functions of a context. Points are
    ``(*lead, D, batch)``, features second to last: XLA vectorises along the batch. A weight
    declared ``(M, D)`` arrives as ``(*lead, M, D, batch)``, where leading axes and batch may be of
    size 1, or a leading axis absent: weights broadcast against points. Log-determinants are
    ``(*lead, batch)``, in nats.

    Attributes:
        untrained: Names of weights set by :meth:`orders`, not trained.
    """

    untrained: ClassVar[frozenset[str]] = frozenset()

    def shapes(self, dim: int) -> Shapes:
        """Shapes of the raw weights by name, for points of ``dim`` dimensions."""
        raise NotImplementedError

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Random raw weights ``(repeats, *shape)`` near the identity."""
        raise NotImplementedError

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        """Orders of the coordinates ``(repeats, D)``, by the name of their weight.

        ``places``: for each repeat, its position among the stack's maps with the same rule.
        """
        return {}

    def context_spread(self, name: str) -> float | None:
        """Initial standard deviation of a raw weight over contexts of unit mean square; ``None``:
        the weight does not depend on the context.
        """
        return None if name in self.untrained else INITIAL_SPREAD

    def constrain(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Map raw weights, in the order of :meth:`shapes`, to constrained ones.

        All repeats at once, with one more leading axis.
        """
        return raw

    def forward(self, memo: Memo, z: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """``f(z)`` and ``log|det df/dz|``."""
        raise NotImplementedError

    def inverse(self, memo: Memo, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """``f^-1(x)`` and ``log|det df^-1/dx|``.

        A root without a closed form is found by ``memo.root``, without gradient.
        """
        raise NotImplementedError

    def part(self, t: float, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Raw weights of the map ``f_t`` that goes a part ``t`` of the way.

        ``f_0`` is the identity, ``f_1`` the map, each between a bijection of its kind, continuous
        in ``t`` (except for a permutation).
        """
        raise NotImplementedError

    def geometry(self, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Numbers of the map's formula by their symbols, for its plot in the plane, if any."""
        return {}

    def margin(self, **raw: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Formula and values that must be positive for a bijection, if any."""
        return None


def product(weights: Tensor, points: Tensor) -> Tensor:
    """``W z``: weights ``(*lead, M, D, batch or 1)``, points ``(*lead, D, batch)``.

    One matrix product if all points of a batch share the weights.
    """
    if weights.shape[-1] == 1:  # not ops.matmul: on torch it turns float64 into float32
        # A product that broadcasts has no second derivative in TensorFlow's compiled loop.
        return (weights[..., 0] + ops.zeros_like(points[..., :1, :1])) @ points
    return ops.sum(weights * ops.expand_dims(points, -3), axis=-2)
