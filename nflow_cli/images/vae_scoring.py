"""Scores of a VAE: ELBO, importance-sampled likelihood, and arrays of its pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Judged, Judgement
from nflow_cli.images import vae_report
from nflow_cli.images.images import Images, binarize
from nflow_cli.images.networks import SIDE
from nflow_cli.images.vae import FlowVAE
from nflow_cli.images.vae_config import VAEConfig
from nflow_cli.random_streams import stream
from nflow_cli.terminal.progress import phase

BATCH = 100  # test images at a time
# Draws per image at a time, which bounds the memory; convolutions take most.
DRAWS = {"relu": 50, "maxout": 50, "gated-conv": 5}
ACTIVE = 0.01  # variance over images of a unit's posterior mean (Burda et al. 2016)
# Estimates of an ImportanceSampler: in nats, and of latents.
NATS = ("reconstruction", "kl", "log_evidence")
OF_LATENTS = ("mean_latent", "latent_variance")
# Numbers in pictures.
SHOWN_LATENTS = 5_000
SHOWN_IMAGES = 10
SHOWN_PRIOR = 5_000  # latents
SHOWN_SAMPLES = 64  # images of the prior
MANIFOLD = 20  # points of an axis


def evaluate(run: Run, data: Images, samples: int | None, seed: int) -> Judgement:
    """Score a VAE by images, with ``samples`` importance samples each."""
    config = run.config
    pixels = binarize(data.x_test, config.data.binarization, config.seed, 0, "test")
    draws = samples or config.evaluate.importance_samples
    scores = scores_of(estimates_of(run.trained.model, pixels, draws, seed), draws)
    summary = run.summary.with_scores(scores)
    warnings = vae_report.warnings_of(config, summary)
    rows = [
        *vae_report.model_rows(summary, data.name, data.n_test),
        ("samples", f"{draws:,} an image, seed {seed}"),
        *vae_report.bound_rows(summary, warnings),
    ]
    return Judgement({"seed": seed, **scores}, rows, warnings)


class ImportanceSampler:
    """Draws latents ``z_s ~ q(z|x)`` for images, with weights ``p(x, z_s) / q(z_s|x)``.

    One compiled program serves all batches of images and blocks of draws, padded to one size.

    Args:
        vae: Model.
        draws: S per image.
        seed: Of the draws.
    """

    def __init__(self, vae: FlowVAE, draws: int, seed: int):
        self.vae = vae
        self.draws = draws
        self.seed = seed
        self.block = min(draws, DRAWS[vae.network])

        def weigh(images: Any, noise: Any) -> dict[str, Any]:
            terms = vae.elbo_terms(images, noise)
            return {name: terms[name] for name in ("log_likelihood", "kl", "z")}

        self.weigh = compiled(weigh, vae.xla)

    def __call__(self, pixels: np.ndarray, start: int) -> dict[str, np.ndarray]:
        """Estimates for a batch whose first image is image ``start``, in nats: ``reconstruction``
        and ``kl``, means over draws; ``log_evidence``, ``log 1/S Σ_s p(x, z_s) / q(z_s|x)``;
        ``mean_latent`` and ``latent_variance`` ``(n, D)``, NaN for a single draw.
        """
        n = len(pixels)
        padded = np.zeros((BATCH, *pixels.shape[1:]), pixels.dtype)
        padded[:n] = pixels
        rng = stream(self.seed, "importance-sampling", start)
        sums: dict[str, Any] = dict.fromkeys(("log_likelihood", "kl", "z", "squared"), 0.0)
        log_sum = np.full(n, -np.inf)  # of the weights
        for first in range(0, self.draws, self.block):
            noise = rng.standard_normal((self.block, BATCH, self.vae.latent_dim), np.float32)
            left = self.draws - first
            terms = {}
            for name, values in self.weigh(padded, noise).items():
                terms[name] = ops.convert_to_numpy(values)[:left, :n].astype(np.float64)
            terms["squared"] = terms["z"] ** 2
            sums = {name: total + np.sum(terms[name], axis=0) for name, total in sums.items()}
            log_weights = terms["log_likelihood"] - terms["kl"]
            log_sum = np.logaddexp(log_sum, np.logaddexp.reduce(log_weights, axis=0))
        means = {name: total / self.draws for name, total in sums.items()}
        variance = np.full_like(means["z"], np.nan)
        if self.draws > 1:
            spread = means["squared"] - means["z"] ** 2
            variance = spread * self.draws / (self.draws - 1)
        return {
            "reconstruction": -means["log_likelihood"],
            "kl": means["kl"],
            "log_evidence": log_sum - math.log(self.draws),
            "mean_latent": means["z"],
            "latent_variance": variance,
        }

    def over(
        self, pixels: np.ndarray, advance: Callable[[int], None] = lambda count: None
    ) -> dict[str, np.ndarray]:
        """Estimates for any number of images; ``advance`` is called with the size of each batch."""
        batches = []
        for start in range(0, len(pixels), BATCH):
            batches.append(self(pixels[start : start + BATCH], start))
            advance(len(batches[-1]["kl"]))
        return joined(batches)


def joined(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Estimates of all batches."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def estimates_of(vae: FlowVAE, pixels: np.ndarray, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Estimates of each of the test images ``(n, 28, 28)``, with progress."""
    text = f"scoring: {len(pixels):,} test images, {draws:,} importance samples each"
    with phase(text, len(pixels)) as advance:
        return ImportanceSampler(vae, draws, seed).over(pixels, advance)


