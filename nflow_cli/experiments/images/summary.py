"""The summary of a VAE. No Keras here."""

from typing import Any

from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.experiments.summary import DataRecord, RunSummary


class ImagesRecord(DataRecord):
    """The images, and how many there are."""

    n_train: Count
    n_test: Count


class ImagesSummary(RunSummary):
    """The figures of a VAE, in nats an image; ``evaluation.images.scores_of`` has their meaning.

    Attributes:
        amortized: Whether the encoder gives the parameters of the flows.
        latent_dim: The number of latents.
        epochs: The epochs that were made.
        best_epoch: The epoch whose weights were kept; None without a validation split.
        binarization: How pixels were binarized.
        prior: The flows of the prior as text; None where it is N(0, I).
        published: Published scores of the same data and as many flows.
        seconds_per_epoch: The median, without the first, which compiles.
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
    published: list[Any]
    seconds_per_epoch: Figure
