"""Stacks of one pattern side by side, in one program."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.arguments import MAX_SEED
from nflow_cli.flows.stack import FlowStack


@keras.saving.register_keras_serializable("nflow_cli")
class SideBySide(FlowStack):
    """R stacks of one pattern: points ``(R, batch, D)``, each row through a stack of its own.

    The weights of all are stored together: R is their first axis. Contexts are ``(R, batch, H)``,
    or ``(batch, H)`` for all stacks.

    Args:
        pattern: Names of flows, or with their options.
        k: How many flows in each stack.
        seeds: Fix the initial values: stack ``r`` starts as ``FlowStack(pattern, k, seeds[r])``.
    """

    repeats_axis = 1

    def __init__(self, pattern: Sequence[Any], k: int, seeds: Sequence[int], **kwargs: Any):
        super().__init__(pattern, k, seeds[0], **kwargs)
        self.seeds = list(seeds)

    @property
    def members(self) -> tuple[int, ...]:
        """R, the leading axis of points."""
        return (len(self.seeds),)

    def restart(self, *seeds: int) -> None:
        """Take as many other seeds, and the initial values of their weights."""
        self.seeds = list(seeds)
        super().restart(seeds[0])

    def without_maps(self) -> "SideBySide":
        """Return stacks of the affine map at the end alone, as it is at the start."""
        return SideBySide(self.pattern, 0, self.seeds, affine=self.affine)

    def initial_values(self, dim: int) -> list[dict[str, np.ndarray]]:
        """Draw the raw parameters of each position of the pattern, for all stacks."""
        return _stacked([self._drawn(seed, dim) for seed in self.seeds])

    def _initial_slopes(self) -> list[dict[str, np.ndarray]]:
        if not self.takes_context:
            return []
        return _stacked([self._drawn_slopes(seed) for seed in self.seeds])

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which a weight is stored: R is the first axis."""
        return (len(self.seeds), *shape)

    def laid_out(self, stored: Any) -> Any:
        """Return a stored weight ``(R, repeats, *shape)`` as maps take it: repeats in front."""
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
        """Return the constructor's arguments."""
        arguments = super().get_config()
        del arguments["seed"]
        return {**arguments, "seeds": self.seeds}


def _stacked(values: Sequence[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    """Return the weights of all stacks, R in front, for each position of the pattern."""
    return [
        {name: np.stack([value[name] for value in here]) for name in here[0]}
        for here in zip(*values)
    ]


def stack_of(
    pattern: Sequence[Any], k: int, seed: int, affine: str | None, members: int, **kwargs: Any
) -> FlowStack:
    """Return a stack, or those of several members side by side, of the seeds from ``seed`` on."""
    if members == 1:
        return FlowStack(pattern, k, seed, affine, **kwargs)
    return SideBySide(pattern, k, seeds_from(seed, members), affine=affine, **kwargs)


def seeds_from(seed: int, members: int) -> list[int]:
    """Return the seeds of members, beginning again at 0 behind the largest."""
    return [(seed + r) % (MAX_SEED + 1) for r in range(members)]
