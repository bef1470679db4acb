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

SIGNIFICANCE = 0.05  # probability of any finding without a change
MISSING = "missing"
NEW = "new level"
PRODUCT_ORDERS = 2  # polynomials in products
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
        tests: Number of tests: of columns, of relations, of rules and of the row.
        moved: Columns with ``tests * p_value <= 0.05``.
        moved_relations: Columns whose distribution given others changed.
        moved_rules: Rules that another share of the rows keeps.
        row_moved: Whether the log-probability of rows changed.
        columns: Every column.
        relations: Each column given the columns before it.
        rules: Each rule between two columns, by its text.
    """

    n: int
    n_held_out: int
    p_value: float
    tests: int
    moved: Sequence[str]
    moved_relations: Sequence[str]
    moved_rules: Sequence[str]
    row_moved: bool
    columns: Mapping[str, Change]
    relations: Mapping[str, Change]
    rules: Mapping[str, Change]
    row: RowChange


def moved_names(changes: Mapping[str, Change], tests: int) -> list[str]:
    """Names of the changes that are significant among a number of tests, the clearest first."""
    significant = [
        name for name, change in changes.items() if change.p_value * tests <= SIGNIFICANCE
    ]
    return sorted(significant, key=lambda name: changes[name].p_value)


def change_of_numbers(held_out: np.ndarray, new: np.ndarray) -> Change:
    """Change of numbers ``(m,)`` to ``(n,)``; NaN is missing."""
    return change_with_p_value(held_out, new, p_of_numbers(held_out, new))


def change_with_p_value(held_out: np.ndarray, new: np.ndarray, p: float) -> Change:
    """Change of numbers ``(m,)`` to ``(n,)``, NaN missing, whose test has the p-value ``p``."""
    known_before = _without_gaps(held_out)
    known_after = _without_gaps(new)
    has_shift = len(known_before) > 1 and len(known_after) > 1
    return Change(
        p_value=p,
        missing_before=_missing_share(held_out),
        missing_after=_missing_share(new),
        shift=_shift(known_before, known_after) if has_shift else None,
    )


def _without_gaps(values: np.ndarray) -> np.ndarray:
    """Values ``(k,)`` that are not NaN."""
    return values[~np.isnan(values)]


def _missing_share(values: np.ndarray) -> float:
    """Share of values that are NaN; 0 of none."""
    return float(np.isnan(values).mean()) if len(values) else 0.0


def _shift(held_out: np.ndarray, new: np.ndarray) -> Shift:
    """Shift of numbers ``(m,)`` to ``(n,)`` in normal scores, with standard errors:
    ``√(s²/n + t²/m)`` of the mean and ``s/t √(1/2n + 1/2m)`` of the spread.
    """
    m = len(held_out)
    n = len(new)
    before = _normal_scores(held_out, held_out)
    after = _normal_scores(new, held_out)
    s = float(after.std(ddof=1))
    t = float(before.std(ddof=1))
    return Shift(
        mean=float(after.mean() - before.mean()),
        mean_standard_error=float(np.sqrt(s**2 / n + t**2 / m)),
        spread=s / t if t else None,
        spread_standard_error=float(s / t * np.sqrt(0.5 / n + 0.5 / m)) if t else None,
    )


def _normal_scores(values: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Normal scores ``(n,)`` of values among the held-out ones ``(m,)``."""
    m = len(held_out)
    return ndtri((m * ranks(values, held_out) + 0.5) / (m + 1), np)


def change_of_levels(held_out: np.ndarray, new: np.ndarray, names: Sequence[str]) -> Change:
    """Change of indices of levels ``(m,)`` to ``(n,)``, with their ``names``; NaN is missing, -1 a
    new level.
    """
    outcomes = [*names, MISSING, NEW]
    before = _outcome_shares(held_out, len(names))
    after = _outcome_shares(new, len(names))
    place = int(np.argmax(np.abs(after - before)))
    p = before[place]
    q = after[place]
    error = np.sqrt(p * (1 - p) / len(held_out) + q * (1 - q) / len(new))
    return Change(
        p_value=p_of_levels(held_out, new),
        share=Share(
            level=outcomes[place],
            before=float(p),
            after=float(q),
            standard_error=float(error),
        ),
        missing_before=float(before[len(names)]),
        missing_after=float(after[len(names)]),
        n_new_levels=int((new < 0).sum()),
    )


def _outcome_shares(levels: np.ndarray, count: int) -> np.ndarray:
    """Shares ``(L + 2,)`` of each of L = ``count`` levels, of missing cells, and of new levels,
    among indices ``(n,)``, NaN or -1.
    """
    outcomes = np.where(np.isnan(levels), count, levels).astype(int) % (count + 2)
    return np.bincount(outcomes, minlength=count + 2) / len(levels)


