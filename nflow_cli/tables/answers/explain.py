"""Explanations of odd rows of a table by a density of cells: surprise of cells, oddness of rows."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.declared_rules import Rule
from nflow_cli.constants import __version__
from nflow_cli.data.files.tables import LOG_Q, TableFile
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.oddness import (
    adjusted,
    expected_share,
    no_likelier,
    p_values,
    two_sided,
)
from nflow_cli.evaluation.warnings import Summary
from nflow_cli.experiments.summary import Answer, Judgement, Rows
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import sha256_of
from nflow_cli.tables.answers.predict import written_number
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, CellPosterior, conditional
from nflow_cli.tables.cells.cell_distribution import LEAST_MASS
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.loaded_tables import CellsRun, expect_new_names
from nflow_cli.tables.row_oddness import DIGITS, RowOddness, row_oddness
from nflow_cli.tables.table_rows import TableRows
from nflow_cli.tables.table_scoring import judgement, scored_table
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

RANGE_P = np.array([0.05, 0.95])  # of the quantiles between which a number is expected
# In nats: smaller p are rounding errors.
LARGEST_SURPRISE = float(np.round(-np.log(LEAST_MASS), DIGITS))
COUNTED_P = 0.01  # rows with a p-value up to it are counted
ROWS_IN_WORDS = 20  # the oddest
PRINTED_ROWS = 3  # of these
CELLS_IN_WORDS = 3  # of each
VALUE_LETTERS = 40  # of a cell in words, at most
# Columns of the oddness of a row, and of the measures by which it is found.
MEASURES_OF_ROWS = ("oddness", "odd_as_written", "odd_relations", "odd_values")
# Columns of the cell with the largest surprise of its row.
ODDEST_COLUMNS = ("oddest", "oddest_surprise", "oddest_p_value", "oddest_p_adjusted")
REASONS_COLUMN = "oddest_reasons"
KEPT_FILE = "surprises.json"  # of the largest surprises of held-out rows
KEPT_ROWS = 500
LEAST_ODD = -np.log(0.1)  # nats: the surprise of a number at an end of its expected range


class CellSurprise(NamedTuple):
    """Surprise of the cells of a column in n rows, and the expected values.

    Attributes:
        column: The column.
        nats: ``-log p`` ``(n,)``; NaN if the cell is unknown or its distribution unresolved.
        low: 5 % quantile of a number, likeliest level, or value of a computed cell; NaN is missing.
        high: 95 % quantile of a number.
        share: Probability of ``low`` if it is a level or missing; else NaN.
        own_share: Probability of the row's own level, or of missing if the cell is; 0 of a value
            off its grid; else NaN.
    """

    column: CellColumn
    nats: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray
    own_share: np.ndarray


def surprises(density: CellDensity, rows: np.ndarray) -> list[CellSurprise]:
    """Surprise of the modelled and computed cells of rows ``(n, C)``, in nats.

    It is ``-log p``, p the probability of a cell at least as odd given all other cells: of a number
    the two-sided tail, of a level the total of all that are no likelier, of a broken relation that
    it is broken. The tail is given that the number is not missing and no outlier, as these have
    probability ``1/(n + 1)``, which would bound the surprise. A missing cell has the probability of
    missing, or 1 if that is likelier; where it is, a number's p has the factor P(present). A value
    that no row can have is unknown to the other cells, and has the largest surprise.
    """
    first = density.n_given
    table_rows = TableRows(density, rows)
    cells = []
    for j, column in enumerate(density.row_columns[first : len(density.columns)], first):
        with phase(f"explaining {printable(column.name)}: {len(rows):,} rows"):
            known_cells = np.where(table_rows.unknown_cells(j), np.nan, rows)
            posterior = conditional(density, known_cells, j, RANGE_P)
        if column.has_numbers:
            cells.append(_surprise_of_numbers(column, posterior, rows[:, j]))
        else:
            cells.append(_surprise_of_levels(column, posterior))
    cells += [_surprise_of_computed(computed, rows) for computed in density.computed_columns]
    return [
        cell._replace(
            nats=np.where(is_impossible, LARGEST_SURPRISE, cell.nats),
            own_share=np.where(is_impossible, 0.0, cell.own_share),
        )
        for cell, is_impossible in zip(cells, table_rows.are_impossible[:, first:].T)
    ]


def largest_surprises(cells: Sequence[CellSurprise]) -> np.ndarray:
    """Largest surprise ``(n,)`` of a row's cells, in nats; 0 if none is known."""
    nats = np.column_stack([cell.nats for cell in cells])
    return np.round(np.nan_to_num(nats).max(axis=1), DIGITS)


