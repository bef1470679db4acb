"""Drift of new rows against the held-out rows of a run, by a density of cells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.data.files.tables import TableFile, listed
from nflow_cli.errors import DataError
from nflow_cli.evaluation.estimates import rounded, with_error
from nflow_cli.evaluation.warnings import ScoreWarning, grouped_rows, marked, raised_warnings
from nflow_cli.experiments.summary import Judgement, Rows, Warnings
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_rules import CellRules
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.computed_cells import Computed
from nflow_cli.tables.loaded_tables import CellsRun, are_rows_of_run
from nflow_cli.tables.row_oddness import as_written
from nflow_cli.tables.scores.drift_tests import (
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
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

RELATION_OUTCOMES = ("broken", "holds")  # levels 0 and 1 of a computed cell
MOST_ROWS_OF_RELATIONS = 100_000  # new rows by which relations are compared, about
PRINTED_CHANGES = 20  # changes in each list
LEAST_ROWS = 50  # of either sample
OWN_ROWS = ScoreWarning(
    "own rows",
    ("p_value",),
    "these are the run's own rows, the held-out rows among them: they cannot have moved",
)


class Sample(NamedTuple):
    """Rows ``(n, C)``, and the probability integral transforms ``(n, D + K)`` of their cells, by
    which relations of columns are judged.

    If columns are unmixed, relations are judged by ranks: ``pit`` is the rows themselves.
    """

    rows: np.ndarray
    pit: np.ndarray


def judged_drift(trained: CellsRun, table: TableFile) -> Judgement:
    """Scores, printed lines and warnings of the drift of a table's rows."""
    rows = trained.rows_of(table)
    drift = drifted(trained.density, trained.held_out, rows, trained.config.seed)
    data = trained.config.data
    scores = drift.model_dump()
    own_rows = OWN_ROWS if are_rows_of_run(trained, rows) else None
    warnings = raised_warnings(own_rows, few_compared_rows(drift), grouped_rows(scores, data.group))
    kinds = data.kinds or {}
    left_out = [name for name, kind in kinds.items() if kind.kind == "left out"]
    return Judgement(scores, printed_rows(drift, table.name, warnings, left_out), warnings)


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
            column.name: _change_of_column(column, held_out_cells, new_cells)
            for column, held_out_cells, new_cells in zip(
                density.row_columns, held_out.T, rows.T, strict=True
            )
        }
    # Columns with a distribution given others: in a chain, all but the first.
    first = 0 if density.unmixing or density.n_given else 1
    related = [column.name for column in density.scored_columns[first:]]
    rules = _changes_of_rules(density.rules, held_out, rows)
    n_tests = len(columns) + len(related) + len(rules) + 1  # and that of the rows
    moved_columns = moved_names(columns, n_tests)
    with phase(f"comparing relations: {len(rows):,} rows"):
        held_out_scores = density.scored_rows(held_out, stream(seed, "drift", 0))
        new_scores = density.scored_rows(rows, stream(seed, "drift", 1))
        step = 1 + len(rows) // MOST_ROWS_OF_RELATIONS
        held_out_sample = Sample(held_out, held_out_scores.pit)
        new_sample = Sample(rows[::step], new_scores.pit[::step])
        relations = _relations(
            density, held_out_sample, new_sample, related, bool(moved_columns), seed
        )
    row_change = change_of_rows(
        _known_log_probs(density, held_out, held_out_scores.log_q),
        _known_log_probs(density, rows, new_scores.log_q),
        n_unknown=int((~density.are_known(rows).all(axis=1)).sum()),
    )
    changes = [*columns.values(), *relations.values(), *rules.values(), row_change]
    least_p = min(change.p_value for change in changes)
    return Drift(
        n=len(rows),
        n_held_out=len(held_out),
        p_value=min(1.0, least_p * n_tests),
        tests=n_tests,
        moved=moved_columns,
        moved_relations=moved_names(relations, n_tests),
        moved_rules=moved_names(rules, n_tests),
        row_moved=row_change.p_value * n_tests <= SIGNIFICANCE,
        columns=columns,
        relations=relations,
        rules=rules,
        row=row_change,
    )


