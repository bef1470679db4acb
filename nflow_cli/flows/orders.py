"""Orders of the coordinates of a point, as weights: of permutations, couplings and masked maps."""

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
    each bit of the coordinates' codes, then shuffles. The codes differ, so the first
    ``2 ⌈log₂ D⌉`` couplings part any two coordinates; orders that roll by a fixed number leave some
    together for ever.
    """
    pair, is_reverse = divmod(place, 2)
    bits = max(dim - 1, 1).bit_length()
    if pair < bits or dim == 2:
        order = np.argsort(_codes(dim, bits) >> pair % bits & 1, kind="stable")
    else:
        order = shuffle(pair, dim)
    return order[::-1] if is_reverse else order


def alternating(place: int, dim: int) -> np.ndarray:
    """Return the order ``(D,)`` of the coordinates for the masked map at a place of a stack.

    Places come in pairs, an order and its reverse: that of the coordinates, then shuffles. So each
    of two coordinates decides on the other in one map of a pair.
    """
    pair, is_reverse = divmod(place, 2)
    order = shuffle(pair, dim) if pair and dim > 2 else np.arange(dim)
    return order[::-1] if is_reverse else order


def counts(order: np.ndarray) -> tuple[str, np.ndarray]:
    """Return how often each coordinate is in orders ``(..., D, batch)``; 0 is no bijection."""
    places = np.arange(order.shape[-2])[:, None]
    return "count of a coordinate in its order", np.sum(order[..., None, :] == places, axis=-3)


def _codes(dim: int, bits: int) -> np.ndarray:
    """Return a number ``(D,)`` for each coordinate, of which every bit is 0 for ``⌈D/2⌉``.

    They come in pairs whose bits are each other's opposite; at an odd D, 0 is alone.
    """
    half, is_low = np.divmod(np.arange(dim) + dim % 2, 2)
    return np.where(is_low, half, 2**bits - 1 - half)


def as_matrices(order: Any) -> tuple[Any, Any]:
    """Return orders ``(..., D, batch)`` as matrices of 0 and 1 ``(..., D, D, batch)``, both ways.

    No gradient passes through them. A product with a matrix is differentiated by one; to gather is
    differentiated by scattering, which is slow. TensorFlow's compiled loop has no second derivative
    of a matrix that is transposed in it.
    """
    columns = ops.cast(np.arange(order.shape[-2])[:, None], order.dtype)
    there = ops.expand_dims(order, -2) == columns
    back = ops.expand_dims(order, -3) == ops.expand_dims(columns, -1)
    return tuple(ops.stop_gradient(ops.cast(matrix, order.dtype)) for matrix in (there, back))
