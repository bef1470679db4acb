"""Residuals saved for the backward pass: matrix products and roots."""

from collections.abc import Callable
from typing import Any

from keras import ops


class Memo:
    """Computes products and roots without saving them, for the backend's own gradient.

    A loop with its own gradient saves them for the backward pass.
    """

    def dense(self, weights: Any, points: Any) -> Any:
        return product(weights, points)

    def root(self, solve: Callable[..., Any], *known: Any) -> Any:
        """``solve(*known)``, without a gradient."""
        return ops.stop_gradient(solve(*map(ops.stop_gradient, known)))


def product(weights: Any, points: Any) -> Any:
    """``W z``: weights ``(*lead, M, D, batch or 1)``, points ``(*lead, D, batch)``.

    One matrix product if all points of a batch share the weights.
    """
    if weights.shape[-1] == 1:  # not ops.matmul: on torch it turns float64 into float32
        # A product that broadcasts has no second derivative in TensorFlow's compiled loop.
        return (weights[..., 0] + ops.zeros_like(points[..., :1, :1])) @ points
    return ops.sum(weights * ops.expand_dims(points, -3), axis=-2)
