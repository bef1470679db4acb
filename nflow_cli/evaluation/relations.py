"""Changes of the dependence between columns, by their PITs in new and in held-out rows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nflow_cli.evaluation.drift import Change, Link, change_with
from nflow_cli.evaluation.two_samples import least_count, p_of_means, polynomials, ranks

USED = 2  # polynomials in products
MOST_LEVELS = 12  # with a feature of their own


class Features(NamedTuple):
    """Features of a column, ``(m, l)`` in held-out rows and ``(n, l)`` in new rows."""

    held_out: np.ndarray
    new: np.ndarray
    are_ordered: bool = False

    def at(self, before: np.ndarray, after: np.ndarray) -> "Features":
        """Those of some rows."""
        return Features(self.held_out[before], self.new[after], self.are_ordered)


def features(held_out: np.ndarray, new: np.ndarray, are_levels: bool) -> Features:
    """Features of cells ``(m,)`` and ``(n,)``: two polynomials of the ranks of numbers, or
    indicators of the commonest levels; and whether a cell is missing, if that is common.
    """
    both = [np.nan_to_num(x, nan=np.inf) for x in (held_out, new)]
    if not are_levels:
        both = [np.where(x == np.inf, x, 0.0) for x in both]
    values, counts = np.unique(np.concatenate(both), return_counts=True)
    common = values[counts >= least_count(len(held_out), len(new))]
    if are_levels:
        common = common[np.argsort(-counts[np.isin(values, common)], kind="stable")][:MOST_LEVELS]
        return Features(*((x[:, None] == common).astype(float) for x in both))
    gaps = [x[:, None] == common[common == np.inf] for x in both]
    scores = [np.nan_to_num(x[:, :USED]) for x in polynomials(held_out, new)]
    before, after = (np.column_stack(parts) for parts in zip(scores, gaps))
    return Features(before, after, are_ordered=True)


def change_of_pit(
    held_out: np.ndarray,
    new: np.ndarray,
    others: Mapping[str, Features],
    given: Features | None = None,
) -> Change:
    """Change of the PIT ``(m,)`` to ``(n,)`` of a column, by itself and with each other column.

    For a right fit it is uniform, and independent of them. Tested are its polynomials of orders 1
    to 4 and, with each other column, the products of the first two and the column's features:
    Bonferroni over these tests. NaN is unknown, ``given`` are covariates.
    """
    known = ~np.isnan(held_out), ~np.isnan(new)
    before, after = held_out[known[0]], new[known[1]]
    scores, some = polynomials(before, after), given.at(*known)[:2] if given else None
    every = {"": p_of_means(scores[0], scores[1], some)}
    for name, other in others.items():
        x, y = (_products(x[:, :USED], y) for x, y in zip(scores, other.at(*known)[:2]))
        every[name] = p_of_means(x, y, some)
    name = min(every, key=every.__getitem__)
    change = change_with(before, after, min(1.0, every[name] * len(every)))
    if not name:
        return change
    return change.model_copy(update={"link": _link(name, scores, others[name].at(*known))})


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x[:, :, None] * y[:, None, :]).reshape(len(x), x.shape[1] * y.shape[1])


def _link(name: str, scores: tuple[np.ndarray, np.ndarray], other: Features) -> Link:
    if not other.are_ordered:
        return Link(column=name, before=None, after=None)
    pairs = zip(scores, other[:2])
    before, after = (_correlation(x[:, 0], y[:, 0]) for x, y in pairs)
    return Link(column=name, before=before, after=after)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size else 0.0


def as_held_out(held_out: np.ndarray, new: np.ndarray) -> np.ndarray:
    """New numbers ``(n,)`` replaced by the held-out numbers ``(m,)`` of the same ranks.

    Equal numbers stay equal; NaN stays.
    """
    known, found = ~np.isnan(new), new.copy()
    ordered = np.sort(held_out[~np.isnan(held_out)])
    if known.any() and len(ordered):
        places = np.ceil(ranks(new[known], new[known]) * len(ordered)).astype(int) - 1
        found[known] = ordered[np.clip(places, 0, len(ordered) - 1)]
    return found
