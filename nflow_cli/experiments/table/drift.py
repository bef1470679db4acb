"""Drift of new rows against the held-out rows of a run, by a density of cells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.data.tables import TableFile, listed
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.errors import DataError
from nflow_cli.evaluation.drift import (
    SIGNIFICANCE,
    Change,
    Drift,
    Features,
    RowChange,
    as_held_out,
    change_of_levels,
    change_of_numbers,
    change_of_pit,
    change_of_rows,
    features,
    moved_names,
)
from nflow_cli.evaluation.estimates import rounded, with_error
from nflow_cli.evaluation.warnings import ScoreWarning, grouped_rows, marked, raised_warnings
from nflow_cli.experiments.summary import Judgement, Rows, Warnings
from nflow_cli.experiments.table.explain import oddness
from nflow_cli.experiments.table.tables import CellsRun, are_own
from nflow_cli.random_streams import stream
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

RELATION_OUTCOMES = ("broken", "holds")
MOST_COMPARED = 100_000  # new rows whose relations are compared, about
PRINTED = 20  # changes in each list
LEAST_ROWS = 50  # of either sample
OWN_ROWS = ScoreWarning(
    "own rows",
    ("p_value",),
    "these are the run's own rows, the held-out rows among them: they cannot have moved",
)


class Sample(NamedTuple):
    """Rows ``(n, C)``, and the PITs ``(n, D + K)`` by which relations of their columns are judged.

    Of unmixed columns the ranks judge, and the rows themselves are in place of the PITs.
    """

    rows: np.ndarray
    pit: np.ndarray


def judged_drift(trained: CellsRun, table: TableFile) -> Judgement:
    """Judge the drift of a table's rows."""
    rows = trained.rows_of(table)
    drift = drifted(trained.density, trained.held_out, rows, trained.config.seed)
    data = trained.config.data
    scores = drift.model_dump()
    own_rows = OWN_ROWS if are_own(trained, rows) else None
    warnings = raised_warnings(own_rows, few_rows(drift), grouped_rows(scores, data.group))
    kinds = data.kinds or {}
    left_out = [name for name, kind in kinds.items() if kind.kind == "left out"]
    return Judgement(scores, rows_of(drift, table.name, warnings, left_out), warnings)


def drifted(density: CellDensity, held_out: np.ndarray, rows: np.ndarray, seed: int) -> Drift:
    """Changes of rows ``(n, C)`` against held-out rows ``(N, C)``.

    A relation is judged by the PIT of a column given those before it, alone and with each of them.
    If columns moved, it is judged by rows with equal marginals too, and has changed if both say so:
    neither a change of columns by themselves explains it, nor one of the columns before. Relations
    of unmixed columns are judged by their ranks.
    """
    if not len(held_out):
        raise DataError("expected held-out rows to compare with: the run has none")
    with phase(f"comparing columns: {len(rows):,} rows"):
        columns = {
            column.name: _change_of_column(column, before, after)
            for column, before, after in zip(density.row, held_out.T, rows.T, strict=True)
        }
    # Columns with a distribution given others: in a chain, all but the first.
    first = 0 if density.unmixing or density.n_given else 1
    related = [column.name for column in density.scored[first:]]
    tests = len(columns) + len(related) + 1
    moved_columns = moved_names(columns, tests)
    with phase(f"comparing relations: {len(rows):,} rows"):
        held_out_scores = density.scored_rows(held_out, stream(seed, "drift", 0))
        new_scores = density.scored_rows(rows, stream(seed, "drift", 1))
        step = 1 + len(rows) // MOST_COMPARED
        before = Sample(held_out, held_out_scores.pit)
        after = Sample(rows[::step], new_scores.pit[::step])
        relations = _relations(density, before, after, related, bool(moved_columns), seed)
    row = change_of_rows(
        _known_log_probs(density, held_out, held_out_scores.log_q),
        _known_log_probs(density, rows, new_scores.log_q),
        n_unknown=int((~density.are_known(rows).all(axis=1)).sum()),
    )
    smallest = min(change.p_value for change in [*columns.values(), *relations.values(), row])
    return Drift(
        n=len(rows),
        n_held_out=len(held_out),
        p_value=min(1.0, smallest * tests),
        tests=tests,
        moved=moved_columns,
        moved_relations=moved_names(relations, tests),
        row_moved=row.p_value * tests <= SIGNIFICANCE,
        columns=columns,
        relations=relations,
        row=row,
    )


def _change_of_column(column: CellColumn, before: np.ndarray, after: np.ndarray) -> Change:
    if column.has_numbers:
        return change_of_numbers(before, after)
    return change_of_levels(before, after, [str(level) for level in column.first])


def _relations(
    density: CellDensity,
    held_out: Sample,
    new: Sample,
    names: Sequence[str],
    have_moved: bool,
    seed: int,
) -> dict[str, Change]:
    """Changes of the columns ``names`` given others.

    If columns moved, also with equal marginals: a relation has changed if it has in both ways.
    """
    if density.unmixing:
        matched, given = _with_equal_marginals(density.row, held_out.rows, new.rows)
        before = Sample(held_out.rows, held_out.rows)
        return _changes(density, names, before, Sample(matched, matched), given)
    changes = _changes(density, names, held_out, new, None)
    if have_moved:
        matched, given = _with_equal_marginals(density.row, held_out.rows, new.rows)
        pit = density.pit(matched, stream(seed, "drift", 1))
        of_matched = _changes(density, names, held_out, Sample(matched, pit), given)
        for name, change in of_matched.items():
            if change.p_value > changes[name].p_value:
                changes[name] = change
    for computed in density.computed:
        before = _holds(computed, held_out.rows)
        after = _holds(computed, new.rows)
        changes[computed.column.name] = change_of_levels(before, after, RELATION_OUTCOMES)
    return changes


