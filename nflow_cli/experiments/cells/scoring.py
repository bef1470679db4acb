"""Scores of a density of cells, by test rows or another table."""

from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.data.dataset import Dataset
from nflow_cli.data.table_files import TableFile
from nflow_cli.data.tables import LOG_Q
from nflow_cli.densities.cells.density import Scored
from nflow_cli.errors import DataError
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.cells import judge, report
from nflow_cli.experiments.rows import Answer, Judgement
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.table.tables import (
    OWN,
    SPREAD,
    are_own,
    expect_room,
    spread_of,
    warnings_of,
    weights_in,
)
from nflow_cli.training.progress import phase


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Score a density by the test rows of its data set, or by a table."""
    config, trained = run.config, run.trained
    if not isinstance(data, Dataset):
        return judged_table(trained, data)
    scored = judge.scored(trained, data.test, config.seed)
    estimated = judge.estimates(trained, data.test, scored)
    scores = judge.held_out(trained, data, estimated, config.seed, seed)
    facts = {**data.sizes, **scores}
    found = report.warnings_of(config, facts)
    rows = report.verdict_of(facts, found) + report.pit_rows(facts, found)
    rows += report.memorisation_rows(facts, found) + report.copies_rows(facts, found)
    rows += report.lost_rows(facts, found)
    head = [("data", config.subject), ("model", config.model_text)]
    return Judgement(scores, head + rows + report.notes(facts), found)


def judged_table(trained: Any, table: TableFile) -> Judgement:
    """Score a density by the rows of a table, with weights if known."""
    rows = trained.rows_of(table)
    return judgement(trained, table, rows, scored(trained, rows))


def scored(trained: Any, rows: np.ndarray) -> Scored:
    """Scores of a table's rows, with progress."""
    with phase(f"scoring: {len(rows):,} rows", len(rows)) as advance:
        return judge.scored(trained, rows, trained.config.seed, advance)


def judgement(trained: Any, table: TableFile, rows: np.ndarray, scores: Scored) -> Judgement:
    """Judgement of a table by the scores of its rows."""
    estimated, weights = judge.estimates(trained, rows, scores), weights_in(trained, table)
    means, counts, _ = judge.tally(trained, estimated, weights)
    found = Tally(means, {**counts, OWN: are_own(trained, rows)})
    judged = judge_scores(trained.config, found, table.name)
    of_cells = pit(estimated["pit"], trained.cell_names, weights).model_dump()
    return judged._replace(scores={**judged.scores, "pit": of_cells})


def judge_scores(config: CellsConfig, found: Tally, name: str) -> Judgement:
    """Judgement of a table's rows by the sums over them."""
    computed = row_names(config.data.kinds or {}, config.data.given).computed
    gains = judge.figures(found, bool(config.cells.unmixed), computed)
    columns = {name: mean.model_dump() for name, mean in gains["column_gains"].items()}
    scores = {**gains, "column_gains": columns, "n": found.counts["n"]}
    warnings = warnings_of(found, scores, config.data.group)
    shown = report.verdict_of(scores, warnings, "") + report.notes(scores, "")
    of_model = ("data", name), ("model", config.model_text)
    lines = [*of_model, ("rows", f"{scores['n']:,}"), *shown]
    return Judgement(scores, lines, warnings, found)


def score(trained: Any, table: TableFile, with_latents: bool) -> Answer:
    """The ``log_q`` of a table's rows in nats, of an ensemble with the standard deviation over
    members, and their scores.
    """
    if with_latents:
        raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
    expect_room(trained, [LOG_Q, *([SPREAD] if trained.members > 1 else [])])
    rows = trained.rows_of(table)
    found = scored(trained, rows)
    spread = spread_of(found.members.T) if trained.members > 1 else {}
    log_q = np.where(trained.are_known(rows), found.log_q, 0.0).sum(axis=1)
    return Answer({LOG_Q: log_q, **spread}, judgement(trained, table, rows, found))
