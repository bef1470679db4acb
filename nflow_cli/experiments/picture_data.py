"""What the pictures of a run are drawn from: read from its files, and checked. No Keras here."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field

from nflow_cli.config.presets import validate
from nflow_cli.config.strict import MAX_PATH, Strict
from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.array_shapes import thinned
from nflow_cli.runs.directory import METRICS, SUMMARY, RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments import Experiment

LARGEST = 1e100  # of a score in nats; a larger one says nothing, and overflows in a picture
MOST_ROWS = 2_000  # of metrics.csv that are drawn; of more, means

Count = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=MAX_PATH)]
Figure = Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None
Error = Annotated[float, Field(ge=0, le=LARGEST)] | None
# Of a score that every run has, null says that it was not finite.
Computed = Annotated[Figure, AfterValidator(lambda value: math.nan if value is None else value)]


class Lenient(Strict):
    """A part of ``summary.json``, which may hold more."""

    model_config = ConfigDict(extra="allow")


class DataForm(Lenient):
    """The data, in ``summary.json``."""

    name: Text
    n_test: Count | None = None


class SummaryForm(Lenient):
    """What pictures need of ``summary.json``, whatever was trained."""

    flow: Text
    k: Count


class PictureData(NamedTuple):
    """What a function of ``nflow_cli.plotting`` takes."""

    evaluation: Mapping[str, np.ndarray]
    metrics: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]


def read_picture_data(run: RunDirectory, experiment: "Experiment") -> PictureData:
    """Read what the pictures of a run of that experiment are drawn from.

    Raises:
        NflowError: In one line that names the file: it is missing, damaged, or of another run.
    """
    arrays = thinned(run.read_evaluation(experiment.shapes), experiment.shapes)
    data = PictureData(arrays, read_course(run, experiment.columns), read_summary(run, experiment))
    if damage := experiment.damage(data.evaluation, data.summary):
        raise RunDirectoryError(f"{run.path}/{damage}")
    return data


def read_summary(run: RunDirectory, experiment: "Experiment") -> dict[str, Any]:
    """Read ``summary.json``, and find what its scores cannot be vouched for."""
    data, source = run.read_json(SUMMARY), f"{run.path / SUMMARY}: damaged"
    forms = {experiment.name: experiment.summary_form}
    checked = validate({**data, "command": experiment.name}, source, forms)
    return {**checked.model_dump(), "caveats": experiment.caveats(data)}


def read_course(run: RunDirectory, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Read ``metrics.csv``, of many rows their means; what is beyond ``LARGEST`` is not finite."""
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