def _changes(
    density: CellDensity,
    names: Sequence[str],
    held_out: Sample,
    new: Sample,
    given: Features | None,
) -> dict[str, Change]:
    """Changes of columns given those before, or all others if unmixed."""
    by_column = {
        column.name: features(before, after, are_levels=not column.has_numbers)
        for column, before, after in zip(density.row, held_out.rows.T, new.rows.T)
    }
    row_names = list(by_column)
    changes = {}
    for place, column in enumerate(density.scored):
        if column.name in names:
            others = row_names if density.unmixing else row_names[: density.n_given + place]
            of_others = {name: by_column[name] for name in others if name != column.name}
            changes[column.name] = change_of_pit(
                held_out.pit[:, place], new.pit[:, place], of_others, given
            )
    return changes


def _with_equal_marginals(
    columns: Sequence[CellColumn], held_out: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, Features]:
    """New rows with the held-out numbers of the same ranks, and covariates: levels and gaps."""
    matched = rows.copy()
    by_column = []
    for j, column in enumerate(columns):
        before = held_out[:, j]
        after = rows[:, j]
        if column.has_numbers:
            matched[:, j] = as_held_out(before, after)
            before = np.isnan(before)
            after = np.isnan(after)
        by_column.append(features(before, after, are_levels=True))
    covariates = Features(
        held_out=np.column_stack([of_column.held_out for of_column in by_column]),
        new=np.column_stack([of_column.new for of_column in by_column]),
    )
    return matched, covariates


def _known_log_probs(density: CellDensity, rows: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Log-probabilities as written, in nats, of the rows whose cells are all known."""
    are_known = density.are_known(rows).all(axis=1)
    return -oddness(density, rows[are_known], log_q[are_known])


def _holds(computed: Computed, rows: np.ndarray) -> np.ndarray:
    """Whether a column's relation holds in rows ``(n, C)``; NaN where its function is undefined."""
    expected = computed.expected(rows)
    return np.where(expected.known, computed.holds(rows, expected), np.nan)


def few_rows(drift: Drift) -> ScoreWarning | None:
    """Warn about fewer than 50 rows in either sample."""
    if min(drift.n, drift.n_held_out) >= LEAST_ROWS:
        return None
    reason = (
        f"{drift.n:,} new and {drift.n_held_out:,} held-out rows: below {LEAST_ROWS} small changes "
        "are not found, and p-values are approximate"
    )
    return ScoreWarning("few rows", ("p_value",), reason)


def rows_of(drift: Drift, name: str, warnings: Warnings, left_out: Sequence[str]) -> Rows:
    """Printed scores of the drift of a table of that name; columns ``left_out`` of the density."""
    data = f"{printable(name)}: {drift.n:,} rows, against {drift.n_held_out:,} held-out rows"
    p_value = f"{p_text(drift.p_value)}, of {drift.tests} tests (Bonferroni)"
    rows = [
        ("data", data),
        *_list("columns", "moved", drift.columns, drift.moved),
        *_list("relations", "changed", drift.relations, drift.moved_relations),
        ("row", _row_text(drift.row, drift.row_moved)),
        ("p-value", marked(p_value, warnings, "p_value")),
    ]
    if left_out:
        rows.append(("not compared", f"{listed(left_out)}, left out of the run"))
    return rows


def p_text(p: float) -> str:
    """P-value with two digits; below 1e-99 as a bound."""
    return f"{p:.2g}" if p >= 1e-99 else "below 1e-99"


def _list(name: str, verb: str, changes: Mapping[str, Change], significant: Sequence[str]) -> Rows:
    """Number of the significant changes, and each of the first with its effects."""
    rows = [(name, f"{len(significant):,} of {len(changes):,} {verb}")]
    for column in significant[:PRINTED]:
        change = changes[column]
        effects = "; ".join(_effects(change))
        rows.append((printable(column), f"p {p_text(change.p_value)}: {effects}"))
    n_further = len(significant) - PRINTED
    if n_further > 0:
        rows.append(("", f"and {n_further:,} more"))
    return rows


def _effects(change: Change) -> list[str]:
    texts = []
    if shift := change.shift:
        texts.append(f"shift {with_error(shift.mean, shift.mean_standard_error)} sd")
        if shift.spread is not None:
            texts.append(f"spread × {with_error(shift.spread, shift.spread_standard_error)}")
    if share := change.share:
        error = 100 * share.standard_error
        before = rounded(100 * share.before, error)
        after = with_error(100 * share.after, error)
        texts.append(f"{printable(share.level)} {before} → {after} %")
    if link := change.link:
        text = f"with {printable(link.column)}"
        if link.before is not None and link.after is not None:
            text += f", rank correlation {link.before:+.2f} → {link.after:+.2f}"
        texts.append(text)
    if change.missing_before != change.missing_after:
        texts.append(f"missing {change.missing_before:.1%} → {change.missing_after:.1%}")
    if change.n_new_levels:
        texts.append(f"{change.n_new_levels:,} cells of new levels")
    return texts


def _row_text(row: RowChange, has_moved: bool) -> str:
    verb = "changed" if has_moved else "no change found"
    head = f"{verb}, p {p_text(row.p_value)}"
    effects = []
    if row.difference is not None:
        difference = with_error(row.difference, row.standard_error)
        effects.append(f"mean log-probability {difference} nats")
    if row.n_impossible or row.n_impossible_held_out:
        effects.append(
            f"{row.n_impossible:,} impossible rows ({row.n_impossible_held_out:,} held-out)"
        )
    if row.n_unknown:
        effects.append(f"{row.n_unknown:,} rows with unknown cells left out")
    return f"{head}: {'; '.join(effects)}" if effects else head
