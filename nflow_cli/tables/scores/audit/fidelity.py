"""Likeness of draws to training rows, beside that of holdout rows, which is the ceiling."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.association import binned

MOST_COLUMNS = 100  # whose pairs are compared


class Score(Strict):
    """Score of draws, the mean over sets of them, beside that of holdout rows.

    Attributes:
        draws: Of draws.
        standard_error: Over the sets of draws; None of a single one.
        holdout: Of holdout rows.
    """

    draws: float
    standard_error: float | None
    holdout: float


class Tables(Strict):
    """Likeness of tables of counts: 1 minus the total variation distance to those of training rows.

    Attributes:
        columns: Of each column, its mean.
        pairs: Of each pair of columns, the mean.
        worst_columns: Columns with the least likeness of draws, and that likeness.
        worst_pairs: Pairs, alike.
    """

    columns: Score
    pairs: Score
    worst_columns: Mapping[str, float]
    worst_pairs: Sequence[tuple[str, str, float]]


def score_of(draws: Sequence[float], holdout: float) -> Score:
    """Score of sets of draws beside that of holdout rows."""
    error = None
    if len(draws) > 1:
        error = float(np.std(draws, ddof=1) / np.sqrt(len(draws)))
    return Score(draws=float(np.mean(draws)), standard_error=error, holdout=holdout)


def tables_of(
    kinds: Mapping[str, ColumnKind],
    train: np.ndarray,
    draws: Sequence[np.ndarray],
    holdout: np.ndarray,
    most: int = 5,
) -> Tables:
    """Likeness of sets of draws ``(n, C)`` and holdout rows ``(n, C)`` to training rows ``(N, C)``
    by their tables of one and two columns, numbers in bins of training quantiles.

    Sets and holdout are of one size: a small sample is less like its law.
    """
    by_set = [_likeness(kinds, train, rows) for rows in (*draws, holdout)]
    of_columns = np.array([columns for columns, _ in by_set])
    of_pairs = np.array([pairs for _, pairs in by_set])
    names = list(kinds)
    pairs = list(combinations(names[:MOST_COLUMNS], 2))
    mean_of_columns = of_columns[:-1].mean(axis=0)
    mean_of_pairs = of_pairs[:-1].mean(axis=0)
    return Tables(
        columns=score_of(of_columns[:-1].mean(axis=1).tolist(), float(of_columns[-1].mean())),
        pairs=score_of(
            of_pairs[:-1].mean(axis=1).tolist() if pairs else [1.0],
            float(of_pairs[-1].mean()) if pairs else 1.0,
        ),
        worst_columns={
            names[j]: float(mean_of_columns[j]) for j in np.argsort(mean_of_columns)[:most]
        },
        worst_pairs=[
            (*pairs[place], float(mean_of_pairs[place]))
            for place in np.argsort(mean_of_pairs)[:most]
        ],
    )


def _likeness(
    kinds: Mapping[str, ColumnKind], train: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Likeness of each column ``(C,)`` and of each pair of the first 100."""
    bins = [binned(kind, train[:, j], rows[:, j]) for j, kind in enumerate(kinds.values())]
    of_columns = [_overlap(*column) for column in bins]
    of_pairs = []
    for (first_train, first_rows), (train_bins, row_bins) in combinations(bins[:MOST_COLUMNS], 2):
        width = 1 + int(max(train_bins.max(), row_bins.max()))
        of_pairs.append(_overlap(first_train * width + train_bins, first_rows * width + row_bins))
    return np.array(of_columns), np.array(of_pairs)


def _overlap(train: np.ndarray, rows: np.ndarray) -> float:
    """``Σ min(p, q)`` of the shares of bins ``(N,)`` and ``(n,)``."""
    size = 1 + int(max(train.max(), rows.max()))
    p = np.bincount(train, minlength=size) / len(train)
    q = np.bincount(rows, minlength=size) / len(rows)
    return float(np.minimum(p, q).sum())


def outside(kinds: Mapping[str, ColumnKind], train: np.ndarray, rows: np.ndarray) -> float:
    """Share of the cells of rows ``(n, C)`` that no training row ``(N, C)`` is as: numbers beyond
    the least and the greatest, levels without one, gaps of columns without.
    """
    n_outside = 0
    for j, kind in enumerate(kinds.values()):
        known = train[:, j]
        cells = rows[:, j]
        is_gap = np.isnan(cells)
        if not np.isnan(known).any():
            n_outside += int(is_gap.sum())
        present = cells[~is_gap]
        if kind.kind == "levels":
            n_outside += int((~np.isin(present, known[known >= 0])).sum())
        elif not np.isnan(known).all():
            is_beyond = (present < np.nanmin(known)) | (present > np.nanmax(known))
            n_outside += int(is_beyond.sum())
    return n_outside / rows.size
