"""What a step of the fold keeps for its gradient: matrix products and roots."""

from collections.abc import Callable
from typing import Any

from keras import ops


class Memo:
    """Computes what a map asks for, and keeps nothing.

    So it is where the backend's own gradient keeps what it needs. Where a loop has a gradient of
    its own, what is computed here on the way there is kept and handed out on the way back: no
    matrix product and no root is computed twice.
    """

    def dense(self, weights: Any, points: Any) -> Any:
        """Return :func:`product`."""
        return product(weights, points)

    def root(self, solve: Callable[..., Any], *known: Any) -> Any:
        """Return ``solve(*known)``, through which no gradient passes."""
        return ops.stop_gradient(solve(*map(ops.stop_gradient, known)))


def product(weights: Any, points: Any) -> Any:
    """Return ``W z``: weights ``(*lead, M, D, batch or 1)``, points ``(*lead, D, batch)``.

    One matrix product where all points of a batch share the weights.
    """
    if weights.shape[-1] == 1:  # not ops.matmul: on torch it turns float64 into float32
        # A product that broadcasts has no second derivative in TensorFlow's compiled loop.
        return (weights[..., 0] + ops.zeros_like(points[..., :1, :1])) @ points
    return ops.sum(weights * ops.expand_dims(points, -3), axis=-2)
