"""Explanations of odd rows of a table by a density of cells: surprise of cells, oddness of rows."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.constants import __version__
from nflow_cli.data.tables import LOG_Q, TableFile
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.distribution import LEAST_MASS
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.oddness import (
    adjusted,
    expected_share,
    no_likelier,
    p_values,
    two_sided,
)
from nflow_cli.experiments.summary import Answer, Judgement, Rows
from nflow_cli.experiments.table.predict import written_number
from nflow_cli.experiments.table.rows import TableRows
from nflow_cli.experiments.table.scoring import judgement, scored_table
from nflow_cli.experiments.table.tables import CellsRun, expect_room
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import sha256_of
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

ENDS = np.array([0.05, 0.95])  # of the expected range of a number
DIGITS = 9  # of an oddness or a surprise: further ones depend on the rows beside
LARGEST = float(np.round(-np.log(LEAST_MASS), DIGITS))  # nats: smaller p are rounding errors
LEVEL = 0.01  # of the p-values that are counted
PRINTED, IN_WORDS = 3, 20  # rows
# Columns of the cell with the largest surprise of its row.
OF_ODDEST = "oddest", "oddest_surprise", "oddest_p_value", "oddest_p_adjusted"
REASONS = "oddest_reasons"
SHOWN = 3  # cells of a row
LETTERS = 40  # of a value
KEPT, KEPT_ROWS = (
    "surprises.json",
    500,
)  # file and maximum number of the largest surprises of held-out rows
OUTSIDE = -np.log(0.1)  # nats: of a number at an end of its expected range


class CellSurprise(NamedTuple):
    """Surprise of the cells of a column in n rows, and the expected values.

    Attributes:
        column: The column.
        nats: ``-log p`` ``(n,)``; NaN if the cell is unknown or its distribution unresolved.
        low: 5 % quantile of a number, likeliest level, or value of a computed cell; NaN is missing.
        high: 95 % quantile of a number.
        share: Probability of ``low`` if it is a level or missing; else NaN.
        own: Probability of the own level, of a missing cell, or 0 of a value on no grid; else NaN.
    """

    column: CellColumn
    nats: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray
    own: np.ndarray


def surprises(density: CellDensity, rows: np.ndarray) -> list[CellSurprise]:
    """Surprise of the modelled and computed cells of rows ``(n, C)``, in nats.

    It is ``-log p``, p the probability of a cell at least as odd given all other cells: the
    two-sided tail of a number given that it is not missing and no outlier: any other is one with
    probability ``1/(n + 1)``, which would bound its surprise; of a level, all that are no likelier;
    of a broken relation, that it is broken. Where missing is the less likely, so is its
    probability; where present is, that is a factor of p. A value that no row can have is unknown to
    the other cells.
    """
    first, count, found = density.n_given, len(density.cells), []
    table_rows = TableRows(density, rows)
    for j, column in enumerate(density.row[first:count], first):
        with phase(f"explaining {printable(column.name)}: {len(rows):,} rows"):
            given = conditional(density, np.where(table_rows.unknown(j), np.nan, rows), j, ENDS)
        of_column = _of_numbers if column.has_numbers else _of_levels
        found.append(of_column(column, given, rows[:, j]))
    found += [_of_computed(one, rows) for one in density.computed]
    return [
        one._replace(nats=np.where(wrong, LARGEST, one.nats), own=np.where(wrong, 0.0, one.own))
        for one, wrong in zip(found, table_rows.are_impossible[:, first:].T)
    ]


def largest(found: Sequence[CellSurprise]) -> np.ndarray:
    """Largest surprise ``(n,)`` of a row's cells, in nats; 0 if none is known."""
    every = np.column_stack([one.nats for one in found])
    return np.round(np.nan_to_num(every).max(axis=1), DIGITS)


def _surprise(p: np.ndarray, given: CellPosterior) -> np.ndarray:
    return np.where(given.error <= UNRESOLVED, np.log(1 / np.clip(p, LEAST_MASS, 1.0)), np.nan)


def _of_numbers(column: CellColumn, given: CellPosterior, values: np.ndarray) -> CellSurprise:
    present, gaps = 1 - given.missing, np.isnan(values)
    p = two_sided(given.below, given.at) * np.where(present < 0.5, present, 1.0)
    if column.missing is not None:
        p = np.where(gaps, np.where(given.missing < 0.5, given.missing, 1.0), p)
    low, high = np.where(present < 0.5, np.nan, given.quantiles.T)
    share = np.where(present < 0.5, given.missing, np.nan)
    own = np.where(gaps, given.missing, np.nan)
    return CellSurprise(column, _surprise(p, given), low, high, share, own)


