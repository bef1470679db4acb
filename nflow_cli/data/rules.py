"""Rules between two columns that hold in all training rows: orders, zeros, gaps.

A rule counts if independent columns of the same marginals would break it often: in ``LEAST_BREAKS``
training rows, and a share ``LEAST_SHARE`` of them, at least.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.rules import Rule
from nflow_cli.data.dataset import Dataset

LEAST_BREAKS = 20.0  # rows that would break a rule if the columns were independent
LEAST_SHARE = 0.02  # of the rows, the same
MOST_BREAKS = 1  # of a rule, in validation rows
MOST_RULES = 20  # without implied ones
FIRST_ROWS = 1_000  # by which most pairs of columns are excluded
ROUNDING = 1e-9  # of a difference of decimals
NUMBER_TYPES = ("whole", "decimal")
Form = Literal["order", "zero", "gap"]


class _Found(NamedTuple):
    """A rule between columns by their places, and the rows by which chance would break it."""

    rule: Rule
    places: tuple[int, int]
    expected_breaks: float


def rules_of(data: Dataset) -> list[Rule]:
    """Rules of a table's modelled columns, and of these with the given ones: at most
    ``MOST_RULES``, of which chance would break the most rows, and those that they imply.
    """
    names = [*data.given_names, *data.modelled_names]
    kinds = [data.kinds[name] for name in names]
    found = [
        *_orders(names, kinds, data),
        *_zeros(names, kinds, data),
        *_gaps(names, kinds, data),
    ]
    found = [each for each in found if max(each.places) >= len(data.given_names)]
    found.sort(key=lambda each: -each.expected_breaks)
    least = data.train.min(axis=0, initial=np.inf, where=~np.isnan(data.train))
    are_implied = _are_implied(found, least)
    plain = [each.rule for each, is_implied in zip(found, are_implied) if not is_implied]
    kept = plain[:MOST_RULES]
    if len(plain) > MOST_RULES:
        return kept
    implied = [each.rule for each, is_implied in zip(found, are_implied) if is_implied]
    return kept + [rule.model_copy(update={"is_implied": True}) for rule in implied]


def _are_implied(found: Sequence[_Found], least: np.ndarray) -> list[bool]:
    """Which rules follow from two others, by the least number ``(C,)`` of each column: a <= c from
    a <= b <= c, zeros alike; and of columns from 0 on a zero from an order.
    """
    pairs = {(each.rule.rule, each.places) for each in found}
    places = {place for each in found for place in each.places}

    def is_implied(each: _Found) -> bool:
        form = each.rule.rule
        first, second = each.places
        if form == "zero" and least[second] >= 0 and ("order", (second, first)) in pairs:
            return True
        return any(
            (form, (first, middle)) in pairs and (form, (middle, second)) in pairs
            for middle in places - {first, second}
            if (form, (middle, first)) not in pairs or (form, (second, middle)) not in pairs
        )

    return [is_implied(each) for each in found]


def rounding_slack(first: ColumnKind, second: ColumnKind) -> float:
    """Amount by which a number may be above another that it does not exceed: half of the last
    decimal, if one of the two columns has fewer.
    """
    if first.decimals is None or second.decimals is None or first.decimals == second.decimals:
        return 0.0
    return 10.0 ** -min(first.decimals, second.decimals) / 2 + ROUNDING


def are_comparable(first: ColumnKind, second: ColumnKind) -> bool:
    """Whether two columns have numbers, dates or times that may be in an order."""
    if not all(kind.kind in ("grid", "number") for kind in (first, second)):
        return False
    are_numbers = first.type in NUMBER_TYPES and second.type in NUMBER_TYPES
    return are_numbers or first.type == second.type


def _orders(names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset) -> Iterator[_Found]:
    """Orders of two columns."""
    ordered = {j: np.sort(data.train[:, j]) for j in range(len(names))}  # NaN last
    for first, second in permutations(range(len(names)), 2):
        if not are_comparable(kinds[first], kinds[second]):
            continue
        slack = rounding_slack(kinds[first], kinds[second])
        sample = data.train[:FIRST_ROWS]
        if (sample[:, first] > sample[:, second] + slack).any():
            continue
        if (data.train[:, first] > data.train[:, second] + slack).any():
            continue
        known = data.train[~np.isnan(data.train[:, [first, second]]).any(axis=1)]
        values = ordered[first][: np.sum(~np.isnan(ordered[first]))]
        if not len(known):
            continue
        n_above = len(values) - np.searchsorted(values, known[:, second] + slack, side="right")
        share = float(n_above.mean()) / len(values)
        validation = data.validation
        n_breaks = int((validation[:, first] > validation[:, second] + slack).sum())
        yield from _if_certain("order", names, (first, second), len(known), share, n_breaks)


def _zeros(names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset) -> Iterator[_Found]:
    """Zeros of a column that imply those of another."""
    are_numbers = [kind.kind in ("grid", "number") and kind.type in NUMBER_TYPES for kind in kinds]
    n_zeros = (data.train == 0).sum(axis=0)
    places = [j for j in range(len(names)) if are_numbers[j] and n_zeros[j]]
    for first, second in permutations(places, 2):
        x = data.train[:, first]
        y = data.train[:, second]
        if ((x == 0) & (y != 0) & ~np.isnan(y)).any():
            continue
        known = ~np.isnan(x) & ~np.isnan(y)
        if not known.any():
            continue
        share = float((x[known] == 0).mean() * (y[known] != 0).mean())
        x, y = data.validation[:, [first, second]].T
        n_breaks = int(((x == 0) & (y != 0) & ~np.isnan(y)).sum())
        yield from _if_certain("zero", names, (first, second), int(known.sum()), share, n_breaks)


def _gaps(names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset) -> Iterator[_Found]:
    """Columns that are missing together; each with the first of these."""
    are_gaps = np.isnan(data.train)
    places = [j for j in range(len(names)) if kinds[j].missing]
    seen: set[int] = set()
    for i, first in enumerate(places):
        for second in places[i + 1 :]:
            if second in seen or (are_gaps[:, first] != are_gaps[:, second]).any():
                continue
            seen.add(second)
            p = float(are_gaps[:, first].mean())
            gaps = np.isnan(data.validation[:, [first, second]])
            n_breaks = int((gaps[:, 0] != gaps[:, 1]).sum())
            share = 2 * p * (1 - p)
            yield from _if_certain("gap", names, (first, second), len(are_gaps), share, n_breaks)


def _if_certain(
    form: Form,
    names: Sequence[str],
    places: tuple[int, int],
    n_rows: int,
    share: float,
    n_breaks: int,
) -> Iterator[_Found]:
    """A rule that ``n_rows`` training rows may break, if chance would break a ``share`` that is
    large enough and validation rows do not break it.
    """
    expected = share * n_rows
    if n_breaks <= MOST_BREAKS and expected >= LEAST_BREAKS and share >= LEAST_SHARE:
        columns = [names[place] for place in places]
        rule = Rule(rule=form, columns=columns, rows=n_rows, breaks=n_breaks)
        yield _Found(rule, places, expected)