def _nats_of_p(p: np.ndarray, posterior: CellPosterior) -> np.ndarray:
    """Surprise ``-log p`` ``(n,)``, NaN where the distribution is unresolved."""
    nats = np.log(1 / np.clip(p, LEAST_MASS, 1.0))
    return np.where(posterior.error <= UNRESOLVED, nats, np.nan)


def _surprise_of_numbers(
    column: CellColumn, posterior: CellPosterior, values: np.ndarray
) -> CellSurprise:
    """Surprise of the numbers ``(n,)`` of a column, NaN if missing, by their distributions."""
    p_present = 1 - posterior.missing
    is_gap_likelier = p_present < 0.5
    is_gap = np.isnan(values)
    p = two_sided(posterior.below, posterior.at) * np.where(is_gap_likelier, p_present, 1.0)
    if column.missing_code is not None:
        p_of_gap = np.where(posterior.missing < 0.5, posterior.missing, 1.0)
        p = np.where(is_gap, p_of_gap, p)
    low, high = np.where(is_gap_likelier, np.nan, posterior.quantiles.T)
    share = np.where(is_gap_likelier, posterior.missing, np.nan)
    own_share = np.where(is_gap, posterior.missing, np.nan)
    return CellSurprise(column, _nats_of_p(p, posterior), low, high, share, own_share)


def _surprise_of_levels(column: CellColumn, posterior: CellPosterior) -> CellSurprise:
    """Surprise of a column's levels by their distributions in n rows; missing is like a level."""
    own_share = np.exp(posterior.log_prob)
    shares = posterior.levels
    if column.missing_code is not None:
        shares = np.column_stack([shares, posterior.missing])
    share_of_new = np.maximum(1 - shares.sum(axis=1), 0.0)
    p = no_likelier(own_share, np.column_stack([shares, share_of_new]))
    places = shares.argmax(axis=1)
    likeliest = np.where(places < len(column.levels), places, np.nan)
    share = shares.max(axis=1)
    return CellSurprise(column, _nats_of_p(p, posterior), likeliest, likeliest, share, own_share)


def _surprise_of_computed(computed: Computed, rows: np.ndarray) -> CellSurprise:
    """Surprise of a computed column's cells in rows ``(n, C)``: 0 where its relation holds."""
    column = computed.column
    expected = computed.expected(rows)
    is_hidden = np.isnan(rows[:, computed.place]) & (column.missing_code is None)
    nats = np.where(computed.holds(rows, expected), 0.0, -np.log(computed.broken))
    nats = np.where(expected.known & ~is_hidden, nats, np.nan)
    no_share = np.full(len(rows), np.nan)
    return CellSurprise(column, nats, expected.values, expected.values, no_share, no_share)