def _of_levels(column: CellColumn, given: CellPosterior, _: np.ndarray) -> CellSurprise:
    own = np.exp(given.log_prob)
    every = [given.levels] if column.missing is None else [given.levels, given.missing[:, None]]
    known = np.column_stack(every)
    new = np.maximum(1 - known.sum(axis=1), 0.0)
    p = no_likelier(own, np.column_stack([known, new]))
    at = known.argmax(axis=1)
    likeliest = np.where(at < len(column.first), at, np.nan)
    share = known.max(axis=1)
    return CellSurprise(column, _surprise(p, given), likeliest, likeliest, share, own)


def _of_computed(one: Computed, rows: np.ndarray) -> CellSurprise:
    expected, values = one.expected(rows), rows[:, one.place]
    nats = np.where(one.holds(rows, expected), 0.0, -np.log(one.broken))
    is_known = expected.known & ~(np.isnan(values) & (one.column.missing is None))
    nothing = np.full(len(rows), np.nan)
    nats = np.where(is_known, nats, np.nan)
    return CellSurprise(one.column, nats, expected.values, expected.values, nothing, nothing)


def oddness(density: CellDensity, rows: np.ndarray, log_q: np.ndarray | None = None) -> np.ndarray:
    """Minus the log-probability ``(n,)`` in nats of the known cells as written, of rows ``(n, C)``.

    New numbers among values that repeat count with all between those seen, whatever their digits.

    ``-log q - Σ log δ_j`` over the numbers with a density, δ the resolution of their column: it is
    the same in any units. ``log_q`` are log-probabilities of the cells, if known.
    """
    total = (density.cell_log_probs(rows) if log_q is None else log_q).sum(axis=1)
    for j, column in enumerate(density.row[density.n_given : len(density.cells)], density.n_given):
        total = total + column.log_wider(rows[:, j])
        if column.log_measure:
            codes = column.codes(rows[:, j])
            has_density = column.outcomes.have_numbers(codes) | (codes == column.new)
            total = total + column.log_measure * has_density
    return np.round(-total, DIGITS)


def largest_of_held_out(trained: CellsRun) -> np.ndarray:
    """Largest surprise ``(m,)`` of a cell of held-out rows; computed if not kept, and then kept.

    Kept ones are taken if they are of the same rows, weights and version, and numbers from 0 to the
    most; a folder that cannot be written keeps none.
    """
    rows = trained.held_out
    chosen = stream(trained.config.seed, "explained rows").permutation(len(rows))[:KEPT_ROWS]
    rows, run = rows[np.sort(chosen)], RunDirectory(trained.path)
    of = {"nflow": __version__, "sha256": sha256_of({**trained.arrays, "rows": rows})}
    with suppress(RunDirectoryError):
        kept = run.read_json(KEPT)
        values = kept.pop("largest", None)
        if kept == of and isinstance(values, list) and _are_largest(values, len(rows)):
            return np.array(values, float)
    found = largest(surprises(trained.density, rows))
    with suppress(RunDirectoryError):
        run.write_json(KEPT, {**of, "largest": found.tolist()})
    return found


def _are_largest(values: list[object], n: int) -> bool:
    return len(values) == n and all(
        isinstance(one, float | int) and 0 <= one <= LARGEST for one in values
    )


class Explained(NamedTuple):
    """Explanations of n rows.

    Attributes:
        log_q: Log-density ``(n,)`` in nats.
        odd: Oddness ``(n,)``, of :func:`~nflow_cli.experiments.table.explain.oddness`.
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

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name, but the reasons."""
        nats, names = self.nats, [one.column.name for one in self.cells]
        every = np.column_stack([np.nan_to_num(nats, nan=-1.0), np.full(len(nats), -0.5)])
        oddest = np.array([*names, ""], object)[every.argmax(axis=1)]
        columns = {LOG_Q: self.log_q, "p_value": self.p, "p_adjusted": adjusted(self.p)}
        of_oddest = oddest, self.largest, self.p_largest, adjusted(self.p_largest)
        columns |= dict(zip(OF_ODDEST, of_oddest))
        return columns | {f"{name}_surprise": values for name, values in zip(names, nats.T)}


