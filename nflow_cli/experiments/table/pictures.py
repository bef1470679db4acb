"""What the pictures of a fit to a table are drawn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.experiments.picture_data import (
    Count,
    DataForm,
    Error,
    Figure,
    Lenient,
    SummaryForm,
    Text,
)
from nflow_cli.runs.array_shapes import STRIP, Shapes
from nflow_cli.runs.directory import CONFIG, EVALUATION, SUMMARY

PLANE: Shapes = {
    **{"axis_1": "x", "axis_2": "y", "log_q": "yx", "samples": ("s", 2)},
    **{"test_points": ("t", 2), **STRIP},
}
LINE: Shapes = {"axis_1": "x", "log_q": "x"}


def shapes_of(dim: int, is_conditional: bool) -> Shapes:
    """Return the arrays that the pictures of rows of D = ``dim`` columns are drawn from."""
    rows: Shapes = {"rows": ("t", dim), "samples": ("s", dim), "latents": ("t", dim)}
    return {**rows, "columns_shown": "c", **(LINE if dim == 1 and not is_conditional else {})}


class Normality(Lenient):
    """How far latents are from ``N(0, I)``."""

    worst_column: Text | None
    distance: Error
    band: Error
    radius_distance: Error
    radius_band: Error
    n: Count
    n_lost: Count


class TableSummary(SummaryForm):
    """What the pictures need of ``summary.json``."""

    target: None = None
    data: DataForm
    best_update: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error = None
    gaussian_log_likelihood: Figure
    gaussian_log_likelihood_standard_error: Error = None
    columns: list[Text] = Field(default=[], max_length=MAX_COLUMNS)
    normality: Normality | None = None


def damage(arrays: Mapping[str, Any], summary: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return which file that is drawn is not of these columns, and why, or ""."""
    if summary["columns"] != list(columns) or summary["normality"] is None:
        return f"{SUMMARY}: damaged: expected the columns of {CONFIG}"
    shown = arrays.get("columns_shown", np.zeros(1, int))
    if not ((shown >= 0) & (shown < len(columns))).all():
        return f"{EVALUATION}: damaged: columns_shown: expected some of D"
    return ""
