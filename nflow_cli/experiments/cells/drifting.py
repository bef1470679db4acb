"""Drift of new rows against the held-out rows of a run, by a density of cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.data.table_files import TableFile
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
from nflow_cli.evaluation.warnings import grouped_rows
from nflow_cli.experiments.cells.drift_rows import OWN_ROWS, few_rows, rows_of
from nflow_cli.experiments.cells.surprise import oddness
from nflow_cli.experiments.rows import Judgement
from nflow_cli.experiments.table.tables import are_own
from nflow_cli.random_streams import stream
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

HELD = "broken", "holds"  # a relation
MOST = 100_000  # new rows whose relations are compared, about


def judged_drift(trained: "TrainedCells", table: TableFile) -> Judgement:
    """Judge the drift of a table's rows."""
    rows = trained.rows_of(table)
    found = drifted(trained, rows)
    data, scores = trained.config.data, found.model_dump()
    every = few_rows(found), grouped_rows(scores, data.group)
    warnings = [OWN_ROWS] if are_own(trained, rows) else []
    warnings += [one for one in every if one]
    kinds = data.kinds or {}
    left_out = [name for name, kind in kinds.items() if kind.kind == "left out"]
    return Judgement(scores, rows_of(found, table.name, warnings, left_out), warnings)


def drifted(trained: "TrainedCells", rows: np.ndarray) -> Drift:
    """Changes of rows ``(n, C)`` against the held-out rows of a run.

    A relation is judged by the PIT of a column given those before it, alone and with each of them.
    If columns moved, it is judged by rows with equal marginals too, and has changed if both say so:
    neither a change of columns by themselves explains it, nor one of the columns before. Relations
    of unmixed columns are judged by their ranks.
    """
    held_out = trained.held_out
    if not len(held_out):
        raise DataError("expected held-out rows to compare with: the run has none")
    with phase(f"comparing columns: {len(rows):,} rows"):
        columns = _columns(trained.row, held_out, rows)
    related = _related(trained)
    tests = len(columns) + len(related) + 1
    found = moved(columns, tests)
    with phase(f"comparing relations: {len(rows):,} rows"):
        seed = trained.config.seed
        scored = [
            trained.scored_rows(some, stream(seed, "drift", part))
            for part, some in enumerate((held_out, rows))
        ]
        some = slice(None, None, 1 + len(rows) // MOST)
        pits = scored[0].pit, scored[1].pit[some]
        relations = _relations(trained, related, bool(found), rows[some], pits)
    row = _row(trained, (held_out, rows), [one.log_q for one in scored])
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


def _columns(
    columns: Sequence[CellColumn], held_out: np.ndarray, rows: np.ndarray
) -> dict[str, Change]:
    return {
        column.name: change_of_numbers(before, after)
        if column.has_numbers
        else change_of_levels(before, after, [*map(str, column.first)])
        for column, before, after in zip(columns, held_out.T, rows.T, strict=True)
    }


def _related(density: CellDensity) -> list[str]:
    """Columns with a distribution given others: in a chain, all but the first."""
    first = 0 if density.unmixing or density.n_given else 1
    return [column.name for column in density.scored[first:]]


def _relations(
    trained: "TrainedCells",
    names: Sequence[str],
    have_moved: bool,
    rows: np.ndarray,
    pits: Sequence[np.ndarray],
) -> dict[str, Change]:
    """Changes of columns given others, by PITs of held-out and of new rows.

    If columns moved, also with equal marginals: a relation has changed if it has in both ways.
    """
    held_out = trained.held_out
    if trained.unmixing:
        alike, given = _with_equal_marginals(trained.row, held_out, rows)
        return _changes(trained, names, (held_out, alike), (held_out, alike), given)
    found = _changes(trained, names, (held_out, rows), pits, None)
    if have_moved:
        alike, given = _with_equal_marginals(trained.row, held_out, rows)
        after = trained.pit(alike, stream(trained.config.seed, "drift", 1))
        others = _changes(trained, names, (held_out, alike), (pits[0], after), given)
        pairs = {name: (found[name], others[name]) for name in names}
        found = {name: max(pair, key=lambda one: one.p_value) for name, pair in pairs.items()}
    broken = {one.column.name: _broken(one, held_out, rows) for one in trained.computed}
    return {name: broken.get(name, found[name]) for name in names}


def _changes(
    density: CellDensity,
    names: Sequence[str],
    parts: Sequence[np.ndarray],
    pits: Sequence[np.ndarray],
    given: Features | None,
) -> dict[str, Change]:
    before, after = (
        dict(zip([column.name for column in density.scored], values.T)) for values in pits
    )
    every = _features(density.row, *parts)
    return {
        name: change_of_pit(
            before[name], after[name], {o: every[o] for o in _others(density, name)}, given
        )
        for name in names
    }


def _features(
    columns: Sequence[CellColumn], held_out: np.ndarray, rows: np.ndarray
) -> dict[str, Features]:
    parts = zip(columns, held_out.T, rows.T)
    return {c.name: features(x, y, are_levels=not c.has_numbers) for c, x, y in parts}


def _others(density: CellDensity, name: str) -> list[str]:
    """The columns before one, or all others if unmixed."""
    names = [column.name for column in density.row]
    some = names if density.unmixing else names[: names.index(name)]
    return [other for other in some if other != name]


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
