"""Memory estimates: shorter chunks, or a refusal."""

import os
from typing import Any, NamedTuple

from nflow_cli.config.flow_schema import Flow
from nflow_cli.config.schema import Config
from nflow_cli.config.vae_schema import PIXELS, VAEConfig
from nflow_cli.errors import ConfigError

CHUNK = 2**26  # numbers in a chunk, at most: 256 MB
DRAWN_AHEAD = 3  # chunks in memory at once
# Numbers that an update keeps, approximately.
OF_A_SAMPLE = 30  # whatever the flows
OF_AN_OUTPUT = 3  # the output, its gradient, and that of its input
CONVOLVED = 200_000  # outputs of a convolutional encoder and decoder, per image
UNITS = {"relu": 1, "maxout": 4}  # outputs of a layer per unit


class Footprint(NamedTuple):
    """Memory of an update, without the weights, which are bounded.

    Attributes:
        samples: Of an update.
        drawn: Numbers of a chunk per sample: a point; an image and its noise.
        kept: Approximate numbers that an update keeps per sample.
    """

    samples: int
    drawn: int
    kept: float


def of_flows(flow: Flow, dim: int) -> float:
    """Approximate numbers that flows keep per sample ``(dim,)``."""
    return OF_A_SAMPLE + flow.kept(dim)


def of_vae(config: VAEConfig) -> float:
    """Approximate numbers that a VAE keeps per image."""
    dim = config.model.latent_dim
    of_prior = config.prior.kept(dim) if config.prior else 0
    return of_flows(config.flow, dim) + of_prior + OF_AN_OUTPUT * _outputs(config)


def bounded(config: Config, footprint: Footprint | None) -> tuple[Config, str]:
    """Shorten chunks to at most ``CHUNK`` numbers, or to one update.

    The noise of an update depends on the chunk: a recorded run keeps its own.

    Returns:
        The config, and a line about the change, or "".
    """
    if footprint is None:
        return config, ""
    before = config.train.chunk or 1
    chunk = min(before, max(1, CHUNK // (footprint.samples * footprint.drawn)))
    if chunk == before:
        return config, ""
    train: Any = config.train.model_copy(update={"chunk": chunk})
    line = f"train.chunk: {chunk:,} instead of {before:,}, to fit in memory"
    return config.model_copy(update={"train": train}), line


def expect_memory(config: Config, footprint: Footprint | None) -> None:
    """Check that this machine has enough memory for an update, roughly."""
    if footprint is None:
        return
    drawn = DRAWN_AHEAD * (config.train.chunk or 1) * footprint.drawn
    needed = 4 * footprint.samples * (footprint.kept + drawn)  # bytes
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ConfigError(
            f"not enough memory: an update takes about {needed / 1e9:,.0f} GB, and this machine "
            f"has {there / 1e9:,.0f}; a smaller train.batch_size or flow.k, or fewer "
            "train.restarts take less"
        )


def _outputs(config: VAEConfig) -> int:
    model, flow = config.model, config.flow
    dim = model.latent_dim
    of_context = flow.weights(dim, width=1) - flow.weights(dim) if flow.amortized else 0
    if model.network == "gated-conv":
        return CONVOLVED + of_context
    return 2 * UNITS[model.network] * sum(model.hidden) + 2 * PIXELS + of_context
