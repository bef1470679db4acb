"""Checks of a VAE: its figures by the draws they came from, and the arrays of its pictures."""

import math

import numpy as np
from keras import ops

from nflow_cli.checked_run import REPLAY_TOLERANCE, CheckedRun, agree, differences, unlike
from nflow_cli.fit_vae import published_of, split
from nflow_cli.flow_checks import Outcome, Verdict, passed
from nflow_cli.run_dir import EVALUATION, SUMMARY
from nflow_cli.schema import MAX_SEED
from nflow_cli.vae_evaluation import (
    BATCH,
    ESTIMATES,
    NATS,
    SHOWN_LATENTS,
    ImportanceSampler,
    draw_latents,
    figures_of,
    manifold_of,
    shown_images,
    shown_units,
)

SIGMAS = 4.0
BOUND_IMAGES, BOUND_DRAWS = 500, 10  # of a run that keeps no estimates


def check_images(run: CheckedRun) -> Verdict:
    """Find the images again."""
    config, images = run.config, run.data
    training, _ = split(images, config)
    sizes = {"n_train": len(training), "n_test": images.n_test}
    data = {"name": images.name, "sha256": images.sha256, **sizes}
    expected = {"data": data, "published": published_of(config, images)}
    wrong = differences(SUMMARY, expected, run.summary)
    return passed(not wrong), "; ".join(wrong) or f"{images.n_test:,} test images found again"


def _keeps_estimates(run: CheckedRun) -> bool:
    return any(f"test_{name}" in run.arrays for name in ESTIMATES)


def check_bound(run: CheckedRun) -> Verdict:
    """Compute the summary's figures again from the estimates of each image, and some of these.

    They are drawn as they were, for the first, the middle and the last batch of images.
    """
    if not _keeps_estimates(run):
        return _check_bound_roughly(run)
    n, d, draws = len(run.pixels), run.model.latent_dim, run.config.evaluate.importance_samples
    shapes = {name: (n,) if name in NATS else (n, d) for name in ESTIMATES}
    estimates = {name: run.array(f"test_{name}", shape) for name, shape in shapes.items()}
    outcome, detail = agree(run, figures_of(estimates, draws), "from the same draws")
    wrong = [] if outcome == Outcome.OK else [detail]
    sampler, starts = ImportanceSampler(run.model, draws, run.config.seed), range(0, n, BATCH)
    for start in sorted({starts[0], starts[len(starts) // 2], starts[-1]}):
        batch = slice(start, start + BATCH)
        for name, expected in sampler(run.pixels[batch], start).items():
            received = estimates[name][batch]
            wrong += unlike(f"test_{name}", expected, received, nats=name in NATS)
    return passed(not wrong), "; ".join(wrong) or detail


def _check_bound_roughly(run: CheckedRun) -> Verdict:
    """Compute the bound again on some test images, within 4 standard errors."""
    parts, recorded = run.figure("reconstruction") + run.figure("kl"), run.figure("negative_elbo")
    if abs(parts - recorded) > REPLAY_TOLERANCE * max(1.0, abs(recorded)):
        return Outcome.FAIL, f"{SUMMARY}: negative_elbo is not reconstruction + kl"
    chosen = np.unique(np.linspace(0, len(run.pixels) - 1, BOUND_IMAGES).astype(int))
    seed = (run.config.seed + 1) % (MAX_SEED + 1)
    estimates = ImportanceSampler(run.model, BOUND_DRAWS, seed).over(run.pixels[chosen])
    bound = estimates["reconstruction"] + estimates["kl"]
    n, mean = len(bound), float(bound.mean())
    error = float(bound.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    text = f"-ELBO {mean:.2f} ± {error:.2f} nats on {n} test images, {recorded:.2f} in the summary"
    if not abs(mean - recorded) <= SIGMAS * error * math.sqrt(1 + n / len(run.pixels)):
        return Outcome.FAIL, text
    return Outcome.UNKNOWN, f"{text}; an older run keeps too little to tell more, or -log p(x)"


def check_arrays(run: CheckedRun) -> Verdict:
    """Compute again what the pictures are drawn from."""
    model, seed = run.model, run.config.seed
    originals = run.array("originals", (None, 28, 28))
    samples, axis = run.array("samples", (None, 28, 28)), run.array("manifold_axis", (None,))
    axes = run.array("latent_axes", (2,)).tolist()
    manifold = run.array("manifold", (len(axis), len(axis), 28, 28))
    if not all(unit in range(model.latent_dim) for unit in axes):
        return Outcome.FAIL, f"{EVALUATION}: latent_axes: expected latent units, received {axes}"
    known = {image.tobytes() for image in run.pixels.astype(np.float32)}
    wrong = []
    if not all(image.astype(np.float32).tobytes() in known for image in originals):
        wrong.append(f"{EVALUATION}: originals: expected test images")
    reconstructed = ops.convert_to_numpy(model.reconstruct(originals, seed))
    wrong += unlike("reconstructions", reconstructed, run.array("reconstructions", originals.shape))
    wrong += unlike("samples", ops.convert_to_numpy(model.sample(len(samples), seed)), samples)
    wrong += unlike("manifold", manifold_of(model, axis, axes), manifold)
    text = f"{EVALUATION}: as the model gives it"
    if _keeps_estimates(run):
        wrong += _unlike_latents(run, axes)
    else:
        text += "; the latents not computed again: an older run may show other images"
    return passed(not wrong), "; ".join(wrong) or text


def _unlike_latents(run: CheckedRun, axes: list[int]) -> list[str]:
    """Compare the latents that are shown with those of the images that are."""
    pixels, labels, seed = run.pixels, run.data.y_test, run.config.seed
    shown = shown_images(len(pixels), seed, SHOWN_LATENTS)
    base, latents = draw_latents(run.model, pixels[shown], seed)
    expected = {
        "latent_axes": np.array(shown_units(run.array("test_mean_latent", (None, None)))),
        "labels": np.empty(0) if labels is None else labels[shown],
        "base_latents": base[:, axes],
        "latents": latents[:, axes],
    }
    wrong = []
    for key, array in expected.items():
        wrong += unlike(key, array, run.array(key, array.shape))
    return wrong