def largest_of_held_out(trained: CellsRun) -> np.ndarray:
    """Largest surprise ``(m,)`` in nats of a cell in each of 500 held-out rows, or of all if fewer.

    They are kept in a file of the run, and computed unless that has surprises of the same version,
    network weights and rows. A file that cannot be read or written is passed over.
    """
    order = stream(trained.config.seed, "explained rows").permutation(len(trained.held_out))
    rows = trained.held_out[np.sort(order[:KEPT_ROWS])]
    run = RunDirectory(trained.path)
    identity = {"nflow": __version__, "sha256": sha256_of({**trained.arrays, "rows": rows})}
    with suppress(RunDirectoryError):
        record = run.read_json(KEPT_FILE)
        kept = record.pop("largest", None)
        if record == identity and isinstance(kept, list) and _are_surprises(kept, len(rows)):
            return np.array(kept, float)
    computed = largest_surprises(surprises(trained.density, rows))
    with suppress(RunDirectoryError):
        run.write_json(KEPT_FILE, {**identity, "largest": computed.tolist()})
    return computed


def _are_surprises(values: list[object], n: int) -> bool:
    """Whether a file's values are n numbers of nats, from 0 to the largest surprise."""
    return len(values) == n and all(
        isinstance(value, float | int) and 0 <= value <= LARGEST_SURPRISE for value in values
    )


class Explained(NamedTuple):
    """Explanations of n rows.

    Attributes:
        log_q: Log-density ``(n,)`` in nats.
        rows: Oddness of each row.
        cells: Surprise of the cells, column by column.
        largest: Largest surprise ``(n,)`` of a cell, in nats.
        p_largest: P-values ``(n,)`` of that, among the largest surprises of held-out rows.
        n_held_out_cells: Number of the held-out rows whose cells were explained.
        rules: J rules between two columns.
        are_broken: Which of them ``(n, J)`` a row breaks.
    """

    log_q: np.ndarray
    rows: RowOddness
    cells: list[CellSurprise]
    largest: np.ndarray
    p_largest: np.ndarray
    n_held_out_cells: int
    rules: Sequence[Rule]
    are_broken: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Rows ``(n,)``, the one with the oddest cell first; of equal ones the oddest row."""
        return np.lexsort((-self.rows.values, -self.largest))

    @property
    def nats(self) -> np.ndarray:
        """Surprise ``(n, D + K)`` of all cells."""
        return np.column_stack([cell.nats for cell in self.cells])

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns to be written, by name, but the reasons."""
        nats = self.nats
        names = [cell.column.name for cell in self.cells]
        no_cell = np.full(len(nats), -0.5)  # the oddest where all are unknown
        places = np.column_stack([np.nan_to_num(nats, nan=-1.0), no_cell]).argmax(axis=1)
        oddest = np.array([*names, ""], object)[places]
        p = self.rows.p
        columns = {LOG_Q: self.log_q, "p_value": p, "p_adjusted": adjusted(p)}
        of_rows = [self.rows.values, *self.rows.measures]
        columns |= dict(zip(MEASURES_OF_ROWS, of_rows))
        oddest_values = [oddest, self.largest, self.p_largest, adjusted(self.p_largest)]
        columns |= dict(zip(ODDEST_COLUMNS, oddest_values))
        return columns | {f"{name}_surprise": values for name, values in zip(names, nats.T)}


def explained(
    density: CellDensity,
    rows: np.ndarray,
    log_q: np.ndarray,
    held_out: np.ndarray,
    held_out_largest: np.ndarray,
    is_robust: bool = False,
) -> Explained:
    """Explain rows ``(n, C)`` with cells of log-probabilities ``log_q`` ``(n, D + K)``, given
    held-out rows ``(N, C)`` and the largest surprises ``(m,)`` of some of them; ``is_robust``: by a
    density of a robust fit.
    """
    cells = surprises(density, rows)
    largest = largest_surprises(cells)
    return Explained(
        log_q=log_q.sum(axis=1),
        rows=row_oddness(density, rows, held_out, log_q, is_robust),
        cells=cells,
        largest=largest,
        p_largest=p_values(largest, held_out_largest),
        n_held_out_cells=len(held_out_largest),
        rules=density.rules.rules,
        are_broken=density.rules.are_broken(rows),
    )


