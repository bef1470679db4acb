"""Mode search: ascent of a log-density."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.training.trainer import with_gradient

ASCENT_STEPS = 400
# The first step in each coordinate, and the factors by which a step grows or shrinks.
FIRST_STEP, GROWTH, SHRINKAGE = 0.1, 1.2, 0.5

ValueAndGradient = Callable[[Any], tuple[Any, Any]]


def value_and_gradient(target: Any, xla: bool | None = None) -> ValueAndGradient:
    """Function of points ``(n, D)``: values ``(n,)`` of ``log p``, gradients ``(n, D)``.

    Args:
        target: ``p``, of tensors, or of arrays and not compiled.
        xla: As of :func:`~nflow_cli.training.trainer.with_gradient`.
    """
    if not getattr(target, "takes_arrays", False):
        return with_gradient(target.log_prob, xla)

    def held(z: Any, gradients: Any) -> Any:
        x, log_det = target.outside(z)
        return ops.sum(x * gradients, axis=-1) + log_det

    pulled = with_gradient(held, xla)

    def at(z: Any) -> tuple[Any, Any]:
        x, log_det = target.outside(z)
        values, gradients = target.at(ops.convert_to_numpy(x))
        if target.is_bounded:
            gradients = pulled(z, ops.convert_to_tensor(gradients))[1]
        return values + ops.convert_to_numpy(log_det), gradients

    return at


def climb(slopes: ValueAndGradient, starts: np.ndarray, steps: int = ASCENT_STEPS) -> np.ndarray:
    """Climb a log-density from each of ``starts`` ``(n, D)``; return the highest points reached.

    Only signs of the gradient count (Riedmiller & Braun, *RPROP*, 1993): the step of a coordinate
    grows while its sign stays, and is halved where it changes. So a mode 1,000 away is reached
    within a hundred steps, whatever its width.
    """
    x, best = starts.astype(np.float32), starts.astype(np.float32)
    highest = np.full(len(starts), -np.inf)
    size, sign = np.full_like(x, FIRST_STEP), np.zeros_like(x)
    for _ in range(steps):
        height, slope = (ops.convert_to_numpy(part) for part in slopes(ops.convert_to_tensor(x)))
        higher = height > highest  # not where it is NaN
        best, highest = np.where(higher[:, None], x, best), np.where(higher, height, highest)
        turned = sign * (sign := np.sign(np.nan_to_num(slope)))
        size *= np.where(turned > 0, GROWTH, np.where(turned < 0, SHRINKAGE, 1))
        x = x + sign * size
    return best
