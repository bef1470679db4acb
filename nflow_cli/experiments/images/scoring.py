"""Scores of a VAE by its test images or others."""

from typing import Any

from nflow_cli.data.images import binarize
from nflow_cli.experiments.images import report
from nflow_cli.experiments.images.evaluation import evaluate_vae
from nflow_cli.experiments.rows import Judgement
from nflow_cli.experiments.run import Run


def evaluate(run: Run, data: Any, samples: int | None, seed: int) -> Judgement:
    """Score a VAE by images, with ``samples`` importance samples each."""
    config = run.config
    pixels = binarize(data.x_test, config.data.binarization, config.seed, 0, "test")
    draws = samples or config.evaluate.importance_samples
    scores, _ = evaluate_vae(run.trained.model, pixels, draws, seed)
    summary = run.summary.with_scores(scores)
    warnings = report.warnings_of(config, summary)
    rows = [
        *report.model_rows(summary, data.name, data.n_test),
        ("samples", f"{draws:,} an image, seed {seed}"),
        *report.bound_rows(summary, warnings),
    ]
    return Judgement({"seed": seed, **scores}, rows, warnings)
