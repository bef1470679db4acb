"""Rules between two columns that hold in all training rows, or are declared: orders, zeros, gaps.

A rule counts if independent columns of the same marginals would break it often: in ``LEAST_BREAKS``
training rows, and a share ``LEAST_SHARE`` of them, at least.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.declared_rules import EXPECTED_TEXT, MAX_RULES, Form, Rule, parsed_rule
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.errors import DataError

LEAST_BREAKS = 20.0  # rows that would break a rule if the columns were independent
LEAST_SHARE = 0.02  # of the rows, the same
MOST_BREAKS = 1  # of a rule, in validation rows
MOST_RULES = 20  # without implied ones
MOST_SHARE_BROKEN = 0.1  # of rows that break a declared rule
FIRST_ROWS = 1_000  # by which most pairs of columns are excluded
ROUNDING = 1e-9  # of a difference of decimals
NUMBER_TYPES = ("whole", "decimal")


class _Candidate(NamedTuple):
    """A rule between columns by their places, and the rows by which chance would break it."""

    rule: Rule
    places: tuple[int, int]
    expected_breaks: float


def rules_of(data: Dataset, declared: Sequence[str] = (), find: bool = True) -> list[Rule]:
    """Rules of a table's columns: those ``declared`` as text, those found if they are to be, and
    orders and zeros that follow from them.
    """
    rules = [_declared_rule(text, data) for text in declared]
    columns_of = {(rule.rule, *rule.columns) for rule in rules}
    for rule in found_rules(data) if find else ():
        if (rule.rule, *rule.columns) not in columns_of:
            rules.append(rule)
    return [*rules, *(_implied_rules(rules, data) if declared else ())][:MAX_RULES]


def _declared_rule(text: str, data: Dataset) -> Rule:
    """Rule declared as text, with the rows that break it; refused if columns of their kinds have
    no such rule, or if many rows break it.
    """
    parsed = parsed_rule(text)
    if parsed is None:
        raise DataError(f"rule {text!r}: expected {EXPECTED_TEXT}")
    form, first, second = parsed
    names = [*data.given_names, *data.modelled_names]
    for name in (first, second):
        if name not in names:
            raise DataError(f"rule {text!r}: expected columns that are modelled. Received: {name}")
    if first == second or {first, second} <= {*data.given_names}:
        raise DataError(f"rule {text!r}: expected two columns, at most one of them given")
    kinds = data.kinds[first], data.kinds[second]
    if form == "gap" and not all(kind.missing for kind in kinds):
        raise DataError(f"rule {text!r}: expected two columns with missing cells")
    if form != "gap" and not are_comparable(*kinds):
        raise DataError(f"rule {text!r}: expected two columns of numbers, or of dates")
    rule = _counted_rule(form, (first, second), data, is_declared=True)
    if rule.breaks > MOST_SHARE_BROKEN * rule.rows:
        raise DataError(
            f"rule {text!r}: expected {1 - MOST_SHARE_BROKEN:.0%} of the rows to keep it. "
            f"Received: {rule.breaks:,} of {rule.rows:,} break it"
        )
    return rule


def _counted_rule(
    form: Form, columns: tuple[str, str], data: Dataset, *, is_declared: bool
) -> Rule:
    """A rule of two columns, with the training and validation rows that may break it, and do."""
    names = [*data.given_names, *data.modelled_names]
    rows = np.concatenate([data.train, data.validation])
    first, second = rows[:, [names.index(name) for name in columns]].T
    slack = rounding_slack(*(data.kinds[name] for name in columns))
    n_breaks = int(are_broken(form, first, second, slack).sum())
    are_known = ~(np.isnan(first) | np.isnan(second)) | (form == "gap")
    return Rule(
        rule=form,
        columns=[*columns],
        rows=int(are_known.sum()),
        breaks=n_breaks,
        is_declared=is_declared,
        is_implied=not is_declared,
    )


def _implied_rules(rules: Sequence[Rule], data: Dataset) -> list[Rule]:
    """Orders and zeros that follow from two rules, or from such, and are not among them."""
    given = {*data.given_names}
    implied = list[Rule]()
    for form in ("order", "zero"):
        known = {tuple(rule.columns) for rule in rules if rule.rule == form}
        new = known
        while new:
            new = {
                (first, last)
                for first, middle in known
                for other_middle, last in known
                if middle == other_middle and first != last
            } - known
            known |= new
            for columns in sorted(new):
                if not given.issuperset(columns):
                    implied.append(_counted_rule(form, columns, data, is_declared=False))
    return implied


def found_rules(data: Dataset) -> list[Rule]:
    """Rules of a table's modelled columns, and of these with the given ones: at most
    ``MOST_RULES``, of which chance would break the most rows, and those that they imply.
    """
    names = [*data.given_names, *data.modelled_names]
    kinds = [data.kinds[name] for name in names]
    candidates = [
        *_orders(names, kinds, data),
        *_zeros(names, kinds, data),
        *_gaps(names, kinds, data),
    ]
    candidates = [
        candidate for candidate in candidates if max(candidate.places) >= len(data.given_names)
    ]
    candidates.sort(key=lambda candidate: -candidate.expected_breaks)
    least = data.train.min(axis=0, initial=np.inf, where=~np.isnan(data.train))
    are_implied = _are_implied(candidates, least)
    plain = [
        candidate.rule for candidate, is_implied in zip(candidates, are_implied) if not is_implied
    ]
    kept = plain[:MOST_RULES]
    names_of_kept = {name for rule in kept for name in rule.columns}
    implied = [
        candidate.rule.model_copy(update={"is_implied": True})
        for candidate, is_implied in zip(candidates, are_implied)
        if is_implied and names_of_kept.issuperset(candidate.rule.columns)
    ]
    return [*kept, *implied][:MAX_RULES]


def _are_implied(candidates: Sequence[_Candidate], least: np.ndarray) -> list[bool]:
    """Which rules follow from two others, by the least number ``(C,)`` of each column: a <= c from
    a <= b <= c, zeros alike; and of columns from 0 on a zero from an order.
    """
    pairs = {(candidate.rule.rule, candidate.places) for candidate in candidates}
    places = {place for candidate in candidates for place in candidate.places}

    def is_implied(candidate: _Candidate) -> bool:
        form = candidate.rule.rule
        first, second = candidate.places
        if form == "zero" and least[second] >= 0 and ("order", (second, first)) in pairs:
            return True
        return any(
            (form, (first, middle)) in pairs and (form, (middle, second)) in pairs
            for middle in places - {first, second}
            if (form, (middle, first)) not in pairs or (form, (second, middle)) not in pairs
        )

    return [is_implied(candidate) for candidate in candidates]


def are_broken(form: Form, first: np.ndarray, second: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Mask ``(n,)`` of the rows whose cells ``(n,)`` of two columns break a rule of a form; an
    order up to a ``slack``.
    """
    if form == "order":
        return first > second + slack
    if form == "zero":
        return (first == 0) & (second != 0) & ~np.isnan(second)
    return np.isnan(first) != np.isnan(second)


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


