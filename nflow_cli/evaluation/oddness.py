"""Odd cells and rows: tail probabilities, p-values among held-out rows, false discovery rates."""

import numpy as np

TIES = 1e-9  # relative: closer probabilities are equal
SPREAD_LEVEL = 0.9  # of the quantile of held-out rows that is one spread above their median


def two_sided(below: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``min(1, 2 min(P(X <= x), P(X >= x)))``, given ``P(X < x)`` and ``P(X = x)``, each ``(n,)``.

    It is the same after any monotone map of X.
    """
    return np.minimum(1.0, 2 * np.minimum(below + at, 1 - below))


def no_likelier(p: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Probability ``(n,)`` of an outcome no likelier than one of ``p`` ``(n,)``; NaN if unknown.

    ``outcomes`` are the probabilities ``(n, L)`` of all outcomes.
    """
    total = np.where(outcomes <= p[:, None] * (1 + TIES), outcomes, 0.0).sum(axis=1)
    return np.where(np.isnan(p), np.nan, total)


def p_values(odd: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """``(1 + #{held-out rows at least as odd}) / (n + 1)`` of rows ``(N,)`` among n held-out rows.

    Whatever measures the oddness, ``P(p <= t) <= t`` for a row exchangeable with the held-out ones
    (conformal p-values; Vovk, Gammerman & Shafer 2005).
    """
    count = len(held_out)
    return (1 + count - np.searchsorted(np.sort(held_out), odd)) / (count + 1)


def expected_share(n: np.ndarray, level: float) -> np.ndarray:
    """``P(p <= level)`` of a p-value among n held-out rows, without ties."""
    return np.floor(level * (n + 1) * (1 + TIES)) / (n + 1)


def adjusted(p: np.ndarray) -> np.ndarray:
    """P-values ``(N,)`` adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    Of the rows with an adjusted value of at most t, the expected share of rows like the held-out
    ones is at most t; also if all have the same held-out rows (Bates et al. 2023, Annals of
    Statistics 51, 149-178).
    """
    order = np.argsort(p)
    scaled = p[order] * (len(p) / np.arange(1, len(p) + 1))
    adjusted_p = np.empty(len(p))
    adjusted_p[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(adjusted_p, 1.0)


def in_spreads(measures: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Largest of the measures ``(n, m)`` of each row, each less its median over held-out rows
    ``(N, m)``, in units of the distance from there to their 0.9 quantile: one number ``(n,)``.

    A measure that is equal in most held-out rows stays as it is.
    """
    if not len(held_out):
        return measures.max(axis=1)
    median, high = np.quantile(held_out, [0.5, SPREAD_LEVEL], axis=0)
    spread = high - median
    return ((measures - median) / np.where(spread > 0, spread, 1.0)).max(axis=1)
