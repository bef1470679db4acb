"""Summary of a VAE: warnings, printed rows, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.evaluation.estimates import in_decimals, with_error
from nflow_cli.evaluation.warnings import (
    FAIR_COIN_NATS,
    ScoreWarning,
    marked,
    ruined_text,
)
from nflow_cli.experiments.summary import (
    Course,
    DataRecord,
    Measure,
    Rows,
    RunSummary,
    Summary,
    Warnings,
    length_text,
)
from nflow_cli.images.vae_config import VAEConfig
from nflow_cli.runs.npz import Shapes


class ImagesRecord(DataRecord):
    """Images, with sizes."""

    n_train: Count
    n_test: Count


class ImagesSummary(RunSummary):
    """Scores of a VAE, in nats an image; ``scoring.scores_of`` defines them.

    Attributes:
        best_epoch: Epoch of the kept weights; ``None`` without a validation split.
        prior: Flows of the prior; ``None`` for N(0, I).
        seconds_per_epoch: Median, without the first, which compiles.
    """

    amortized: bool
    latent_dim: Count
    epochs: Count
    best_epoch: Count | None
    negative_elbo: Figure
    reconstruction: Figure
    kl: Figure
    negative_log_likelihood: Figure
    negative_log_likelihood_standard_error: Error
    nll_samples: Count
    active_units: Count | None
    binarization: Text
    prior: Text | None
    data: ImagesRecord
    seconds_per_epoch: Figure


def rows_of(config: VAEConfig, summary: ImagesSummary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    epochs = length_text(summary.epochs, config.length, "epochs")
    training = f"{epochs} of {in_decimals(summary.seconds_per_epoch, 1)} s"
    training += f", after {in_decimals(summary.compile_seconds, 1)} s of compiling"
    if summary.best_epoch:
        training += f"; best after {summary.best_epoch:,}"
    return [
        *model_rows(summary, summary.data.name, summary.data.n_test),
        *bound_rows(summary, warnings),
        ("training", training),
    ]


def verdict_of(summary: ImagesSummary, warnings: Warnings) -> Rows:
    """Rows of bound, likelihood and fair coins."""
    bound, _, likelihood, _ = bound_rows(summary, warnings)
    return [bound, likelihood, ("fair coins", f"{FAIR_COIN_NATS:.2f} nats")]


def model_rows(summary: ImagesSummary, name: str, count: int) -> Rows:
    """Rows of ``count`` test images, and of the flows of posterior and prior."""
    flow = "none (K = 0)"
    if summary.k:
        weights = "amortized" if summary.amortized else "shared"
        flow = f"{summary.flow}, K = {summary.k}, {weights}"
    rows = [
        ("data", f"{name}, binarization: {summary.binarization}, {count:,} test images"),
        ("flow", flow),
    ]
    if summary.prior:
        rows.append(("prior", f"N(0, I) pushed through {summary.prior}"))
    return rows


def bound_rows(summary: ImagesSummary, warnings: Warnings) -> Rows:
    """Rows of the bound and the likelihood."""
    bound = f"{in_decimals(summary.negative_elbo, 2)} nats"
    reconstruction = in_decimals(summary.reconstruction, 2)
    error = summary.negative_log_likelihood_standard_error
    likelihood = with_error(summary.negative_log_likelihood, error, 2)
    likelihood += f" nats, {summary.nll_samples} importance samples"
    active = "unknown" if summary.active_units is None else f"{summary.active_units}"
    return [
        ("-ELBO", marked(bound, warnings, "negative_elbo")),
        ("", f"reconstruction {reconstruction} + KL {in_decimals(summary.kl, 2)}"),
        ("-log p(x)", marked(likelihood, warnings, "negative_log_likelihood")),
        ("active units", f"{active} of {summary.latent_dim}"),
    ]


SCHEMA = ImagesSummary
MEASURES = (
    Measure("negative_elbo", "−ELBO", "nats", 2, judges=True),
    Measure("negative_log_likelihood", "−log p(x)", "nats", 2, judges=True),
    Measure("seconds_per_epoch", "s/epoch", "", 1, has_spread=False),
)
COURSE = Course("negative_elbo", "-ELBO (nats)")
CURVES = ("epoch", "negative_elbo", "reconstruction", "kl", "beta")
FORMATS = (".npy",)
BESIDE = (".png",)
SAMPLES = (1, 5_000)


def labels_of(config: VAEConfig) -> dict[str, Any]:
    """Model and binarization."""
    return {
        "amortized": config.flow.amortized,
        "latent_dim": config.model.latent_dim,
        "binarization": config.data.binarization,
        "prior": config.prior and config.prior.title,
    }


def warnings_of(config: VAEConfig, summary: ImagesSummary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    bound = summary.negative_elbo
    if bound is None or bound <= FAIR_COIN_NATS:
        return []
    return [ruined_text(f"-ELBO {bound:.4g}: worse than fair coins, {FAIR_COIN_NATS:.1f}")]


def compared_of(config: VAEConfig, summary: ImagesSummary) -> tuple[str, dict[str, str]]:
    """Name and binarization of the images; their checksum, and the prior."""
    subject = f"{Path(summary.data.name).name} ({config.data.binarization})"
    prior = config.prior.title if config.prior else "N(0, I)"
    return subject, {**summary.data.checksum, "prior": prior}


def shapes_of(config: VAEConfig) -> Shapes:
    """Latents and images."""
    shapes: dict[str, Sequence[str | int]] = {
        "base_latents": ("n", 2),
        "latents": ("n", 2),
        "latent_axes": (2,),
        "labels": "n?",
        "originals": "mhw",
        "reconstructions": "mhw",
        "samples": "dhw",
        "manifold": "rrhw",
        "manifold_axis": "r",
    }
    if config.prior:
        shapes["prior_latents"] = ("p", 2)
    return shapes


def inconsistency_of(
    config: VAEConfig, arrays: Mapping[str, np.ndarray], summary: ImagesSummary
) -> str:
    """None that is known."""
    return ""


def figures_of(
    config: VAEConfig,
    arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, np.ndarray],
    summary: Summary,
) -> dict[str, Any]:
    """Latents, reconstructions, samples, manifold and training."""
    from nflow_cli.images.image_figures import vae_figures

    return vae_figures(arrays, metrics, summary)
