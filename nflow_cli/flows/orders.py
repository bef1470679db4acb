"""Orders of the coordinates of a point, as weights: for permutations and couplings."""

from typing import Any

import numpy as np
from keras import ops


def shuffle(number: int, dim: int) -> np.ndarray:
    """Return a shuffled order ``(D,)`` of ``dim`` coordinates, the same for a number every time."""
    if dim == 2:
        return np.array([1, 0])
    return np.random.default_rng([dim, number]).permutation(dim)


def parting(place: int, dim: int) -> np.ndarray:
    """Return the order ``(D,)`` of the coordinates for the coupling at a place of a stack.

    Half of them move, the first in this order. Places come in pairs, an order and its reverse: by
    each bit of the coordinates' indices, then shuffles. So the first ``2 ⌈log₂ D⌉ + 4`` couplings
    part any two coordinates; orders that roll by a fixed number leave some together for ever.
    """
    pair, is_reverse = divmod(place, 2)
    bits = max(dim - 1, 1).bit_length()
    if pair < bits or dim == 2:
        order = np.argsort(np.arange(dim) >> pair % bits & 1, kind="stable")
    else:
        order = shuffle(pair, dim)
    return order[::-1] if is_reverse else order


def counts(order: np.ndarray) -> tuple[str, np.ndarray]:
    """Return how often each coordinate is in orders ``(..., D, batch)``; 0 is no bijection."""
    places = np.arange(order.shape[-2])[:, None]
    return "count of a coordinate in its order", np.sum(order[..., None, :] == places, axis=-3)


def as_matrix(order: Any) -> Any:
    """Return orders ``(..., D, batch)`` as matrices of 0 and 1 ``(..., D, D, batch)``.

    No gradient passes through them. A product with a matrix is differentiated by one; to gather is
    differentiated by scattering, which is slow.
    """
    columns = ops.cast(np.arange(order.shape[-2])[:, None], order.dtype)
    return ops.stop_gradient(ops.cast(ops.expand_dims(order, -2) == columns, order.dtype))
