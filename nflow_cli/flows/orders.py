"""Orders of the coordinates, for permutations, couplings and masked maps."""

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor


def shuffle(number: int, dim: int) -> np.ndarray:
    """A random order ``(D,)`` of ``dim`` coordinates, fixed by ``number``; at D = 2 the swap."""
    if dim == 2:
        return np.array([1, 0])
    return np.random.default_rng([dim, number]).permutation(dim)


def parting(place: int, dim: int) -> np.ndarray:
    """Order ``(D,)`` of the coordinates for the coupling at a position of a stack: the first half
    moves.

    Positions come in pairs, an order and its reverse: by each bit of the coordinates' codes, then
    random. As codes differ, the first ``2 ⌈log₂ D⌉`` couplings separate any two coordinates; cyclic
    shifts by a fixed number never separate some.
    """
    pair, is_reverse = divmod(place, 2)
    bits = max(dim - 1, 1).bit_length()
    if pair < bits or dim == 2:
        order = np.argsort(_codes(dim, bits) >> pair % bits & 1, kind="stable")
    else:
        order = shuffle(pair, dim)
    return order[::-1] if is_reverse else order


def alternating(place: int, dim: int) -> np.ndarray:
    """Order ``(D,)`` of the coordinates for the masked map at a position of a stack.

    Positions come in pairs, an order and its reverse: the natural one, then random ones. So either
    of two coordinates is conditioned on the other in one of a pair.
    """
    pair, is_reverse = divmod(place, 2)
    order = shuffle(pair, dim) if pair and dim > 2 else np.arange(dim)
    return order[::-1] if is_reverse else order


def counts(order: np.ndarray) -> tuple[str, np.ndarray]:
    """Count of each coordinate in orders ``(..., D, batch)``; 0 is no bijection."""
    places = np.arange(order.shape[-2])[:, None]
    return "count of a coordinate in its order", np.sum(order[..., None, :] == places, axis=-3)


def _codes(dim: int, bits: int) -> np.ndarray:
    """Codes ``(D,)`` of the coordinates, each bit of which is 0 for ``⌈D/2⌉``.

    They come in pairs of complements; at an odd D, 0 is alone.
    """
    half, is_low = np.divmod(np.arange(dim) + dim % 2, 2)
    return np.where(is_low, half, 2**bits - 1 - half)


def as_matrices(order: Tensor) -> tuple[Tensor, Tensor]:
    """Orders ``(..., D, batch)`` as permutation matrices ``(..., D, D, batch)``, both ways, without
    gradient.

    The gradient of a product with a matrix is one; that of a gather is a slow scatter. TensorFlow's
    compiled loop has no second derivative of a matrix transposed inside it.
    """
    columns = ops.cast(np.arange(order.shape[-2])[:, None], order.dtype)
    there = ops.expand_dims(order, -2) == columns
    back = ops.expand_dims(order, -3) == ops.expand_dims(columns, -1)
    there = ops.stop_gradient(ops.cast(there, order.dtype))
    back = ops.stop_gradient(ops.cast(back, order.dtype))
    return there, back