def _change_of_column(column: CellColumn, before: np.ndarray, after: np.ndarray) -> Change:
    """Change of the marginal of a column from held-out cells ``(m,)`` to new ones ``(n,)``."""
    if column.has_numbers:
        return change_of_numbers(before, after)
    return change_of_levels(before, after, [*column.levels])


def _changes_of_rules(
    rules: CellRules, held_out: np.ndarray, rows: np.ndarray
) -> dict[str, Change]:
    """Changes of the share of rows that keep each rule, without implied ones, by its text."""
    held_out_outcomes = (~rules.are_broken(held_out)).astype(float).T
    new_outcomes = (~rules.are_broken(rows)).astype(float).T
    return {
        rule.text: change_of_levels(before, after, RELATION_OUTCOMES)
        for rule, before, after in zip(rules.rules, held_out_outcomes, new_outcomes)
        if not rule.is_implied
    }


def _relations(
    density: CellDensity,
    held_out: Sample,
    new: Sample,
    names: Sequence[str],
    have_moved: bool,
    seed: int,
) -> dict[str, Change]:
    """Changes of the distributions of the columns ``names`` given others, by name.

    Of unmixed columns ranks are compared in place of PITs, with equal marginals. Of others, if
    columns moved, the relations of new rows with the held-out marginals are tested too, and the
    less significant of both changes counts. Of a computed column it is how often its relation
    holds.
    """
    if density.unmixing:
        matched, covariates = _with_equal_marginals(density.row_columns, held_out.rows, new.rows)
        held_out_ranked = Sample(held_out.rows, held_out.rows)
        return _changes_given_others(
            density, names, held_out_ranked, Sample(matched, matched), covariates
        )
    changes = _changes_given_others(density, names, held_out, new, None)
    if have_moved:
        matched, covariates = _with_equal_marginals(density.row_columns, held_out.rows, new.rows)
        matched_sample = Sample(matched, density.pit(matched, stream(seed, "drift", 1)))
        matched_changes = _changes_given_others(
            density, names, held_out, matched_sample, covariates
        )
        for name, change in matched_changes.items():
            if change.p_value > changes[name].p_value:
                changes[name] = change
    for computed in density.computed_columns:
        held_out_outcomes = _relation_outcomes(computed, held_out.rows)
        new_outcomes = _relation_outcomes(computed, new.rows)
        changes[computed.column.name] = change_of_levels(
            held_out_outcomes, new_outcomes, RELATION_OUTCOMES
        )
    return changes


def _changes_given_others(
    density: CellDensity,
    names: Sequence[str],
    held_out: Sample,
    new: Sample,
    covariates: Features | None,
) -> dict[str, Change]:
    """Changes of the columns ``names`` given the others, from held-out to new rows, by name: of
    their PITs ``(n,)``, alone and in products with the features of each other column.

    The others are those before it in a row, as its PIT is given these; if the density unmixes its
    columns, all others. ``covariates``: features whose own changes do not count.
    """
    features_of = {
        column.name: features(held_out_cells, new_cells, are_levels=not column.has_numbers)
        for column, held_out_cells, new_cells in zip(
            density.row_columns, held_out.rows.T, new.rows.T
        )
    }
    row_names = list(features_of)
    changes = {}
    for place, column in enumerate(density.scored_columns):
        if column.name in names:
            others = row_names if density.unmixing else row_names[: density.n_given + place]
            other_features = {name: features_of[name] for name in others if name != column.name}
            changes[column.name] = change_of_pit(
                held_out.pit[:, place], new.pit[:, place], other_features, covariates
            )
    return changes


