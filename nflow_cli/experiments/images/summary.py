"""Summary of a VAE."""

from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.experiments.summary import DataRecord, RunSummary


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
