"""What the pictures of a fit to a log-density are drawn from."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.experiments.picture_data import Error, Figure, SummaryForm, Text
from nflow_cli.experiments.target.pictures import Restarts
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import CONFIG, EVALUATION, SUMMARY

COLUMNS = ("update", "loss", "kl", "beta")


def shapes_of(dim: int) -> Shapes:
    """Return the arrays that the pictures of D = ``dim`` coordinates are drawn from."""
    points: Shapes = {"rows": ("t", dim), "samples": ("s", dim), "columns_shown": "c"}
    return {**points, "tail": "u", "smooth_tail": "u"}


class InferSummary(SummaryForm):
    """What the pictures need of ``summary.json``."""

    target: Text
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    restarts: Restarts = Restarts()
    kl: Figure = None
    kl_standard_error: Error = None
    free_energy: Figure = None
    pareto_k: Figure = None
    ess: Figure = None
    log_z: Figure = None
    has_exact_samples: bool = False


def damage(arrays: Mapping[str, Any], summary: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return which file that is drawn is not of these coordinates, and why, or ""."""
    if summary["columns"] != list(columns):
        return f"{SUMMARY}: damaged: expected the coordinates of {CONFIG}"
    shown = arrays["columns_shown"]
    if not ((shown >= 0) & (shown < len(columns))).all():
        return f"{EVALUATION}: damaged: columns_shown: expected some of D"
    return ""
