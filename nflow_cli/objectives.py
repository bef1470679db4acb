"""What training minimises: the free energy of a flow, and its annealing."""

from typing import Any

from keras import ops


def reverse_kl(log_q0: Any, log_det: Any, log_p: Any) -> Any:
    """Return ``log q_K(z_K) - log p(z_K) = log q0(z_0) - log_det - log p(z_K)`` in nats.

    Its mean over base samples estimates ``KL(q_K || p)`` where ``p`` is normalised, else the free
    energy ``KL - log Z`` (arXiv 1505.05770, eq. 15).
    """
    return log_q0 - log_det - log_p


def inverse_temperature(update: Any, anneal_updates: int, start: float) -> Any:
    """Return ``β_t``, which rises linearly from ``start`` to 1 in ``anneal_updates`` updates.

    The objective at update ``t`` has ``β_t log p`` in place of ``log p``: ``β_t = min(1, 0.01 +
    t/10000)`` in the paper (arXiv 1505.05770, eq. 20).
    """
    if anneal_updates == 0:
        return ops.ones_like(ops.cast(update, "float32"))
    fraction = ops.cast(update, "float32") / anneal_updates
    return ops.clip(start + (1 - start) * fraction, start, 1.0)
