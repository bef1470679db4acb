"""Scores of a fit to a log-density by its draws, or by points."""

from typing import Any

from nflow_cli.evaluation.inference import judge, sample_size
from nflow_cli.evaluation.tallies import likelihood_of_points
from nflow_cli.experiments.reverse_kl import report
from nflow_cli.experiments.reverse_kl.data import Subject
from nflow_cli.experiments.reverse_kl.members import starts_of
from nflow_cli.experiments.rows import Judgement, likelihood_rows, without_mass
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: int | None, seed: int) -> Judgement:
    """Score a fit by fresh draws and the log-density there, and the likelihood of points if
    ``data`` are some.
    """
    config, trained = run.config, run.trained
    subject = data if isinstance(data, Subject) else run.data
    n = samples or sample_size(config.evaluate.samples, trained.inside)
    parts = trained.inside, subject.target, trained.units, trained.columns
    scores = judge(*parts, seed, n, starts_of(config)).scores
    of_points = {}
    if subject is not data:
        of_points = likelihood_of_points(trained.log_prob(data))
    found = {**without_mass(run.summary), **scores, **of_points}
    warnings = report.warnings_of(config, found)
    flow = ("flow", f"{config.flow.text}, K = {config.flow.k}")
    rows = [(config.subject_key, config.subject), flow, ("samples", f"{n:,}, seed {seed}")]
    shown = {"base": config.base_name, **scores}
    rows += report.judged_rows(shown, warnings, report.truth_of(config))
    if of_points:
        rows += likelihood_rows(of_points, warnings)
    return Judgement({"samples": n, "seed": seed, **scores, **of_points}, rows, warnings)
