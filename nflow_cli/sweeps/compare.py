"""Comparison of runs: scores grouped over seeds."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli import experiments
from nflow_cli.config.keys import SAME_EXPERIMENT, flat, without
from nflow_cli.config.schema import Config
from nflow_cli.constants import SWEEP
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.warnings import ScoreWarning, words
from nflow_cli.experiments.experiment import Experiment, Identity
from nflow_cli.experiments.picture_data import read_course
from nflow_cli.experiments.summary import read_summary
from nflow_cli.registry import KINDS
from nflow_cli.runs.array_shapes import DENSITIES, thinned
from nflow_cli.runs.directory import METRICS, RUN, SUMMARY, RunDirectory

# Keys of a group's identity, of `Experiment.settings`, and those found from the rows.
IDENTITY = (
    *("target", "data.name", "data.binarization", "data.kinds"),
    *("flow.pattern", "flow.k", "flow.affine", "prior"),
)


@dataclass(frozen=True)
class Result:
    """Completed run with its experiment and summary."""

    run: RunDirectory
    experiment: Experiment
    summary: Mapping[str, Any]

    @property
    def config(self) -> Config:
        """Resolved preset."""
        return self.experiment.config

    @property
    def identity(self) -> Identity:
        """Data or target, flow, and K."""
        return self.experiment.identity(self.summary)

    def settings(self) -> dict[str, str]:
        """Settings that define the experiment, without :attr:`identity`, by dotted key, as text."""
        config = self.config.model_dump(mode="json")
        settings = dict(flat(without(config, SAME_EXPERIMENT + IDENTITY)))
        return settings | self.experiment.settings(self.summary)

    @cached_property
    def warnings(self) -> list[ScoreWarning]:
        """Warnings about the scores."""
        return self.experiment.warnings(self.summary)

    def value(self, key: str) -> float | None:
        """Score of the summary, or ``None``."""
        value = self.summary.get(key)
        return None if value is None else float(value)


class Spread(NamedTuple):
    """Median, minimum and maximum of a score over seeds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Runs that differ only by their seeds, the best first.

    Targets of equal name are numbered in ``identity``. ``settings`` differ among groups of the same
    target or data.
    """

    identity: Identity
    results: Sequence[Result]
    settings: Mapping[str, str]

    @property
    def best(self) -> Result:
        """Run with the best score."""
        return self.results[0]

    @property
    def seeds(self) -> list[int]:
        """Distinct seeds."""
        return sorted({result.config.seed for result in self.results})

    @property
    def restarts(self) -> int:
        """Restarts of each run."""
        return self.best.experiment.config.train.restarts

    def words(self, key: str) -> str:
        """Warning labels of a score over all runs, or ""."""
        return ", ".join(
            dict.fromkeys(filter(None, (words(r.warnings, key) for r in self.results)))
        )

    def spread(self, key: str) -> Spread | None:
        """Spread of a score; ``None`` if a run lacks it."""
        values = [result.value(key) for result in self.results]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return Spread(statistics.median(known), min(known), max(known))

    def error(self, key: str) -> float | None:
        """Standard error of a score of a single run, else ``None``."""
        return self.best.value(f"{key}_standard_error") if len(self.results) == 1 else None

    def shows(self, key: str) -> bool:
        """Whether a score is shown: the free energy only where no KL that ranks runs is known."""
        is_ranked = "kl" in (measure.key for measure in self.best.experiment.measures)
        instead = key == "free_energy" and is_ranked and self.spread("kl") is not None
        return self.spread(key) is not None and not instead


def gather(paths: Iterable[str]) -> tuple[list[Result], Counter[str]]:
    """Read completed runs, also those of sweeps; count unfinished ones by status."""
    results: dict[Path, Result] = {}
    unfinished: Counter[str] = Counter()
    for path in paths:
        for run in _runs_of_sweep(Path(path)) or [RunDirectory.open(path)]:
            status = run.read_json(RUN).get("status")
            if status == "completed":
                results[run.path.resolve()] = read_result(run)
            else:
                unfinished[str(status)] += 1
    return list(results.values()), unfinished


def _runs_of_sweep(path: Path) -> list[RunDirectory]:
    sweep = RunDirectory(path)
    if not sweep.has(SWEEP):
        return []
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    runs = [run for run in map(sweep.below, folders) if run.has(RUN)]
    if not runs:
        raise RunDirectoryError(f"{path}: no run of this sweep has begun")
    return [RunDirectory.open(str(run.path)) for run in runs]


def read_result(run: RunDirectory) -> Result:
    """Read a completed run."""
    experiment = experiments.of(run.read_config())
    result = Result(run, experiment, read_summary(run, experiment))
    if all(result.value(measure.key) is None for measure in result.experiment.measures):
        raise RunDirectoryError(f"{run.path / SUMMARY}: damaged: none of a run's scores")
    return result


def tables_of(results: Sequence[Result]) -> list[list[Group]]:
    """Groups of each kind of experiment: a table shares its scores."""
    tables = (group(r for r in results if r.experiment.config.command == name) for name in KINDS)
    return list(filter(None, tables))


def examples(results: Iterable[Result]) -> dict[str, tuple[str, str]]:
    """Run's name and reason for each warning label."""
    runs: dict[str, tuple[str, str]] = {}
    for result in results:
        for word, _, reason in result.warnings:
            runs.setdefault(word, (result.run.path.name, reason))
    return runs


