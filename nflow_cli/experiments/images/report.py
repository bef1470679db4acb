"""Summary of a VAE: warnings, printed rows, pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.config.vae import VAEConfig
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
    made = length_text(summary.epochs, config.length, "epochs")
    best = f"; best after {summary.best_epoch:,}" if summary.best_epoch else ""
    epoch, compiling = (
        f"{in_decimals(seconds, 1)} s"
        for seconds in (summary.seconds_per_epoch, summary.compile_seconds)
    )
    return [
        *model_rows(summary, summary.data.name, summary.data.n_test),
        *bound_rows(summary, warnings),
        ("training", f"{made} of {epoch}, after {compiling} of compiling{best}"),
    ]


def verdict_of(summary: ImagesSummary, warnings: Warnings) -> Rows:
    """Rows of bound, likelihood and fair coins."""
    bound, _, likelihood, _ = bound_rows(summary, warnings)
    return [bound, likelihood, ("fair coins", f"{FAIR_COIN_NATS:.2f} nats")]


def model_rows(summary: ImagesSummary, name: str, count: int) -> Rows:
    """Rows of ``count`` test images, and of the flows of posterior and prior."""
    flow = f"{summary.flow}, K = {summary.k}, {'amortized' if summary.amortized else 'shared'}"
    rows = [
        ("data", f"{name}, binarization: {summary.binarization}, {count:,} test images"),
        ("flow", flow if summary.k else "none (K = 0)"),
    ]
    prior = ("prior", f"N(0, I) pushed through {summary.prior}")
    return [*rows, prior] if summary.prior else rows


def bound_rows(summary: ImagesSummary, warnings: Warnings) -> Rows:
    """Rows of the bound and the likelihood."""
    error, active = summary.negative_log_likelihood_standard_error, summary.active_units
    bound = f"{in_decimals(summary.negative_elbo, 2)} nats"
    parts = (in_decimals(part, 2) for part in (summary.reconstruction, summary.kl))
    likelihood = with_error(summary.negative_log_likelihood, error, 2)
    likelihood += f" nats, {summary.nll_samples} importance samples"
    return [
        ("-ELBO", marked(bound, warnings, "negative_elbo")),
        ("", "reconstruction {} + KL {}".format(*parts)),
        ("-log p(x)", marked(likelihood, warnings, "negative_log_likelihood")),
        ("active units", f"{'unknown' if active is None else active} of {summary.latent_dim}"),
    ]


SCHEMA = ImagesSummary
MEASURES = (
    Measure("negative_elbo", "−ELBO", "nats", 2, judges=True),
    Measure("negative_log_likelihood", "−log p(x)", "nats", 2, judges=True),
    Measure("seconds_per_epoch", "s/epoch", "", 1, has_spread=False),
)
COURSE = Course("negative_elbo", "-ELBO (nats)")
CURVES = ("epoch", "negative_elbo", "reconstruction", "kl", "beta")
FORMATS, BESIDE, SAMPLES = (".npy",), (".png",), (1, 5_000)


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
    return {
        **{"base_latents": ("n", 2), "latents": ("n", 2), "latent_axes": (2,), "labels": "n?"},
        **{"originals": "mhw", "reconstructions": "mhw", "samples": "dhw"},
        **{"manifold": "rrhw", "manifold_axis": "r"},
        **({"prior_latents": ("p", 2)} if config.prior else {}),
    }


def inconsistency_of(config: VAEConfig, arrays: Mapping[str, Any], summary: ImagesSummary) -> str:
    """None that is known."""
    return ""


def figures_of(
    config: VAEConfig, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
) -> dict[str, Any]:
    """Latents, reconstructions, samples, manifold and training."""
    from nflow_cli.plotting.images import vae_figures

    return vae_figures(arrays, metrics, summary)
