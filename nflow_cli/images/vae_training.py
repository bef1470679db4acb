"""Training of a flow-VAE on images, by its variational bound."""

import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.experiments.summary import Fitted
from nflow_cli.images.image_chunks import ImageChunks
from nflow_cli.images.images import Images, binarize
from nflow_cli.images.vae import FlowVAE
from nflow_cli.images.vae_config import VAEConfig
from nflow_cli.images.vae_scoring import (
    BATCH,
    ImportanceSampler,
    estimate_arrays,
    estimates_of,
    judged,
)
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import ESTIMATES, RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.terminal.progress import phase
from nflow_cli.training.budget import Cost, pace, seconds_of
from nflow_cli.training.observers import Clock, ProgressReport
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import ValidationLog
from nflow_cli.training.trainer import ChunkTrainer, inverse_temperature


class FitVAE(ChunkTrainer):
    """Flow-VAE and the warm-up of its objective."""

    terms = ("loss", "negative_elbo", "reconstruction", "kl", "beta")

    def __init__(self, vae: FlowVAE, warm_up: str, warm_up_updates: int, start: float):
        super().__init__()
        self.vae = vae
        self.warm_up = warm_up
        self.warm_up_updates = warm_up_updates
        self.start = start
        self.xla = vae.xla
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Loss and bound of a batch ``(pixels, noise)``, means in nats per image.

        While ``β < 1`` the loss is ``reconstruction + β kl`` (``kl``), or
        ``E[log q(z|x) - β log p(x, z)]`` (``log-joint``; arXiv 1505.05770, eq. 20).
        """
        beta = inverse_temperature(update, self.warm_up_updates, self.start)
        terms = self.vae.elbo_terms(*batch)
        reconstruction = -ops.mean(terms["log_likelihood"])
        kl = ops.mean(terms["kl"])
        loss = reconstruction + beta * kl
        if self.warm_up == "log-joint":
            log_q = ops.mean(terms["log_q0"] - terms["log_det"])
            loss = log_q + beta * (reconstruction + kl - log_q)
        return {
            "loss": loss,
            "negative_elbo": reconstruction + kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "beta": beta,
        }


class EpochLog(ValidationLog):
    """Metrics by epoch; with a validation split, early stopping and best weights."""

    column = "validation_negative_elbo"

    @property
    def update(self) -> int:
        """Number of completed epochs."""
        return self.rows

    def write_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Write the row of an epoch, the last possibly incomplete."""
        return super().write_row({"epoch": self.rows + 1, **columns})


def build(config: VAEConfig, updates_per_epoch: int) -> FitVAE:
    """Build and compile the model of a config."""
    vae = FlowVAE(
        latent_dim=config.model.latent_dim,
        network=config.model.network,
        hidden=config.model.hidden,
        pattern=config.flow.pattern,
        k=config.flow.k,
        amortized=config.flow.amortized,
        seed=config.seed,
        prior=config.prior and config.prior.model_dump(),
    )
    warm_up = config.train.warm_up
    steps = config.train.epochs * updates_per_epoch
    fit = FitVAE(vae, warm_up.kind, warm_up.updates(steps), warm_up.start)
    fit.prepare(config.train, steps)
    return fit


def trial(config: VAEConfig, images: Images) -> Cost:
    """Time the epochs of a model, and its scores by those of two batches, of which the first
    compiles.
    """
    training, held_out = split(images, config)
    chunks = ImageChunks(training, config)
    model = build(config, chunks.batches)
    pixels = binarize(images.x_test[:BATCH], config.data.binarization, config.seed, 0, "test")
    sampler = ImportanceSampler(model.vae, config.evaluate.importance_samples, config.seed)
    first_batch = seconds_of(lambda: sampler(pixels, 0))
    batch = seconds_of(lambda: sampler(pixels, 0))
    update, compiling = pace(model, chunks)
    epoch = chunks.batches * update
    fresh_chunks = ImageChunks(training, config)
    epoch += seconds_of(lambda: fresh_chunks[0])  # shuffled and binarized
    if held_out is not None:
        validate = _validator(model.vae, held_out, config)
        validate()  # compiles
        epoch += seconds_of(validate)
    return Cost(epoch, compiling + first_batch + batch * images.n_test / len(pixels))


def split(images: Images, config: VAEConfig) -> tuple[np.ndarray, np.ndarray | None]:
    """Training images, and a validation split, random as files may be sorted."""
    stopping = config.train.early_stopping
    if stopping is None:
        return images.x_train, None
    order = stream(config.seed, "split").permutation(images.n_train)
    return images.x_train[order[stopping.images :]], images.x_train[order[: stopping.images]]


def fit(
    model: FitVAE,
    chunks: ImageChunks,
    held_out: np.ndarray | None,
    config: VAEConfig,
    directory: RunDirectory | None = None,
) -> dict[str, float | None]:
    """Train ``model`` as ``config.train`` specifies, in ``directory`` if given: logged and
    resumable.

    Returns:
        Epochs and seconds, by the keys of the summary.
    """
    clock = Clock()
    validate = None if held_out is None else _validator(model.vae, held_out, config)
    size = chunks.chunks_per_epoch
    log = EpochLog(clock, size, validate, config.train.early_stopping)

    def note(logs: Mapping[str, float]) -> str:
        epoch = math.ceil(clock.steps / chunks.batches)
        text = f"epoch {epoch}, −ELBO {float(logs['negative_elbo']):.2f} nats"
        if log.rows and validate:
            text += f", validation {log.mean_loss:.2f}"
        return text

    best = partial(log.best_text, "{:.2f}".format)
    progress = ProgressReport(chunks.steps, clock, note, best)
    with Session(config, chunks.steps, directory, log=log, progress=progress) as session:
        session.fit(model, chunks)
        log.take_best(model)
        session.finish(model)
    epochs = [sum(clock.seconds[i : i + size]) for i in range(0, len(clock.seconds), size)]
    best_epoch = log.last_best_update if validate else None
    return {
        "epochs": log.rows,
        "best_epoch": best_epoch,
        "compile_seconds": clock.speed().compile_seconds,
        "seconds_per_epoch": statistics.median(epochs[1:] or epochs),
    }


def _validator(vae: FlowVAE, held_out: np.ndarray, config: VAEConfig) -> Callable[[], float]:
    """Negative ELBO of validation images, in nats, by one draw of each."""
    pixels = binarize(held_out, config.data.binarization, config.seed, 1, "test")
    sampler = ImportanceSampler(vae, 1, config.seed)

    def validate() -> float:
        estimates = sampler.over(pixels)
        return float(np.mean(estimates["reconstruction"] + estimates["kl"]))

    return validate


def train(config: VAEConfig, directory: RunDirectory, images: Images) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    training, held_out = split(images, config)
    chunks = ImageChunks(training, config)
    model = build(config, chunks.batches)
    trained = fit(model, chunks, held_out, config, directory)
    model_sha256 = save_model(directory, model.vae)
    pixels = binarize(images.x_test, config.data.binarization, config.seed, 0, "test")
    draws = config.evaluate.importance_samples
    estimates = estimates_of(model.vae, pixels, draws, config.seed)
    with phase("preparing pictures"):
        scores, arrays = judged(config, model.vae, pixels, images.y_test, estimates)
    directory.write_arrays(ESTIMATES, estimate_arrays(estimates))
    facts = {
        **scores,
        **trained,
        "data": {
            "name": images.name,
            "sha256": images.sha256,
            "n_train": len(training),
            "n_test": images.n_test,
        },
        "n_parameters": model.vae.count_params(),
        "model_sha256": model_sha256,
    }
    return Fitted(config, facts, arrays)