def change_of_rows(held_out: np.ndarray, new: np.ndarray, n_unknown: int = 0) -> RowChange:
    """Change of log-probabilities ``(m,)`` to ``(n,)`` in nats; -inf is impossible."""
    before = np.where(np.isfinite(held_out), held_out, np.nan)
    after = np.where(np.isfinite(new), new, np.nan)
    possible_before = _without_gaps(before)
    possible_after = _without_gaps(after)
    difference = None
    error = None
    if len(possible_before) > 1 and len(possible_after) > 1:
        difference = float(possible_after.mean() - possible_before.mean())
        error = float(np.sqrt(_squared_error(possible_before) + _squared_error(possible_after)))
    return RowChange(
        p_value=p_of_scores(before[:, None], after[:, None]),
        difference=difference,
        standard_error=error,
        n_impossible=int(np.isnan(after).sum()),
        n_impossible_held_out=int(np.isnan(before).sum()),
        n_unknown=n_unknown,
    )


def _squared_error(values: np.ndarray) -> float:
    """Squared standard error of the mean of values ``(n,)``."""
    return values.var(ddof=1) / len(values)


class Features(NamedTuple):
    """Features of a column, ``(m, l)`` in held-out rows and ``(n, l)`` in new rows."""

    held_out: np.ndarray
    new: np.ndarray
    are_ordered: bool = False

    def at(self, before: np.ndarray, after: np.ndarray) -> "Features":
        """Features of the held-out rows ``before`` and the new rows ``after``, indices or masks."""
        return Features(self.held_out[before], self.new[after], self.are_ordered)


def features(held_out: np.ndarray, new: np.ndarray, are_levels: bool) -> Features:
    """Features of cells ``(m,)`` and ``(n,)``: two polynomials of the ranks of numbers, or
    indicators of the commonest levels; and whether a cell is missing, if that is common.
    """
    least = least_count(len(held_out), len(new))
    if are_levels:
        before = np.nan_to_num(held_out, nan=np.inf)
        after = np.nan_to_num(new, nan=np.inf)
        levels, counts = np.unique(np.concatenate([before, after]), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        commonest = levels[order[counts[order] >= least]][:MOST_LEVELS]
        return Features(
            held_out=(before[:, None] == commonest).astype(float),
            new=(after[:, None] == commonest).astype(float),
        )
    before, after = polynomials(held_out, new)
    before = np.nan_to_num(before[:, :PRODUCT_ORDERS])
    after = np.nan_to_num(after[:, :PRODUCT_ORDERS])
    n_missing = np.isnan(held_out).sum() + np.isnan(new).sum()
    if n_missing > 0 and n_missing >= least:
        before = np.column_stack([before, np.isnan(held_out)])
        after = np.column_stack([after, np.isnan(new)])
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
    is_known_before = ~np.isnan(held_out)
    is_known_after = ~np.isnan(new)
    before = held_out[is_known_before]
    after = new[is_known_after]
    scores_before, scores_after = polynomials(before, after)
    covariates = given.at(is_known_before, is_known_after)[:2] if given else None
    # By itself, and with each other column, by its name.
    p_values = {"": p_of_means(scores_before, scores_after, covariates)}
    for name, column_features in others.items():
        known_features = column_features.at(is_known_before, is_known_after)
        products_before = _products(scores_before[:, :PRODUCT_ORDERS], known_features.held_out)
        products_after = _products(scores_after[:, :PRODUCT_ORDERS], known_features.new)
        p_values[name] = p_of_means(products_before, products_after, covariates)
    clearest = min(p_values, key=p_values.__getitem__)
    change = change_with_p_value(before, after, min(1.0, p_values[clearest] * len(p_values)))
    if not clearest:
        return change
    known_features = others[clearest].at(is_known_before, is_known_after)
    link = _link(clearest, scores_before, scores_after, known_features)
    return change.model_copy(update={"link": link})


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Products ``(n, k l)`` of each column of x ``(n, k)`` with each of y ``(n, l)``."""
    return (x[:, :, None] * y[:, None, :]).reshape(len(x), x.shape[1] * y.shape[1])


def _link(name: str, before: np.ndarray, after: np.ndarray, linked: Features) -> Link:
    """Link to the column ``name`` of a PIT with polynomials ``before`` ``(m, 4)`` and ``after``
    ``(n, 4)``, by the first of these and of the column's features.
    """
    if not linked.are_ordered:
        return Link(column=name, before=None, after=None)
    return Link(
        column=name,
        before=_correlation(before[:, 0], linked.held_out[:, 0]),
        after=_correlation(after[:, 0], linked.new[:, 0]),
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of x and y ``(n,)``; 0 if one is constant."""
    x = x - x.mean()
    y = y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size else 0.0


def as_held_out(held_out: np.ndarray, new: np.ndarray) -> np.ndarray:
    """New numbers ``(n,)`` replaced by the held-out numbers ``(m,)`` of the same ranks.

    Equal numbers stay equal; NaN stays.
    """
    ordered = np.sort(_without_gaps(held_out))
    is_known = ~np.isnan(new)
    replaced = new.copy()
    if is_known.any() and len(ordered):
        known = new[is_known]
        places = np.ceil(ranks(known, known) * len(ordered)).astype(int) - 1
        replaced[is_known] = ordered[np.clip(places, 0, len(ordered) - 1)]
    return replaced
