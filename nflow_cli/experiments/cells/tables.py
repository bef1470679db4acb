"""Scores of user tables by a density of cells."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.data.table_files import TableFile
from nflow_cli.data.tables import LOG_Q
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.cells import judge, report
from nflow_cli.experiments.rows import Judgement, Rows
from nflow_cli.experiments.table.tables import (
    OWN,
    SPREAD,
    are_own,
    expect_room,
    spread_of,
    warnings_of,
    weights_in,
    write_beside,
)
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells


def judged_table(trained: "TrainedCells", table: TableFile, lines: Rows) -> Judgement:
    """Score a density by the rows of a table, with weights if known."""
    rows = trained.rows_of(table)
    estimated = _estimates(trained, rows)
    return _judgement(trained, table, rows, estimated, lines)


def _estimates(trained: "TrainedCells", rows: np.ndarray) -> judge.Estimates:
    with phase(f"scoring: {len(rows):,} rows", len(rows)) as advance:
        return judge.estimates(trained, rows, trained.config.seed, advance)


def _judgement(
    trained: "TrainedCells",
    table: TableFile,
    rows: np.ndarray,
    estimated: judge.Estimates,
    lines: Rows,
) -> Judgement:
    weights = weights_in(trained, table)
    means, counts, _ = judge.tally(trained, estimated, weights)
    found = Tally(means, {**counts, OWN: are_own(trained, rows)})
    judged = judged_tally(found, trained.config, lines)
    of_cells = pit(estimated["pit"], trained.cell_names, weights).model_dump()
    return judged._replace(scores={**judged.scores, "pit": of_cells})


def judged_tally(found: Tally, config: CellsConfig, lines: Rows) -> Judgement:
    """Judgement of a table's rows by the sums over them."""
    computed = row_names(config.data.kinds or {}, config.data.given).computed
    gains = judge.figures(found, bool(config.cells.unmixed), computed)
    columns = {name: mean.model_dump() for name, mean in gains["column_gains"].items()}
    scores = {**gains, "column_gains": columns, "n": found.counts["n"]}
    warnings = warnings_of(found, scores, config.data.group)
    shown = report.verdict_of(scores, warnings, "") + report.notes(scores, "")
    rows = [*lines, ("rows", f"{scores['n']:,}"), *shown]
    return Judgement(scores, rows, warnings, found)


def write_scored(trained: "TrainedCells", table: TableFile, path: Path, lines: Rows) -> Judgement:
    """Write the rows of a table, in order, with their ``log_q`` in nats; return the scores.

    An ensemble adds the standard deviation over members, ``log_q_spread``.
    """
    expect_room(trained, [LOG_Q, *([SPREAD] if trained.members > 1 else [])])
    rows = trained.rows_of(table)
    estimated = _estimates(trained, rows)
    log_q = np.where(np.isnan(estimated["log_q"]), 0.0, estimated["log_q"]).sum(axis=1)
    spread = spread_of(estimated["members"].T) if trained.members > 1 else {}
    write_beside(table, path, {LOG_Q: log_q, **spread})
    return _judgement(trained, table, rows, estimated, lines)
