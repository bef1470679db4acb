"""Permutation of the coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.map import Map, Memo, Shapes
from nflow_cli.flows.orders import as_matrices, counts, shuffle


@dataclass(frozen=True)
class Permutation(Map):
    """``f(z)_i = z_{order_i}``, with log-determinant 0.

    Weights: ``order (D,)``, not trained.
    """

    untrained: ClassVar = frozenset({"order"})

    def shapes(self, dim: int) -> Shapes:
        return {"order": (dim,)}

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        return {}

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        """Random, at D = 2 the swap."""
        return {"order": np.array([shuffle(place, dim) for place in places]).reshape(-1, dim)}

    def part(self, t: float, order: np.ndarray) -> dict[str, np.ndarray]:
        """The identity up to half of the way, then the permutation."""
        if t > 0.5:
            return {"order": order}
        places = np.arange(order.shape[-2], dtype=order.dtype)[:, None]
        return {"order": np.broadcast_to(places, order.shape)}

    def constrain(self, order: Tensor) -> tuple[Tensor, ...]:
        return as_matrices(order)

    def forward(self, memo: Memo, z: Tensor, there: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        return memo.dense(there, z), ops.zeros_like(z[..., 0, :])

    def inverse(self, memo: Memo, x: Tensor, there: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        return memo.dense(back, x), ops.zeros_like(x[..., 0, :])

    def margin(self, order: np.ndarray) -> tuple[str, np.ndarray]:
        return counts(order)
