"""Area under the ROC curve of the probabilities of levels, by counts that add up over parts.

The log-odds of a level are counted in cells of 1/256 nat up to 16 nats, which tells apart
probabilities from 1e-7 to 1 - 1e-7 whose odds differ by 0.4 %: those of one cell count as equal.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

PER_NAT = 256  # cells of a nat
FAR = 16  # largest log-odds that have cells of their own
MOST_LEVELS = 50  # of a column with an area: a part's counts are few megabytes

Counts = Mapping[str, int]  # by cell, as JSON has it


def ranked(shares: np.ndarray, levels: np.ndarray) -> dict[str, Counts]:
    """Counts of the log-odds of each level by probabilities ``(n, L)``, of the rows that have it
    and of the others, by names; levels ``(n,)`` from 0. Of two levels the second alone.
    """
    count = shares.shape[1]
    if count > MOST_LEVELS:
        return {}
    with np.errstate(divide="ignore"):
        log_odds = np.log(shares) - np.log1p(-np.minimum(shares, 1.0))
    cells = np.floor(PER_NAT * np.clip(log_odds, -FAR, FAR)).astype(int)
    ranks: dict[str, Counts] = {}
    first = 1 if count == 2 else 0
    for level in range(first, count):
        has_level = levels == level
        ranks[f"{level}"] = _counts(cells[has_level, level])
        ranks[f"not {level}"] = _counts(cells[~has_level, level])
    return ranks


def _counts(cells: np.ndarray) -> Counts:
    values, counts = np.unique(cells, return_counts=True)
    return dict(zip(map(str, values.tolist()), counts.tolist()))


def summed(parts: Iterable[Counts]) -> Counts:
    """Counts of the rows of all parts."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def area(ranks: Mapping[str, Counts]) -> dict[str, float | None]:
    """Area under the ROC curve by :func:`ranked` counts: ``P(own > other) + P(own = other)/2``.

    Of more than two levels the mean over those that rows have of the area of one against the rest,
    weighted by their shares of rows. The standard error, of two levels, is that of DeLong et al.
    (1988); ``None`` of more. Empty where all rows have one level.
    """
    areas = []
    weights = []
    error = None
    for name in ranks:
        if not name.startswith("not ") and ranks[name] and ranks[f"not {name}"]:
            level_area, error = _area(ranks[name], ranks[f"not {name}"])
            areas.append(level_area)
            weights.append(sum(ranks[name].values()))
    if not areas:
        return {}
    if len(ranks) > 2:
        error = None
    return {"auc": float(np.average(areas, weights=weights)), "auc_standard_error": error}


def _area(with_level: Counts, without: Counts) -> tuple[float, float | None]:
    """Area of a level and its standard error; ``None`` of a single row with or without it."""
    cells = sorted({*with_level, *without}, key=int)
    a = np.array([with_level.get(cell, 0) for cell in cells])
    b = np.array([without.get(cell, 0) for cell in cells])
    n = int(a.sum())
    m = int(b.sum())
    below = (np.cumsum(b) - b / 2) / m  # rows without the level, for each with it
    above = 1 - (np.cumsum(a) - a / 2) / n  # rows with the level, for each without
    estimate = float(a @ below) / n
    if n == 1 or m == 1:
        return estimate, None
    variance = a @ np.square(below - estimate) / (n * (n - 1))
    variance += b @ np.square(above - estimate) / (m * (m - 1))
    return estimate, math.sqrt(variance)
