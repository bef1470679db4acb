"""A run that is checked, and what its checks share."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.verdicts import Verdict, passed
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.summary import read_summary
from nflow_cli.runs.directory import EVALUATION, METRICS, RUN, SUMMARY, RunDirectory

# Of scores computed again, times 1 + the score: less than the last digit of what is printed, and
# well above what rounding in float32 does to a mean.
REPLAY_TOLERANCE = 2e-6
# Of arrays computed again: that of log-densities, times 1 + their size; that of others, in
# standard deviations; and how many numbers may be off by more, where rounding is amplified.
LOG_TOLERANCE, ARRAY_TOLERANCE, FEW = 1e-4, 1e-3, 1e-3

Check = Callable[[Any], Verdict]
Checks = Mapping[str, Check]


class CheckedRun:
    """A run and what its checks share."""

    def __init__(self, directory: RunDirectory, trained: Any, experiment: Experiment):
        self.directory, self.trained, self.experiment = directory, trained, experiment
        self.config = experiment.config

    @property
    def data_checks(self) -> Checks:
        """Checks of what it was trained on, by name."""
        return {}

    @property
    def score_checks(self) -> Checks:
        """Checks of its scores and pictures, by name."""
        raise NotImplementedError

    @property
    def model_checks(self) -> Checks:
        """Checks of the trained model, by name."""
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The model that was saved: a flow stack or a VAE."""
        raise NotImplementedError

    @property
    def model_name(self) -> str:
        """What the model is called."""
        return type(self.model).__name__

    @property
    def n_parameters(self) -> int:
        """How many numbers its weights are."""
        return self.model.count_params()

    @property
    def n_arrays(self) -> int:
        """How many arrays its weights are."""
        return len(self.model.weights)

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of its weights."""
        from nflow_cli.runs.model_file import weights_sha256

        return weights_sha256(self.model)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return self.directory.read_json(RUN)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The figures of ``summary.json``."""
        return read_summary(self.directory, self.experiment)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """The columns of ``metrics.csv``."""
        return self.directory.read_metrics()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What ``evaluation.npz`` holds."""
        return self.directory.read_evaluation(self.experiment.shapes)

    def score(self, key: str) -> float:
        """Return a score of the summary."""
        value: Any = self.summary.get(key)
        if value is None:
            raise RunDirectoryError(f"{SUMMARY}: {key}: expected a number, received None")
        return float(value)

    def unlike(self, key: str, expected: np.ndarray) -> list[str]:
        """Say by how much an array of ``evaluation.npz`` is not the one expected."""
        return unlike(f"{EVALUATION}: {key}", expected, self.arrays[key])

    @cached_property
    def data(self) -> Any:
        """The images or points that the run was trained on and judged by."""
        return self.experiment.data(self.directory)

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return what the summary should say of the training beside its length, by metrics.csv.

        And what else it says wrongly.
        """
        raise NotImplementedError

    def column(self, name: str) -> np.ndarray:
        """Return a column of metrics.csv."""
        if name not in self.metrics:
            raise RunDirectoryError(f"{METRICS}: damaged: expected a column {name}")
        return self.metrics[name]

    @property
    def length(self) -> int:
        """How long the training was by metrics.csv: updates, or epochs."""
        return whole(self.column(self.experiment.column)[-1])

    def best_at(self, loss: str) -> int:
        """Return when a validation loss was lowest; the end where none is finite.

        What was still annealed does not count.
        """
        values, ends = self.column(loss), self.column(self.experiment.column)
        counted = np.isfinite(values) & (self.metrics.get("beta", np.ones(len(values))) >= 1)
        best = np.where(counted, values, np.inf).argmin() if counted.any() else -1
        return whole(ends[best])

    def best_of_members(self) -> int:
        """Return the last update at which a member's validation loss was lowest."""
        members = self.config.train.members
        tails = [""] if members == 1 else [f"_{r}" for r in range(1, members + 1)]
        return max(self.best_at(f"validation_loss{tail}") for tail in tails)


def whole(value: float) -> int:
    """Return a number of metrics.csv that must be whole."""
    if not value == value // 1:
        raise RunDirectoryError(f"{METRICS}: damaged: expected a whole number, received {value}")
    return int(value)


def differences(file: str, expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    """Say which values of a file are not those expected."""
    return [
        f"{file}: {key}: expected {value!r:.80}, received {received.get(key)!r:.80}"
        for key, value in expected.items()
        if received.get(key) != value
    ]


def agree(
    run: CheckedRun, scores: Mapping[str, Any], source: str, tolerance: float = REPLAY_TOLERANCE
) -> Verdict:
    """Compare scores that were computed again with those of the summary."""
    wrong, shown = [], []
    for key, value in scores.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            same = (
                None if isinstance(value, float) else value
            )  # JSON has no numbers but finite ones
            wrong += differences(SUMMARY, {key: same}, run.summary)
            continue
        recorded = run.score(key)
        shown.append(f"{key} {value}" if isinstance(value, int) else f"{key} {value:.5f}")
        if not abs(value - recorded) <= tolerance * max(1.0, abs(value)):
            wrong.append(f"{key}: expected {value:.6g}, received {recorded:.6g}")
    return passed(not wrong), "; ".join(wrong) or f"{', '.join(shown)} {source}"


def unlike(name: str, expected: np.ndarray, received: np.ndarray, nats: bool = False) -> list[str]:
    """Say by how much an array is not the one expected, beyond rounding; it may be of ``nats``."""
    if expected.shape != received.shape:
        return [f"{name}: expected shape {expected.shape}, received {received.shape}"]
    expected, received = expected.astype(np.float64), received.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where(expected == received, 0.0, np.abs(expected - received))
        if nats:
            allowed = LOG_TOLERANCE * (1 + np.abs(expected))
        else:  # points have a unit for each column
            columns = -2 if expected.ndim > 1 and expected.shape[-1] == 2 else None
            spread = np.nanstd(expected, axis=columns, keepdims=True) if expected.size else 0.0
            allowed = ARRAY_TOLERANCE * spread
        wrong = ~(off <= allowed) & ~(np.isnan(expected) & np.isnan(received))
    if wrong.sum() <= FEW * wrong.size:
        return []
    return [f"{name}: {wrong.mean():.0%} of its numbers are others"]
