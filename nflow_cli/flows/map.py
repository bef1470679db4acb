"""A map: the mathematics of a flow, without its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nflow_cli.flows.memo import Memo

# Standard deviation of a raw weight over contexts of unit mean square, at the start.
INITIAL_SPREAD = 0.1
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Map:
    """An invertible, differentiable map of R^D, for any values of its raw weights.

    Its fields are its options. A map has no weights of its own: they come from a table, or are
    functions of a context. Inside, points are ``(*lead, D, batch)``: features are second to last,
    and XLA works along the batch. A weight declared ``(M, D)`` arrives as ``(*lead, M, D, batch)``,
    where any leading axis and the batch may be of size 1, or a leading axis absent: weights
    broadcast against the points. Log-determinants are ``(*lead, batch)``, in nats.

    Attributes:
        untrained: Names of the weights that :meth:`orders` sets and no training changes.
    """

    untrained: ClassVar[frozenset[str]] = frozenset()

    def shapes(self, dim: int) -> Shapes:
        """Return the shapes of the raw weights by name, for points of ``dim`` dimensions."""
        raise NotImplementedError

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw raw weights ``(repeats, *shape)`` of maps near the identity, each different."""
        raise NotImplementedError

    def orders(self, places: Sequence[int], dim: int) -> dict[str, np.ndarray]:
        """Return orders of the coordinates ``(repeats, D)``, by the name of their weight.

        Args:
            places: Of each repeat, its place among the maps of its stack that share this rule.
            dim: D.
        """
        return {}

    def context_spread(self, name: str) -> float | None:
        """Return how much a raw weight depends on a context at the start; ``None``: never.

        It is the standard deviation over contexts of unit mean square.
        """
        return None if name in self.untrained else INITIAL_SPREAD

    def constrain(self, *raw: Any) -> tuple[Any, ...]:
        """Turn raw weights, in the order of :meth:`shapes`, into what the map uses.

        It sees those of all repeats at once, with one more axis in front of everything.
        """
        return raw

    def forward(self, memo: Memo, z: Any, *weights: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` and ``log|det df/dz|``."""
        raise NotImplementedError

    def inverse(self, memo: Memo, x: Any, *weights: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` and ``log|det df^-1/dx|``.

        A root that has no closed form is found by ``memo.root``: no gradient passes through it.
        """
        raise NotImplementedError

    def part(self, t: float, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Return raw weights of the map ``f_t`` that goes a part ``t`` of the way.

        ``f_0`` is the identity and ``f_1`` the map; between them, each is a bijection of its kind,
        and its images move without a jump (of a permutation, at once).
        """
        raise NotImplementedError

    def geometry(self, **raw: np.ndarray) -> dict[str, np.ndarray]:
        """Return by name what a picture of the map in the plane shows: points and directions.

        Empty where its grid alone tells what it does.
        """
        return {}

    def margin(self, **raw: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Return what must be positive for a bijection: its formula, and its values.

        ``None`` where nothing is near to failing.
        """
        return None
