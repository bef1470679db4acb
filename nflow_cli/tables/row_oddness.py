"""Oddness of rows of a table by a density of cells, and p-values among held-out rows."""

from typing import NamedTuple

import numpy as np

from nflow_cli.evaluation.oddness import in_spreads, p_values
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.reference import own_scores
from nflow_cli.tables.table_rows import TableRows

DIGITS = 9  # of an oddness or a surprise: further ones depend on the rows beside
MOST_NATS = 1e9  # of a measure: a row of probability 0 has as many


class RowMeasures(NamedTuple):
    """Measures of n rows, in nats ``(n,)``: the sum of the last two is minus the log-density of a
    row in normal scores, as of :mod:`nflow_cli.tables.cells.reference`.

    Attributes:
        as_written: Minus the log-probability of the known cells as the table has them.
        of_relations: ``Σ log P(cell) - log P(cell | cells before)``: of cells that do not fit each
            other.
        of_values: ``Σ E[Z²/2]``, Z the normal score of a cell in its column: of rare values.
    """

    as_written: np.ndarray
    of_relations: np.ndarray
    of_values: np.ndarray

    def compared(self, is_robust: bool = False) -> np.ndarray:
        """Measures by which a row may be odd ``(n, m)``: as written, and in normal scores; with
        ``is_robust`` also of values alone, as relations may be those of odd rows.
        """
        measures = [self.as_written, self.of_relations + self.of_values]
        if is_robust:
            measures.append(self.of_values)
        return np.minimum(np.stack(measures, axis=1), MOST_NATS)


class RowOddness(NamedTuple):
    """Oddness of n rows, beside held-out rows with the same cells hidden.

    Attributes:
        measures: By which it is found.
        values: The largest ``(n,)`` of the measures that are compared, each less the median of
            held-out rows and over the distance to their 0.9 quantile.
        p: P-values ``(n,)`` among the held-out rows.
        n_held_out: Number ``(n,)`` of these.
    """

    measures: RowMeasures
    values: np.ndarray
    p: np.ndarray
    n_held_out: np.ndarray


def row_measures(
    density: CellDensity, rows: np.ndarray, log_q: np.ndarray | None = None
) -> RowMeasures:
    """Measures of rows ``(n, C)``; ``log_q`` ``(n, D + K)``: log-probabilities of the cells, by
    default computed.
    """
    if log_q is None:
        log_q = density.cell_log_probs(rows)
    log_marginal, log_reference = own_scores(density, rows)
    n_modelled = log_q.shape[1] - len(density.computed_columns)
    log_own = np.zeros(log_q.shape)  # a computed cell has no marginal, as its relation holds or not
    log_own[:, :n_modelled] = log_marginal[:, :n_modelled]
    log_own = np.where(np.isneginf(log_own), 0.0, log_own)  # of an impossible cell
    of_values = (log_reference - log_own).sum(axis=1)
    of_relations = log_own.sum(axis=1) - log_q.sum(axis=1)
    return RowMeasures(as_written(density, rows, log_q), of_relations, of_values)


def as_written(density: CellDensity, rows: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Minus the log-probability ``(n,)`` in nats of the known cells of rows ``(n, C)``, as written.

    ``-log q - Σ log δ_j`` over the numbers with a density, δ the resolution of their column. A new
    number among values that repeat has the probability of all new numbers between the same two of
    these, whatever its digits. ``log_q`` ``(n, D + K)``: log-probabilities of the cells.
    """
    total = log_q.sum(axis=1)
    first = density.n_given
    for j, column in enumerate(density.row_columns[first : len(density.columns)], first):
        total = total + column.log_wider(rows[:, j])
        if column.log_width:
            codes = column.codes(rows[:, j])
            has_density = column.outcomes.have_numbers(codes) | (codes == column.new_code)
            total = total + column.log_width * has_density
    return np.round(-total, DIGITS)


def row_oddness(
    density: CellDensity,
    rows: np.ndarray,
    held_out: np.ndarray,
    log_q: np.ndarray | None = None,
    is_robust: bool = False,
) -> RowOddness:
    """Oddness of rows ``(n, C)``, beside held-out rows ``(N, C)``; ``is_robust``: by a density of a
    robust fit.

    A row with empty cells, where training has none, is compared with held-out rows that have none
    beside these, and in which these are hidden.
    """
    measures = row_measures(density, rows, log_q)
    compared = measures.compared(is_robust)
    hidden = TableRows(density, rows).are_empty
    hidden_in_held_out = TableRows(density, held_out).are_empty
    patterns, pattern_of_row = np.unique(hidden, axis=0, return_inverse=True)
    values, p, n_held_out = np.empty((3, len(rows)))
    for i, pattern in enumerate(patterns):
        hides_others = (hidden_in_held_out & ~pattern).any(axis=1)
        comparable = np.where(pattern, np.nan, held_out)[~hides_others]
        in_comparable = row_measures(density, comparable).compared(is_robust)
        has_pattern = pattern_of_row.ravel() == i
        odd = in_spreads(compared[has_pattern], in_comparable)
        values[has_pattern] = np.round(odd, DIGITS)
        of_comparable = np.round(in_spreads(in_comparable, in_comparable), DIGITS)
        p[has_pattern] = p_values(values[has_pattern], of_comparable)
        n_held_out[has_pattern] = len(comparable)
    return RowOddness(measures, values, p, n_held_out)
