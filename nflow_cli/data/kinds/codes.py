"""Codes: whole numbers whose order says nothing about the other columns."""

from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.constants import LOG_2PI
from nflow_cli.data.files.columns import Column

LEAST_CODES = 6  # distinct numbers; fewer are levels anyway,
MOST_CODES = 40  # and more are numbers
ROWS_A_CODE = 20  # at least, on average
MOST_ROWS = 10_000  # at equal distances
MOST_VALUES = 12  # of another column; more numbers are in bins, more levels in one
BINS = 8  # of equal numbers of rows
CONCENTRATIONS = 4.0 ** np.arange(7)  # of priors, in rows
NEIGHBOUR_WEIGHTS = 4.0 ** np.arange(1, 5)  # rows of all others beside those of the neighbours
RELATED = 10.0  # nats by which a column depends on the codes, at least
STIRLING_SHIFT = 8  # from there on two terms of the series are exact to 1e-7


def without_order(columns: Sequence[Column], groups: np.ndarray | None = None) -> set[str]:
    """Names of the columns of whole numbers that are codes.

    For each other column, the counts of its values by code have a Dirichlet-multinomial evidence
    with each of two priors: rows of a code are distributed as those of all other codes together,
    or as those of the next lower and the next higher code. Numbers are codes if the second is no
    likelier, over all columns that clearly depend on them.

    ``groups`` ``(n,)``: names of the groups of rows, of which each counts once.
    """
    candidates = [column for column in columns if _may_be_codes(column)]
    if not candidates:
        return set()
    rows = np.arange(len(candidates[0].cells))
    if groups is not None:
        rows = np.sort(np.unique(groups, return_index=True)[1])
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    groups_by_name = {column.name: _value_groups(column, rows) for column in columns}
    return {
        column.name
        for column in candidates
        if _are_codes(column.cells[rows], column.name, groups_by_name)
    }


def _may_be_codes(column: Column) -> bool:
    """Whether a column is of few distinct whole numbers, none negative, with many rows each."""
    if column.numbers is None or column.cell_type != "number":
        return False
    numbers = column.distinct_numbers
    count = len(numbers.values)
    is_few = LEAST_CODES <= count <= min(MOST_CODES, numbers.rows / ROWS_A_CODE)
    return bool(is_few and numbers.decimals == 0 and numbers.values[0] >= 0)


def _value_groups(column: Column, rows: np.ndarray) -> np.ndarray:
    """Group ``(n,)`` of the cell of each row, from 0: its value, or of many values a bin of
    numbers, or the levels that are not frequent.
    """
    cells = column.cells[rows]
    is_gap = column.are_gaps[rows]
    values, indices, counts = np.unique(cells, return_inverse=True, return_counts=True)
    if len(values) > MOST_VALUES and column.numbers is None:
        ranks = np.argsort(np.argsort(-counts, kind="stable"))
        indices = np.minimum(ranks, MOST_VALUES - 1)[indices]
    elif len(values) > MOST_VALUES:
        ends = np.unique(np.quantile(cells[~is_gap], np.arange(1, BINS) / BINS))
        indices = np.where(is_gap, len(ends) + 1, np.searchsorted(ends, cells, side="right"))
    return np.unique(indices, return_inverse=True)[1]


def _are_codes(numbers: np.ndarray, name: str, groups_by_name: Mapping[str, np.ndarray]) -> bool:
    """Whether the order of the numbers ``(n,)`` of the column ``name`` says nothing about others,
    by the groups of their cells.
    """
    known = np.isfinite(numbers)
    codes = np.unique(numbers[known], return_inverse=True)[1]
    evidence_of_order = [0.0]
    for other, groups in groups_by_name.items():
        if other == name:
            continue
        n_groups = groups.max() + 1
        counts = np.bincount(
            codes * n_groups + groups[known], minlength=(codes.max() + 1) * n_groups
        )
        relation, order = _evidence(counts.reshape(-1, n_groups).astype(float))
        if relation > RELATED:
            evidence_of_order.append(order)
    return len(evidence_of_order) > 1 and sum(evidence_of_order) <= 0


def _evidence(counts: np.ndarray) -> tuple[float, float]:
    """Evidence in nats that the distribution of a column's values depends on codes, and that
    neighbouring codes have distributions more alike than others, by counts ``(codes, values)``.
    """
    others = counts.sum(axis=0) - counts + 0.5
    shares = others / others.sum(axis=1, keepdims=True)
    by_others = max(_log_evidence(counts, c * shares) for c in CONCENTRATIONS)
    unrelated = float((counts * np.log(shares)).sum())
    neighbours = np.zeros_like(counts)
    neighbours[1:] += counts[:-1]
    neighbours[:-1] += counts[1:]
    by_neighbours = -np.inf
    for weight in NEIGHBOUR_WEIGHTS:
        near = neighbours + weight * shares
        near /= near.sum(axis=1, keepdims=True)
        evidences = [_log_evidence(counts, c * near) for c in CONCENTRATIONS]
        by_neighbours = max(by_neighbours, *evidences)
    return by_others - unrelated, by_neighbours - by_others


def _log_evidence(counts: np.ndarray, prior: np.ndarray) -> float:
    """Log-probability in nats of counts ``(k, m)``, in their order, whose rows have Dirichlet
    priors: ``Σ ln Γ(A) - ln Γ(A + N) + Σ ln Γ(a + n) - ln Γ(a)``.
    """
    totals = prior.sum(axis=1)
    of_rows = _log_gamma(totals) - _log_gamma(totals + counts.sum(axis=1))
    of_cells = _log_gamma(prior + counts) - _log_gamma(prior)
    return float(of_rows.sum() + of_cells.sum())


def _log_gamma(x: np.ndarray) -> np.ndarray:
    """``ln Γ(x)`` of positive numbers, by Stirling's series and ``Γ(x + 1) = x Γ(x)``."""
    z = x + STIRLING_SHIFT
    series = (z - 0.5) * np.log(z) - z + LOG_2PI / 2 + 1 / (12 * z) - 1 / (360 * z**3)
    return series - sum(np.log(x + i) for i in range(STIRLING_SHIFT))
