"""What the pictures of a fit to a target are drawn from."""

from pydantic import Field

from nflow_cli.experiments.picture_data import Count, Error, Figure, Lenient, SummaryForm, Text
from nflow_cli.runs.array_shapes import STRIP, Shapes

SHAPES: Shapes = {
    **{"axis_1": "x", "axis_2": "y", "log_target": "yx", "log_base": "yx", "log_q": "yx"},
    **{"samples": ("s", 2), "base_samples": ("t", 2), "target_samples": ("u", 2), **STRIP},
}
COLUMNS = ("update", "loss", "kl", "beta")


class Restarts(Lenient):
    """What became of the restarts."""

    updates: list[Count] = Field(default=[])


class TargetSummary(SummaryForm):
    """What the pictures need of ``summary.json``."""

    target: Text
    restarts: Restarts = Restarts()
    kl: Figure = None
    kl_standard_error: Error = None
    ess: Figure = None
    mass: Figure = None
    log_z: Figure = None
