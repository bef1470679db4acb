"""Scores of a fit to a log-density by its draws, or by points."""

import numpy as np

from nflow_cli.data.units import units_of
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.target import Target
from nflow_cli.evaluation.motion import density_arrays, plane_arrays
from nflow_cli.evaluation.tallies import likelihood_of_points
from nflow_cli.evaluation.warnings import few_rows, raised_warnings
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Judged, Judgement, likelihood_rows
from nflow_cli.inference import reverse_kl_report
from nflow_cli.inference.reverse_kl import arrays_of, base_energy, sample_size, score
from nflow_cli.inference.reverse_kl_data import Config, Subject, starts_of
from nflow_cli.random_streams import stream
from nflow_cli.terminal.progress import phase


def evaluate(run: Run, data: Subject | np.ndarray, samples: int | None, seed: int) -> Judgement:
    """Score a fit by fresh draws and the log-density there, and the likelihood of points if
    ``data`` are some.
    """
    config = run.config
    trained = run.trained
    subject = data if isinstance(data, Subject) else run.data
    n = samples or sample_size(config.evaluate.samples, trained.inside)
    scores = score(
        trained.inside,
        subject.target,
        trained.units,
        trained.columns,
        seed,
        n,
        starts_of(config),
    ).scores
    likelihood = {}
    if not isinstance(data, Subject):
        likelihood = likelihood_of_points(trained.log_prob(data))
    summary = run.summary.with_scores(scores)
    # The mass is not computed again.
    warnings = raised_warnings(
        *(rule(summary) for rule in reverse_kl_report.RULES), few_rows(likelihood)
    )
    rows = [
        (config.subject_key, config.subject),
        ("flow", f"{config.flow.text}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
    ]
    rows += reverse_kl_report.judged_rows(summary, warnings, reverse_kl_report.truth_of(config))
    if likelihood:
        rows += likelihood_rows(likelihood, warnings)
    return Judgement({"samples": n, "seed": seed, **scores, **likelihood}, rows, warnings)


def judged(config: Config, density: PushforwardDensity, target: Target) -> Judged:
    """Scores of a density by its draws, and its arrays: with a grid those of the plane."""
    seed = config.seed
    units = units_of(config.columns, config.bounds)
    n = sample_size(config.evaluate.samples, density)
    with phase(f"scoring: {n:,} draws"):
        judgement = score(density, target, units, config.columns, seed, n, starts_of(config))
    scores = {
        **judgement.scores,
        "has_exact_samples": target.sample is not None,
        "member_weights": density.member_weights.tolist(),
    }
    grid = config.evaluate.grid
    if grid is None:
        with phase("preparing pictures"):
            arrays = arrays_of(density, target, units, seed, judgement)
            if config.dim == 2:
                in_units = PushforwardDensity(density.base, density.flow, units)
                log_z = scores["estimated_log_z"] if target.log_z is None else 0.0
                arrays |= plane_arrays(in_units, target, arrays["rows"], seed, log_z)
            return Judged(scores, arrays)
    del judgement  # its draws may fill the memory
    scores |= base_energy(density.base, target, seed, n)
    with phase("preparing pictures"):
        first = next(density.draw(n, lambda _: stream(seed, "evaluation")))
        return Judged(scores, density_arrays(density, target, first, seed, grid))
