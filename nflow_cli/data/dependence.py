"""Columns that determine each other: exact equations among them."""

import numpy as np

LEAST = 1e-8  # eigenvalue of correlations, of terms that an equation holds among
INVOLVED = 0.05  # of the largest slope of an equation, that of a column in it
MONOTONE = 1e-7  # rank correlation below 1 of a column and a function of it
MOST_TERMS = 1_500  # of an equation of the second degree,
ROWS_A_TERM = 4  # rows for each at least
MOST_ROWS = 20_000  # and at most


def dependent(x: np.ndarray, given: int = 0) -> np.ndarray:
    """Columns ``(D - G,)`` of points ``(n, D)`` that depend linearly on each other or on the first
    G, ``given``, which may be dependent and are regressed out.
    """
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    basis = np.linalg.qr(z[:, :given])[0]
    rest = z[:, given:] - basis @ (basis.T @ z[:, given:])
    spread = rest.std(axis=0)
    if (spread**2 <= LEAST).any():
        return spread**2 <= LEAST
    values, vectors = np.linalg.eigh(_correlations(rest))
    slopes = np.abs(vectors[:, 0])
    return (slopes > INVOLVED * slopes.max()) & (values[0] <= LEAST)


def determined(x: np.ndarray) -> np.ndarray:
    """Columns ``(D,)`` of points ``(n, D)`` in a linear equation; else monotone functions of one
    another; else those in an equation of the second degree, as ``c = a b`` or ``c² = a² + b²``.
    """
    for rule in (dependent, _monotone, _in_squares):
        columns = rule(x)
        if columns.any():
            return columns
    return np.zeros(x.shape[1], bool)


def _correlations(x: np.ndarray) -> np.ndarray:
    return np.corrcoef(x.T).reshape(2 * [x.shape[1]])


def _monotone(x: np.ndarray) -> np.ndarray:
    ranks = np.argsort(np.argsort(x, axis=0, kind="stable"), axis=0, kind="stable")
    correlations = np.abs(_correlations(ranks))
    np.fill_diagonal(correlations, 0)
    return correlations.max(axis=0) > 1 - MONOTONE


def _in_squares(x: np.ndarray) -> np.ndarray:
    """Of linearly independent columns; of many or of few points none are sought."""
    z = ((x - x.mean(axis=0)) / x.std(axis=0))[:MOST_ROWS]
    n, dim = z.shape
    i, j = np.triu_indices(dim)
    if not dim + len(i) <= min(MOST_TERMS, n // ROWS_A_TERM):
        return np.zeros(dim, bool)
    values, vectors = np.linalg.eigh(_correlations(x))
    whitening = vectors / np.sqrt(values)  # else products of correlated columns are alike
    w = z @ whitening
    terms = np.column_stack([w, w[:, i] * w[:, j]])
    values, vectors = np.linalg.eigh(_correlations(terms))
    if values[0] >= LEAST:
        return np.zeros(dim, bool)
    linear, products = np.split(vectors[:, 0] / terms.std(axis=0), [dim])
    square = np.zeros((dim, dim))
    square[i, j] = products
    slopes = (linear + w @ (square + square.T)) @ whitening.T
    slopes = np.sqrt(np.mean(slopes**2, axis=0))
    return slopes > INVOLVED * slopes.max()
