"""Annealing of the training objective."""

from typing import Any

import numpy as np
from keras import ops


def inverse_temperature(update: Any, anneal_updates: int, start: float) -> Any:
    """``β_t``, linear from ``start`` to 1 over ``anneal_updates`` updates.

    The annealed objective has ``β_t log p`` in place of ``log p``; in the paper
    ``β_t = min(1, 0.01 + t/10000)`` (arXiv 1505.05770, eq. 20).
    """
    if anneal_updates == 0:
        return ops.ones_like(ops.cast(update, "float32"))
    return rising(update, rise(anneal_updates, start), start)


def rise(anneal_updates: int, start: float) -> float:
    """Rise of ``β`` in an update, ``(1 - start)/anneal_updates``, rounded as XLA's constants."""
    return float(np.float32(1 - start) * (np.float32(1) / np.float32(anneal_updates)))


def rising(update: Any, step: Any, start: float) -> Any:
    """``β_t = min(1, start + step t)``."""
    return ops.clip(start + step * ops.cast(update, "float32"), start, 1.0)
