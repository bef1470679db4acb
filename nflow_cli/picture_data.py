"""What the pictures of a run are drawn from: read from its files, and checked. No Keras here."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field

from nflow_cli.caveats import caveats_of
from nflow_cli.config import validate
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation_arrays import ARRAYS, thinned
from nflow_cli.run_dir import METRICS, SUMMARY, RunDirectory
from nflow_cli.schema import MAX_PATH, Strict

LARGEST = 1e100  # of a figure in nats; a larger one says nothing, and overflows in a picture
MOST_ROWS = 2_000  # of metrics.csv that are drawn; of more, means

Count = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=MAX_PATH)]
Figure = Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None
Error = Annotated[float, Field(ge=0, le=LARGEST)] | None
# Of a figure that every run has, null says that it was not finite.
Computed = Annotated[Figure, AfterValidator(lambda value: math.nan if value is None else value)]


class _Lenient(Strict):
    """A part of ``summary.json``, which may hold more."""

    model_config = ConfigDict(extra="allow")


class _Data(_Lenient):
    name: Text
    n_test: Count | None = None


class _Summary(_Lenient):
    flow: Text
    k: Count


class _Restarts(_Lenient):
    updates: list[Count] = Field(default=[])


class _OfTarget(_Summary):
    target: Text
    restarts: _Restarts = _Restarts()
    kl: Figure = None
    kl_standard_error: Error = None
    ess: Figure = None
    mass: Figure = None
    log_z: Figure = None


class _OfPoints(_Summary):
    target: None = None
    data: _Data
    best_update: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error = None
    gaussian_log_likelihood: Figure
    gaussian_log_likelihood_standard_error: Error = None


class _OfImages(_Summary):
    data: _Data
    latent_dim: Count
    amortized: bool
    binarization: Text
    negative_elbo: Computed
    reconstruction: Computed
    kl: Computed
    negative_log_likelihood: Figure = None
    nll_standard_error: Error = None
    nll_samples: Count


_SUMMARIES: dict[str, type[Strict]] = {
    "fit-2d": _OfTarget,
    "points": _OfPoints,
    "train-vae": _OfImages,
}
# Columns of metrics.csv, the first of which counts updates or epochs.
_COLUMNS = {
    "fit-2d": ("update", "loss", "kl", "beta"),
    "points": ("update", "loss", "validation_loss"),
    "train-vae": ("epoch", "negative_elbo", "reconstruction", "kl", "beta"),
}


class PictureData(NamedTuple):
    """What a function of ``nflow_cli.plotting`` takes."""

    evaluation: Mapping[str, np.ndarray]
    metrics: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]


def read_picture_data(run: RunDirectory, config: Any) -> PictureData:
    """Read what the pictures of a run with that config are drawn from.

    Raises:
        NflowError: In one line that names the file: it is missing, damaged, or of another run.
    """
    shapes = ARRAYS[config.experiment]
    return PictureData(
        thinned(run.read_evaluation(shapes), shapes),
        _metrics(run, _COLUMNS[config.experiment]),
        _summary(run, config),
    )


def _summary(run: RunDirectory, config: Any) -> dict[str, Any]:
    """Read ``summary.json``, and find what its figures cannot be vouched for."""
    data, source = run.read_json(SUMMARY), f"{run.path / SUMMARY}: damaged"
    checked = validate({**data, "command": config.experiment}, source, _SUMMARIES)
    return {**checked.model_dump(), "caveats": caveats_of(config, data)}


def _metrics(run: RunDirectory, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
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
