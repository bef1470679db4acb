"""Base of checked runs."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.verdicts import Verdict
from nflow_cli.experiments.comparison import Tolerance, agreement, differences
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.summary import Judged, read_summary
from nflow_cli.runs.directory import EVALUATION, METRICS, RUN, SUMMARY, RunDirectory

Check = Callable[[Any], Verdict]
Checks = Mapping[str, Check]


class Weights(NamedTuple):
    """Weights of a model: its name, their number and SHA-256."""

    model: str
    arrays: int
    numbers: int
    sha256: str


class CheckedRun:
    """Base of checked runs; ``tolerances`` replace those of ``comparison``."""

    source = "from the same draws"
    tolerances: Mapping[str, Tolerance] = {}

    def __init__(self, directory: RunDirectory, trained: Any, experiment: Experiment):
        self.directory, self.trained, self.experiment = directory, trained, experiment
        self.config = experiment.config

    @property
    def checks(self) -> Checks:
        """Checks beside those of every run, by name."""
        return {}

    @property
    def model(self) -> Any:
        """Keras layer or model that was saved."""
        return self.trained.trained

    @cached_property
    def weights(self) -> Weights:
        """Weights that were saved."""
        from nflow_cli.runs.model_file import weights_sha256

        model = self.model
        numbers = len(model.weights), model.count_params()
        return Weights(type(model).__name__, *numbers, weights_sha256(model))

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``."""
        return self.directory.read_json(RUN)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Figures of ``summary.json``."""
        return read_summary(self.directory, self.experiment)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """Columns of ``metrics.csv``."""
        return self.directory.read_metrics()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """``evaluation.npz``."""
        return self.directory.read_evaluation(self.experiment.shapes)

    @cached_property
    def judged(self) -> Judged:
        """Scores and arrays, recomputed by the function that training uses."""
        raise NotImplementedError

    @cached_property
    def data(self) -> Any:
        """Training and test data."""
        return self.experiment.data(self.directory)

    @property
    def training(self) -> dict[str, Any]:
        """Figures of the training by metrics.csv, beside its length."""
        raise NotImplementedError

    def column(self, name: str) -> np.ndarray:
        """Column of metrics.csv."""
        if name not in self.metrics:
            raise RunDirectoryError(f"{METRICS}: damaged: expected a column {name}")
        return self.metrics[name]

    @property
    def length(self) -> int:
        """Number of updates, or epochs, in metrics.csv."""
        return whole(self.column(self.experiment.column)[-1])

    def best_at(self, loss: str) -> int:
        """Time of the lowest validation loss after annealing; the end if none is finite."""
        values, ends = self.column(loss), self.column(self.experiment.column)
        counted = np.isfinite(values) & (self.metrics.get("beta", np.ones(len(values))) >= 1)
        best = np.where(counted, values, np.inf).argmin() if counted.any() else -1
        return whole(ends[best])


def whole(value: float) -> int:
    """Number of metrics.csv that must be whole."""
    if not value == value // 1:
        raise RunDirectoryError(f"{METRICS}: damaged: expected a whole number, received {value}")
    return int(value)


def check_scores(run: CheckedRun) -> Verdict:
    """Compare the recomputed scores with those of the summary."""
    recomputed = run.judged.scores
    # Typed as a summary: values that are not finite are None.
    whole = run.experiment.summary_type(**{**run.summary, **recomputed}).facts
    scores = {key: whole[key] for key in recomputed}
    numbers = {key: x for key, x in scores.items() if type(x) in (int, float)}
    shown = (f"{key} {x}" if isinstance(x, int) else f"{key} {x:.5f}" for key, x in numbers.items())
    wrong = differences(SUMMARY, scores, run.summary, run.tolerances)
    return agreement(wrong, f"{', '.join(shown)} {run.source}")


def check_arrays(run: CheckedRun) -> Verdict:
    """Compare the recomputed arrays of the pictures with those of the run."""
    wrong = differences(EVALUATION, run.judged.arrays, run.arrays)
    return agreement(wrong, f"{EVALUATION}: as the model gives it")


OF_SCORES: Checks = {"summary": check_scores, "arrays": check_arrays}
