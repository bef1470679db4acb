"""Annealing of the training objective."""

from typing import Any

from keras import ops


def inverse_temperature(update: Any, anneal_updates: Any, start: float) -> Any:
    """``β_t``, linear from ``start`` to 1 over ``anneal_updates`` updates.

    The annealed objective has ``β_t log p`` in place of ``log p``; in the paper
    ``β_t = min(1, 0.01 + t/10000)`` (arXiv 1505.05770, eq. 20).
    """
    if isinstance(anneal_updates, int) and anneal_updates == 0:
        return ops.ones_like(ops.cast(update, "float32"))
    fraction = ops.cast(update, "float32") / anneal_updates
    return ops.clip(start + (1 - start) * fraction, start, 1.0)
