"""Base class of flow layers, and layers of a single map."""

import random
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.errors import ConfigError
from nflow_cli.flows.composition import run_maps
from nflow_cli.flows.map import Map


class Flow(keras.layers.Layer):
    """An invertible, differentiable map ``f`` of R^D with a cheap log-determinant.

    If ``z ~ q0`` then ``x = f(z)`` has ``log q(x) = log q0(z) - log|det df/dz|`` (Rezende & Mohamed
    2015, arXiv 1505.05770, eq. 5), in nats.

    Points are ``(..., D)``, log-determinants ``(...)``. Calling the layer is
    :meth:`forward_and_log_det`; each method also takes a ``context``, on which the map may depend.
    Weights are raw (free in R) and constrained where used, so all values give a bijection.

    Attributes:
        dim: D, known once the layer is built.

    Raises:
        ConfigError: For half precision.
    """

    dim: int

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)

    def forward_and_log_det(self, z: Any, context: Any = None) -> tuple[Any, Any]:
        """``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward_and_log_det")

    def inverse_and_log_det(self, x: Any, context: Any = None) -> tuple[Any, Any]:
        """``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse_and_log_det")

    def call(self, z: Any, context: Any = None) -> tuple[Any, Any]:
        return self.forward_and_log_det(z, context)

    def compute_output_shape(self, z_shape: Any, context_shape: Any = None) -> tuple[Any, Any]:
        return tuple(z_shape), tuple(z_shape)[:-1]


class MapLayer(Flow):
    """One map with its own weights; a subclass names the map.

    Args:
        seed: Fixes the initial values; ``None`` draws one.
    """

    map: ClassVar[Map]

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = draw_seed(seed)

    def build(self, input_shape: Any) -> None:
        self.dim = input_shape[-1]
        values = self.map.initial(np.random.default_rng(self.seed), 1, self.dim)
        self.parameters = {
            name: add_initialised_weight(self, name, values[name][0])
            for name in self.map.shapes(self.dim)
        }

    def forward_and_log_det(self, z: Any, context: None = None) -> tuple[Any, Any]:
        return self._run(z, context, inverse=False)

    def inverse_and_log_det(self, x: Any, context: None = None) -> tuple[Any, Any]:
        return self._run(x, context, inverse=True)

    def _run(self, points: Any, context: None, inverse: bool) -> tuple[Any, Any]:
        if context is not None:
            raise ConfigError(f"{type(self).__name__} takes no context; a FlowStack does")
        points = built_for(self, points)
        weights = {name: value[None, ..., None] for name, value in self.parameters.items()}
        return run_maps([self.map], [weights], 1, points, inverse)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def keep_precision(layer: keras.layers.Layer) -> None:
    """Compute in the type of the variables, also under mixed precision; refuse half precision, too
    coarse for an inverse.
    """
    if layer.variable_dtype not in ("float32", "float64"):
        raise ConfigError(f"expected float32 or float64. Received: dtype={layer.variable_dtype!r}")
    if layer.compute_dtype != layer.variable_dtype:
        layer.dtype_policy = layer.variable_dtype


def draw_seed(seed: int | None) -> int:
    """``seed``, or for ``None`` one drawn from Python's generator (which Keras seeds)."""
    return random.randrange(2**32) if seed is None else whole_number("seed", seed, MAX_SEED)


def add_initialised_weight(
    layer: keras.layers.Layer, name: str, value: np.ndarray, trainable: bool = True
) -> Any:
    """Add a weight with its initial value."""
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype=dtype),
        name=name,
        trainable=trainable,
    )


def assign_all(weights: list[dict[str, Any]], values: list[dict[str, np.ndarray]]) -> None:
    """Assign the weights at each position of a pattern, by name."""
    for here, values_here in zip(weights, values):
        for name, weight in here.items():
            weight.assign(values_here[name])


def built_for(layer: keras.layers.Layer, points: Any) -> Any:
    """Build ``layer`` for ``points`` if needed; return them in its variables' type."""
    points = ops.convert_to_tensor(points)
    if not layer.built:
        layer.build(tuple(points.shape))  # sets `built`
    return ops.cast(points, layer.variable_dtype)
