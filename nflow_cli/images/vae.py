"""Variational autoencoder of 28 x 28 images with a normalizing-flow posterior."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from nflow_cli.flows.sampling import GaussianSampling
from nflow_cli.flows.stack import FlowStack
from nflow_cli.images.networks import PIXELS, SIDE, build_networks
from nflow_cli.random_streams import stream


@keras.saving.register_keras_serializable("nflow_cli")
class FlowVAE(keras.Model):
    """VAE with posterior ``q(z_K|x)``: a diagonal Gaussian ``q0(z_0|x)`` pushed through K flows.

    The prior is ``p(z) = N(0, I)``, or that pushed through flows ``z = g(ε)``:
    ``log p(z) = log N(g^-1(z); 0, I) + log|det dg^-1/dz|`` in nats, trained jointly. Pixels are
    Bernoulli given ``z``. Images are ``(batch, 28, 28)`` or ``(batch, 784)`` in [0, 1], latents
    ``(batch, latent_dim)``. Calling the model reconstructs.

    Args:
        latent_dim: D.
        network: ``relu``, ``maxout`` or ``gated-conv``.
        hidden: Widths of hidden layers.
        pattern: Names of flows, such as ``["planar", "radial"]``.
        k: Number of flows; 0: plain VAE.
        amortized: Whether the encoder outputs the flows' weights; else all images share them.
        seed: Of the initial values.
        prior: ``pattern``, ``k`` and ``affine`` of the prior's :class:`~nflow_cli.flows.FlowStack`;
            ``None``: N(0, I). Training runs its inverse.

    References:
        Rezende & Mohamed, *Variational Inference with Normalizing Flows*, 2015, arXiv 1505.05770,
        section 4.
        Prior: Chen et al., *Variational Lossy Autoencoder*, 2017, arXiv 1611.02731, section 3.2.
    """

    def __init__(
        self,
        latent_dim: int,
        network: str,
        hidden: Sequence[int],
        pattern: Sequence[Any],
        k: int,
        amortized: bool = True,
        seed: int = 0,
        prior: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.amortized = amortized
        self.seed = seed
        self.network = network
        self.hidden = list(hidden)
        self.encoder, self.decoder = build_networks(network, hidden, latent_dim, seed)
        self.sampling = GaussianSampling(seed=seed)
        self.flow = FlowStack(pattern, k, seed)
        context_shape = tuple(self.encoder.outputs[2].shape)
        self.flow.build((None, latent_dim), context_shape if amortized else None)
        self.prior = None
        if prior is not None:  # its own seed: the posterior may have the same flows
            self.prior = FlowStack(**prior, seed=int(stream(seed, "prior flows").integers(2**32)))
            self.prior.build((None, latent_dim))
        self.built = True

    @property
    def xla(self) -> bool:
        """Whether to compile with XLA: its convolutions take minutes on a CPU.

        TensorFlow's own sums depend in their last bits on the threads.
        """
        return self.network != "gated-conv"

    def encoded(self, images: Any) -> tuple[Any, Any, Any]:
        """Mean and log-variance ``(batch, D)`` of the base, and the flows' context.

        The context ``(batch, H)`` is the encoder's last layer; ``None`` if images share the
        weights.
        """
        mean, log_variance, hidden = self.encoder(flatten(images))
        context = hidden if self.amortized else None
        return mean, log_variance, context

    def posterior(self, images: Any, noise: Any) -> dict[str, Any]:
        """Push ``noise`` ``(..., batch, D)`` through the posterior of each image.

        Returns:
            ``mean``, ``log_variance`` ``(batch, D)`` of the base, its draws ``z0`` and their images
            ``z`` ``(..., batch, D)``, ``log_q0`` and ``log_det`` ``(..., batch)`` in nats;
            ``log q(z|x) = log_q0 - log_det``.
        """
        mean, log_variance, context = self.encoded(images)
        z0 = self.sampling([mean, log_variance], noise)
        z, log_det = self.flow(z0, context)
        return {
            "mean": mean,
            "log_variance": log_variance,
            "z0": z0,
            "z": z,
            "log_q0": self.sampling.prior_log_prob(noise) - ops.sum(log_variance, axis=-1) / 2,
            "log_det": log_det,
        }

    def elbo_terms(self, images: Any, noise: Any) -> dict[str, Any]:
        """:meth:`posterior` and the two terms of the ELBO, ``(..., batch)`` in nats.

        ``log p(x) >= E[reconstruction + log p(z_K) - log q0 + log_det]`` (arXiv 1505.05770, eq.
        15): ``log_likelihood = log p(x|z_K)``, summed over pixels, and
        ``kl = log q0 - log_det - log p(z_K)``.
        """
        terms = self.posterior(images, noise)
        logits = self.decode_logits(terms["z"])
        likelihood = ops.sum(flatten(images) * logits - ops.softplus(logits), axis=-1)
        kl = terms["log_q0"] - terms["log_det"] - self.log_prior(terms["z"])
        return {**terms, "log_likelihood": likelihood, "kl": kl}

    def log_prior(self, latents: Any) -> Any:
        """``log p(z)`` ``(...)`` in nats of latents ``(..., D)``."""
        if self.prior is None:
            return self.sampling.prior_log_prob(latents)
        base, log_det = self.prior.inverse_and_log_det(latents)
        return self.sampling.prior_log_prob(base) + log_det

    def prior_latents(self, noise: Any) -> Any:
        """Map ``noise`` ``(n, D)`` through the flows of the prior, if any."""
        return noise if self.prior is None else self.prior.forward_and_log_det(noise)[0]

    def encode(self, images: Any, seed: int = 0) -> Any:
        """Draw one latent ``z_K`` ``(batch, D)`` per image."""
        noise = stream(seed, "encode").standard_normal((len(images), self.latent_dim), "float32")
        return self.posterior(images, ops.convert_to_tensor(noise))["z"]

    def decode_logits(self, latents: Any) -> Any:
        """Pixel logits ``(..., 784)`` for latents ``(..., D)``."""
        flat = ops.reshape(latents, (-1, self.latent_dim))
        return ops.reshape(self.decoder(flat), (*latents.shape[:-1], PIXELS))

    def decode(self, latents: Any) -> Any:
        """Pixel means ``(batch, 28, 28)`` for latents ``(batch, D)``."""
        logits = self.decode_logits(ops.convert_to_tensor(latents, dtype=self.compute_dtype))
        return ops.reshape(ops.sigmoid(logits), (-1, SIDE, SIDE))

    def sample(self, n: int, seed: int = 0) -> Any:
        """Decode ``n`` draws from the prior: pixel means ``(n, 28, 28)``."""
        noise = stream(seed, "prior").standard_normal((n, self.latent_dim), "float32")
        return self.decode(self.prior_latents(noise))

    def reconstruct(self, images: Any, seed: int = 0) -> Any:
        """Decode one draw of each image's posterior: pixel means ``(batch, 28, 28)``."""
        return self.decode(self.encode(images, seed))

    def call(self, images: Any) -> Any:
        """:meth:`reconstruct`, with noise of the sampling layer."""
        shape = (ops.shape(images)[0], self.latent_dim)
        noise = keras.random.normal(shape, seed=self.sampling.generator)
        return self.decode(self.posterior(images, noise)["z"])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        arguments = {
            "latent_dim": self.latent_dim,
            "network": self.network,
            "hidden": self.hidden,
            "pattern": self.flow.pattern,
            "k": self.flow.k,
            "amortized": self.amortized,
            "seed": self.seed,
        }
        if self.prior is not None:
            arguments["prior"] = {
                "pattern": self.prior.pattern,
                "k": self.prior.k,
                "affine": self.prior.affine,
            }
        return {**super().get_config(), **arguments}


def flatten(images: Any) -> Any:
    """Images ``(..., 28, 28)`` or ``(..., 784)`` as float32 ``(..., 784)``."""
    images = ops.cast(images, "float32")
    if images.shape[-1] == PIXELS:
        return images
    return ops.reshape(images, (*images.shape[:-2], PIXELS))
