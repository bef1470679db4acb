"""Mixture weights by maximum likelihood."""

import numpy as np

from nflow_cli.densities.cells.heads import LogCells

BISECTIONS = 60  # bisection steps: [0, 1] down to rounding
EM_ROUNDS = 100  # EM iterations; later gains are below noise


def scaled_weights(count: int, weights: np.ndarray | None) -> np.ndarray:
    """Row weights ``(n,)`` that sum to the effective sample size ``(Σw)²/Σw²``."""
    if weights is None:
        return np.ones(count)
    return weights * (weights.sum() / np.square(weights).sum())


def mixing_weights(
    network: LogCells, marginal: LogCells, weights: np.ndarray | None = None
) -> np.ndarray:
    """Weights ``w`` ``(D,)`` of the network against the marginal, of maximum posterior density.

    Column j maximises ``log w_j + Σ_i v_i log(w_j exp a_ij + (1 - w_j) exp b_ij)`` over
    ``[0, 1 - 1/(n + 1)]``, n the effective sample size; with gaps the same of presence, plus that
    of values. The prior is Beta(2, 1): one more cell, possible by the network alone.

    Args:
        network: Log-probabilities ``a`` ``(n, D)`` of held-out cells, in nats. Cells NaN in
            either, or -inf in both, are left out.
        marginal: ``b``.
        weights: Row weights ``v`` ``(n,)``, or ``None``.
    """
    scaled = scaled_weights(len(network.masses), weights)
    most = 1 - 1 / (scaled.sum() + 1)
    v, row = np.append(np.tile(scaled, 2), 1.0), np.zeros((1, network.masses.shape[1]))
    first, second = (
        np.concatenate([one.presence, one.masses - one.presence, row + last])
        for one, last in ((network, 0.0), (marginal, -np.inf))
    )
    return best_shares(first, second, v, most)


def member_weights(log_q: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Maximum-likelihood mixture weights ``π`` ``(R,)`` of densities.

    They maximise ``Σ_i v_i log Σ_r π_r exp l_ri``, by EM from equal weights. ``log_q``:
    log-densities ``l`` ``(R, n)`` in nats of held-out rows; rows impossible by all are left out.
    ``weights``: ``v`` ``(n,)``.
    """
    count, known = len(log_q), np.isfinite(log_q).any(axis=0)
    v, found = scaled_weights(log_q.shape[1], weights)[known], np.full(count, 1 / count)
    if not v.sum():
        return found
    relative = np.exp(log_q[:, known] - log_q[:, known].max(axis=0))
    for _ in range(EM_ROUNDS):
        shares = found[:, None] * relative
        found = (shares / shares.sum(axis=0)) @ v / v.sum()
    return found


def best_shares(first: np.ndarray, second: np.ndarray, weights: np.ndarray, most: float):
    """``w`` ``(D,)`` in ``[0, most]`` that maximise ``Σ v log(w e^a + (1 - w) e^b)``.

    Concave in w: its slope is bisected. ``a``, ``b`` are ``(n, D)``, ``v`` ``(n,)``, ``most`` below
    1.
    """
    with np.errstate(invalid="ignore"):  # -inf in both
        difference = first - second
    known = ~np.isnan(difference)
    smaller = np.exp(-np.abs(np.where(known, difference, 0.0)))  # of the two, beside the larger
    better = difference > 0
    gain = np.where(known, np.where(better, 1 - smaller, smaller - 1), 0.0)
    base = np.where(known & better, smaller, 1.0)
    low, high = np.zeros(gain.shape[1]), np.full(gain.shape[1], most)
    low = np.where(weights @ (gain / (base + high * gain)) > 0, high, low)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rising = weights @ (gain / (base + middle * gain)) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return low
