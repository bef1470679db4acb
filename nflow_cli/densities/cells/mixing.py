"""Weights of two densities of each column, by maximum likelihood. No Keras here."""

import numpy as np

STEPS = 60  # of bisection: from [0, 1] to rounding
ROUNDS = 100  # of expectation maximisation: no more is gained than noise


def scaled_weights(count: int, weights: np.ndarray | None) -> np.ndarray:
    """Return weights ``(n,)`` whose sum is the effective sample size ``(Σw)²/Σw²``.

    Args:
        count: How many rows there are, ``n``.
        weights: Of the rows, non-negative, not all 0; equal ones for ``None``.
    """
    if weights is None:
        return np.ones(count)
    return weights * (weights.sum() / np.square(weights).sum())


def mixing_weights(
    log_network: np.ndarray, log_marginal: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the weights ``w`` ``(D,)`` of the network beside the marginal, most likely on rows.

    Column j maximises ``Σ_i v_i log(w_j exp a_ij + (1 - w_j) exp b_ij)`` over
    ``[0, 1 - 1/(n + 1)]``, n the effective sample size. So the mixture is on these rows never worse
    than the marginal, and in no cell by more than ``-log(1 - w_j)``.

    Args:
        log_network: Log-probabilities ``a`` of cells in nats, ``(n, D)``, of rows not trained on.
            Cells that are NaN in one of the two, or -inf in both, are left out; a column with none
            left, or one where the network is no better, has weight 0.
        log_marginal: Those of the marginals, ``b``.
        weights: Of the rows ``(n,)``, ``v``; equal ones for ``None``.
    """
    scaled = scaled_weights(len(log_network), weights)
    return best_shares(log_network, log_marginal, scaled, 1 - 1 / (scaled.sum() + 1))


def member_weights(log_q: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the weights ``π`` ``(R,)`` of densities whose mixture is most likely on rows.

    They maximise ``Σ_i v_i log Σ_r π_r exp l_ri``, by expectation maximisation from equal weights.

    Args:
        log_q: Log-densities ``l`` ``(R, n)`` in nats, of rows not trained on. A row that no density
            gives a probability counts for nothing.
        weights: Of the rows ``(n,)``, ``v``; equal ones for ``None``.
    """
    count, known = len(log_q), np.isfinite(log_q).any(axis=0)
    v, found = scaled_weights(log_q.shape[1], weights)[known], np.full(count, 1 / count)
    if not v.sum():
        return found
    relative = np.exp(log_q[:, known] - log_q[:, known].max(axis=0))
    for _ in range(ROUNDS):
        shares = found[:, None] * relative
        found = (shares / shares.sum(axis=0)) @ v / v.sum()
    return found


def log_mixture(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return ``log(w e^a + (1 - w) e^b)`` of log-probabilities ``a``, ``b`` ``(…, D)``."""
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(weights) + first, np.log1p(-weights) + second)


def best_shares(first: np.ndarray, second: np.ndarray, weights: np.ndarray, most: float):
    """Return the ``w`` ``(D,)`` in ``[0, most]`` that maximise ``Σ v log(w e^a + (1 - w) e^b)``.

    The sum is concave in w: its slope is bisected.

    Args:
        first: ``a`` ``(n, D)``.
        second: ``b`` ``(n, D)``.
        weights: ``v`` ``(n,)``.
        most: Below 1.
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
    for _ in range(STEPS):
        middle = (low + high) / 2
        rising = weights @ (gain / (base + middle * gain)) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return low
