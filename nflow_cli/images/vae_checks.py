"""Checks of a VAE."""

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.experiments.comparison import Outcome, Verdict, agreement, differences
from nflow_cli.experiments.flow_checks import (
    CheckedFlows,
    Flows,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.experiments.run_checks import Check, Checks, check_arrays, check_scores
from nflow_cli.experiments.summary import Judged
from nflow_cli.images.images import binarize
from nflow_cli.images.vae_config import VAEConfig
from nflow_cli.images.vae_scoring import (
    BATCH,
    NATS,
    OF_LATENTS,
    ImportanceSampler,
    joined,
    judged,
)
from nflow_cli.images.vae_training import split
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import ESTIMATES, SUMMARY

IMAGES = 8  # whose posteriors are checked
DRAWS = 4  # points of each posterior
PRIOR_POINTS = 32


class Checked(CheckedFlows):
    """Run of ``nflow train-vae`` to check."""

    config: VAEConfig

    @property
    def checks(self) -> Checks:
        checks: dict[str, Check] = {"data": check_images, **super().checks}
        if self.config.prior:
            checks |= OF_PRIOR
        return {**checks, "bound": check_bound, "arrays": check_arrays}

    @property
    def model(self) -> Any:
        return self.trained.model

    @cached_property
    def pixels(self) -> np.ndarray:
        """Test images, binarized as for the scores."""
        images = self.data.x_test
        return binarize(images, self.config.data.binarization, self.config.seed, 0, "test")

    @cached_property
    def estimates(self) -> dict[str, np.ndarray]:
        """Arrays of ``estimates.npz``, by test image."""
        n = len(self.pixels)
        latents = (n, self.model.latent_dim)
        shapes = {**dict.fromkeys(NATS, (n,)), **dict.fromkeys(OF_LATENTS, latents)}
        return self.directory.read_arrays(ESTIMATES, shapes)

    @cached_property
    def flows(self) -> Flows:
        """Posterior flows of a few images in float64, and their check points."""
        pixels = self.pixels[:IMAGES]
        shape = (DRAWS, len(pixels), self.model.latent_dim)
        noise = stream(self.config.seed, "check").standard_normal(shape, np.float32)
        points = ops.convert_to_numpy(self.model.posterior(pixels, noise)["z0"])
        _, _, context = self.model.encoded(pixels)
        composition = self.model.flow.composition(context)
        return Flows(as_arrays(composition), points.astype(np.float64))

    @cached_property
    def prior_flows(self) -> Flows:
        """Flows of the prior in float64, and their check points."""
        shape = (PRIOR_POINTS, self.model.latent_dim)
        points = stream(self.config.seed, "check prior").standard_normal(shape, np.float32)
        return Flows(as_arrays(self.model.prior.composition()), points.astype(np.float64))

    @cached_property
    def judged(self) -> Judged:
        """Its scores and arrays, recomputed from the estimates of each image."""
        return judged(self.config, self.model, self.pixels, self.data.y_test, self.estimates)

    @property
    def training(self) -> dict[str, int | None]:
        if self.config.train.early_stopping is None:
            return {"best_epoch": None}
        return {"best_epoch": self.best_at("validation_negative_elbo")}


OF_PRIOR: Checks = {
    "prior margin": lambda run: check_margin(run.prior_flows),
    "prior log-det": lambda run: check_log_det(run.prior_flows),
    "prior inverse": lambda run: check_round_trip(run.prior_flows),
}


def check_images(run: Checked) -> Verdict:
    """Reload the images; compare sizes and checksum."""
    images = run.data
    training, _ = split(images, run.config)
    data = {
        "name": images.name,
        "sha256": images.sha256,
        "n_train": len(training),
        "n_test": images.n_test,
    }
    wrong = differences(SUMMARY, {"data": data}, run.facts)
    return agreement(wrong, f"{images.n_test:,} test images found again")


def check_bound(run: Checked) -> Verdict:
    """Recompute the scores from the estimates of each image, and the estimates of three batches."""
    outcome, detail = check_scores(run)
    sampler = ImportanceSampler(run.model, run.config.evaluate.importance_samples, run.config.seed)
    starts = range(0, len(run.pixels), BATCH)
    recomputed = []
    recorded = []
    for start in sorted({0, starts[len(starts) // 2], starts[-1]}):
        batch = slice(start, start + BATCH)
        recomputed.append(sampler(run.pixels[batch], start))
        recorded.append({name: array[batch] for name, array in run.estimates.items()})
    wrong = differences(ESTIMATES, joined(recomputed), joined(recorded))
    if outcome == Outcome.FAIL:
        wrong = [detail, *wrong]
    return agreement(wrong, detail)
