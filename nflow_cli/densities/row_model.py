"""What is trained of the density of a row: flows, and a network for each category."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.constants import HIDDEN
from nflow_cli.flows.base import add_initialised_weight, keep_precision
from nflow_cli.flows.side_by_side import seeds_from, stack_of


@keras.saving.register_keras_serializable("nflow_cli")
class RowModel(keras.layers.Layer):
    """Flows of a row's numbers, and networks of its categories.

    ``q(x, c | g) = q(x | g, c) Π_j p(c_j | g, c_<j)``: the flows have the context ``(g, c)``, and
    network ``j`` takes the part of it before ``c_j`` to the logits of the levels of ``c_j``.

    Args:
        pattern: As of a :class:`~nflow_cli.flows.FlowStack`.
        k: How many flows.
        seed: Fixes the initial values.
        affine: As of a :class:`~nflow_cli.flows.FlowStack`.
        given_width: How many numbers tell what is given.
        levels: How many levels each modelled category has.
        members: R models side by side, of the seeds from ``seed`` on; 1 has no axis of its own.
    """

    def __init__(
        self,
        pattern: Sequence[Any],
        k: int,
        seed: int,
        affine: str | None = None,
        given_width: int = 0,
        levels: Sequence[int] = (),
        members: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        keep_precision(self)
        self.seed, self.given_width, self.levels = seed, given_width, list(levels)
        self.members = members
        self.flow = stack_of(pattern, k, seed, affine, members, dtype=self.variable_dtype)

    @property
    def width(self) -> int:
        """H, of the context."""
        return self.given_width + sum(self.levels)

    def build(self, input_shape: Any) -> None:
        """Create the weights for numbers ``(n, D)``; each network starts at equal logits."""
        dim = input_shape[-1]
        self.flow.build((None, dim), (None, self.width) if self.width else None)
        self.networks = []
        for j, (start, count) in enumerate(self.parts()):
            drawn = [_drawn_layers([seed, 1, j], start, count) for seed in self.seeds]
            layers = [
                {
                    name: add_initialised_weight(
                        self, f"category_{j}_{name}_{i}", np.stack([v[name] for v in values])
                    )
                    for name in values[0]
                }
                for i, values in enumerate(zip(*drawn))
            ]
            self.networks.append(layers)

    @property
    def seeds(self) -> list[int]:
        """Of the members."""
        return seeds_from(self.seed, self.members)

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield where the levels of each category begin in the context, and how many it has."""
        starts = itertools.accumulate(self.levels, initial=self.given_width)
        yield from zip(starts, self.levels)

    def set_frequencies(self, shares: Sequence[np.ndarray]) -> None:
        """Let each network give the shares ``(L_j,)`` of its levels, whatever the context."""
        for layers, share in zip(self.networks, shares, strict=True):
            bias = layers[-1]["bias"]
            bias.assign(np.broadcast_to(np.log(share), bias.shape))

    def log_shares(self, j: int, context: Any) -> Any:
        """Return the log-probabilities ``(..., n, L_j)`` in nats of category ``j``'s levels."""
        start, _ = list(self.parts())[j]
        hidden = context[..., :start]
        for i, layer in enumerate(self.networks[j]):
            hidden = ops.relu(hidden) if i else hidden
            zero = ops.zeros_like(context[..., :1])  # of a category that nothing tells about
            weights = {name: w if self.flow.members else w[0] for name, w in layer.items()}
            hidden = (hidden @ weights["kernel"] if "kernel" in weights else zero) + weights["bias"]
        return ops.log_softmax(hidden, axis=-1)

    def categories_log_prob(self, context: Any) -> Any:
        """Return ``Σ_j log p(c_j | g, c_<j)`` ``(..., n)`` in nats of the levels in contexts."""
        total = ops.zeros_like(context[..., 0])
        for j, (start, count) in enumerate(self.parts()):
            levels = context[..., start : start + count]
            total = total + ops.sum(levels * self.log_shares(j, context), axis=-1)
        return total

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        flow = {key: getattr(self.flow, key) for key in ("pattern", "k", "affine")}
        rows = {"seed": self.seed, "given_width": self.given_width, "levels": self.levels}
        return {**super().get_config(), **flow, **rows, "members": self.members}


def _drawn_layers(seed: Sequence[int], inputs: int, outputs: int) -> list[dict[str, np.ndarray]]:
    """Draw the layers of a network: kernels of a ReLU's size, the last one 0."""
    rng, layers = np.random.default_rng(seed), []
    for i, (before, behind) in enumerate(itertools.pairwise([inputs, *HIDDEN, outputs])):
        size = np.sqrt(2 / max(before, 1)) if i < len(HIDDEN) else 0.0
        kernel = size * rng.standard_normal((before, behind))
        layers.append({"kernel": kernel} if before else {})
        layers[-1]["bias"] = np.zeros((1, behind))
    return layers