def names_of(density: CellDensity) -> list[str]:
    """Names of the columns that an explanation of rows writes."""
    of_cells = [f"{column.name}_surprise" for column in density.scored_columns]
    return [
        LOG_Q,
        "p_value",
        "p_adjusted",
        *MEASURES_OF_ROWS,
        *ODDEST_COLUMNS,
        *of_cells,
        REASONS_COLUMN,
    ]


def answer(trained: CellsRun, table: TableFile) -> Answer:
    """Explanations of a table's rows, the oddest in words, and their scores."""
    expect_new_names(trained, names_of(trained.density))
    rows = trained.rows_of(table)
    row_scores = scored_table(trained, rows)
    held_out_largest = largest_of_held_out(trained)
    judged = judgement(trained, table, rows, row_scores)
    log_q = np.nan_to_num(row_scores.log_q, nan=0.0, neginf=-np.inf)
    held_out = trained.held_out
    is_robust = trained.config.data.robust
    explanation = explained(trained.density, rows, log_q, held_out, held_out_largest, is_robust)
    places = explanation.order[:ROWS_IN_WORDS]
    oddest = odd_rows(places, explanation, table)
    reasons = np.full(len(rows), "", object)
    reasons[places] = [row.reasons for row in oddest]
    scores = {**judged.scores, **_scores_of_explanation(explanation)}
    in_words = [(row.name, f"{row.head}: {row.reasons}") for row in oddest[:PRINTED_ROWS]]
    lines = [*judged.rows, *_printed_p_values(scores), *in_words]
    columns = {**explanation.columns, REASONS_COLUMN: reasons}
    return Answer(columns, Judgement(scores, lines, judged.warnings))


def _scores_of_explanation(explanation: Explained) -> dict[str, float]:
    """Numbers of odd rows, by their oddness and by their oddest cell, and those expected if no row
    is unlike the held-out ones.
    """
    n_held_out = int(explanation.rows.n_held_out.max())
    share_by_cells = float(expected_share(np.array(explanation.n_held_out_cells), COUNTED_P))
    return {
        "n_held_out": n_held_out,
        "smallest_p": 1 / (n_held_out + 1),
        "n_odd": int((explanation.rows.p <= COUNTED_P).sum()),
        "n_odd_expected": float(expected_share(explanation.rows.n_held_out, COUNTED_P).sum()),
        "n_held_out_cells": explanation.n_held_out_cells,
        "n_odd_cells": int((explanation.p_largest <= COUNTED_P).sum()),
        "n_odd_cells_expected": len(explanation.rows.p) * share_by_cells,
        "n_unexplained": int(np.isnan(explanation.nats).sum()),
    }


def _printed_p_values(scores: Summary) -> Rows:
    """Labels and texts of the numbers of odd rows, and of unexplained cells."""
    rows = []
    for by, ending in (("cell", "_cells"), ("row", "")):
        n_held_out = scores[f"n_held_out{ending}"]
        n_odd = scores[f"n_odd{ending}"]
        n_expected = scores[f"n_odd{ending}_expected"]
        text = f"up to {COUNTED_P:g}: {n_odd:,} rows, {n_expected:,.1f} expected by chance"
        if n_held_out + 1 < 1 / COUNTED_P:  # no p-value can be so small
            text = f"at least {1 / (n_held_out + 1):.2g}"
        rows.append((f"p by {by}", f"among {n_held_out:,} held-out rows; {text}"))
    if n := scores["n_unexplained"]:
        rows.append(("unexplained", f"{n:,} cells: unknown, or their quadrature unresolved"))
    return rows


class OddRow(NamedTuple):
    """A row in words: its number from 1, its p-values and log q, and its most surprising cells."""

    name: str
    head: str
    reasons: str


