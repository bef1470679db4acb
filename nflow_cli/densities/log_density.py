"""Log-densities that users write: of tensors, or of arrays with their gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.data.column_maps import Log, Logit
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.targets import Target

Pair = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class LogDensity(Target):
    """A log-density of points ``x`` in the user's units, as one of the coordinates ``z`` of flows.

    ``log p(z) = log p(x) + log|det dx/dz|`` in nats, where the units take what lies between bounds
    to all of R.

    Args:
        function: Takes points ``(n, D)``; the subclass says what it takes them as.
        dim: D.
        units: Whose ``outside`` takes ``z`` to ``x``.
    """

    takes_arrays = False

    def __init__(self, function: Callable[[Any], Any], dim: int, units: ColumnUnits):
        self.function, self.dim, self.units = function, dim, units

    def outside(self, z: Any) -> tuple[Any, Any]:
        """Return ``x`` ``(..., D)`` of tensors ``z`` and ``log|det dx/dz|`` ``(...)`` in nats."""
        if not any(self.units.columns):
            return z, ops.zeros_like(z[..., 0])
        columns, log_det = [], ops.zeros_like(z[..., 0])
        for column, chain in enumerate(self.units.columns):
            values = z[..., column]
            for column_map in reversed(chain):
                values, log_slope = column_map.outside(values, ops)
                log_det = log_det + log_slope
            columns.append(values)
        return ops.stack(columns, axis=-1), log_det


class TensorDensity(LogDensity):
    """A log-density by operations of Keras or TensorFlow, which a program is compiled of."""

    def log_prob(self, z: Any) -> Any:
        """Return the log-density ``(...)`` in nats of points ``(..., D)``."""
        x, log_det = self.outside(z)
        values = self.function(ops.reshape(x, (-1, self.dim)))
        return ops.reshape(ops.cast(values, log_det.dtype), log_det.shape) + log_det


class ArrayDensity(LogDensity):
    """A log-density and its gradient, as arrays of NumPy: called between compiled programs."""

    takes_arrays = True

    def log_prob(self, z: Any) -> Any:
        """Return the log-density ``(...)`` in nats of points ``(..., D)``, outside of programs."""
        x, log_det = self.outside(z)
        values, _ = self.at(ops.convert_to_numpy(x))
        return ops.convert_to_tensor(values, log_det.dtype) + log_det

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``log p`` ``(...)`` at points ``x`` ``(..., D)`` and its gradient, float32."""
        values, gradients = self.function(x.reshape(-1, self.dim).astype(np.float64))
        return (
            np.asarray(values, np.float32).reshape(x.shape[:-1]),
            np.asarray(gradients, np.float32).reshape(x.shape),
        )


def units_of(names: Sequence[str], bounds: Any) -> ColumnUnits:
    """Return the units of coordinates, by the ``bounds`` ``[low, high]`` of some of their names.

    A logarithm of the distance from one bound, a logit between two.
    """
    chains: list[list[Any]] = []
    for name in names:
        low, high = bounds.get(name, (None, None))
        if low is not None and high is not None:
            chains.append([Logit(low, high)])
        elif low is not None:
            chains.append([Log(low, "above")])
        else:
            chains.append([] if high is None else [Log(high, "below")])
    return ColumnUnits(chains)
