"""Checks of a VAE."""

from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.vae import VAEConfig
from nflow_cli.data.images import binarize
from nflow_cli.experiments.checks import Checks, check_arrays, check_scores
from nflow_cli.experiments.comparison import Outcome, Verdict, agreement, differences
from nflow_cli.experiments.flow_checks import (
    CheckedFlows,
    Flows,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.experiments.images.scoring import (
    BATCH,
    NATS,
    OF_LATENTS,
    ImportanceSampler,
    joined,
    judged,
)
from nflow_cli.experiments.images.training import split
from nflow_cli.experiments.summary import Judged
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import ESTIMATES, SUMMARY

IMAGES, DRAWS = 8, 4  # posteriors that are checked, and points of each
PRIOR_POINTS = 32


class Checked(CheckedFlows):
    """Run of ``nflow train-vae`` to check."""

    config: VAEConfig

    @property
    def checks(self) -> Checks:
        of_flows = {**super().checks, **(OF_PRIOR if self.config.prior else {})}
        return {"data": check_images, **of_flows, "bound": check_bound, "arrays": check_arrays}

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
        n, d = len(self.pixels), self.model.latent_dim
        shapes = {**dict.fromkeys(NATS, (n,)), **dict.fromkeys(OF_LATENTS, (n, d))}
        return self.directory.read_arrays(ESTIMATES, shapes)

    @cached_property
    def flows(self) -> Flows:
        """Posterior flows of a few images in float64, and their check points."""
        model, pixels = self.model, self.pixels[:IMAGES]
        shape = (DRAWS, len(pixels), model.latent_dim)
        noise = stream(self.config.seed, "check").standard_normal(shape, np.float32)
        points = ops.convert_to_numpy(model.posterior(pixels, noise)["z0"])
        _, _, context = model.encoded(pixels)
        return Flows(as_arrays(model.flow.composition(context)), points.astype(np.float64))

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
    def training(self) -> dict[str, Any]:
        validated = self.config.train.early_stopping is not None
        return {"best_epoch": self.best_at("validation_negative_elbo") if validated else None}


OF_PRIOR: Checks = {
    "prior margin": lambda run: check_margin(run.prior_flows),
    "prior log-det": lambda run: check_log_det(run.prior_flows),
    "prior inverse": lambda run: check_round_trip(run.prior_flows),
}


def check_images(run: Checked) -> Verdict:
    """Reload the images; compare sizes and checksum."""
    config, images = run.config, run.data
    training, _ = split(images, config)
    sizes = {"n_train": len(training), "n_test": images.n_test}
    data = {"name": images.name, "sha256": images.sha256, **sizes}
    wrong = differences(SUMMARY, {"data": data}, run.facts)
    return agreement(wrong, f"{images.n_test:,} test images found again")


def check_bound(run: Checked) -> Verdict:
    """Recompute the scores from the estimates of each image, and the estimates of three batches."""
    outcome, detail = check_scores(run)
    n, draws = len(run.pixels), run.config.evaluate.importance_samples
    sampler, starts = ImportanceSampler(run.model, draws, run.config.seed), range(0, n, BATCH)
    batches = [slice(i, i + BATCH) for i in sorted({0, starts[len(starts) // 2], starts[-1]})]
    drawn = [sampler(run.pixels[batch], batch.start) for batch in batches]
    saved = [{name: array[batch] for name, array in run.estimates.items()} for batch in batches]
    wrong = differences(ESTIMATES, joined(drawn), joined(saved))
    return agreement([*([detail] if outcome == Outcome.FAIL else []), *wrong], detail)