def _orders(
    names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset
) -> Iterator[_Candidate]:
    """Orders of two columns."""
    ordered = {j: np.sort(data.train[:, j]) for j in range(len(names))}  # NaN last
    for first, second in permutations(range(len(names)), 2):
        if not are_comparable(kinds[first], kinds[second]):
            continue
        slack = rounding_slack(kinds[first], kinds[second])
        columns = data.train[:, [first, second]].T
        if are_broken("order", *columns[:, :FIRST_ROWS], slack=slack).any():
            continue
        if are_broken("order", *columns, slack=slack).any():
            continue
        known = data.train[~np.isnan(data.train[:, [first, second]]).any(axis=1)]
        values = ordered[first][: np.sum(~np.isnan(ordered[first]))]
        if not len(known):
            continue
        n_above = len(values) - np.searchsorted(values, known[:, second] + slack, side="right")
        share = float(n_above.mean()) / len(values)
        validation = data.validation[:, [first, second]].T
        n_breaks = int(are_broken("order", *validation, slack=slack).sum())
        yield from _if_certain("order", names, (first, second), len(known), share, n_breaks)


def _zeros(
    names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset
) -> Iterator[_Candidate]:
    """Zeros of a column that imply those of another."""
    are_numbers = [kind.kind in ("grid", "number") and kind.type in NUMBER_TYPES for kind in kinds]
    n_zeros = (data.train == 0).sum(axis=0)
    places = [j for j in range(len(names)) if are_numbers[j] and n_zeros[j]]
    for first, second in permutations(places, 2):
        x = data.train[:, first]
        y = data.train[:, second]
        if are_broken("zero", x, y).any():
            continue
        known = ~np.isnan(x) & ~np.isnan(y)
        if not known.any():
            continue
        share = float((x[known] == 0).mean() * (y[known] != 0).mean())
        n_breaks = int(are_broken("zero", *data.validation[:, [first, second]].T).sum())
        yield from _if_certain("zero", names, (first, second), int(known.sum()), share, n_breaks)


def _gaps(names: Sequence[str], kinds: Sequence[ColumnKind], data: Dataset) -> Iterator[_Candidate]:
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
            n_breaks = int(are_broken("gap", *data.validation[:, [first, second]].T).sum())
            share = 2 * p * (1 - p)
            yield from _if_certain("gap", names, (first, second), len(are_gaps), share, n_breaks)


def _if_certain(
    form: Form,
    names: Sequence[str],
    places: tuple[int, int],
    n_rows: int,
    share: float,
    n_breaks: int,
) -> Iterator[_Candidate]:
    """A rule that ``n_rows`` training rows may break, if chance would break a ``share`` that is
    large enough and validation rows do not break it.
    """
    expected = share * n_rows
    if n_breaks <= MOST_BREAKS and expected >= LEAST_BREAKS and share >= LEAST_SHARE:
        columns = [names[place] for place in places]
        rule = Rule(rule=form, columns=columns, rows=n_rows, breaks=n_breaks)
        yield _Candidate(rule, places, expected)
