"""The map of a mixture of normals to N(0, 1): ``z = Φ⁻¹(F(x))``."""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor, log_softmax
from nflow_cli.flows.conditioned import Conditioned
from nflow_cli.flows.elementwise import Elementwise
from nflow_cli.flows.numerics import tanh
from nflow_cli.mixtures import from_normal_score, normal_score

SPREAD = 0.5  # initial means are within ± this: equal components would stay equal
AXIS = -3  # of the components


@dataclass(frozen=True)
class Mixture(Elementwise):
    """Quantile function of a mixture of normals: ``f(z) = F⁻¹(Φ(z))``.

    ``log f' = log φ(z) - log F'(x)``, without a difference of two squares. One component is broad,
    ``N(0, 1 + mean of the other means squared)``, with a share of at least ``least``, so ``F`` is
    flat nowhere, and outliers cost little.

    ``|F(f(z)) - Φ(z)|`` and ``|f⁻¹(f(z)) - z|`` are rounding; ``|f(f⁻¹(x)) - x|`` is that over the
    slope of ``f⁻¹``, large where the density is low.

    Parameters, each of ``components - 1``: log-shares relative to the broad component, means, and
    log-scales, bounded by a tanh to ``± log(1 / least)``.

    Args:
        components: Number of normals, with the broad one.
        least: Least scale, and least share of the broad component.
    """

    components: int = 8
    least: float = 1e-3

    @property
    def size(self) -> int:
        return 3 * (self.components - 1)

    def forward(self, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The terms added to the root are 0; their first and second derivatives are those of
        ``f``.
        """
        mixture = self._mixture(parameters)
        constants = [ops.stop_gradient(array) for array in mixture]
        root = from_normal_score(ops.stop_gradient(z), *constants, xp=ops, axis=AXIS)
        x = ops.stop_gradient(root)
        score, log_slope = normal_score(x, *mixture, ops, AXIS)
        steepness = ops.stop_gradient(ops.exp(-log_slope))
        x = x + (z - score) * steepness
        x = x + (z - normal_score(x, *mixture, ops, AXIS)[0]) * steepness
        return x, -normal_score(x, *mixture, ops, AXIS)[1]

    def inverse(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return normal_score(x, *self._mixture(parameters), ops, AXIS)

    def _mixture(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and scales, the broad component first."""
        count = self.components - 1
        shares = parameters[..., :count, :, :]
        means = parameters[..., count : 2 * count, :, :]
        scales = parameters[..., 2 * count : 3 * count, :, :]
        zero = ops.zeros_like(means[..., :1, :, :])
        log_shares = log_softmax(ops.concatenate([zero, shares], AXIS), AXIS, ops)
        broad_share = self.least + (1 - self.least) * ops.exp(log_shares[..., :1, :, :])
        narrow_log_shares = log_shares[..., 1:, :, :] + math.log1p(-self.least)
        broad_scale = ops.sqrt(1 + ops.sum(means * means, axis=AXIS, keepdims=True) / count)
        log_weights = ops.concatenate([ops.log(broad_share), narrow_log_shares], AXIS)
        means = ops.concatenate([zero, means], AXIS)
        bound = math.log(1 / self.least)
        scales = ops.concatenate([broad_scale, ops.exp(bound * tanh(scales / bound))], AXIS)
        return log_weights, means, scales


@dataclass(frozen=True)
class Mixed(Conditioned):
    """Scalar maps are :class:`Mixture`, with the same arguments."""

    components: int = 8
    least: float = 1e-3

    @property
    def scalar_maps(self) -> Elementwise:
        return Mixture(self.components, self.least)

    def initial(self, rng: np.random.Generator, repeats: int, dim: int) -> dict[str, np.ndarray]:
        """Weights near the identity, with separate means."""
        values = super().initial(rng, repeats, dim)
        biases = values[f"bias_{len(self.widths(dim)) - 2}"]
        count = self.components - 1
        means = np.linspace(-SPREAD, SPREAD, count) if count > 1 else np.zeros(1)
        parameters = biases.reshape(repeats, 3, count, -1)  # a view
        parameters[:, 1] = means[:, None]
        # Keeps the variance at 1, with a broad component of 1 + var(means).
        parameters[:, 2] = math.log(1 - np.var(means) * (1 + 1 / count)) / 2
        return values
