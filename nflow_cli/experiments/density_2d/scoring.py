"""Scores of a fit to a named 2-D density by fresh samples or points."""

from typing import Any

from nflow_cli.evaluation.likelihood import likelihood_of_points, tallied_points
from nflow_cli.evaluation.target import evaluate_samples
from nflow_cli.experiments.density_2d import report
from nflow_cli.experiments.rows import Judgement, likelihood_rows, without_mass
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: int | None, seed: int) -> Judgement:
    """Score a fit by fresh samples, and the likelihood of points if there are some."""
    config = run.config
    trained, n = run.trained, samples or config.evaluate.samples
    scores = evaluate_samples(trained, trained.target, seed, n).scores
    of_points = {}
    if data is not None:
        of_points = likelihood_of_points(tallied_points(trained.log_prob(data)))
    warnings = report.warnings_of(config, {**without_mass(run.summary), **scores, **of_points})
    lines = report.evaluated_rows(trained, scores, n, seed, warnings)
    if of_points:
        lines += likelihood_rows(of_points, warnings)
    drawn = {"samples": n, "seed": seed}
    return Judgement({**drawn, **scores, **of_points}, lines, warnings)
