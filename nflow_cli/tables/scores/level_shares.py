"""Shares of levels among the rows in one bin of another column, in rows against samples."""

from collections.abc import Mapping
from itertools import pairwise, permutations

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.strict import Strict, Text
from nflow_cli.evaluation.association import (
    CHANCE,
    COMPARED,
    LOST,
    MISSING,
    MOST_GROUPS,
    bin_ends,
    binned,
    grouped,
)
from nflow_cli.evaluation.tallies import effective

LEAST_TOTAL = 1e-9  # rows of a bin without any


class LostShare(Strict):
    """Share of a level, among the rows in one bin of another column, that draws lose.

    Attributes:
        level: Column and level, in words.
        among: Other column and bin, in words.
        rows: Share in rows.
        draws: Share in draws.
        standard_error: Of their difference, were both of one law.
    """

    level: Text
    among: Text
    rows: float
    draws: float
    standard_error: float


def lost_shares(
    kinds: Mapping[str, ColumnKind],
    rows: np.ndarray,
    draws: np.ndarray,
    weights: np.ndarray | None = None,
    n_given: int = 0,
) -> list[LostShare]:
    """Shares of levels that draws ``(m, C)`` lose among the rows in one bin of another column, the
    most lost first: thresholds, for example, which hardly show in an association.

    Of each pair of the first 100 columns, dates aside, the level and bin whose shares in rows
    ``(n, C)`` and draws differ most, by more than 0.1, of those with a likelihood ratio of two
    binomial laws against one that is beyond chance at the 1 % level over all levels and bins, by
    the bound ``P(log ratio > t) < 2 exp(-t)``. Rows have ``weights`` ``(n,)``; pairs of the first
    ``n_given`` columns are left out.
    """
    names = list(kinds)[:COMPARED]
    cells = {name: (kinds[name], rows[:, j], draws[:, j]) for j, name in enumerate(names)}
    bins = {name: binned(*cells[name]) for name in names}
    tables = {}
    for of_level, of_bins in permutations(names, 2):
        are_given = max(names.index(of_level), names.index(of_bins)) < n_given
        is_date = kinds[of_bins].type in ("date", "time")
        if kinds[of_level].kind == "levels" and not (are_given or is_date):
            tables[of_level, of_bins] = _shares(bins[of_level], bins[of_bins], weights)
    n_compared = sum(table[0].size for table in tables.values())
    least = np.log(2 * max(n_compared, 1) / CHANCE)
    found = []
    for (of_level, of_bins), (in_rows, in_draws, errors, log_ratios) in tables.items():
        differences = np.where(log_ratios > least, np.abs(in_rows - in_draws), 0.0)
        place = np.unravel_index(differences.argmax(), differences.shape)
        if differences[place] > LOST:
            share = LostShare(
                level=_bin_texts(of_level, *cells[of_level])[place[0]],
                among=_bin_texts(of_bins, *cells[of_bins])[place[1]],
                rows=float(in_rows[place]),
                draws=float(in_draws[place]),
                standard_error=float(errors[place]),
            )
            found.append(share)
    return sorted(found, key=lambda share: -abs(share.rows - share.draws))


def _shares(
    levels: tuple[np.ndarray, np.ndarray],
    bins: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares of levels within each bin ``(levels, bins)`` in rows and in draws, standard errors of
    their differences, and log likelihood ratios in nats; ``levels`` and ``bins`` of rows ``(n,)``
    and of draws ``(m,)``.
    """
    n_levels = 1 + max(int(part.max()) for part in levels)
    n_bins = 1 + max(int(part.max()) for part in bins)
    counts = []
    for of_levels, of_bins, part_weights in zip(levels, bins, (weights, None)):
        places = of_levels * n_bins + of_bins
        count = np.bincount(places, part_weights, n_levels * n_bins).reshape(n_levels, n_bins)
        scale = 1.0 if part_weights is None else effective(part_weights) / part_weights.sum()
        counts.append(count * scale)
    in_rows, in_draws = counts
    n = np.maximum(in_rows.sum(axis=0), LEAST_TOTAL)
    m = np.maximum(in_draws.sum(axis=0), LEAST_TOTAL)
    pooled = (in_rows + in_draws) / (n + m)
    of_rows = in_rows / n
    of_draws = in_draws / m
    log_ratios = n * _divergences(of_rows, pooled) + m * _divergences(of_draws, pooled)
    errors = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return of_rows, of_draws, errors, log_ratios


def _divergences(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergences in nats of Bernoulli laws of probabilities ``p`` and ``q``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_one = np.where(p > 0, p * np.log(p / q), 0.0)
        of_zero = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
    return of_one + of_zero


def _bin_texts(name: str, kind: ColumnKind, rows: np.ndarray, draws: np.ndarray) -> list[str]:
    """Each bin of a column, as of :func:`~nflow_cli.evaluation.association.binned`, in words."""
    if kind.kind == "levels":
        groups = grouped(kind, rows, draws, MOST_GROUPS).names
        return [f"{name} is {group}" for group in groups]
    ends = [f"{end:g}" for end in bin_ends(rows)]
    if not ends:
        return [f"{name} is known", f"{name} is {MISSING}"]
    between = [f"{name} is above {low} and at most {high}" for low, high in pairwise(ends)]
    texts = [f"{name} is at most {ends[0]}", *between, f"{name} is above {ends[-1]}"]
    return [*texts, f"{name} is {MISSING}"]