def _with_equal_marginals(
    columns: Sequence[CellColumn], held_out: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, Features]:
    """Match the marginals of numbers: new rows ``(n, C)`` whose numbers are replaced by held-out
    ones of the same ranks. Also return covariates: features of levels, and of gaps in numbers.
    """
    matched = rows.copy()
    column_features = []
    for j, column in enumerate(columns):
        before = held_out[:, j]
        after = rows[:, j]
        if column.has_numbers:
            matched[:, j] = as_held_out(before, after)
            before = np.isnan(before)
            after = np.isnan(after)
        column_features.append(features(before, after, are_levels=True))
    covariates = Features(
        held_out=np.column_stack([column.held_out for column in column_features]),
        new=np.column_stack([column.new for column in column_features]),
    )
    return matched, covariates


def _known_log_probs(density: CellDensity, rows: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Log-probabilities ``(m,)``, in nats, of the rows of ``(n, C)`` whose cells are all known, as
    written; ``log_q`` ``(n, D + K)``: of their cells.
    """
    are_known = density.are_known(rows).all(axis=1)
    return -as_written(density, rows[are_known], log_q[are_known])


def _relation_outcomes(computed: Computed, rows: np.ndarray) -> np.ndarray:
    """Whether a computed column's relation holds in rows ``(n, C)``: 0 or 1; NaN where its function
    is undefined.
    """
    expected = computed.expected(rows)
    return np.where(expected.known, computed.holds(rows, expected), np.nan)


def few_compared_rows(drift: Drift) -> ScoreWarning | None:
    """Warn about fewer than 50 rows in either sample."""
    if min(drift.n, drift.n_held_out) >= LEAST_ROWS:
        return None
    reason = (
        f"{drift.n:,} new and {drift.n_held_out:,} held-out rows: below {LEAST_ROWS} small changes "
        "are not found, and p-values are approximate"
    )
    return ScoreWarning("few rows", ("p_value",), reason)


def printed_rows(drift: Drift, name: str, warnings: Warnings, left_out: Sequence[str]) -> Rows:
    """Labels and texts of the drift of the table ``name``; ``left_out``: columns not compared."""
    data = f"{printable(name)}: {drift.n:,} rows, against {drift.n_held_out:,} held-out rows"
    p_value = f"{p_text(drift.p_value)}, of {drift.tests} tests (Bonferroni)"
    rows = [
        ("data", data),
        *_printed_changes("columns", "moved", drift.columns, drift.moved),
        *_printed_changes("relations", "changed", drift.relations, drift.moved_relations),
        *(
            _printed_changes("rules", "changed", drift.rules, drift.moved_rules)
            if drift.rules
            else ()
        ),
        ("row", _row_text(drift.row, drift.row_moved)),
        ("p-value", marked(p_value, warnings, "p_value")),
    ]
    if left_out:
        rows.append(("not compared", f"{listed(left_out)}, left out of the run"))
    return rows


def p_text(p: float) -> str:
    """P-value with two digits; below 1e-99 as a bound."""
    return f"{p:.2g}" if p >= 1e-99 else "below 1e-99"


def _printed_changes(
    name: str, verb: str, changes: Mapping[str, Change], significant: Sequence[str]
) -> Rows:
    """Labels and texts of significant changes: their number, and the effects of the clearest."""
    rows = [(name, f"{len(significant):,} of {len(changes):,} {verb}")]
    for column in significant[:PRINTED_CHANGES]:
        change = changes[column]
        effects = "; ".join(_effect_texts(change))
        rows.append((printable(column), f"p {p_text(change.p_value)}: {effects}"))
    n_further = len(significant) - PRINTED_CHANGES
    if n_further > 0:
        rows.append(("", f"and {n_further:,} more"))
    return rows


def _effect_texts(change: Change) -> list[str]:
    """Effects of a change in words, such as "shift 0.50 ± 0.04 sd"."""
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
    """Change of the log-probability of rows in words."""
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
