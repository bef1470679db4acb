"""What a training takes of memory: chunks short enough for it, or a refusal. No Keras here."""

import os
from typing import Any

from nflow_cli.errors import ConfigError
from nflow_cli.schema import PIXELS

CHUNK = 2**26  # numbers in a chunk at most: 256 MB
DRAWN_AHEAD = 3  # chunks in memory at once
# Roughly, how many numbers an update keeps.
OF_A_SAMPLE = 30  # whatever the flows
OF_A_FLOW = 2.5  # of each coordinate of a sample
OF_AN_OUTPUT = 3  # it, and the gradients of it and of what it was computed from
CONVOLVED = 200_000  # outputs of a convolutional encoder and decoder, for an image
UNITS = {"relu": 1, "maxout": 4}  # outputs of a layer for each unit of its width


def bounded(config: Any) -> tuple[Any, str]:
    """Shorten chunks to at most ``CHUNK`` numbers, or to one update.

    The chunk decides on the noise of an update: a run on record keeps its own.

    Returns:
        The config, and a line that tells what was shortened, or "".
    """
    before = config.train.chunk
    chunk = min(before, max(1, CHUNK // (_samples(config) * _drawn(config))))
    if chunk == before:
        return config, ""
    train = config.train.model_copy(update={"chunk": chunk})
    line = f"train.chunk: {chunk:,} in place of {before:,}, for memory"
    return config.model_copy(update={"train": train}), line


def expect_memory(config: Any) -> None:
    """See that this machine has the memory that an update takes, roughly.

    Raises:
        ConfigError: If it has not.
    """
    needed = _needed(config)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ConfigError(
            f"not enough memory: an update takes about {needed / 1e9:,.0f} GB, and this machine "
            f"has {there / 1e9:,.0f}; a smaller train.batch_size or flow.k, or fewer "
            "train.restarts take less"
        )


def _samples(config: Any) -> int:
    """Return how many samples an update takes."""
    return config.train.batch_size * getattr(config.train, "restarts", 1)


def _drawn(config: Any) -> int:
    """Return how many numbers of a chunk are of one sample: a point; an image and its noise."""
    return 2 if config.command == "fit-2d" else PIXELS + config.model.latent_dim


def _needed(config: Any) -> float:
    """Return about how many bytes an update takes, and what is drawn ahead; weights are bounded."""
    kept = OF_A_SAMPLE + OF_A_FLOW * config.flow.k * config.dim
    if config.command == "train-vae":
        kept += OF_AN_OUTPUT * _outputs(config)
    drawn = DRAWN_AHEAD * config.train.chunk * _drawn(config)
    return 4 * _samples(config) * (kept + drawn)


def _outputs(config: Any) -> int:
    """Return about how many outputs the layers of a VAE have for one image."""
    model, flow = config.model, config.flow
    of_flows = flow.k * (2 * model.latent_dim + 1) if flow.amortized else 0
    if model.network == "gated-conv":
        return CONVOLVED + of_flows
    return 2 * UNITS[model.network] * sum(model.hidden) + 2 * PIXELS + of_flows
