"""What the pictures of a fit to a table are drawn from."""

from nflow_cli.experiments.picture_data import Count, DataForm, Error, Figure, SummaryForm
from nflow_cli.runs.array_shapes import STRIP, Shapes

SHAPES: Shapes = {
    **{"axis_1": "x", "axis_2": "y", "log_q": "yx", "samples": ("s", 2)},
    **{"test_points": ("t", 2), **STRIP},
}
COLUMNS = ("update", "loss", "validation_loss")


class TableSummary(SummaryForm):
    """What the pictures need of ``summary.json``."""

    target: None = None
    data: DataForm
    best_update: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error = None
    gaussian_log_likelihood: Figure
    gaussian_log_likelihood_standard_error: Error = None
