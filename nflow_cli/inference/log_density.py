"""User-supplied log-densities: of tensors, or of arrays with their gradients."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.target import Target
from nflow_cli.errors import TargetError


class LogDensity(Target):
    """A user's log-density of ``x``, in the coordinates ``z`` of the flows.

    ``log p(z) = log p(x) + log|det dx/dz|`` in nats; the units map bounded coordinates to R.

    Args:
        function: Of points ``(n, D)``: a tensor of tensors, or a pair of arrays of arrays.
        dim: D.
        units: Map ``z`` to ``x`` by ``outside``.
        name: Of the function.
        names: Of the coordinates of ``x``, in messages.
    """

    takes_arrays = False

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        dim: int,
        units: ColumnUnits,
        name: str = "log_density",
        names: Sequence[str] = (),
    ):
        self.function = function
        self.dim = dim
        self.units = units
        self.name = name
        self.names = names

    @abstractmethod
    def values(self, x: Tensor) -> Tensor:
        """Values ``(...)`` of the function in nats at points ``x`` ``(..., D)``."""

    @property
    def is_bounded(self) -> bool:
        """Whether a coordinate has bounds."""
        return any(self.units.columns)

    def outside(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` ``(..., D)`` of tensors ``z``, and ``log|det dx/dz|`` ``(...)`` in nats."""
        log_det = ops.zeros_like(z[..., 0])
        if not self.is_bounded:
            return z, log_det
        columns = []
        for column, chain in enumerate(self.units.columns):
            values = z[..., column]
            for column_map in reversed(chain):
                values, log_slope = column_map.outside(values, ops)
                log_det = log_det + log_slope
            columns.append(values)
        return ops.stack(columns, axis=-1), log_det


class TensorDensity(LogDensity):
    """A log-density by Keras or TensorFlow operations, which is compiled."""

    def log_prob(self, z: Tensor) -> Tensor:
        x, log_det = self.outside(z)
        return ops.cast(self.values(x), log_det.dtype) + log_det

    def values(self, x: Tensor) -> Tensor:
        return ops.reshape(self.function(ops.reshape(x, (-1, self.dim))), x.shape[:-1])


class ArrayDensity(LogDensity):
    """A log-density with its gradient in NumPy, called between compiled programs.

    Its values stay float64: near 3e7 float32 has steps of 2 nats.
    """

    takes_arrays = True

    def log_prob(self, z: Tensor) -> Tensor:
        x, log_det = self.outside(z)
        return self.values(x) + ops.cast(log_det, "float64")

    def values(self, x: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.at(ops.convert_to_numpy(x))[0], "float64")

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``log p`` ``(...)`` at ``x`` ``(..., D)``, float64, and its gradient, float32."""
        points = x.reshape(-1, self.dim).astype(np.float64)
        values, gradients = checked_pair(self.name, self.function(points), points)
        with np.errstate(over="ignore"):
            gradients = gradients.astype(np.float32)
        return values.reshape(x.shape[:-1]), gradients.reshape(x.shape)


def checked_pair(name: str, result: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A function's ``log p`` ``(n,)`` and gradient ``(n, D)``, checked."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        received = len(result) if isinstance(result, tuple | list) else type(result).__name__
        raise TargetError(f"{name}: expected a pair (log_p, gradient). Received: {received} values")
    log_p, gradient = result
    return (
        _checked_array(f"{name}: expected log_p", log_p, x.shape[:1], x),
        _checked_array(f"{name}: expected gradient", gradient, x.shape, x),
    )


def _checked_array(expected: str, values: Any, shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """Values by a function at points ``x`` in float64, checked."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # lists of different lengths
        array = np.asarray(None)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise TargetError(
            f"{expected} of shape {shape} for {len(x)} points of {x.shape[1]} "
            f"coordinates. Received: shape {array.shape}, {array.dtype}"
        )
    return array.astype(np.float64)
