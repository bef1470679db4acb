"""Summary of a VAE: warnings, printed rows, pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.config.vae_schema import VAEConfig
from nflow_cli.evaluation.warnings import FAIR_COIN_NATS, ScoreWarning, found, marked, ruined_images
from nflow_cli.experiments.rows import Rows, Summary, Warnings, figure, length_text
from nflow_cli.experiments.summary import Course, DataRecord, Measure, RunSummary, checksum_of_data
from nflow_cli.runs.array_shapes import Shapes


class ImagesRecord(DataRecord):
    """Images, with sizes."""

    n_train: Count
    n_test: Count


class ImagesSummary(RunSummary):
    """Scores of a VAE, in nats an image; ``evaluation.images.scores_of`` defines them.

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
    nll_standard_error: Error
    nll_samples: Count
    active_units: Count | None
    binarization: Text
    prior: Text | None
    data: ImagesRecord
    seconds_per_epoch: Figure


def rows_of(config: VAEConfig, summary: Summary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    data = summary["data"]
    made = length_text(summary["epochs"], config.length, "epochs")
    best = f"; best after {summary['best_epoch']:,}" if summary["best_epoch"] else ""
    return [
        data_row(data["name"], summary["binarization"], data["n_test"]),
        flow_row(summary["flow"], summary["k"], summary["amortized"]),
        *prior_rows(summary.get("prior")),
        *bound_rows(summary, summary["latent_dim"], warnings),
        (
            "training",
            f"{made} of {summary['seconds_per_epoch']:.1f} s, after "
            f"{summary['compile_seconds']:.1f} s of compiling{best}",
        ),
    ]


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """Rows of bound, likelihood and fair coins."""
    bound, _, likelihood, _ = bound_rows(summary, summary["latent_dim"], warnings)
    return [bound, likelihood, ("fair coins", f"{FAIR_COIN_NATS:.2f} nats")]


def data_row(name: str, binarization: str, count: int) -> tuple[str, str]:
    """Row of the test images."""
    return "data", f"{name}, binarization: {binarization}, {count:,} test images"


def flow_row(pattern: str, k: int, amortized: bool) -> tuple[str, str]:
    """Row of the posterior's flows."""
    text = f"{pattern}, K = {k}, {'amortized' if amortized else 'shared'}"
    return "flow", text if k else "none (K = 0)"


def prior_rows(title: str | None) -> Rows:
    """Row of the prior's flows, if any."""
    return [("prior", f"N(0, I) pushed through {title}")] if title else []


def bound_rows(scores: Summary, latent_dim: int, warnings: Warnings) -> Rows:
    """Rows of the bound and the likelihood."""
    error, active = scores["nll_standard_error"], scores["active_units"]
    spread = "" if error is None else f" ± {error:.2f}"
    draws = f"{scores['nll_samples']} importance samples"
    bound, nll = (figure(scores, f"negative_{of}", 2) for of in ("elbo", "log_likelihood"))
    likelihood = f"{nll}{spread} nats, {draws}"
    parts = (figure(scores, key, 2) for key in ("reconstruction", "kl"))
    return [
        ("-ELBO", marked(f"{bound} nats", warnings, "negative_elbo")),
        ("", "reconstruction {} + KL {}".format(*parts)),
        ("-log p(x)", marked(likelihood, warnings, "negative_log_likelihood")),
        ("active units", f"{'unknown' if active is None else active} of {latent_dim}"),
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


def warnings_of(config: VAEConfig, summary: Summary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    return found(ruined_images(summary))


def subject_of(config: VAEConfig, summary: Summary) -> str:
    """Name of the images, and their binarization."""
    return f"{Path(summary['data']['name']).name} ({config.data.binarization})"


def settings_of(config: VAEConfig, summary: Summary) -> dict[str, str]:
    """Checksum of the images, and the prior."""
    prior = config.prior.title if config.prior else "N(0, I)"
    return {**checksum_of_data(summary), "prior": prior}


def shapes_of(config: VAEConfig) -> Shapes:
    """Latents and images."""
    return {
        **{"base_latents": ("n", 2), "latents": ("n", 2), "latent_axes": (2,), "labels": "n?"},
        **{"originals": "mhw", "reconstructions": "mhw", "samples": "dhw"},
        **{"manifold": "rrhw", "manifold_axis": "r"},
        **({"prior_latents": ("p", 2)} if config.prior else {}),
    }


def inconsistency_of(config: VAEConfig, arrays: Mapping[str, Any], summary: Summary) -> str:
    """None that is known."""
    return ""


def figures_of(
    config: VAEConfig, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
) -> dict[str, Any]:
    """Latents, reconstructions, samples, manifold and training."""
    from nflow_cli.plotting import vae_figures

    return vae_figures(arrays, metrics, summary)
