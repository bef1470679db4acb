"""Whether latents are normal: how far they are from N(0, I), and what chance alone does. No Keras.

Also which columns of a table depend most on others.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.evaluation.pit import band

_TINY, _HUGE = 1e-300, 1e300


def normality(latents: np.ndarray, columns: Sequence[str]) -> dict[str, Any]:
    """Judge the latents ``z = f^-1(x)`` of held-out rows, which are N(0, I) if ``x ~ q``.

    Two things are measured, each by its Kolmogorov-Smirnov distance ``sup |F_n - F|``: every column
    of ``z`` against N(0, 1), and ``|z|^2`` against chi-square with D degrees of freedom, which sees
    columns that are normal but not independent. There is no p-value: of enough rows any fit has one
    of 0, so it measures ``n``. The distance does not; the :func:`band` says how much of it is
    chance.

    Args:
        latents: ``(n, D)``. Rows that are not finite are left out.
        columns: The D names.

    Returns:
        Under ``normality``: the name of the ``worst_column``, its ``distance`` and the ``band`` of
        the largest of D distances; ``radius_distance`` of ``|z|^2`` and its ``radius_band``; how
        many rows were judged, ``n``, and how many were not, ``n_lost``. Without rows, the names and
        distances are None.
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


def worst_normality(latents: np.ndarray, columns: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Judge the latents ``(R, n, D)`` of members, each as :func:`normality` does.

    Returns:
        What it says of the member that is furthest from N(0, I), beside what chance does, with its
        number as ``member`` where there are several; and the number.
    """
    judged = [normality(of_one, columns)["normality"] for of_one in latents]
    worst = int(np.argmax([_excess(one) for one in judged]))
    member = {"member": worst} if len(judged) > 1 else {}
    return {"normality": {**judged[worst], **member}}, worst


def _excess(judged: Mapping[str, Any]) -> float:
    """Return the larger of the two distances beside their bands."""
    if not judged["n"]:
        return math.inf
    radius = judged["radius_distance"] / judged["radius_band"]
    return max(judged["distance"] / judged["band"], radius)


def distance(probabilities: np.ndarray) -> float:
    """Return ``sup |F_n - F|`` of n values, given ``F`` at each of them ``(n,)``."""
    ranks = np.arange(len(probabilities) + 1) / len(probabilities)
    ordered = np.sort(probabilities)
    return float(max(np.max(ranks[1:] - ordered), np.max(ordered - ranks[:-1])))


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Return ``P(Z <= z)`` of ``Z ~ N(0, 1)``, exact but for rounding."""
    return _erfc(z / -math.sqrt(2)) / 2


def chi_square_cdf(x: np.ndarray, dim: int) -> np.ndarray:
    """Return ``P(|z|^2 <= x)`` of ``z ~ N(0, I)`` in D dimensions, to 1e-12 for D up to 1,000.

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


def most_dependent(rows: np.ndarray, most: int) -> list[int]:
    """Return which columns of ``rows`` ``(n, D)`` depend most on another, at most so many.

    Those with the largest absolute rank correlation (Spearman's) with any other; of equal ones the
    first; in the order of the table. Rows that are not finite are left out.
    """
    dim = rows.shape[1]
    if dim <= most:
        return list(range(dim))
    finite = rows[np.isfinite(rows).all(axis=1)]
    ranks = np.stack([_ranks(column) for column in finite.T])
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    unit = ranks / np.where(length > 0, length, 1)  # a constant column depends on nothing
    correlation = np.abs(unit @ unit.T)
    np.fill_diagonal(correlation, 0)
    # Rounding does not decide between a column and its equal.
    strongest = np.round(correlation.max(axis=1), 12)
    return sorted(np.argsort(-strongest, kind="stable")[:most].tolist())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks about their mean 0; equal values share one."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place] - (len(values) + 1) / 2
