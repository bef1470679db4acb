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
    flow, mode = config.flow, config.data.binarization
    pixels = binarize(data.x_test, mode, config.seed, 0, "test")
    draws = samples or config.evaluate.importance_samples
    scores, _ = evaluate_vae(run.trained.model, pixels, draws, seed)
    warnings = report.warnings_of(config, {**run.summary, **scores})
    rows = [
        report.data_row(data.name, mode, data.n_test),
        report.flow_row(flow.text, flow.k, flow.amortized),
        *report.prior_rows(config.prior and config.prior.title),
        ("samples", f"{draws:,} an image, seed {seed}"),
        *report.bound_rows(scores, config.model.latent_dim, warnings),
    ]
    return Judgement({"seed": seed, **scores}, rows, warnings)