def odd_rows(places: np.ndarray, explanation: Explained, table: TableFile) -> list[OddRow]:
    """Explanations in words of the rows of a table at ``places``, each with its oddest cells."""
    nats = explanation.nats
    p_adjusted = adjusted(explanation.p_largest)
    texts = _texts_of_rows(table, [cell.column.name for cell in explanation.cells], places)
    in_words = []
    for i in places:
        order = np.argsort(-nats[i], kind="stable")
        odd_cells = [j for j in order if nats[i, j] > LEAST_ODD][:CELLS_IN_WORDS]
        broken = [
            rule for rule, breaks in zip(explanation.rules, explanation.are_broken[i]) if breaks
        ]
        reasons = [_reason(explanation.cells[j], i, texts[i][j], broken) for j in odd_cells]
        by_cell = f"p {explanation.p_largest[i]:.2g} by cell (adjusted {p_adjusted[i]:.2g})"
        head = f"{by_cell}, {explanation.rows.p[i]:.2g} by row, log q {explanation.log_q[i]:.2f}"
        text = "; ".join(reasons) or "no cell by itself is odd given all others"
        in_words.append(OddRow(f"row {i + 1:,}", head, text))
    return in_words


def _texts_of_rows(
    table: TableFile, names: Sequence[str], places: np.ndarray
) -> dict[int, list[str]]:
    """Cells of the columns ``names`` as in the table, in few letters, of each row at ``places``."""
    texts = {}
    start = 0
    for block in table.blocks(names):
        for i in places:
            if start <= i < start + block.num_rows:
                texts[i] = [
                    _short_text(block.column(name)[int(i - start)].as_py()) for name in names
                ]
        start += block.num_rows
    return texts


def _short_text(value: Any) -> str:
    """Text of a table's value, cut to 40 letters; "missing" of none, NaN or an empty text."""
    if value is None or value != value:
        return "missing"
    text = f"{value:.10g}" if isinstance(value, float) else str(value).strip()
    if len(text) > VALUE_LETTERS:
        return f"{text[: VALUE_LETTERS - 1]}…"
    return text or "missing"


def _reason(cell: CellSurprise, i: int, text: str, broken: Sequence[Rule]) -> str:
    """Reason why a cell of row ``i`` is odd: expected values, its ``text`` in the table, and the
    first of the ``broken`` rules of the row that it is in.
    """
    low = _written_value(cell, cell.low[i])
    high = _written_value(cell, cell.high[i])
    expected = low if low == high else f"{low} to {high}"
    relation = cell.column.kind.relation
    if relation is not None:
        expected = f"{low} ({relation.text})"
    expected += _percent(cell.share[i])
    name = printable(cell.column.name)
    reason = f"{name}: expected {expected}, is {text}{_percent(cell.own_share[i])}"
    of_cell = [rule for rule in broken if cell.column.name in rule.columns]
    return f"{reason}, {_against(of_cell[0])}" if of_cell else reason


def _against(rule: Rule) -> str:
    """What a row that breaks a rule is against: as found, it may hold by chance."""
    text = printable(rule.text)
    return f"against {text}" if rule.is_declared else f"against {text} in {rule.rows:,} other rows"


def _written_value(cell: CellSurprise, value: float) -> str:
    """Text of a value of a column: a number with the column's decimals, or a level."""
    kind = cell.column.kind
    if np.isnan(value):
        return "missing"
    (scalar,) = written_number(kind, np.array([value]))
    written = scalar.as_py() if hasattr(scalar, "as_py") else float(scalar)
    if isinstance(written, float) and kind.decimals is not None:
        return f"{written:.{kind.decimals}f}"
    return _short_text(written)


def _percent(share: float) -> str:
    """Share as text, such as " (12 %)"; "" if NaN."""
    if np.isnan(share):
        return ""
    percent = 100 * share
    if 0 < percent < 0.01:
        return " (below 0.01 %)"
    return f" ({percent:.0f} %)" if percent >= 10 else f" ({percent:.2g} %)"