def judged(
    config: VAEConfig,
    vae: FlowVAE,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    estimates: dict[str, np.ndarray],
) -> Judged:
    """Scores by the estimates of each test image, and arrays."""
    scores = scores_of(estimates, config.evaluate.importance_samples)
    return Judged(scores, vae_arrays(vae, pixels, labels, estimates["mean_latent"], config.seed))


def scores_of(estimates: dict[str, np.ndarray], draws: int) -> dict[str, Any]:
    """Scores by estimates of each image from ``draws`` latents, in nats per image.

    ``negative_elbo = reconstruction + kl``; ``negative_log_likelihood = -log p(x)`` by importance
    sampling, a tighter bound in expectation (Burda et al. 2016, arXiv 1509.00519), with its
    standard error over images. ``active_units``: latent units whose posterior mean has a variance
    over images above 0.01 (ibid.); ``None`` for a single draw.
    """
    nll = -estimates["log_evidence"]
    n = len(nll)
    error = float(np.std(nll, ddof=1) / math.sqrt(n)) if n > 1 else None
    return {
        "negative_elbo": float(np.mean(estimates["reconstruction"] + estimates["kl"])),
        "reconstruction": float(np.mean(estimates["reconstruction"])),
        "kl": float(np.mean(estimates["kl"])),
        "negative_log_likelihood": float(np.mean(nll)),
        "negative_log_likelihood_standard_error": error,
        "nll_samples": draws,
        "active_units": _active_units(estimates, draws),
    }


def estimate_arrays(estimates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Estimates of each image as stored in a run."""
    nats = {name: estimates[name] for name in NATS}
    return nats | {name: estimates[name].astype(np.float32) for name in OF_LATENTS}


def _active_units(estimates: dict[str, np.ndarray], draws: int) -> int | None:
    """Unbiased: minus the variance of the mean of draws."""
    if draws == 1:
        return None
    noise = np.mean(estimates["latent_variance"], axis=0, dtype=np.float64) / draws
    variance = np.var(estimates["mean_latent"], axis=0, dtype=np.float64)
    return int(np.sum(variance - noise > ACTIVE))


def vae_arrays(
    vae: FlowVAE,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    mean_latent: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray]:
    """Arrays for the plots."""
    # The two most active latent units, in order.
    most_active = np.argsort(-np.var(mean_latent, axis=0), kind="stable")[:2]
    axes = sorted(most_active.tolist())
    shown = shown_images(len(pixels), seed, SHOWN_LATENTS)
    base, latents = draw_latents(vae, pixels[shown], seed)
    if labels is None:
        shown_labels = np.empty(0, np.uint8)
        pictured = shown_images(len(pixels), seed, SHOWN_IMAGES)
    else:  # the first of each digit
        shown_labels = labels[shown]
        pictured = np.unique(labels, return_index=True)[1][:SHOWN_IMAGES]
    quantiles = (np.arange(MANIFOLD) + 0.5) / MANIFOLD
    axis = np.array([NormalDist().inv_cdf(q) for q in quantiles], np.float32)
    arrays = {
        "base_latents": base[:, axes],
        "latents": latents[:, axes],
        "latent_axes": np.array(axes),
        "labels": shown_labels,
        "originals": pixels[pictured].astype(np.float32),
        "reconstructions": ops.convert_to_numpy(vae.reconstruct(pixels[pictured], seed)),
        "samples": ops.convert_to_numpy(vae.sample(SHOWN_SAMPLES, seed)),
        "manifold": manifold_of(vae, axis, axes),
        "manifold_axis": axis,
    }
    if vae.prior is not None:
        arrays["prior_latents"] = draw_prior(vae, SHOWN_PRIOR, seed)[:, axes]
    return arrays


def shown_images(n: int, seed: int, most: int) -> np.ndarray:
    """Indices of shown images, random as files may be sorted by label."""
    return np.sort(stream(seed, "shown").permutation(n)[:most])


def draw_latents(vae: FlowVAE, pixels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One base sample per image, and its image by the flows, both ``(n, D)``."""
    noise = stream(seed, "latents").standard_normal((len(pixels), vae.latent_dim), np.float32)
    base = []
    latents = []
    for start in range(0, len(pixels), 5 * BATCH):  # a convolution of all takes gigabytes
        block = slice(start, start + 5 * BATCH)
        terms = vae.posterior(pixels[block], ops.convert_to_tensor(noise[block]))
        base.append(ops.convert_to_numpy(terms["z0"]))
        latents.append(ops.convert_to_numpy(terms["z"]))
    return np.concatenate(base), np.concatenate(latents)


def draw_prior(vae: FlowVAE, n: int, seed: int) -> np.ndarray:
    """Draw latents ``(n, D)`` from the prior."""
    noise = stream(seed, "prior latents").standard_normal((n, vae.latent_dim), np.float32)
    return ops.convert_to_numpy(vae.prior_latents(noise))


def manifold_of(vae: FlowVAE, axis: np.ndarray, axes: list[int]) -> np.ndarray:
    """Decode the plane of two latent units, all others at 0: ``(r, r, 28, 28)``.

    With flows in the prior the plane is in their base.
    """
    second, first = np.meshgrid(axis, axis, indexing="ij")
    plane = np.zeros((first.size, vae.latent_dim), np.float32)
    plane[:, axes[0]] = first.ravel()
    plane[:, axes[1]] = second.ravel()
    images = ops.convert_to_numpy(vae.decode(vae.prior_latents(plane)))
    return images.reshape(len(axis), len(axis), SIDE, SIDE)
