"""Checks of a VAE."""

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.schema import VAEConfig
from nflow_cli.data.images import binarize
from nflow_cli.evaluation.flow_checks import (
    Flows,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.evaluation.verdicts import Outcome, Verdict, passed
from nflow_cli.experiments.checked_flows import CheckedFlows
from nflow_cli.experiments.checked_run import (
    Checks,
    agree,
    differences,
    unlike,
)
from nflow_cli.experiments.images.evaluation import (
    BATCH,
    NATS,
    OF_LATENTS,
    SHOWN_LATENTS,
    SHOWN_PRIOR,
    SHOWN_SAMPLES,
    ImportanceSampler,
    draw_latents,
    draw_prior,
    manifold_of,
    scores_of,
    shown_images,
    shown_units,
)
from nflow_cli.experiments.images.fit import published_of, split
from nflow_cli.experiments.images.networks import SIDE
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import ESTIMATES, EVALUATION, SUMMARY

IMAGES, DRAWS = 8, 4  # posteriors that are checked, and points of each
PRIOR_POINTS = 32


class CheckedImages(CheckedFlows):
    """A run of ``nflow train-vae`` to check."""

    config: VAEConfig

    @property
    def data_checks(self) -> Checks:
        """Checks of the data."""
        return {"data": check_images}

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        of_prior = OF_PRIOR if self.config.prior else {}
        return {**of_prior, "bound": check_bound, "arrays": check_arrays}

    @property
    def model(self) -> Any:
        """The VAE."""
        return self.trained.model

    @cached_property
    def pixels(self) -> np.ndarray:
        """The test images, binarized as for the scores."""
        images = self.data.x_test
        return binarize(images, self.config.data.binarization, self.config.seed, 0, "test")

    @cached_property
    def estimates(self) -> dict[str, np.ndarray]:
        """The arrays of ``estimates.npz``, by test image."""
        n, d = len(self.pixels), self.model.latent_dim
        shapes = {**dict.fromkeys(NATS, (n,)), **dict.fromkeys(OF_LATENTS, (n, d))}
        return self.directory.read_estimates(shapes)

    @cached_property
    def flows(self) -> Flows:
        """The posterior flows of a few images in float64, and their check points."""
        model, pixels = self.model, self.pixels[:IMAGES]
        shape = (DRAWS, len(pixels), model.latent_dim)
        noise = stream(self.config.seed, "check").standard_normal(shape, np.float32)
        points = ops.convert_to_numpy(model.posterior(pixels, noise)["z0"])
        _, _, context = model.encoded(pixels)
        return Flows(as_arrays(model.flow.composition(context)), points.astype(np.float64))

    @cached_property
    def prior_flows(self) -> Flows:
        """The flows of the prior in float64, and their check points."""
        shape = (PRIOR_POINTS, self.model.latent_dim)
        points = stream(self.config.seed, "check prior").standard_normal(shape, np.float32)
        return Flows(as_arrays(self.model.prior.composition()), points.astype(np.float64))

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return the best epoch."""
        validated = self.config.train.early_stopping is not None
        return {"best_epoch": self.best_at("validation_negative_elbo") if validated else None}, []


OF_PRIOR: Checks = {
    "prior margin": lambda run: check_margin(run.prior_flows),
    "prior log-det": lambda run: check_log_det(run.prior_flows),
    "prior inverse": lambda run: check_round_trip(run.prior_flows),
}


def check_images(run: CheckedImages) -> Verdict:
    """Reload the images; compare sizes and checksum."""
    config, images = run.config, run.data
    training, _ = split(images, config)
    sizes = {"n_train": len(training), "n_test": images.n_test}
    data = {"name": images.name, "sha256": images.sha256, **sizes}
    expected = {"data": data, "published": published_of(config, images)}
    wrong = differences(SUMMARY, expected, run.summary)
    return passed(not wrong), "; ".join(wrong) or f"{images.n_test:,} test images found again"


def check_bound(run: CheckedImages) -> Verdict:
    """Recompute the scores from the estimates of each image, and some of the estimates.

    These are redrawn for the first, the middle and the last batch of images.
    """
    estimates = run.estimates
    n, draws = len(run.pixels), run.config.evaluate.importance_samples
    outcome, detail = agree(run, scores_of(estimates, draws), "from the same draws")
    wrong = [] if outcome == Outcome.OK else [detail]
    sampler, starts = ImportanceSampler(run.model, draws, run.config.seed), range(0, n, BATCH)
    some = sorted({starts[0], starts[len(starts) // 2], starts[-1]})
    batches = [slice(start, start + BATCH) for start in some]
    drawn = [sampler(run.pixels[batch], batch.start) for batch in batches]
    for name, saved in estimates.items():
        expected = np.concatenate([of_batch[name] for of_batch in drawn])
        received = np.concatenate([saved[batch] for batch in batches])
        wrong += unlike(f"{ESTIMATES}: {name}", expected, received, nats=name in NATS)
    return passed(not wrong), "; ".join(wrong) or detail


def check_arrays(run: CheckedImages) -> Verdict:
    """Recompute the arrays of the pictures."""
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
        **_latents(run, axes, run.estimates["mean_latent"]),
    }
    if run.config.prior:
        expected["prior_latents"] = draw_prior(model, SHOWN_PRIOR, seed)[:, axes]
    for key, array in expected.items():
        wrong += run.unlike(key, ops.convert_to_numpy(array))
    return passed(not wrong), "; ".join(wrong) or f"{EVALUATION}: as the model gives it"


def _latents(run: CheckedImages, axes: list[int], mean_latent: np.ndarray) -> dict[str, np.ndarray]:
    pixels, labels, seed = run.pixels, run.data.y_test, run.config.seed
    shown = shown_images(len(pixels), seed, SHOWN_LATENTS)
    base, latents = draw_latents(run.model, pixels[shown], seed)
    return {
        "latent_axes": np.array(shown_units(mean_latent)),
        "labels": np.empty(0) if labels is None else labels[shown],
        "base_latents": base[:, axes],
        "latents": latents[:, axes],
    }