def explained(
    density: CellDensity,
    rows: np.ndarray,
    log_q: np.ndarray,
    tests: np.ndarray,
    held_out_largest: np.ndarray,
) -> Explained:
    """Explain rows ``(n, C)`` with cells of log-probabilities ``log_q`` ``(n, D + K)``, given
    held-out rows ``(N, C)`` and the largest surprises ``(m,)`` of some of them.
    """
    odd = oddness(density, rows, log_q)
    p, held_out = _among(density, rows, odd, tests)
    cells = surprises(density, rows)
    of_cells = largest(cells)
    p_largest = p_values(of_cells, held_out_largest)
    return Explained(
        log_q.sum(axis=1), odd, p, held_out, cells, of_cells, p_largest, len(held_out_largest)
    )


def _among(
    density: CellDensity, rows: np.ndarray, odd: np.ndarray, tests: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P-values and the number of held-out rows: those with the same unknown cells, once hidden."""
    hidden, lost = (TableRows(density, cells).are_empty for cells in (rows, tests))
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


def answer(trained: CellsRun, table: TableFile) -> Answer:
    """Explanations of a table's rows, the oddest in words, and their scores."""
    expect_room(trained, names_of(trained.density))
    rows = trained.rows_of(table)
    of_rows, others = scored_table(trained, rows), (trained.held_out, largest_of_held_out(trained))
    judged = judgement(trained, table, rows, of_rows)
    cells = np.nan_to_num(of_rows.log_q, nan=0.0, neginf=-np.inf)
    found = explained(trained.density, rows, cells, *others)
    first = found.order[:IN_WORDS]
    shown, reasons = odd_rows(first, found, table, rows), np.full(len(rows), "", object)
    reasons[first] = ["; ".join(one.reasons) for one in shown]
    scores = {**judged.scores, **_scores(found)}
    oddest = [(one.name, f"{one.head}: {'; '.join(one.reasons)}") for one in shown[:PRINTED]]
    lines = [*judged.rows, *_printed(scores), *oddest]
    return Answer({**found.columns, REASONS: reasons}, Judgement(scores, lines, judged.warnings))


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


class OddRow(NamedTuple):
    """A row in words: its number from 1, its p-values and log q, and its most surprising cells."""

    name: str
    head: str
    reasons: list[str]


def odd_rows(
    places: np.ndarray, found: Explained, table: TableFile, rows: np.ndarray
) -> list[OddRow]:
    """Rows of a table at ``places`` in words."""
    names = [one.column.name for one in found.cells]
    texts, nats, every = _texts(table, names, places), found.nats, adjusted(found.p_largest)
    written = []
    for i in places:
        known = [j for j in np.argsort(-nats[i], kind="stable") if nats[i, j] > OUTSIDE]
        cells = [_sentence(found.cells[j], i, texts[i][j]) for j in known[:SHOWN]]
        by_cell = f"p {found.p_largest[i]:.2g} by cell (adjusted {every[i]:.2g})"
        head = f"{by_cell}, {found.p[i]:.2g} by row, log q {found.log_q[i]:.2f}"
        written.append(
            OddRow(f"row {i + 1:,}", head, cells or ["no cell by itself is odd given all others"])
        )
    return written


def _texts(
    table: TableFile, names: Sequence[str], places: np.ndarray
) -> dict[int, list[str | None]]:
    """Cells of some rows as in the table; ``None`` if missing."""
    texts, first = {}, 0
    for block in table.blocks(names):
        inside = [i for i in places if first <= i < first + block.num_rows]
        for i in inside:
            texts[i] = [_text(block.column(name)[int(i - first)].as_py()) for name in names]
        first += block.num_rows
    return texts


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    text = f"{value:.10g}" if isinstance(value, float) else str(value).strip()
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _sentence(cell: CellSurprise, i: int, own: str | None) -> str:
    low, high = (_written(cell, ends[i]) for ends in (cell.low, cell.high))
    expected = low if low == high else f"{low} to {high}"
    if cell.column.kind.relation is not None:
        expected = f"{low} ({cell.column.kind.relation.text})"
    name, own = printable(cell.column.name), own or "missing"
    return f"{name}: expected {expected}{_percent(cell.share[i])}, is {own}{_percent(cell.own[i])}"


def _written(cell: CellSurprise, value: float) -> str:
    """A value of a column as in the table, a number with its decimals."""
    kind = cell.column.kind
    if np.isnan(value):
        return "missing"
    (written,) = written_number(kind, np.array([value]))
    written = getattr(written, "as_py", lambda: float(written))()
    if isinstance(written, float) and kind.decimals is not None:
        return f"{written:.{kind.decimals}f}"
    return _text(written) or "missing"


def _percent(share: float) -> str:
    if np.isnan(share):
        return ""
    percent = 100 * share
    if 0 < percent < 0.01:
        return " (below 0.01 %)"
    return f" ({percent:.0f} %)" if percent >= 10 else f" ({percent:.2g} %)"
