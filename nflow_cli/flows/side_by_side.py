"""Stacks of one pattern side by side in one program, for restarts and ensembles."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import MAX_SEED
from nflow_cli.flows.base import add_initialised_weight
from nflow_cli.flows.stack import FlowStack


@keras.saving.register_keras_serializable("nflow_cli")
class SideBySide(FlowStack):
    """R stacks of one pattern: points ``(R, batch, D)``, each row through its own stack.

    R is the first axis of all weights. Contexts are ``(R, batch, H)``, or ``(batch, H)`` for all.
    Stack ``r`` starts as ``FlowStack(pattern, k, seeds[r])``.
    """

    repeats_axis = 1

    def __init__(self, pattern: Sequence[Any], k: int, seeds: Sequence[int], **kwargs: Any):
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

    def laid_out(self, stored: Any) -> Any:
        """The repeats of a stored weight ``(R, repeats, *shape)`` first, and a batch of 1."""
        return super().laid_out(ops.swapaxes(stored, 0, 1))

    def _weights(self, values: Any, slopes: Any, context: Any) -> dict[str, Any]:
        weights = {name: self.laid_out(value) for name, value in values.items()}
        for name, slope in slopes.items():  # θ_0 + A h
            turned = ops.swapaxes(context, -1, -2)
            flat = ops.reshape(slope, (*self.members, -1, slope.shape[-1])) @ turned
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


def _stacked(values: Sequence[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    return [
        {name: np.stack([value[name] for value in here]) for name in here[0]}
        for here in zip(*values)
    ]


def make_stack(
    pattern: Sequence[Any], k: int, seed: int, affine: str | None, members: int, **kwargs: Any
) -> FlowStack:
    """A stack, or members side by side with seeds from ``seed`` on."""
    if members == 1:
        return FlowStack(pattern, k, seed, affine, **kwargs)
    return SideBySide(pattern, k, seeds_from(seed, members), affine=affine, **kwargs)


def seeds_from(seed: int, members: int) -> list[int]:
    """Consecutive seeds of members, modulo the largest + 1."""
    return [(seed + r) % (MAX_SEED + 1) for r in range(members)]
