"""Explanations of odd rows of a table by a density of cells."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.data.table_files import TableFile
from nflow_cli.data.tables import LOG_Q
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.evaluation.oddness import adjusted, expected_share, p_values
from nflow_cli.experiments.cells.odd_rows import odd_rows
from nflow_cli.experiments.cells.surprise import CellSurprise, largest, oddness, surprises
from nflow_cli.experiments.cells.tables import judged_table
from nflow_cli.experiments.rows import Judgement, Rows
from nflow_cli.experiments.table.tables import expect_room, write_beside

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

LEVEL = 0.01  # of the p-values that are counted
PRINTED, IN_WORDS = 3, 20  # rows
# Columns of the cell with the largest surprise of its row.
OF_ODDEST = "oddest", "oddest_surprise", "oddest_p_value", "oddest_p_adjusted"
REASONS = "oddest_reasons"


class Explained(NamedTuple):
    """Explanations of n rows.

    Attributes:
        log_q: Log-density ``(n,)`` in nats.
        odd: Oddness ``(n,)``, of :func:`~nflow_cli.experiments.cells.surprise.oddness`.
        p: P-values ``(n,)`` among held-out rows with the same cells hidden.
        held_out: Number ``(n,)`` of these rows.
        cells: Surprise of the cells, column by column.
        largest: Largest surprise ``(n,)`` of a cell.
        p_largest: P-values ``(n,)`` of that, among m held-out rows.
        m: Their number.
    """

    log_q: np.ndarray
    odd: np.ndarray
    p: np.ndarray
    held_out: np.ndarray
    cells: list[CellSurprise]
    largest: np.ndarray
    p_largest: np.ndarray
    m: int

    @property
    def order(self) -> np.ndarray:
        """Rows ``(n,)``, the one with the oddest cell first; of equal ones the oddest row."""
        return np.lexsort((-self.odd, -self.largest))

    @property
    def nats(self) -> np.ndarray:
        """Surprise ``(n, D + K)`` of all cells."""
        return np.column_stack([one.nats for one in self.cells])


def explained(
    density: CellDensity, rows: np.ndarray, tests: np.ndarray, held_out_largest: np.ndarray
) -> Explained:
    """Explain rows ``(n, C)``, given held-out rows ``(N, C)`` and the largest surprises ``(m,)`` of
    some of them.
    """
    odd = oddness(density, rows)
    p, held_out = _among(density, rows, odd, tests)
    log_q = density.cell_log_probs(rows).sum(axis=1)
    cells = surprises(density, rows)
    of_cells = largest(cells)
    p_largest = p_values(of_cells, held_out_largest)
    return Explained(log_q, odd, p, held_out, cells, of_cells, p_largest, len(held_out_largest))


def _among(
    density: CellDensity, rows: np.ndarray, odd: np.ndarray, tests: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P-values and the number of held-out rows: those with the same unknown cells, once hidden."""
    is_complete = np.array([column.missing is None for column in density.row])
    hidden, lost = (np.isnan(some) & is_complete for some in (rows, tests))
    patterns, which = np.unique(hidden, axis=0, return_inverse=True)
    p, count = np.empty((2, len(rows)))
    for i, pattern in enumerate(patterns):
        others = np.where(pattern, np.nan, tests)[~(lost & ~pattern).any(axis=1)]
        at = which.ravel() == i
        p[at] = p_values(odd[at], oddness(density, others) if len(others) else np.empty(0))
        count[at] = len(others)
    return p, count


def names_of(density: CellDensity) -> list[str]:
    """The names of the written columns."""
    surprise = [f"{column.name}_surprise" for column in density.scored]
    return [LOG_Q, "p_value", "p_adjusted", *OF_ODDEST, *surprise, REASONS]


def columns_of(found: Explained) -> dict[str, Any]:
    """The columns to be written, by name."""
    nats, names = found.nats, [one.column.name for one in found.cells]
    every = np.column_stack([np.nan_to_num(nats, nan=-1.0), np.full(len(nats), -0.5)])
    oddest = np.array([*names, ""], object)[every.argmax(axis=1)]
    columns = {LOG_Q: found.log_q, "p_value": found.p, "p_adjusted": adjusted(found.p)}
    of_oddest = oddest, found.largest, found.p_largest, adjusted(found.p_largest)
    columns |= dict(zip(OF_ODDEST, of_oddest))
    return columns | {f"{name}_surprise": values for name, values in zip(names, nats.T)}


def write_explained(
    trained: "TrainedCells", table: TableFile, path: Path, lines: Rows
) -> Judgement:
    """Write the rows of a table, in order, with their explanations, the oddest in words.

    Returns the scores.
    """
    expect_room(trained, names_of(trained))
    rows = trained.rows_of(table)
    judged = judged_table(trained, table, lines)
    found = explained(trained, rows, trained.held_out, trained.largest_surprises)
    first = found.order[:IN_WORDS]
    shown, reasons = odd_rows(first, found, table, rows), np.full(len(rows), "", object)
    reasons[first] = ["; ".join(one.reasons) for one in shown]
    write_beside(table, path, {**columns_of(found), REASONS: reasons})
    scores = {**judged.scores, **_scores(found)}
    facts = _printed(scores)
    oddest = [(one.name, f"{one.head}: {'; '.join(one.reasons)}") for one in shown[:PRINTED]]
    return Judgement(scores, [*judged.rows, *facts, *oddest], judged.warnings)


def _scores(found: Explained) -> dict[str, Any]:
    most = int(found.held_out.max())
    return {
        "n_held_out": most,
        "smallest_p": 1 / (most + 1),
        "n_odd": int((found.p <= LEVEL).sum()),
        "n_odd_expected": float(expected_share(found.held_out, LEVEL).sum()),
        "n_held_out_cells": found.m,
        "n_odd_cells": int((found.p_largest <= LEVEL).sum()),
        "n_odd_cells_expected": len(found.p) * float(expected_share(np.array(found.m), LEVEL)),
        "n_unexplained": int(np.isnan(found.nats).sum()),
    }


def _printed(scores: dict[str, Any]) -> Rows:
    rows = []
    for by, key in (("cell", "_cells"), ("row", "")):
        count = scores[f"n_held_out{key}"]
        among = f"among {count:,} held-out rows"
        odd, expected = scores[f"n_odd{key}"], scores[f"n_odd{key}_expected"]
        text = f"{among}; up to {LEVEL:g}: {odd:,} rows, {expected:,.1f} expected by chance"
        if count + 1 < 1 / LEVEL:
            text = f"{among}; at least {1 / (count + 1):.2g}"
        rows.append((f"p by {by}", text))
    if n := scores["n_unexplained"]:
        rows.append(("unexplained", f"{n:,} cells: unknown, or their quadrature unresolved"))
    return rows
