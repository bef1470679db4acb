"""The contract that every flow keeps, and the one elementary flow builds on."""

import random
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.errors import ConfigError
from nflow_cli.flows.compose import run_flows


class Flow(keras.layers.Layer):
    r"""An invertible, differentiable map ``f`` of R^D whose log-determinant is cheap.

    If ``z ~ q0`` then ``x = f(z)`` has ``log q(x) = log q0(z) - log|det df/dz|``
    (Rezende & Mohamed 2015, arXiv 1505.05770, eq. 5). All logarithms are in nats.

    ========================  ======================  =============================
    method                    takes                   returns
    ========================  ======================  =============================
    ``forward_and_log_det``   ``z`` ``(..., D)``      ``f(z)``, ``log|det df/dz|``
    ``inverse_and_log_det``   ``x`` ``(..., D)``      ``f^-1(x)``, ``log|det df^-1/dx|``
    calling the layer         ``z`` ``(..., D)``      as ``forward_and_log_det``
    ========================  ======================  =============================

    A log-determinant has the shape ``(...)``. The parameters of a flow are kept raw (free in R)
    and constrained where they are used, so that every value of them is a bijection.

    Attributes:
        dim: D, known once the layer is built.

    Raises:
        ConfigError: As :func:`keep_precision` does.
    """

    dim: int

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)

    def forward_and_log_det(self, z: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward_and_log_det")

    def inverse_and_log_det(self, x: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse_and_log_det")

    def call(self, z: Any) -> tuple[Any, Any]:
        """Return :meth:`forward_and_log_det` of ``z``."""
        return self.forward_and_log_det(z)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        """Return the shapes of the transformed points and of the log-determinant."""
        return tuple(input_shape), tuple(input_shape)[:-1]


class ElementaryFlow(Flow):
    """One flow with one set of weights: a subclass is only its mathematics.

    It names its raw parameters (``vectors`` of shape ``(D,)``, ``scalars`` of shape ``()``) and
    gives pure functions, written features first: points are ``(D, *batch)``, vectors
    ``(D, *batch)`` and scalars ``(*batch)``, all broadcasting against each other (XLA then works
    along the batch). ``constrain`` sees all the repeats in a stack at once, with one more axis in
    front of everything.

    Args:
        seed: Fixes the initial values; ``None`` draws one.
    """

    vectors: ClassVar[tuple[str, ...]]
    scalars: ClassVar[tuple[str, ...]]

    @staticmethod
    def initial_values(rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Draw raw parameters for ``repeats`` flows near the identity, each different."""
        raise NotImplementedError

    @staticmethod
    def constrain(*raw: Any) -> tuple[Any, ...]:
        """Turn raw parameters, in the order vectors then scalars, into what the maps use."""
        raise NotImplementedError

    @staticmethod
    def transform(z: Any, *constrained: Any) -> tuple[Any, Any]:
        """Map ``z`` ``(D, *batch)`` forward; return it with the log-determinant ``(*batch)``."""
        raise NotImplementedError

    @staticmethod
    def solve(x: Any, *constrained: Any) -> Any:
        """Return the root ``(*batch)`` that :meth:`invert` needs where it is no closed form.

        No gradient passes through it, and one root serves the inverse and its gradient.
        """
        return ops.zeros_like(x[0])

    @staticmethod
    def invert(x: Any, root: Any, *constrained: Any) -> tuple[Any, Any]:
        """Map ``x`` ``(D, *batch)`` backward; return it with the log-determinant ``(*batch)``."""
        raise NotImplementedError

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = draw_seed(seed)

    def build(self, input_shape: Any) -> None:
        """Create the raw weights for points of ``input_shape[-1]`` dimensions."""
        self.dim = input_shape[-1]
        values = self.initial_values(np.random.default_rng(self.seed), 1, self.dim)
        self.parameters = {
            name: add_initialised_weight(self, name, values[name][0])
            for name in self.vectors + self.scalars
        }

    def forward_and_log_det(self, z: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        return run_flows([type(self)], [self._one_repeat()], 1, self._checked(z))

    def inverse_and_log_det(self, x: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        return run_flows([type(self)], [self._one_repeat()], 1, self._checked(x), inverse=True)

    def _one_repeat(self) -> dict[str, Any]:
        return {name: ops.expand_dims(value, 0) for name, value in self.parameters.items()}

    def _checked(self, points: Any) -> Any:
        return built_for(self, points)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def keep_precision(layer: keras.layers.Layer) -> None:
    """Let a layer compute in its variables' type, also under a policy of mixed precision.

    Raises:
        ConfigError: If that is half precision, too coarse for an inverse and a log-determinant.
    """
    if layer.variable_dtype not in ("float32", "float64"):
        raise ConfigError(f"expected float32 or float64. Received: dtype={layer.variable_dtype!r}")
    if layer.compute_dtype != layer.variable_dtype:
        layer.dtype_policy = layer.variable_dtype


def draw_seed(seed: int | None) -> int:
    """Return ``seed``, or one drawn from Python's generator (which Keras seeds) for ``None``."""
    return random.randrange(2**32) if seed is None else whole_number("seed", seed, MAX_SEED)


def add_initialised_weight(layer: keras.layers.Layer, name: str, value: np.ndarray) -> Any:
    """Add a weight to ``layer`` that starts at ``value``."""
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype=dtype),
        name=name,
    )


def assign_all(weights: list[dict[str, Any]], values: list[dict[str, np.ndarray]]) -> None:
    """Assign to the weights at each position of a pattern, by name."""
    for own, values_here in zip(weights, values):
        for name, weight in own.items():
            weight.assign(values_here[name])


def built_for(layer: keras.layers.Layer, points: Any) -> Any:
    """Build ``layer`` for ``points`` if it is not, and return them in its variables' type."""
    points = ops.convert_to_tensor(points)
    if not layer.built:
        layer.build(tuple(points.shape))  # sets `built`
    return ops.cast(points, layer.variable_dtype)
