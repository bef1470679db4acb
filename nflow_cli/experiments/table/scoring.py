"""Scores of flows fitted to a table, by its test rows or another table."""

from typing import Any

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.data.tables import LOG_Q, TableFile
from nflow_cli.evaluation.likelihood import likelihood_of_points, tallied_points
from nflow_cli.evaluation.table import table_scores
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.rows import Answer, Judgement, Rows, without_mass
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.table import report
from nflow_cli.experiments.table.report import scored_rows
from nflow_cli.experiments.table.tables import (
    OWN,
    SPREAD,
    are_own,
    expect_room,
    spread_of,
    warnings_of,
    weights_in,
)

WEIGHTED = "weighted"  # in a tally: tables with weights


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Score a fit by the test rows of its data set, or by a table."""
    config = run.config
    lines: Rows = [("data", config.subject), ("flow", f"{config.flow.text}, K = {config.flow.k}")]
    if not isinstance(data, Dataset):
        return judged_table(run.trained, data, lines)
    scores = table_scores(run.trained, data, config.seed, seed)
    facts = {**data.sizes, **scores}
    warnings = report.warnings_of(config, {**without_mass(run.summary), **facts})
    return Judgement(scores, lines + report.held_out_rows(facts, warnings), warnings)


def judge_scores(config: Any, found: Tally, name: str) -> Judgement:
    """Judge the rows of a table of that name by the sums over its parts."""
    return judged_tally(found, config, [("data", name)])


def judged_table(trained: Any, table: TableFile, lines: Rows) -> Judgement:
    """Score a density by the rows of a table, with weights if known."""
    rows = trained.rows_of(table)
    return _judgement(trained, table, rows, trained.log_prob(rows), lines)


def _judgement(
    trained: Any, table: TableFile, rows: np.ndarray, log_q: np.ndarray, lines: Rows
) -> Judgement:
    weights = weights_in(trained, table)
    means, counts, _ = tallied_points(log_q, weights)
    facts = {OWN: are_own(trained, rows), WEIGHTED: weights is not None}
    return judged_tally(Tally(means, {**counts, **facts}), trained.config, lines)


def judged_tally(found: Tally, config: Any, lines: Rows) -> Judgement:
    """Judgement of a table's rows by the sums over them."""
    scores = likelihood_of_points(found)
    warnings = warnings_of(found, scores, config.data.group)
    weighted = config.data.weights if found.counts[WEIGHTED] else ""
    return Judgement(scores, [*lines, *scored_rows(scores, warnings, weighted)], warnings, found)


def score(trained: Any, table: TableFile, with_latents: bool) -> Answer:
    """The ``log_q`` of a table's rows in nats, and their scores.

    Rows with missing values have none. An ensemble adds ``log_q_spread``, the standard deviation
    over members; ``with_latents`` adds ``latent_1`` … ``latent_D``.
    """
    names = [f"latent_{i + 1}" for i in range(trained.dim if with_latents else 0)]
    expect_room(trained, [LOG_Q, *([SPREAD] if trained.members > 1 else []), *names])
    rows = trained.rows_of(table)
    added = {LOG_Q: trained.log_prob(rows)}
    added |= spread_of(trained.member_log_probs(rows)) if trained.members > 1 else {}
    added |= dict(zip(names, trained.latent(rows).T)) if names else {}
    return Answer(added, _judgement(trained, table, rows, added[LOG_Q], []))
