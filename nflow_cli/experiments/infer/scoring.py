"""Scores of a fit to a log-density by its draws."""

from typing import Any

from nflow_cli.evaluation.inference import judge, sample_size
from nflow_cli.experiments.infer import report
from nflow_cli.experiments.infer.starts import starts_of
from nflow_cli.experiments.rows import Judgement
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: int | None, seed: int) -> Judgement:
    """Score a fit by fresh draws and the log-density there."""
    config = run.config
    trained = run.trained
    n = samples or sample_size(config.evaluate.samples, trained.inside)
    parts = trained.inside, data.target, trained.units, trained.columns
    scores = judge(*parts, seed, n, starts_of(config)).scores
    warnings = report.warnings_of(config, {**run.summary, **scores})
    flow = ("flow", f"{config.flow.text}, K = {config.flow.k}")
    head = [("density", config.subject), flow, ("samples", f"{n:,}, seed {seed}")]
    rows = head + report.judged_rows(scores, warnings, report.truth_of(config))
    return Judgement({"samples": n, "seed": seed, **scores}, rows, warnings)
