"""Scores of a density of cells, by test rows or another table."""

from pathlib import Path
from typing import Any

from nflow_cli.data.dataset import Dataset
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.experiments.cells import judge, report
from nflow_cli.experiments.cells.tables import judged_table, judged_tally, write_scored
from nflow_cli.experiments.rows import Judgement, Rows
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Score a density by the test rows of its data set, or by a table."""
    config, trained = run.config, run.trained
    if not isinstance(data, Dataset):
        return judged_table(trained, data, lines_of(config, data.name))
    estimated = judge.estimates(trained, data.test, config.seed)
    scores = judge.held_out(trained, data, estimated, config.seed, seed)
    facts = {**data.sizes, **scores}
    found = report.warnings_of(config, facts)
    rows = report.verdict_of(facts, found) + report.pit_rows(facts, found)
    rows += report.memorisation_rows(facts, found) + report.copies_rows(facts, found)
    rows += report.lost_rows(facts, found)
    head = lines_of(config, config.subject)
    return Judgement(scores, head + rows + report.notes(facts), found)


def write_scores(trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
    """Write rows with their scores; return the judgement."""
    if with_latents:
        raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
    return write_scored(trained, data, path, lines_of(trained.config, data.name))


def judge_scores(config: Any, found: Tally, name: str) -> Judgement:
    """Judge the rows of a table of that name by the sums over its parts."""
    return judged_tally(found, config, lines_of(config, name))


def lines_of(config: Any, name: str) -> Rows:
    """Rows of data and model."""
    return [("data", name), ("model", config.model_text)]
