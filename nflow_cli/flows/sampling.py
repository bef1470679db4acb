"""Gaussian sampling layer: reparameterised draws, densities, and the KL to a prior."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
from keras import ops

from nflow_cli.arguments import MAX_SEED, whole_number
from nflow_cli.arrays import Tensor
from nflow_cli.constants import LOG_2PI
from nflow_cli.errors import ConfigError
from nflow_cli.flows.layer import Shape, in_own_type, keep_precision


@keras.saving.register_keras_serializable("nflow_cli")
class GaussianSampling(keras.layers.Layer):
    """Draw ``z = μ + σ ε``, ``ε ~ N(0, I)``, from a diagonal Gaussian given by ``(μ, log σ^2)``.

    Calling the layer on ``[mean, log_variance]``, both ``(..., D)``, returns a draw ``(..., D)``
    with a gradient to both (Kingma & Welling 2014, arXiv 1312.6114). Noise comes from the layer's
    own generator, or is passed: ``layer([mean, log_variance], noise)``.

    Args:
        prior_mean: Mean of the prior ``N(prior_mean, prior_std^2 I)``.
        prior_std: Its standard deviation, positive.
        seed: Fixes the draws; ``None`` draws one.

    Raises:
        ConfigError: ``prior_std`` is not positive, ``seed`` no seed of Keras, or half precision.
    """

    def __init__(
        self,
        prior_mean: float = 0.0,
        prior_std: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        keep_precision(self)
        if not isinstance(prior_std, Real) or not 0 < prior_std < math.inf:
            raise ConfigError(f"prior_std must be positive. Received: prior_std={prior_std}")
        self.prior_mean = prior_mean
        self.prior_std = prior_std
        self.seed = None if seed is None else whole_number("seed", seed, MAX_SEED)
        self.generator = keras.random.SeedGenerator(self.seed)

    def call(self, inputs: Sequence[Tensor], noise: Tensor | None = None) -> Tensor:
        mean, log_variance = inputs
        if noise is None:
            noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.generator)
        return mean + ops.exp(log_variance / 2) * noise

    @in_own_type
    def log_prob(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """``log q(z) = -½ Σ [(z - μ)^2/σ^2 + log σ^2 + log 2π]`` ``(...)`` in nats."""
        e = (z - mean) * ops.exp(-log_variance / 2)
        return -0.5 * ops.sum(e * e + log_variance + LOG_2PI, axis=-1)

    @in_own_type
    def prior_log_prob(self, z: Tensor) -> Tensor:
        """Log-density ``(...)`` of the prior in nats at ``z`` ``(..., D)``."""
        e = (z - self.prior_mean) / self.prior_std
        return -0.5 * ops.sum(e * e + (LOG_2PI + 2 * math.log(self.prior_std)), axis=-1)

    @in_own_type
    def kl_divergence(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """``KL(N(μ, σ^2) || prior)`` ``(...)`` in nats, in closed form:
        ``½ Σ [(σ^2 + (μ - m)^2)/s^2 - 1 - log(σ^2/s^2)]`` for the prior ``N(m, s^2 I)``.
        """
        variance = self.prior_std**2
        shift = mean - self.prior_mean
        log_ratio = log_variance - math.log(variance)
        terms = ops.exp(log_ratio) + shift * shift / variance - 1 - log_ratio
        return 0.5 * ops.sum(terms, axis=-1)

    def compute_output_shape(
        self, inputs_shape: Sequence[Shape], noise_shape: Shape | None = None
    ) -> Shape:
        return tuple(noise_shape or inputs_shape[0])

    def get_config(self) -> dict[str, Any]:
        arguments = {"prior_mean": self.prior_mean, "prior_std": self.prior_std, "seed": self.seed}
        return {**super().get_config(), **arguments}
