"""The base class of flow layers: the type in which they compute, and when they are built."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.errors import ConfigError

Shape: TypeAlias = tuple[int | None, ...]  # of tensors; ``None``: any number of points


def in_own_type(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Method of a layer that converts its arguments to the type of the layer's variables."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def converted(*args: Tensor, **kwargs: Tensor) -> Tensor:
        layer, *values = signature.bind(*args, **kwargs).arguments.values()
        given = (value for value in values if value is not None)
        return method(layer, *(ops.cast(value, layer.variable_dtype) for value in given))

    return converted


def of_a_built_layer(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Method of a layer, which is built if needed for the tensors that it is called on."""

    @functools.wraps(method)
    def built(layer: keras.layers.Layer, *tensors: Tensor) -> Tensor:
        build_for(layer, *(tuple(tensor.shape) for tensor in tensors))
        return method(layer, *tensors)

    return built


def build_for(layer: keras.layers.Layer, *shapes: Shape | None) -> None:
    """Build a layer if needed for the shapes of points and context, of which ``build`` may take
    but the first.
    """
    if not layer.built:
        layer.build(*shapes[: len(inspect.signature(layer.build).parameters)])


class Flow(keras.layers.Layer):
    """An invertible, differentiable map ``f`` of R^D with a cheap log-determinant.

    If ``z ~ q0`` then ``x = f(z)`` has ``log q(x) = log q0(z) - log|det df/dz|`` (Rezende & Mohamed
    2015, arXiv 1505.05770, eq. 5), in nats.

    Points are ``(..., D)``, log-determinants ``(...)``. Calling the layer is
    :meth:`forward_and_log_det`; each method also takes a ``context``, on which the map may depend.
    Weights are raw (free in R) and constrained where used, so all values give a bijection. Each
    method builds the layer if needed, and computes in its type within any other layer.

    Attributes:
        dim: D, known once the layer is built.

    Raises:
        ConfigError: For half precision, and for float64 where the backend has none.
    """

    dim: int

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in ("forward_and_log_det", "inverse_and_log_det"):
            if name in vars(cls):
                setattr(cls, name, in_own_type(of_a_built_layer(vars(cls)[name])))

    def add_weight(self, *args: Any, autocast: bool = False, **kwargs: Any) -> Tensor:
        """Add a weight that is read in its own type within a layer of mixed precision, too."""
        return super().add_weight(*args, autocast=autocast, **kwargs)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward_and_log_det")

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse_and_log_det")

    def call(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward_and_log_det(z, context)

    def compute_output_shape(
        self, z_shape: Shape, context_shape: Shape | None = None
    ) -> tuple[Shape, Shape]:
        return tuple(z_shape), tuple(z_shape)[:-1]


def keep_precision(layer: keras.layers.Layer) -> None:
    """Compute in the type of the variables, also under mixed precision; refuse half precision, too
    coarse for an inverse, and float64 on a backend that would take float32 in its place.
    """
    if layer.variable_dtype not in ("float32", "float64"):
        raise ConfigError(f"expected float32 or float64. Received: dtype={layer.variable_dtype!r}")
    held = ops.convert_to_tensor(np.zeros((), layer.variable_dtype))
    if keras.backend.standardize_dtype(held.dtype) != layer.variable_dtype:
        raise ConfigError(
            "expected float32: JAX takes float64 only with JAX_ENABLE_X64=1. Received: float64"
        )
    if layer.compute_dtype != layer.variable_dtype:
        layer.dtype_policy = layer.variable_dtype
