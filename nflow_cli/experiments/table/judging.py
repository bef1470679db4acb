"""Scores of user tables by a density of flows."""

from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.data.table_files import TableFile
from nflow_cli.data.tables import LOG_Q
from nflow_cli.evaluation.likelihood import likelihood_of_points, tallied_points
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.rows import Judgement, Rows
from nflow_cli.experiments.table.report import scored_rows
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

WEIGHTED = "weighted"  # in a tally: tables with weights


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


def write_scored(
    trained: Any, table: TableFile, path: Path, with_latents: bool, lines: Rows
) -> Judgement:
    """Write the rows of a table, in order, with their ``log_q`` in nats; return the scores.

    Rows with missing values have none. An ensemble adds ``log_q_spread``, the standard deviation
    over members; ``with_latents`` adds ``latent_1`` … ``latent_D``.
    """
    names = [f"latent_{i + 1}" for i in range(trained.dim if with_latents else 0)]
    expect_room(trained, [LOG_Q, *([SPREAD] if trained.members > 1 else []), *names])
    rows = trained.rows_of(table)
    added = {LOG_Q: trained.log_prob(rows)}
    added |= spread_of(trained.member_log_probs(rows)) if trained.members > 1 else {}
    added |= dict(zip(names, trained.latent(rows).T)) if names else {}
    write_beside(table, path, added)
    return _judgement(trained, table, rows, added[LOG_Q], lines)
