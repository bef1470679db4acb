"""K flows in a row: a pattern of elementary flows, repeated."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.errors import ConfigError
from nflow_cli.flows.base import Flow, add_initialised_weight, assign_all, built_for, draw_seed
from nflow_cli.flows.compose import run_flows
from nflow_cli.registry import FLOWS, nearest, resolve


@keras.saving.register_keras_serializable("nflow_cli")
class FlowStack(Flow):
    r"""``f_K ∘ … ∘ f_1``: ``k`` flows that cycle through ``pattern``, applied in that order.

    ``log|det df/dz| = Σ_k log|det df_k/dz_{k-1}|`` in nats (arXiv 1505.05770, eqs. 6-7). The
    inverse runs them backwards. ``k = 0`` is the identity with log-determinant 0.

    The weights of the flows at one position of the pattern are stored together, with a leading
    axis of repeats: for ``["planar"]`` they are ``u (k, D)``, ``w (k, D)``, ``b (k,)``.

    Args:
        pattern: Names of flows, such as ``["planar", "radial"]``.
        k: How many flows in all.
        seed: Fixes the initial values; ``None`` draws one.

    Raises:
        ConfigError: For a pattern that is no list of one or more known flows, for a ``k`` or a
            ``seed`` that is no whole number of 0 or more, and for half precision.
    """

    def __init__(self, pattern: Sequence[str], k: int, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pattern = _checked_pattern(pattern)
        self.k = whole_number("k", k)
        self.seed = draw_seed(seed)
        self.kinds = [resolve(FLOWS[name]) for name in self.pattern]

    def build(self, input_shape: Any) -> None:
        """Create the raw weights for points of ``input_shape[-1]`` dimensions."""
        self.dim = input_shape[-1]
        self.parameters = [
            {
                name: add_initialised_weight(self, f"{position}_{name}", values[name])
                for name in kind.vectors + kind.scalars
            }
            for position, (kind, values) in enumerate(
                zip(self.kinds, self.initial_values(self.dim))
            )
        ]

    def restart(self, seed: int) -> None:
        """Take another seed, and the initial values of its weights.

        Raises:
            ConfigError: For a ``seed`` that is no whole number of 0 or more.
        """
        self.seed = whole_number("seed", seed, MAX_SEED)
        if self.built:
            self._assign_initial_values()

    def _assign_initial_values(self) -> None:
        assign_all(self.parameters, self.initial_values(self.dim))

    def initial_values(self, dim: int) -> list[dict[str, np.ndarray]]:
        """Draw the raw parameters of each position of the pattern."""
        return self._drawn(self.seed, dim)

    def _drawn(self, seed: int, dim: int) -> list[dict[str, np.ndarray]]:
        repeats = [len(range(i, self.k, len(self.kinds))) for i in range(len(self.kinds))]
        return [
            kind.initial_values(np.random.default_rng([seed, position]), repeats[position], dim)
            for position, kind in enumerate(self.kinds[: self.k])
        ]

    def forward_and_log_det(self, z: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` ``(..., D)`` and ``log|det df/dz|`` ``(...)`` in nats."""
        z = built_for(self, z)
        return run_flows(self.kinds, self.parameters, self.k, z)

    def inverse_and_log_det(self, x: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` ``(..., D)`` and ``log|det df^-1/dx|`` ``(...)`` in nats."""
        x = built_for(self, x)
        return run_flows(self.kinds, self.parameters, self.k, x, inverse=True)

    def parameters_at(self, *context: Any) -> list[dict[str, Any]]:
        """Return the raw weights, as :func:`run_flows` takes them."""
        return self.parameters

    def flow_at(self, index: int, *context: Any) -> tuple[Any, dict[str, Any]]:
        """Return the class of flow ``index`` and its raw parameters, as one repeat."""
        repeat, position = divmod(index, len(self.kinds))
        own = self.parameters_at(*context)[position]
        return self.kinds[position], {name: own[name][repeat : repeat + 1] for name in own}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "pattern": self.pattern, "k": self.k, "seed": self.seed}


def _checked_pattern(pattern: Any) -> list[str]:
    """Return a pattern as a list of names of flows."""
    if not isinstance(pattern, Sequence) or isinstance(pattern, str) or not len(pattern):
        raise ConfigError(
            f'expected a list of one or more flows, such as ["planar"]. Received: {pattern=!r:.60}'
        )
    for name in pattern:
        if not isinstance(name, str) or name not in FLOWS:
            raise ConfigError(
                f"unknown flow{nearest(name, list(FLOWS))}; expected one of {', '.join(FLOWS)}. "
                f"Received: {pattern=!r:.60}"
            )
    return list(pattern)
