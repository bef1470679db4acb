"""A flow stack whose weights depend on a context: what an encoder gives to a VAE's posterior."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.flows.base import add_initialised_weight, assign_all, built_for
from nflow_cli.flows.compose import run_flows
from nflow_cli.flows.stack import FlowStack

# Standard deviation of a raw weight over contexts of unit mean square, at the start.
INITIAL_SPREAD = 0.1


@keras.saving.register_keras_serializable("nflow_cli")
class AmortizedFlowStack(FlowStack):
    r"""A :class:`FlowStack` with one set of raw weights per example, ``θ(h) = θ_0 + A h``.

    ``h`` is the context, such as the last hidden layer of an encoder (arXiv 1505.05770, section
    4.2). ``θ_0`` starts as the weights of a flow stack of the same seed do, and ``A`` small.

    Points are ``(..., batch, D)`` and contexts ``(batch, H)``: leading axes of the points, such
    as draws, share the weights of their example.

    Args:
        pattern: Names of flows, such as ``["planar", "radial"]``.
        k: How many flows in all.
        seed: Fixes the initial values; ``None`` draws one.
    """

    def __init__(self, pattern: Sequence[str], k: int, seed: int | None = None, **kwargs: Any):
        super().__init__(pattern, k, seed, **kwargs)

    def build(self, z_shape: Any, context_shape: Any) -> None:
        """Create ``θ_0`` and ``A`` for points of ``z_shape[-1]`` dimensions."""
        super().build(z_shape)
        self._width = context_shape[-1]
        self.slopes = [
            {
                name: add_initialised_weight(self, f"{position}_{name}_slope", slope)
                for name, slope in values.items()
            }
            for position, values in enumerate(self._initial_slopes())
        ]

    def _initial_slopes(self) -> list[dict[str, np.ndarray]]:
        slopes = []
        for position, own in enumerate(self.parameters):
            rng = np.random.default_rng([self.seed, len(self.kinds) + position])
            slopes.append({})
            for name, weight in own.items():
                draw = rng.standard_normal((*weight.shape, self._width)) / np.sqrt(self._width)
                slopes[-1][name] = INITIAL_SPREAD * draw
        return slopes

    def _assign_initial_values(self) -> None:
        super()._assign_initial_values()
        assign_all(self.slopes, self._initial_slopes())

    def forward_and_log_det(self, z: Any, context: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` ``(..., batch, D)`` and ``log|det df/dz|`` ``(..., batch)`` in nats."""
        return self._run(z, context, inverse=False)

    def inverse_and_log_det(self, x: Any, context: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` and ``log|det df^-1/dx|`` ``(..., batch)`` in nats."""
        return self._run(x, context, inverse=True)

    def call(self, z: Any, context: Any) -> tuple[Any, Any]:
        """Return :meth:`forward_and_log_det` of ``z``."""
        return self.forward_and_log_det(z, context)

    def compute_output_shape(self, z_shape: Any, context_shape: Any) -> tuple[Any, Any]:
        """Return the shapes of the transformed points and of the log-determinant."""
        return tuple(z_shape), tuple(z_shape)[:-1]

    def parameters_at(self, context: Any) -> list[dict[str, Any]]:
        """Return the raw weights for contexts ``(batch, H)``, as :func:`run_flows` takes them."""
        turned = ops.transpose(context)
        sets = []
        for own, slopes in zip(self.parameters, self.slopes):
            sets.append({})
            for name, weight in own.items():
                # (repeats, [D,] batch), the layout in which flows compute: the axes moved here
                # are moved back there, and the compiler drops both. (Not ops.matmul: on torch it
                # turns float64 into float32.)
                flat = ops.reshape(slopes[name], (-1, turned.shape[0])) @ turned
                value = ops.reshape(flat, (*weight.shape, -1)) + ops.expand_dims(weight, -1)
                sets[-1][name] = ops.moveaxis(value, -1, 1)
        return sets

    def _run(self, points: Any, context: Any, inverse: bool) -> tuple[Any, Any]:
        context = ops.convert_to_tensor(context)
        if not self.built:
            self.build(tuple(points.shape), tuple(context.shape))
        points = built_for(self, points)
        context = ops.cast(context, self.variable_dtype)
        return run_flows(self.kinds, self.parameters_at(context), self.k, points, inverse)
