"""Drift: changes of new rows against held-out rows, column by column and between columns."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import ndtri
from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.two_samples import (
    least_count,
    p_of_levels,
    p_of_means,
    p_of_numbers,
    p_of_scores,
    polynomials,
    ranks,
)

LEVEL = 0.05  # probability of any finding without a change
MISSING, NEW = "missing", "new level"
USED = 2  # polynomials in products
MOST_LEVELS = 12  # with a feature of their own


class Shift(Strict):
    """Change of numbers, in normal scores among the held-out numbers.

    Attributes:
        mean: Mean of the new scores minus that of the held-out ones: in standard deviations.
        spread: Ratio of their standard deviations, new over held-out; None if that is 0.
    """

    mean: float
    mean_standard_error: float
    spread: float | None
    spread_standard_error: float | None


class Share(Strict):
    """Change of the outcome of a column of levels whose share changed most.

    Attributes:
        level: The outcome.
        before: Its share of held-out rows.
        after: Its share of new rows.
        standard_error: Of their difference.
    """

    level: str
    before: float
    after: float
    standard_error: float


class Link(Strict):
    """Another column with which the dependence of a column changed most.

    Attributes:
        column: Its name.
        before: Rank correlation of it and the column's PIT in held-out rows; None of levels.
        after: In new rows.
    """

    column: str
    before: float | None
    after: float | None


class Change(Strict):
    """Two-sample test of a column in new rows against held-out rows, and the effect.

    Attributes:
        p_value: Of this column alone.
        shift: Of a column of numbers, with two or more in either sample; of a relation, of the
            column's PIT.
        share: Of a column of levels.
        link: Of a relation, if it changed with another column more than by itself.
        missing_before: Share of held-out cells that are missing.
        missing_after: Share of new cells.
        n_new_levels: New cells with a level that no training row has.
    """

    p_value: float
    shift: Shift | None = None
    share: Share | None = None
    link: Link | None = None
    missing_before: float
    missing_after: float
    n_new_levels: int = 0


class RowChange(Strict):
    """Change of the log-probability of rows as written.

    Attributes:
        p_value: For a change of its mean or of the share of impossible rows.
        difference: Mean of possible new rows minus that of held-out rows, in nats.
        n_impossible: New rows of probability 0.
        n_impossible_held_out: Held-out rows of probability 0.
        n_unknown: New rows with unknown cells, which are left out.
    """

    p_value: float
    difference: float | None
    standard_error: float | None
    n_impossible: int
    n_impossible_held_out: int
    n_unknown: int


class Drift(Strict):
    """Changes of n new rows against held-out rows.

    Attributes:
        p_value: Bonferroni: number of tests times the smallest p-value, at most 1.
        tests: Number of tests: of columns, of relations and of the row.
        moved: Columns with ``tests * p_value <= 0.05``.
        moved_relations: Columns whose distribution given others changed.
        row_moved: Whether the log-probability of rows changed.
        columns: Every column.
        relations: Each column given the columns before it.
    """

    n: int
    n_held_out: int
    p_value: float
    tests: int
    moved: Sequence[str]
    moved_relations: Sequence[str]
    row_moved: bool
    columns: Mapping[str, Change]
    relations: Mapping[str, Change]
    row: RowChange


def moved(changes: Mapping[str, Change], tests: int) -> list[str]:
    """Names of the changes found among a number of tests, the clearest first."""
    found = [name for name, change in changes.items() if change.p_value * tests <= LEVEL]
    return sorted(found, key=lambda name: changes[name].p_value)


def change_of_numbers(held_out: np.ndarray, new: np.ndarray) -> Change:
    """Change of numbers ``(m,)`` to ``(n,)``; NaN is missing."""
    return change_with(held_out, new, p_of_numbers(held_out, new))


def change_with(held_out: np.ndarray, new: np.ndarray, p: float) -> Change:
    """Change of numbers, with its p-value."""
    gaps = [float(np.isnan(x).mean()) if len(x) else 0.0 for x in (held_out, new)]
    known = [x[~np.isnan(x)] for x in (held_out, new)]
    return Change(
        p_value=p,
        missing_before=gaps[0],
        missing_after=gaps[1],
        shift=_shift(*known) if min(map(len, known)) > 1 else None,
    )


def _shift(held_out: np.ndarray, new: np.ndarray) -> Shift:
    """Shift of numbers, with the standard errors of normal scores: ``√(s²/n + t²/m)`` and
    ``s/t √(1/2n + 1/2m)``.
    """
    m, n = len(held_out), len(new)
    before, after = (ndtri((m * ranks(x, held_out) + 0.5) / (m + 1), np) for x in (held_out, new))
    s, t = float(after.std(ddof=1)), float(before.std(ddof=1))
    return Shift(
        mean=float(after.mean() - before.mean()),
        mean_standard_error=float(np.sqrt(s**2 / n + t**2 / m)),
        spread=s / t if t else None,
        spread_standard_error=float(s / t * np.sqrt(0.5 / n + 0.5 / m)) if t else None,
    )


def change_of_levels(held_out: np.ndarray, new: np.ndarray, names: Sequence[str]) -> Change:
    """Change of indices of levels ``(m,)`` to ``(n,)``; NaN is missing, -1 a new level."""
    m, n, count = len(held_out), len(new), len(names)
    every = [*names, MISSING, NEW]
    codes = [np.where(np.isnan(x), count, x).astype(int) for x in (held_out, new)]
    shares = [np.bincount(x % len(every), minlength=len(every)) / len(x) for x in codes]
    p, q = shares
    at = int(np.argmax(np.abs(q - p)))
    return Change(
        p_value=p_of_levels(held_out, new),
        share=Share(
            level=every[at],
            before=float(p[at]),
            after=float(q[at]),
            standard_error=float(np.sqrt(p[at] * (1 - p[at]) / m + q[at] * (1 - q[at]) / n)),
        ),
        missing_before=float(p[count]),
        missing_after=float(q[count]),
        n_new_levels=int((codes[1] < 0).sum()),
    )


def change_of_rows(held_out: np.ndarray, new: np.ndarray, n_unknown: int = 0) -> RowChange:
    """Change of log-probabilities ``(m,)`` to ``(n,)`` in nats; -inf is impossible."""
    before, after = (np.where(np.isfinite(x), x, np.nan) for x in (held_out, new))
    known = [x[~np.isnan(x)] for x in (before, after)]
    difference = error = None
    if min(map(len, known)) > 1:
        difference = float(known[1].mean() - known[0].mean())
        error = float(np.sqrt(sum(x.var(ddof=1) / len(x) for x in known)))
    return RowChange(
        p_value=p_of_scores(before[:, None], after[:, None]),
        difference=difference,
        standard_error=error,
        n_impossible=int(np.isnan(after).sum()),
        n_impossible_held_out=int(np.isnan(before).sum()),
        n_unknown=n_unknown,
    )


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
