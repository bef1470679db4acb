"""Drift of new rows against the held-out rows of a run, by a density of cells."""

from collections.abc import Mapping, Sequence

import numpy as np

from nflow_cli.data.tables import TableFile, listed
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.errors import DataError
from nflow_cli.evaluation.drift import (
    LEVEL,
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
    moved,
)
from nflow_cli.evaluation.estimates import rounded, with_error
from nflow_cli.evaluation.warnings import ScoreWarning, grouped_rows, marked
from nflow_cli.evaluation.warnings import raised_warnings as told
from nflow_cli.experiments.summary import Judgement, Rows, Warnings
from nflow_cli.experiments.table.explain import oddness
from nflow_cli.experiments.table.tables import CellsRun, are_own
from nflow_cli.random_streams import stream
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

HELD = "broken", "holds"  # a relation
MOST = 100_000  # new rows whose relations are compared, about
PRINTED = 20  # changes in each list
LEAST = 50  # rows of either sample
OWN_ROWS = ScoreWarning(
    "own rows",
    ("p_value",),
    "these are the run's own rows, the held-out rows among them: they cannot have moved",
)


def judged_drift(trained: CellsRun, table: TableFile) -> Judgement:
    """Judge the drift of a table's rows."""
    rows = trained.rows_of(table)
    found = drifted(trained.density, trained.held_out, rows, trained.config.seed)
    data, scores = trained.config.data, found.model_dump()
    own = OWN_ROWS if are_own(trained, rows) else None
    warnings = told(own, few_rows(found), grouped_rows(scores, data.group))
    kinds = data.kinds or {}
    left_out = [name for name, kind in kinds.items() if kind.kind == "left out"]
    return Judgement(scores, rows_of(found, table.name, warnings, left_out), warnings)


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
            column.name: change_of_numbers(before, after)
            if column.has_numbers
            else change_of_levels(before, after, [*map(str, column.first)])
            for column, before, after in zip(density.row, held_out.T, rows.T, strict=True)
        }
    # Columns with a distribution given others: in a chain, all but the first.
    first = 0 if density.unmixing or density.n_given else 1
    related = [column.name for column in density.scored[first:]]
    tests = len(columns) + len(related) + 1
    found = moved(columns, tests)
    with phase(f"comparing relations: {len(rows):,} rows"):
        scored = [
            density.scored_rows(some, stream(seed, "drift", part))
            for part, some in enumerate((held_out, rows))
        ]
        some = slice(None, None, 1 + len(rows) // MOST)
        pits = scored[0].pit, scored[1].pit[some]
        relations = _relations(density, held_out, rows[some], pits, related, bool(found), seed)
    row = _row(density, (held_out, rows), [one.log_q for one in scored])
    smallest = min(one.p_value for one in [*columns.values(), *relations.values(), row])
    return Drift(
        n=len(rows),
        n_held_out=len(held_out),
        p_value=min(1.0, smallest * tests),
        tests=tests,
        moved=found,
        moved_relations=moved(relations, tests),
        row_moved=row.p_value * tests <= LEVEL,
        columns=columns,
        relations=relations,
        row=row,
    )


def _relations(
    density: CellDensity,
    held_out: np.ndarray,
    rows: np.ndarray,
    pits: Sequence[np.ndarray],
    names: Sequence[str],
    have_moved: bool,
    seed: int,
) -> dict[str, Change]:
    """Changes of columns given others, by PITs of held-out and of new rows.

    If columns moved, also with equal marginals: a relation has changed if it has in both ways.
    """
    if density.unmixing:
        alike, given = _with_equal_marginals(density.row, held_out, rows)
        return _changes(density, names, (held_out, alike), (held_out, alike), given)
    found = _changes(density, names, (held_out, rows), pits, None)
    if have_moved:
        alike, given = _with_equal_marginals(density.row, held_out, rows)
        after = density.pit(alike, stream(seed, "drift", 1))
        others = _changes(density, names, (held_out, alike), (pits[0], after), given)
        pairs = {name: (found[name], others[name]) for name in names}
        found = {name: max(pair, key=lambda one: one.p_value) for name, pair in pairs.items()}
    broken = {one.column.name: _broken(one, held_out, rows) for one in density.computed}
    return {name: broken.get(name, found[name]) for name in names}


def _changes(
    density: CellDensity,
    names: Sequence[str],
    parts: Sequence[np.ndarray],
    pits: Sequence[np.ndarray],
    given: Features | None,
) -> dict[str, Change]:
    """Changes of columns given those before, or all others if unmixed."""
    every = [
        (column.name, features(old, new, are_levels=not column.has_numbers))
        for column, old, new in zip(density.row, *(rows.T for rows in parts))
    ]
    found = {}
    for place, column in enumerate(density.scored, density.n_given):
        others = dict(every[:place] + (every[place + 1 :] if density.unmixing else []))
        if column.name in names:
            before, after = (values[:, place - density.n_given] for values in pits)
            found[column.name] = change_of_pit(before, after, others, given)
    return found


def _with_equal_marginals(
    columns: Sequence[CellColumn], held_out: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, Features]:
    """New rows with the held-out numbers of the same ranks, and covariates: levels and gaps."""
    alike, given = rows.copy(), []
    for j, column in enumerate(columns):
        before, after = held_out[:, j], rows[:, j]
        if column.has_numbers:
            alike[:, j] = as_held_out(before, after)
            before, after = np.isnan(before), np.isnan(after)
        given.append(features(before, after, are_levels=True)[:2])
    before, after = (np.column_stack(parts) for parts in zip(*given))
    return alike, Features(before, after)


def _row(
    density: CellDensity, parts: Sequence[np.ndarray], log_q: Sequence[np.ndarray]
) -> RowChange:
    """Change of rows whose cells are all known."""
    known = [density.are_known(rows).all(axis=1) for rows in parts]
    before, after = (
        -oddness(density, rows[at], cells[at]) for rows, at, cells in zip(parts, known, log_q)
    )
    return change_of_rows(before, after, int((~known[1]).sum()))


def _broken(one: Computed, held_out: np.ndarray, rows: np.ndarray) -> Change:
    """Change of the share of rows in which a column's relation holds."""
    parts = []
    for some in (held_out, rows):
        expected = one.expected(some)
        parts.append(np.where(expected.known, one.holds(some, expected), np.nan))
    return change_of_levels(parts[0], parts[1], HELD)


def few_rows(found: Drift) -> ScoreWarning | None:
    """Warn about fewer than 50 rows in either sample."""
    fewer = min(found.n, found.n_held_out)
    if fewer >= LEAST:
        return None
    reason = (
        f"{found.n:,} new and {found.n_held_out:,} held-out rows: below {LEAST} small changes are "
        "not found, and p-values are approximate"
    )
    return ScoreWarning("few rows", ("p_value",), reason)


def rows_of(found: Drift, name: str, warnings: Warnings, left_out: Sequence[str]) -> Rows:
    """Printed scores of the drift of a table of that name; columns ``left_out`` of the density."""
    text = f"{printable(name)}: {found.n:,} rows, against {found.n_held_out:,} held-out rows"
    overall = f"{p_text(found.p_value)}, of {found.tests} tests (Bonferroni)"
    return [
        ("data", text),
        *_list("columns", "moved", found.columns, found.moved),
        *_list("relations", "changed", found.relations, found.moved_relations),
        ("row", _row_text(found.row, found.row_moved)),
        ("p-value", marked(overall, warnings, "p_value")),
        *([("not compared", f"{listed(left_out)}, left out of the run")] if left_out else []),
    ]


def p_text(p: float) -> str:
    """P-value with two digits; below 1e-99 as a bound."""
    return f"{p:.2g}" if p >= 1e-99 else "below 1e-99"


def _list(name: str, verb: str, every: Mapping[str, Change], some: Sequence[str]) -> Rows:
    head = f"{len(some):,} of {len(every):,} {verb}"
    changes = [(one, every[one]) for one in some[:PRINTED]]
    rows = [(printable(n), f"p {p_text(c.p_value)}: {'; '.join(_effects(c))}") for n, c in changes]
    more = len(some) - PRINTED
    return [(name, head), *rows, *([("", f"and {more:,} more")] if more > 0 else [])]


def _effects(change: Change) -> list[str]:
    texts = []
    if one := change.shift:
        texts.append(f"shift {with_error(one.mean, one.mean_standard_error)} sd")
        if one.spread is not None:
            texts.append(f"spread × {with_error(one.spread, one.spread_standard_error)}")
    if one := change.share:
        error = 100 * one.standard_error
        before = rounded(100 * one.before, error)
        texts.append(f"{printable(one.level)} {before} → {with_error(100 * one.after, error)} %")
    if one := change.link:
        text = f"with {printable(one.column)}"
        if one.before is not None and one.after is not None:
            text += f", rank correlation {one.before:+.2f} → {one.after:+.2f}"
        texts.append(text)
    if change.missing_before != change.missing_after:
        texts.append(f"missing {change.missing_before:.1%} → {change.missing_after:.1%}")
    if change.n_new_levels:
        texts.append(f"{change.n_new_levels:,} cells of new levels")
    return texts


def _row_text(row: RowChange, has_moved: bool) -> str:
    verb = "changed" if has_moved else "no change found"
    texts = [f"{verb}, p {p_text(row.p_value)}"]
    if row.difference is not None:
        difference = with_error(row.difference, row.standard_error)
        texts.append(f"mean log-probability {difference} nats")
    if row.n_impossible or row.n_impossible_held_out:
        texts.append(
            f"{row.n_impossible:,} impossible rows ({row.n_impossible_held_out:,} held-out)"
        )
    if row.n_unknown:
        texts.append(f"{row.n_unknown:,} rows with unknown cells left out")
    return f"{texts[0]}: {'; '.join(texts[1:])}" if texts[1:] else texts[0]
