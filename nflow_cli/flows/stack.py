"""Flow layers: a single map, stacks of K maps, and stacks side by side."""

import random
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.arrays import Tensor
from nflow_cli.config.flows import Item, checked_pattern, pattern_name
from nflow_cli.errors import ConfigError
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import Composition, Weights, run_maps
from nflow_cli.flows.layer import Flow
from nflow_cli.flows.map import Map
from nflow_cli.registry import FLOWS, resolve

AFFINE = {"diagonal": Affine(), "full": Affine(full=True)}


@keras.saving.register_keras_serializable("nflow_cli")
class FlowStack(Flow):
    """``f_K ∘ … ∘ f_1``: ``k`` flows that cycle through ``pattern``, applied in that order.

    ``log|det df/dz| = Σ_k log|det df_k/dz_{k-1}|`` in nats (arXiv 1505.05770, eqs. 6-7). The
    inverse runs them backwards. ``k = 0`` is the identity with log-determinant 0.

    Weights of the flows at one position of the pattern are stored together, with a leading axis of
    repeats: for ``["planar"]`` they are ``u (k, D)``, ``w (k, D)``, ``b (k,)``.

    Built with a context, such as the last hidden layer of an encoder (arXiv 1505.05770, section
    4.2), the stack has raw weights per example, ``θ(h) = θ_0 + A h``: ``θ_0`` starts as without a
    context, ``A`` small. Points are then ``(..., batch, D)`` and contexts ``(batch, H)``: leading
    axes of the points share the weights of their example. The last affine map depends on the
    context by its shift alone, initially 0: a linear regression.

    Args:
        pattern: Names of flows, such as ``["planar", "radial"]``, or with options
            ``{"affine": {"full": True}}``.
        k: Number of flows.
        seed: Fixes the initial values; ``None`` draws one.
        affine: ``diagonal`` or ``full``: an affine map at the data's end, not counted in ``k``,
            initially the identity; see :meth:`adapt`.

    Raises:
        ConfigError: ``pattern`` is no list of known flows, ``k`` or ``seed`` no whole number of 0
            or more, or the precision is half.
    """

    repeats_axis: ClassVar[int] = 0  # of stored weights
    members: tuple[int, ...] = ()  # leading axis of points, with a stack for each
    log_weights: Tensor | None = None  # of the members of a mixture; ``None``: equal

    def __init__(
        self,
        pattern: Sequence[Item],
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

    @property
    def length(self) -> int:
        """Number of maps: ``k``, and the last affine one if any."""
        return self.k + (self.affine is not None)

    def build(self, z_shape: Any, context_shape: Any = None) -> None:
        self.dim = z_shape[-1]
        self.parameters = self._added(self.initial_values(self.dim))
        self.last: dict[str, Tensor] = {}
        if self.affine:
            for name, shape in AFFINE[self.affine].shapes(self.dim).items():
                zeros = np.zeros(self.stored_shape(shape))
                self.last[name] = add_initialised_weight(self, f"affine_{name}", zeros)
        self.slopes: list[dict[str, Tensor]] = []
        self.last_slopes: dict[str, Tensor] = {}
        self.takes_context = context_shape is not None
        if self.takes_context:
            self.context_width = context_shape[-1]
            self.slopes = self._added(self._initial_slopes(), "_slope")
            if self.affine:
                zeros = np.zeros(self.stored_shape((self.dim, self.context_width)))
                slope = add_initialised_weight(self, "affine_shift_slope", zeros)
                self.last_slopes["shift"] = slope

    def _added(
        self, values: Sequence[Mapping[str, np.ndarray]], tail: str = ""
    ) -> list[dict[str, Tensor]]:
        """Weights with initial values, of each position of the pattern by name."""
        weights = []
        for position, (flow, initial) in enumerate(zip(self.maps, values)):
            by_name = {}
            for name, value in initial.items():
                is_trained = name not in flow.untrained
                full_name = f"{position}_{name}{tail}"
                by_name[name] = add_initialised_weight(self, full_name, value, is_trained)
            weights.append(by_name)
        return weights

    def restart(self, seed: int) -> None:
        """Reset to the initial values of another seed."""
        self.seed = whole_number("seed", seed, MAX_SEED)
        if self.built:
            assign_all(self.parameters, self.initial_values(self.dim))
            assign_all(self.slopes, self._initial_slopes())
            for weight in (*self.last.values(), *self.last_slopes.values()):
                weight.assign(ops.zeros_like(weight))

    def initial_values(self, dim: int) -> list[dict[str, np.ndarray]]:
        """Raw weights ``(repeats, *shape)`` of each position of the pattern."""
        return self._drawn(self.seed, dim)

    def _drawn(self, seed: int, dim: int) -> list[dict[str, np.ndarray]]:
        values = []
        rules = [type(flow).orders for flow in self.maps]  # maps with one rule share a sequence
        for position, flow in enumerate(self.maps[: self.k]):
            rng = np.random.default_rng([seed, position])
            repeats = len(range(position, self.k, len(self.maps)))
            first = rules[:position].count(rules[position])
            stride = rules.count(rules[position])
            places = [r * stride + first for r in range(repeats)]
            by_name = {**flow.initial(rng, repeats, dim), **flow.orders(places, dim)}
            values.append({name: by_name[name] for name in flow.shapes(dim)})
        return values

    def _initial_slopes(self) -> list[dict[str, np.ndarray]]:
        return self._drawn_slopes(self.seed) if self.takes_context else []

    def _drawn_slopes(self, seed: int) -> list[dict[str, np.ndarray]]:
        slopes = []
        for position, (flow, weights) in enumerate(zip(self.maps, self.parameters)):
            rng = np.random.default_rng([seed, len(self.maps) + position])
            by_name = {}
            for name, weight in weights.items():
                if (spread := flow.context_spread(name)) is not None:
                    shape = weight.shape[len(self.members) :]
                    draw = rng.standard_normal((*shape, self.context_width))
                    by_name[name] = spread * (draw / np.sqrt(self.context_width))
            slopes.append(by_name)
        return slopes

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def without_maps(self) -> "FlowStack":
        """A stack of the initial last affine map alone."""
        return FlowStack(self.pattern, 0, self.seed, self.affine)

    def adapt(
        self, mean: np.ndarray, cholesky: np.ndarray, slope: np.ndarray | None = None
    ) -> None:
        """Set the last affine map to take N(0, I) to a Gaussian; a diagonal one to its diagonal.

        Args:
            mean: ``(D,)``; of a stack built with contexts, its value where these are 0.
            cholesky: Lower triangle ``(D, D)`` of its covariance.
            slope: ``(D, H)``, of the mean by a context.

        Raises:
            ConfigError: The stack has no affine map, or these are no Gaussian of its dimension.
        """
        if not self.affine:
            raise ConfigError("this stack has no affine map at its end; affine='full' gives it one")
        dim = self.dim if self.built else len(mean)
        if np.shape(mean) != (dim,) or np.shape(cholesky) != (dim, dim):
            received = f"{np.shape(mean)}, {np.shape(cholesky)}"
            raise ConfigError(f"expected shapes ({dim},), ({dim}, {dim}). Received: {received}")
        if not np.all(np.diagonal(cholesky) > 0):
            raise ConfigError("expected a lower triangle with a positive diagonal")
        if not self.built:
            self.build((None, len(mean)))
        for name, value in AFFINE[self.affine].moments(mean, cholesky).items():
            self.last[name].assign(ops.broadcast_to(value, self.last[name].shape))
        if slope is not None:
            weight = self.last_slopes["shift"]
            weight.assign(ops.broadcast_to(slope, weight.shape))

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.composition(context).run(z)

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.composition(context).run(x, inverse=True)

    def composition(self, context: Tensor | None = None) -> Composition:
        """The maps with their raw weights, for contexts ``(batch, H)`` if any.

        All that depends on a context is computed here, before any map is run.
        """
        if (context is not None) != self.takes_context:
            expected = "with a context; give one" if self.takes_context else "without a context"
            raise ConfigError(f"this stack was built {expected}")
        positions = zip_longest(self.parameters, self.slopes, fillvalue={})
        weights = [self._weights(values, slopes, context) for values, slopes in positions]
        last = None
        if self.affine:
            values = self._as_repeats(self.last)
            slopes = self._as_repeats(self.last_slopes)
            last = (AFFINE[self.affine], self._weights(values, slopes, context))
        names = [pattern_name(item) for item in self.pattern]
        return Composition(names, self.maps, weights, self.k, last)

    def _as_repeats(self, stored: Weights) -> Weights:
        """Weights of a single map, with an axis of one repeat."""
        return {name: ops.expand_dims(value, self.repeats_axis) for name, value in stored.items()}

    def _weights(self, values: Weights, slopes: Weights, context: Tensor) -> dict[str, Tensor]:
        if self.takes_context:
            return _of_context(context, values, slopes)
        return {name: self.with_batch_axis(value) for name, value in values.items()}

    def with_batch_axis(self, stored: Tensor) -> Tensor:
        """Add a batch of 1 to a stored weight ``(repeats, *shape)``."""
        return ops.expand_dims(stored, -1)

    def get_config(self) -> dict[str, Any]:
        arguments = {"pattern": self.pattern, "k": self.k, "seed": self.seed, "affine": self.affine}
        return {**super().get_config(), **arguments}


def _map_of(item: str | Mapping[str, Any]) -> Map:
    name = pattern_name(item)
    options = {} if isinstance(item, str) else item[name]
    return resolve(FLOWS[name])(**options)


def _of_context(context: Tensor, weights: Weights, slopes: Weights) -> dict[str, Tensor]:
    """``θ_0 + A h`` ``(repeats, *shape, batch)`` for contexts ``h`` ``(batch, H)``."""
    columns = ops.transpose(context)
    values = {}
    for name, weight in weights.items():
        values[name] = ops.expand_dims(weight, -1)
        if name in slopes:  # one product for all repeats
            flat = ops.reshape(slopes[name], (-1, columns.shape[0])) @ columns
            values[name] = ops.reshape(flat, (*weight.shape, -1)) + values[name]
    return values


@keras.saving.register_keras_serializable("nflow_cli")
class SideBySide(FlowStack):
    """R stacks of one pattern: points ``(R, batch, D)``, each row through its own stack.

    R is the first axis of all weights. Contexts are ``(R, batch, H)``, or ``(batch, H)`` for all.
    Stack ``r`` starts as ``FlowStack(pattern, k, seeds[r])``.
    """

    repeats_axis = 1

    def __init__(self, pattern: Sequence[Item], k: int, seeds: Sequence[int], **kwargs: Any):
        super().__init__(pattern, k, seeds[0], **kwargs)
        self.seeds = list(seeds)

    @property
    def members(self) -> tuple[int, ...]:
        return (len(self.seeds),)

    def restart(self, *seeds: int) -> None:
        self.seeds = list(seeds)
        super().restart(seeds[0])

    def without_maps(self) -> "SideBySide":
        return SideBySide(self.pattern, 0, self.seeds, affine=self.affine)

    def initial_values(self, dim: int) -> list[dict[str, np.ndarray]]:
        return _stacked([self._drawn(seed, dim) for seed in self.seeds])

    def _initial_slopes(self) -> list[dict[str, np.ndarray]]:
        if not self.takes_context:
            return []
        return _stacked([self._drawn_slopes(seed) for seed in self.seeds])

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.seeds), *shape)

    def with_batch_axis(self, stored: Tensor) -> Tensor:
        """The repeats of a stored weight ``(R, repeats, *shape)`` first, and a batch of 1."""
        return super().with_batch_axis(ops.swapaxes(stored, 0, 1))

    def _weights(self, values: Weights, slopes: Weights, context: Tensor) -> dict[str, Tensor]:
        weights = {name: self.with_batch_axis(value) for name, value in values.items()}
        for name, slope in slopes.items():  # θ_0 + A h
            columns = ops.swapaxes(context, -1, -2)
            flat = ops.reshape(slope, (*self.members, -1, slope.shape[-1])) @ columns
            moved = ops.reshape(flat, (*slope.shape[:-1], -1))
            weights[name] = weights[name] + ops.swapaxes(moved, 0, 1)
        return weights

    def get_config(self) -> dict[str, Any]:
        arguments = super().get_config()
        del arguments["seed"]
        return {**arguments, "seeds": self.seeds}


