"""Density of a flow and its base, as a Keras layer: log-density and samples."""

from typing import Any

import keras
from keras import ops

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.arrays import Tensor
from nflow_cli.errors import ConfigError
from nflow_cli.flows.layer import Flow, Shape, build_for, in_own_type, of_a_built_layer
from nflow_cli.registry import BASES, DEFAULT_BASE, INFER_BASES, nearest, resolve


@keras.saving.register_keras_serializable("nflow_cli")
class FlowDensity(keras.layers.Layer):
    """Density ``q`` of ``x = f(z)``, ``z`` from a base ``q0``, ``f`` a flow.

    ``log q(x) = log q0(z) + log|det df^-1/dx|``, ``z = f^-1(x)``, in nats (arXiv 1505.05770, eq.
    5). Calling the layer is :meth:`log_prob`, so with the negative as its loss a model whose output
    this is has maximum likelihood. It computes in the type of the flow.

    Args:
        flow: ``f``, a :class:`Flow`.
        base: ``q0``: ``standard-normal``, ``student-t`` (5 degrees of freedom) or ``uniform-box``
            (``[-3, 3]^D``).
        seed: Fixes the samples; ``None`` draws one.

    Raises:
        ConfigError: ``flow`` is no flow, ``base`` no base, or ``seed`` no seed of Keras.
    """

    def __init__(
        self, flow: Flow, base: str = DEFAULT_BASE, seed: int | None = None, **kwargs: Any
    ):
        if not isinstance(flow, Flow):
            raise ConfigError(
                f"expected a flow, a layer of nflow_cli.flows. Received: {flow!r:.60}"
            )
        bases = BASES | INFER_BASES
        if base not in [*bases]:
            hint = nearest(base, [*bases])
            raise ConfigError(f"expected one of {', '.join(bases)}. Received: {base=!r:.60}{hint}")
        super().__init__(**{**kwargs, "dtype": flow.dtype_policy})
        self.flow = flow
        self.base = base
        self.q0 = resolve(bases[base])()
        self.seed = None if seed is None else whole_number("seed", seed, MAX_SEED)
        self.generator = keras.random.SeedGenerator(self.seed)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if context_shape is None:
            build_for(self.flow, x_shape)
        else:
            build_for(self.flow, x_shape, context_shape)

    def call(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.log_prob(x, context)

    @in_own_type
    @of_a_built_layer
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``log q(x)`` ``(...)`` in nats of points ``(..., D)``, given contexts ``(batch, H)`` if
        the flow takes one; points are then ``(..., batch, D)``.
        """
        z, log_det = self.flow.inverse_and_log_det(x, context)
        return self.q0.log_prob(z) + log_det

    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Draw ``n`` points ``(n, D)``, or ``n`` at each context ``(batch, H)``: ``(n, batch, D)``.

        Each call draws others, with a gradient to weights and context. Raises ``ConfigError`` if
        the flow is not built.
        """
        if not self.flow.built:
            raise ConfigError("expected a built flow: log_prob(x) or build((None, D)) sets its D")
        batch = () if context is None else ops.shape(ops.convert_to_tensor(context))[:1]
        shape = (whole_number("n", n), *batch, self.flow.dim)
        z = self.q0.draw(shape, self.variable_dtype, self.generator)
        return self.flow.forward_and_log_det(z, context)[0]

    def compute_output_shape(self, x_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return tuple(x_shape)[:-1]

    def get_config(self) -> dict[str, Any]:
        flow = keras.saving.serialize_keras_object(self.flow)
        return {**super().get_config(), "flow": flow, "base": self.base, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FlowDensity":
        return cls(**{**config, "flow": keras.saving.deserialize_keras_object(config["flow"])})
