"""Scores of flows fitted to a table, by its test rows or another table."""

from pathlib import Path
from typing import Any

from nflow_cli.data.dataset import Dataset
from nflow_cli.evaluation.table import table_scores
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.rows import Judgement, Rows, without_mass
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.table import report
from nflow_cli.experiments.table.judging import judged_table, judged_tally, write_scored


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


def write_scores(trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
    """Write rows with their scores, and latents on request; return the judgement."""
    return write_scored(trained, data, path, with_latents, [])


def judge_scores(config: Any, found: Tally, name: str) -> Judgement:
    """Judge the rows of a table of that name by the sums over its parts."""
    return judged_tally(found, config, [("data", name)])