@keras.saving.register_keras_serializable("nflow_cli")
class WeightedStacks(SideBySide):
    """Stacks side by side, members of a mixture with log-weights ``log_weights`` ``(R,)``.

    The weights are stored, not trained; initially equal.
    """

    def build(self, z_shape: Any, context_shape: Any = None) -> None:
        super().build(z_shape, context_shape)
        equal = np.full(len(self.seeds), -np.log(len(self.seeds)))
        self.log_weights = add_initialised_weight(self, "log_weights", equal, trainable=False)


def _stacked(members: Sequence[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    """Weights by position and name, with a leading axis of members."""
    return [
        {name: np.stack([weights[name] for weights in position]) for name in position[0]}
        for position in zip(*members)
    ]


def make_stack(
    pattern: Sequence[Item], k: int, seed: int, affine: str | None, members: int, **kwargs: Any
) -> FlowStack:
    """A stack, or members side by side with seeds from ``seed`` on."""
    if members == 1:
        return FlowStack(pattern, k, seed, affine, **kwargs)
    return SideBySide(pattern, k, seeds_from(seed, members), affine=affine, **kwargs)


def seeds_from(seed: int, members: int) -> list[int]:
    """Consecutive seeds of members, modulo the largest + 1."""
    return [(seed + r) % (MAX_SEED + 1) for r in range(members)]


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

    def forward_and_log_det(self, z: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, inverse=False)

    def inverse_and_log_det(self, x: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, inverse=True)

    def _run(self, points: Tensor, context: None, inverse: bool) -> tuple[Tensor, Tensor]:
        if context is not None:
            raise ConfigError(f"{type(self).__name__} takes no context; a FlowStack does")
        weights = {name: value[None, ..., None] for name, value in self.parameters.items()}
        return run_maps([self.map], [weights], 1, points, inverse)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def draw_seed(seed: int | None) -> int:
    """``seed``, or for ``None`` one drawn from Python's generator (which Keras seeds)."""
    if seed is None:
        return random.randrange(2**32)
    return whole_number("seed", seed, MAX_SEED)


def add_initialised_weight(
    layer: keras.layers.Layer, name: str, value: np.ndarray, trainable: bool = True
) -> Tensor:
    """Add a weight with its initial value."""
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype=dtype),
        name=name,
        trainable=trainable,
    )


def assign_all(weights: list[dict[str, Tensor]], values: list[dict[str, np.ndarray]]) -> None:
    """Assign the weights at each position of a pattern, by name."""
    for variables, new in zip(weights, values):
        for name, variable in variables.items():
            variable.assign(new[name])
