"""Memory estimates: shorter chunks, or a refusal."""

import os
from typing import Any

from nflow_cli.config.schema import Config
from nflow_cli.errors import ConfigError

CHUNK = 2**26  # numbers in a chunk, at most: 256 MB
DRAWN_AHEAD = 3  # chunks in memory at once
LOWERED = {
    "train": ("batch_size", "restarts", "ensemble"),
    "flow": ("k",),
    "prior": ("k",),
    "cells": ("width",),
}


def bounded(config: Config) -> tuple[Config, str]:
    """Shorten chunks to at most ``CHUNK`` numbers, or to one update, and say so in a line, or "".

    The noise of an update depends on the chunk: a recorded run keeps its own.
    """
    footprint = config.footprint
    if footprint is None:
        return config, ""
    before = config.train.chunk or 1
    chunk = min(before, max(1, CHUNK // (footprint.samples * footprint.drawn)))
    if chunk == before:
        return config, ""
    train: Any = config.train.model_copy(update={"chunk": chunk})
    line = f"train.chunk: {chunk:,} instead of {before:,}, to fit in memory"
    return config.model_copy(update={"train": train}), line


def expect_memory(config: Config) -> None:
    """Check that this machine has enough memory for an update, roughly."""
    footprint = config.footprint
    if footprint is None:
        return
    drawn = DRAWN_AHEAD * (config.train.chunk or 1) * footprint.drawn
    needed = 4 * footprint.samples * (footprint.kept + drawn)  # bytes
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ConfigError(
            f"not enough memory: an update takes about {needed / 1e9:,.0f} GB, and this machine "
            f"has {there / 1e9:,.0f}; {remedy(config)}"
        )


def remedy(config: Config) -> str:
    """Advice to lower one of the keys that set the memory of a training, with their values."""
    sizes = {
        f"{section}.{key}": getattr(getattr(config, section, None), key, None)
        for section, keys in LOWERED.items()
        for key in keys
    }
    return f"lower {' or '.join(f'{key} ({n:,})' for key, n in sizes.items() if n and n > 1)}"
