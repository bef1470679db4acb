"""Checks of a VAE: its figures by the draws they came from, and the arrays of its pictures."""

import math

import numpy as np
from keras import ops

from nflow_cli.checked_run import REPLAY_TOLERANCE, CheckedRun, agree, differences, unlike
from nflow_cli.fit_vae import published_of, split
from nflow_cli.flow_checks import Outcome, Verdict, passed
from nflow_cli.networks import SIDE
from nflow_cli.run_dir import ESTIMATES, EVALUATION, SUMMARY
from nflow_cli.schema import MAX_SEED
from nflow_cli.vae_evaluation import (
    BATCH,
    NATS,
    SHOWN_LATENTS,
    SHOWN_SAMPLES,
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


def check_bound(run: CheckedRun) -> Verdict:
    """Compute the summary's figures again from the estimates of each image, and some of these.

    They are drawn as they were, for the first, the middle and the last batch of images.
    """
    estimates = run.estimates
    if estimates is None:
        return _check_bound_roughly(run)
    n, draws = len(run.pixels), run.config.evaluate.importance_samples
    outcome, detail = agree(run, figures_of(estimates, draws), "from the same draws")
    wrong = [] if outcome == Outcome.OK else [detail]
    sampler, starts = ImportanceSampler(run.model, draws, run.config.seed), range(0, n, BATCH)
    some = sorted({starts[0], starts[len(starts) // 2], starts[-1]})
    batches = [slice(start, start + BATCH) for start in some]
    drawn = [sampler(run.pixels[batch], batch.start) for batch in batches]
    for name, kept in estimates.items():
        expected = np.concatenate([of_batch[name] for of_batch in drawn])
        received = np.concatenate([kept[batch] for batch in batches])
        wrong += unlike(f"{ESTIMATES}: {name}", expected, received, nats=name in NATS)
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
    originals, axis = run.arrays["originals"], run.arrays["manifold_axis"]
    axes = run.arrays["latent_axes"].tolist()
    if not all(isinstance(unit, int) and 0 <= unit < model.latent_dim for unit in axes):
        return Outcome.FAIL, f"{EVALUATION}: latent_axes: expected latent units, received {axes}"
    if originals.shape[1:] != (SIDE, SIDE):
        return Outcome.FAIL, f"{EVALUATION}: originals: received shape {originals.shape}"
    known = {image.tobytes() for image in run.pixels.astype(np.float32)}
    wrong = []
    if not all(image.tobytes() in known for image in originals.astype(np.float32)):
        wrong.append(f"{EVALUATION}: originals: expected test images")
    expected = {
        "reconstructions": model.reconstruct(originals, seed),
        "samples": model.sample(SHOWN_SAMPLES, seed),
        "manifold": manifold_of(model, axis, axes),
    }
    text = f"{EVALUATION}: as the model gives it"
    if run.estimates is None:
        text += "; the latents not computed again: an older run may show other images"
    else:
        expected |= _latents(run, axes, run.estimates["mean_latent"])
    for key, array in expected.items():
        wrong += run.unlike(key, ops.convert_to_numpy(array))
    return passed(not wrong), "; ".join(wrong) or text


def _latents(run: CheckedRun, axes: list[int], mean_latent: np.ndarray) -> dict[str, np.ndarray]:
    """Return the latents of the images that are shown, of the two units that vary most."""
    pixels, labels, seed = run.pixels, run.data.y_test, run.config.seed
    shown = shown_images(len(pixels), seed, SHOWN_LATENTS)
    base, latents = draw_latents(run.model, pixels[shown], seed)
    return {
        "latent_axes": np.array(shown_units(mean_latent)),
        "labels": np.empty(0) if labels is None else labels[shown],
        "base_latents": base[:, axes],
        "latents": latents[:, axes],
    }
