"""Memory of a training: shorter chunks, and what to lower."""

from typing import Any

from nflow_cli.config.schema import Config

CHUNK = 2**26  # numbers in a chunk, at most: 256 MB
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
    before = config.train.chunk or 1
    chunk = min(before, max(1, CHUNK // max(config.drawn, 1)))
    if chunk == before:
        return config, ""
    train: Any = config.train.model_copy(update={"chunk": chunk})
    line = f"train.chunk: {chunk:,} instead of {before:,}, to fit in memory"
    return config.model_copy(update={"train": train}), line


def remedy(config: Config) -> str:
    """Advice to lower one of the keys that set the memory of a training, with their values."""
    sizes = {
        f"{section}.{key}": getattr(getattr(config, section, None), key, None)
        for section, keys in LOWERED.items()
        for key in keys
    }
    return f"lower {' or '.join(f'{key} ({n:,})' for key, n in sizes.items() if n and n > 1)}"
