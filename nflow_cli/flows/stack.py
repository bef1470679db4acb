"""K flows in a row: a pattern of maps, repeated, and an affine map after them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import whole_number
from nflow_cli.errors import ConfigError
from nflow_cli.flow_options import checked_pattern, pattern_name
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.base import Flow, add_initialised_weight, built_for, draw_seed
from nflow_cli.flows.composition import Composition
from nflow_cli.flows.map import Map
from nflow_cli.registry import FLOWS, resolve

# Standard deviation of a raw weight over contexts of unit mean square, at the start.
INITIAL_SPREAD = 0.1
AFFINE = {"diagonal": Affine(), "full": Affine(full=True)}


@keras.saving.register_keras_serializable("nflow_cli")
class FlowStack(Flow):
    r"""``f_K ∘ … ∘ f_1``: ``k`` flows that cycle through ``pattern``, applied in that order.

    ``log|det df/dz| = Σ_k log|det df_k/dz_{k-1}|`` in nats (arXiv 1505.05770, eqs. 6-7). The
    inverse runs them backwards. ``k = 0`` is the identity with log-determinant 0.

    The weights of the flows at one position of the pattern are stored together, with a leading
    axis of repeats: for ``["planar"]`` they are ``u (k, D)``, ``w (k, D)``, ``b (k,)``.

    Built with a context, such as the last hidden layer of an encoder (arXiv 1505.05770, section
    4.2), the stack has one set of raw weights per example, ``θ(h) = θ_0 + A h``. ``θ_0`` starts as
    the weights without a context do, and ``A`` small. Points are then ``(..., batch, D)`` and
    contexts ``(batch, H)``: leading axes of the points, such as draws, share the weights of their
    example.

    Args:
        pattern: Names of flows, such as ``["planar", "radial"]``, or with options
            ``{"affine": {"full": True}}``.
        k: How many flows in all.
        seed: Fixes the initial values; ``None`` draws one.
        affine: ``diagonal`` or ``full``: an affine map at the data's end, outside ``k``, that
            starts as the identity; see :meth:`adapt`.

    Raises:
        ConfigError: For a pattern that is no list of one or more known flows, for a ``k`` or a
            ``seed`` that is no whole number of 0 or more, and for half precision.
    """

    def __init__(
        self,
        pattern: Sequence[Any],
        k: int,
        seed: int | None = None,
        affine: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.pattern = checked_pattern(pattern)
        self.k = whole_number("k", k)
        self.seed = draw_seed(seed)
        if affine not in (None, *AFFINE):
            raise ConfigError(
                f"expected affine=None, 'diagonal' or 'full'. Received: {affine=!r:.60}"
            )
        self.affine = affine
        self.maps = [_map_of(item) for item in self.pattern]

    def build(self, z_shape: Any, context_shape: Any = None) -> None:
        """Create the raw weights for points ``(..., D)``, as functions of contexts if they are."""
        dim = z_shape[-1]
        self.parameters = [
            {
                name: add_initialised_weight(self, f"{position}_{name}", values[name])
                for name in flow.shapes(dim)
            }
            for position, (flow, values) in enumerate(zip(self.maps, self.initial_values(dim)))
        ]
        self.last = {}
        if self.affine:
            self.last = {
                name: add_initialised_weight(self, f"affine_{name}", np.zeros(shape))
                for name, shape in AFFINE[self.affine].shapes(dim).items()
            }
        self.slopes: list[dict[str, Any]] | None = None
        if context_shape is not None:
            self.slopes = self._added_slopes(context_shape[-1])

    def _added_slopes(self, width: int) -> list[dict[str, Any]]:
        """Create ``A`` for each of the weights of the pattern."""
        slopes: list[dict[str, Any]] = []
        for position, own in enumerate(self.parameters):
            rng = np.random.default_rng([self.seed, len(self.maps) + position])
            slopes.append({})
            for name, weight in own.items():
                draw = rng.standard_normal((*weight.shape, width)) / np.sqrt(width)
                slopes[-1][name] = add_initialised_weight(
                    self, f"{position}_{name}_slope", INITIAL_SPREAD * draw
                )
        return slopes

    def initial_values(self, dim: int) -> list[dict[str, np.ndarray]]:
        """Draw the raw weights of each position of the pattern, as :meth:`build` stores them."""
        return self._drawn(self.seed, dim)

    def _drawn(self, seed: int, dim: int) -> list[dict[str, np.ndarray]]:
        repeats = [len(range(i, self.k, len(self.maps))) for i in range(len(self.maps))]
        return [
            flow.initial(np.random.default_rng([seed, position]), repeats[position], dim)
            for position, flow in enumerate(self.maps[: self.k])
        ]

    def adapt(self, mean: np.ndarray, cholesky: np.ndarray) -> None:
        """Let the last affine map take N(0, I) to a Gaussian; a diagonal one to its diagonal.

        Args:
            mean: ``(D,)``.
            cholesky: The lower triangle ``(D, D)`` of its covariance.

        Raises:
            ConfigError: The stack has none.
        """
        if not self.affine:
            raise ConfigError("this stack has no affine map at its end; affine='full' gives it one")
        if not self.built:
            self.build((None, len(mean)))
            self.built = True
        for name, value in AFFINE[self.affine].moments(mean, cholesky).items():
            self.last[name].assign(ops.broadcast_to(value, self.last[name].shape))

    def forward_and_log_det(self, z: Any, context: Any = None) -> tuple[Any, Any]:
        """Return ``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        z, context = self._built_for(z, context)
        return self.composition(context).run(z)

    def inverse_and_log_det(self, x: Any, context: Any = None) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        x, context = self._built_for(x, context)
        return self.composition(context).run(x, inverse=True)

    def composition(self, context: Any = None) -> Composition:
        """Return the maps with their raw weights, of contexts ``(batch, H)`` if they have some.

        All that depends on a context is computed here, before any map is run.
        """
        last = self._laid_out(self.last, 0) if self.affine else None
        return Composition(
            names=[pattern_name(item) for item in self.pattern],
            maps=self.maps,
            weights=[
                self._laid_out(own, 1)
                if context is None or self.slopes is None
                else _of_context(own, self.slopes[position], context)
                for position, own in enumerate(self.parameters)
            ],
            k=self.k,
            last=None if last is None else (AFFINE[self.affine or ""], last),
        )

    def _laid_out(self, own: Mapping[str, Any], repeats: int) -> dict[str, Any]:
        """Return stored weights ``([repeats,] *shape)`` as maps take them: with a batch of 1."""
        every = {name: ops.expand_dims(value, -1) for name, value in own.items()}
        return every if repeats else {name: value[None] for name, value in every.items()}

    def _built_for(self, points: Any, context: Any) -> tuple[Any, Any]:
        """Build for points and contexts, and return them in the type of the weights."""
        context = None if context is None else ops.convert_to_tensor(context)
        if not self.built:
            points = ops.convert_to_tensor(points)
            self.build(tuple(points.shape), None if context is None else tuple(context.shape))
            self.built = True
        if (context is None) != (self.slopes is None):
            raise ConfigError(
                "this stack was built "
                + ("with a context; give one" if context is None else "without a context")
            )
        points = built_for(self, points)
        return points, None if context is None else ops.cast(context, self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"pattern": self.pattern, "k": self.k, "seed": self.seed}
        return {**super().get_config(), **own, **({"affine": self.affine} if self.affine else {})}


@keras.saving.register_keras_serializable("nflow_cli")
class AmortizedFlowStack(FlowStack):
    """A :class:`FlowStack` built with a context: the name under which older files know it."""


def _map_of(item: Any) -> Map:
    """Return the map of an item of a pattern."""
    options = {} if isinstance(item, str) else item[pattern_name(item)]
    return resolve(FLOWS[pattern_name(item)])(**options)


def _of_context(own: Mapping[str, Any], slopes: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return ``θ_0 + A h`` ``(repeats, *shape, batch)`` for contexts ``h`` ``(batch, H)``."""
    turned, values = ops.transpose(context), {}
    for name, weight in own.items():  # one product for all repeats
        flat = ops.reshape(slopes[name], (-1, turned.shape[0])) @ turned
        values[name] = ops.reshape(flat, (*weight.shape, -1)) + ops.expand_dims(weight, -1)
    return values
