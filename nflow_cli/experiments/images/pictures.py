"""What the pictures of a VAE are drawn from."""

from nflow_cli.experiments.picture_data import (
    Computed,
    Count,
    DataForm,
    Error,
    Figure,
    SummaryForm,
    Text,
)
from nflow_cli.runs.array_shapes import Shapes

SHAPES: Shapes = {
    **{"base_latents": ("n", 2), "latents": ("n", 2), "latent_axes": (2,), "labels": "n?"},
    **{"originals": "mhw", "reconstructions": "mhw", "samples": "dhw"},
    **{"manifold": "rrhw", "manifold_axis": "r"},
}
OF_PRIOR: Shapes = {"prior_latents": ("p", 2)}  # where it has flows
COLUMNS = ("epoch", "negative_elbo", "reconstruction", "kl", "beta")


class ImagesSummary(SummaryForm):
    """What the pictures need of ``summary.json``."""

    data: DataForm
    latent_dim: Count
    amortized: bool
    binarization: Text
    prior: Text | None = None
    negative_elbo: Computed
    reconstruction: Computed
    kl: Computed
    negative_log_likelihood: Figure = None
    nll_standard_error: Error = None
    nll_samples: Count
