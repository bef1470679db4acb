"""Input of the pictures of a run: arrays, metrics and summary."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.config.strict import LARGEST
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.summary import Result, read_summary
from nflow_cli.runs.array_shapes import thinned
from nflow_cli.runs.directory import CONFIG, EVALUATION, METRICS, SUMMARY, RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.experiment import Experiment

MOST_ROWS = 2_000  # of metrics.csv that are drawn; of more, means


class PictureData(NamedTuple):
    """Arguments of a function of ``nflow_cli.plotting``."""

    evaluation: Mapping[str, np.ndarray]
    metrics: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]


def picture_data(run: RunDirectory, experiment: "Experiment", result: Result) -> PictureData:
    """Input of the pictures after training."""
    shown = {name: result.arrays[name] for name in experiment.shapes}
    summary = {**result.summary, "warnings": result.warnings}
    course = read_course(run, experiment.columns)
    return PictureData(thinned(shown, experiment.shapes), course, summary)


def read_picture_data(run: RunDirectory, experiment: "Experiment") -> PictureData:
    """Read the input of the pictures of a run."""
    arrays, summary = run.read_evaluation(experiment.shapes), read_summary(run, experiment)
    if inconsistency := experiment.inconsistency(arrays, summary):
        raise RunDirectoryError(f"{run.path}/{inconsistency}")
    return picture_data(run, experiment, Result(summary, experiment.warnings(summary), arrays))


def inconsistency_with_columns(
    arrays: Mapping[str, Any], summary: Mapping[str, Any], columns: Sequence[str]
) -> str:
    """Inconsistency between files and columns, or ""."""
    if summary["columns"] != list(columns):
        return f"{SUMMARY}: damaged: expected the columns of {CONFIG}"
    shown = arrays.get("columns_shown", np.zeros(1, int))
    if not ((shown >= 0) & (shown < len(columns))).all():
        return f"{EVALUATION}: damaged: columns_shown: expected some of D"
    return ""


def read_course(run: RunDirectory, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Read ``metrics.csv``, averaged if long; values beyond ``LARGEST`` are not finite."""
    metrics = run.read_metrics()
    for name in columns:
        if name not in metrics:
            raise RunDirectoryError(f"{run.path / METRICS}: damaged: expected a column {name}")
    steps = metrics[columns[0]]
    starts = np.arange(0, len(steps), math.ceil(len(steps) / MOST_ROWS))
    ends = np.append(starts[1:], len(steps))
    means = {
        name: np.add.reduceat(np.where(np.abs(values) < LARGEST, values, np.nan), starts)
        / (ends - starts)
        for name, values in metrics.items()
    }
    return {**means, columns[0]: steps[ends - 1]}