def group(results: Iterable[Result]) -> list[Group]:
    """Group results of one experiment over seeds, by identity and settings."""
    results = list(results)
    names = _names(results)
    together: dict[Any, list[Result]] = {}
    for result in results:
        identity = (names[result.experiment.target_text, result.identity[0]], *result.identity[1:])
        key = (identity, tuple(sorted(result.settings().items())))
        together.setdefault(key, []).append(result)
    shared: dict[str, list[dict[str, str]]] = {}
    for identity, settings in together:
        shared.setdefault(identity[0], []).append(dict(settings))
    differing = {subject: _differing(settings) for subject, settings in shared.items()}
    groups = []
    for identity, settings in sorted(together, key=_order):
        own = {key: value for key, value in settings if key in differing[identity[0]]}
        groups.append(Group(identity, sorted(together[identity, settings], key=rank), own))
    return groups


def _names(results: Iterable[Result]) -> dict[tuple[str, str], str]:
    targets: dict[str, list[str]] = {}
    for result in results:
        same = targets.setdefault(result.identity[0], [])
        if result.experiment.target_text not in same:
            same.append(result.experiment.target_text)
    return {
        (target, name): f"{name} {number}" if len(same) > 1 else name
        for name, same in targets.items()
        for number, target in enumerate(same, start=1)
    }


def _order(key: tuple[Any, Any]) -> Any:
    """Numeric settings are sorted as numbers."""
    identity, settings = key
    return identity, [(name, _number(text), text) for name, text in settings]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(value) else value


def rank(result: Result) -> float:
    """Score for ranking, the lower the better."""
    judges = (measure for measure in result.experiment.measures if measure.judges)
    known = ((m.sign, value) for m in judges if (value := result.value(m.key)) is not None)
    return next((sign * value for sign, value in known), math.inf)


def _differing(settings: Sequence[Mapping[str, str]]) -> set[str]:
    keys = {key for some in settings for key in some}
    return {key for key in keys if len({some.get(key) for some in settings}) > 1}


def densities(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axis ``(n,)`` and log-densities ``(n, n)`` of target and fit."""
    arrays = thinned(result.run.read_evaluation(DENSITIES), DENSITIES)
    return arrays["axis_1"], arrays["log_target"], arrays["log_q"]


def course(result: Result) -> tuple[np.ndarray, np.ndarray] | None:
    """Training curve: updates or epochs ``(n,)`` and scores ``(n,)``, if recorded."""
    experiment = result.experiment
    if not result.run.has(METRICS):
        return None
    column, sign = experiment.course.column, experiment.course.sign
    rows = read_course(result.run, [experiment.column, column])
    return rows[experiment.column], sign * rows[column]


def course_name(results: Iterable[Result]) -> str:
    """Axis label of training curves: KL or free energy."""
    courses = ((result.experiment.course, result) for result in results)
    names = (
        course.name
        if not course.otherwise or result.value("log_z") is not None
        else course.otherwise
        for course, result in courses
    )
    return ", or ".join(dict.fromkeys(names))
