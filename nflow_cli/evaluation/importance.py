"""Importance weights of samples: what they say of a fit, in bounded memory. No Keras here."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

BLOCK = 2**20  # numbers at a time, in float64

Function = Callable[[np.ndarray], np.ndarray]


def score(ratios: np.ndarray, log_z: float | None) -> dict[str, Any]:
    """Judge ``q`` by ``ratios = log q - log p`` at its own samples; all scores in nats.

    With ``w = p/q``: ``kl = E[-log w]``; the effective sample size ``ess = (Σw)^2 / (n Σw^2)``;
    and ``estimated_log_z = log_z + log E[w]``, which estimates ``log ∫ exp(-U)`` where ``q`` covers
    ``p``, and is too small where it does not. Each has its ``*_standard_error``, for the last two
    by the delta method; those say little where one sample's part of ``Σw^2``, ``largest_weight``,
    is large, or the tail of the weights is heavy, ``pareto_k`` (:func:`pareto_k`). Where ``log_z``
    is not known (``None``), ``kl`` is not either, and ``free_energy`` is what ``E[-log w]``
    estimates.
    """
    n, shift, root = len(ratios), float(np.min(ratios)), math.sqrt(len(ratios))

    def w(block: np.ndarray) -> np.ndarray:
        return np.exp(shift - block)  # scaled so that the largest is 1

    average, first = mean(ratios), mean(ratios, w)
    second = mean(ratios, lambda block: w(block) ** 2)
    ess = first**2 / second

    def share(block: np.ndarray) -> np.ndarray:
        return w(block) / first

    def influence(block: np.ndarray) -> np.ndarray:  # of a sample on log(ess)
        return 2 * share(block) - w(block) ** 2 / second

    return {
        "kl": None if log_z is None else average,
        "kl_standard_error": standard_deviation(ratios, ddof=1) / root,
        "free_energy": average - (log_z or 0.0),
        "ess": ess,
        "largest_weight": 1 / second / n,
        "pareto_k": pareto_k(ratios),
        "ess_standard_error": ess * standard_deviation(ratios, influence) / root,
        "estimated_log_z": float((log_z or 0.0) + np.log(first) - shift),
        "log_z_standard_error": standard_deviation(ratios, share) / root,
    }


def pareto_k(ratios: np.ndarray) -> float:
    """Return k-hat, the shape of a generalised Pareto tail fitted to the largest of weights.

    Of ``n`` weights ``exp(-ratios)`` the tail holds ``min(n/5, 3 √n)``. Moments of the weights of
    order ``1/k`` and above are infinite: above 0.7 what is estimated by importance sampling is not
    reliable (Vehtari, Simpson, Gelman, Yao & Gabry 2024, arXiv 1507.02646). The fit is that of
    Zhang & Stephens 2009, with their weak prior towards 0.5. 0 where the weights are equal.
    """
    count = min(len(ratios) // 5, math.ceil(3 * math.sqrt(len(ratios))))
    largest = np.empty(0)
    for block in _blocks(ratios):
        largest = np.concatenate([largest, -block])
        if len(largest) > count + 1:
            largest = np.partition(largest, -count - 1)[-count - 1 :]
    scaled = np.sort(np.exp(largest - largest.max()))
    x = scaled[1:] - scaled[0]
    if not x[-1] > 1e-6:  # equal but for rounding; or not finite
        return 0.0 if np.isfinite(x[-1]) else math.nan
    x = np.maximum(x, 1e-30 * x[-1])
    i = np.arange(1, 30 + math.isqrt(count) + 1)
    quartile = x[int(count / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(len(i) / (i - 0.5))) / (3 * quartile)
    k = np.log1p(-theta[:, None] * x).mean(axis=1)
    log_likelihood = count * (np.log(-theta / k) - k - 1)
    with np.errstate(over="ignore"):  # of one that is that unlikely the weight is 0
        weight = 1 / np.exp(log_likelihood - log_likelihood[:, None]).sum(axis=1)
    shape = float(np.log1p(-np.sum(theta * weight) * x).mean())
    return (count * shape + 10 * 0.5) / (count + 10)


def mean(values: np.ndarray, function: Function = np.asarray) -> float:
    """Return the mean of a function of values ``(n,)``, computed in float64."""
    return float(sum(function(block).sum() for block in _blocks(values)) / len(values))


def standard_deviation(values: np.ndarray, function: Function = np.asarray, ddof: int = 0) -> float:
    """Return the standard deviation of a function of values ``(n,)``, computed in float64."""
    centre = mean(values, function)
    squares = sum(((function(block) - centre) ** 2).sum() for block in _blocks(values))
    return float(np.sqrt(squares / (len(values) - ddof)))


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK].astype(np.float64)
