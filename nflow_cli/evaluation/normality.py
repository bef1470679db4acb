"""Normality of latents by Kolmogorov-Smirnov distances; the most dependent columns of a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.evaluation.pit import band

_TINY, _HUGE = 1e-300, 1e300


def normality(latents: np.ndarray, columns: Sequence[str]) -> dict[str, Any]:
    """Kolmogorov-Smirnov distances of the latents ``z = f^-1(x)`` of held-out rows from N(0, I).

    ``sup |F_n - F|`` of each column of ``z`` ``(n, D)`` against N(0, 1), and of ``|z|^2`` against
    chi-square with D degrees of freedom, which detects dependence of normal columns. The
    :func:`band` is the distance by chance; a p-value would be 0 for any fit with enough rows. Keys
    of ``normality`` as in docs/scores.md; without finite rows, but for their numbers, None.
    """
    finite = latents[np.isfinite(latents).all(axis=1)]
    n, dim = finite.shape
    if not n:
        unknown = ("worst_column", "distance", "band", "radius_distance", "radius_band")
        return {"normality": {**dict.fromkeys(unknown), "n": 0, "n_lost": len(latents)}}
    squares, distances = np.zeros(n), []
    for column in finite.T:
        z = column.astype(np.float64)
        with np.errstate(over="ignore"):
            squares += z**2
        distances.append(distance(normal_cdf(z)))
    worst = int(np.argmax(distances))
    judged = {
        "worst_column": columns[worst],
        "distance": distances[worst],
        "band": band(n, dim),
        "radius_distance": distance(chi_square_cdf(squares, dim)),
        "radius_band": band(n),
        "n": n,
        "n_lost": len(latents) - n,
    }
    return {"normality": judged}


def worst_normality(latents: np.ndarray, columns: Sequence[str]) -> dict[str, Any]:
    """:func:`normality` of the member with the largest distances, over latents ``(R, n, D)``, with
    its index as ``member`` if there are several.
    """
    judged = [normality(of_one, columns)["normality"] for of_one in latents]
    worst = int(np.argmax([_excess(one) for one in judged]))
    member = {"member": worst} if len(judged) > 1 else {}
    return {"normality": {**judged[worst], **member}}


def _excess(judged: Mapping[str, Any]) -> float:
    if not judged["n"]:
        return math.inf
    radius = judged["radius_distance"] / judged["radius_band"]
    return max(judged["distance"] / judged["band"], radius)


def distance(probabilities: np.ndarray) -> float:
    """``sup |F_n - F|`` of n values, given ``F`` at each of them ``(n,)``."""
    shares = np.arange(len(probabilities) + 1) / len(probabilities)
    ordered = np.sort(probabilities)
    return float(max(np.max(shares[1:] - ordered), np.max(ordered - shares[:-1])))


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """``P(Z <= z)`` of ``Z ~ N(0, 1)``, to rounding."""
    return _erfc(z / -math.sqrt(2)) / 2


def chi_square_cdf(x: np.ndarray, dim: int) -> np.ndarray:
    """``P(|z|^2 <= x)`` of ``z ~ N(0, I)`` in D dimensions, to 1e-12 for D up to 1,000.

    With ``y = x/2``: ``P = 1 - Σ y^a exp(-y) / Γ(a + 1)`` over ``a = 0, 1, …, D/2 - 1`` for an even
    D; for an odd one ``P = erf(√y) - Σ …`` over ``a = 1/2, 3/2, …, D/2 - 1``.
    """
    y = np.clip(x / 2, _TINY, _HUGE)
    log_y, beyond = np.log(y), _erfc(np.sqrt(y)) if dim % 2 else np.zeros_like(y)
    for a in np.arange(dim % 2 / 2, dim / 2):
        beyond += np.exp(a * log_y - y - math.lgamma(a + 1))
    return np.clip(1 - beyond, 0, 1)


def _erfc(x: np.ndarray) -> np.ndarray:
    # NumPy has none; this takes 0.1 µs a value.
    return np.fromiter(map(math.erfc, x.ravel().tolist()), float, x.size).reshape(x.shape)
