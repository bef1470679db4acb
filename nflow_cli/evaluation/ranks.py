"""Area under the ROC curve of the probabilities of levels, by counts that add up over parts.

The log-odds of a level are counted in cells of 1/256 nat up to 16 nats, which tells apart
probabilities from 1e-7 to 1 - 1e-7 whose odds differ by 0.4 %: those of one cell count as equal.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

PER_NAT, FAR = 256, 16  # cells of a nat, and the largest log-odds that have cells of their own
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
    found: dict[str, Counts] = {}
    for level in [1] if count == 2 else range(count):
        is_own = levels == level
        found[f"{level}"] = _counts(cells[is_own, level])
        found[f"not {level}"] = _counts(cells[~is_own, level])
    return found


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
    areas, weights, error = [], [], None
    for name in ranks:
        if not name.startswith("not ") and ranks[name] and ranks[f"not {name}"]:
            of_level, error = _area(ranks[name], ranks[f"not {name}"])
            areas.append(of_level)
            weights.append(sum(ranks[name].values()))
    if not areas:
        return {}
    return {
        "auc": float(np.average(areas, weights=weights)),
        "auc_standard_error": error if len(ranks) == 2 else None,
    }


def _area(own: Counts, others: Counts) -> tuple[float, float | None]:
    cells = sorted({*own, *others}, key=int)
    a, b = (np.array([counts.get(cell, 0) for cell in cells]) for counts in (own, others))
    n, m = int(a.sum()), int(b.sum())
    below = (np.cumsum(b) - b / 2) / m  # of the others, for each own
    above = 1 - (np.cumsum(a) - a / 2) / n  # of the own, for each other
    found = float(a @ below) / n
    if n == 1 or m == 1:
        return found, None
    variance = a @ np.square(below - found) / (n * (n - 1))
    variance += b @ np.square(above - found) / (m * (m - 1))
    return found, math.sqrt(variance)
