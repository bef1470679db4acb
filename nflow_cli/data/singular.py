"""Columns that determine each other: exact equations among them."""

import numpy as np

DEPENDENT = 1e-8  # eigenvalue of correlations, of terms that an equation holds among
INVOLVED = 0.05  # share of an equation's slope, of a column in it
MONOTONE = 1e-7  # rank correlation below 1 of a column and a function of it
MOST_TERMS, ROWS_A_TERM, MOST_ROWS = 1_500, 4, 20_000


def dependent_columns(x: np.ndarray) -> np.ndarray:
    """Columns ``(D,)`` of points ``(n, D)`` that an equation holds among.

    Linear ones; monotone functions of one column; and equations of the second degree, such as
    ``c = a b`` or ``c² = a² + b²``.
    """
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    if values[0] < DEPENDENT:
        return np.abs(vectors[:, 0]) > INVOLVED
    alike = _monotone(z)
    if alike.any():
        return alike
    return _of_second_degree(z[:MOST_ROWS], vectors / np.sqrt(values))


def _monotone(z: np.ndarray) -> np.ndarray:
    if z.shape[1] == 1:
        return np.zeros(1, bool)
    places = np.argsort(np.argsort(z, axis=0, kind="stable"), axis=0, kind="stable") / len(z)
    alike = np.abs(np.corrcoef(places.T))
    np.fill_diagonal(alike, 0)
    return alike.max(axis=0) > 1 - MONOTONE


def _of_second_degree(z: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """As of :func:`dependent_columns`; of many columns or few points none are sought."""
    w = z @ whitening  # else products of correlated columns are alike
    n, dim = w.shape
    i, j = np.triu_indices(dim)
    if not dim + len(i) <= min(MOST_TERMS, n // ROWS_A_TERM):
        return np.zeros(dim, bool)
    terms = np.column_stack([w, w[:, i] * w[:, j]])
    spread = terms.std(axis=0)
    terms = (terms - terms.mean(axis=0)) / spread
    values, vectors = np.linalg.eigh(terms.T @ terms / n)
    if values[0] >= DEPENDENT:
        return np.zeros(dim, bool)
    linear, products = np.split(vectors[:, 0] / spread, [dim])
    square = np.zeros((dim, dim))
    square[i, j] = products
    slopes = (linear + w @ (square + square.T)) @ whitening.T
    slope = np.sqrt(np.mean(slopes**2, axis=0))
    return slope > INVOLVED * slope.max()
