"""Comparison of runs: scores grouped over seeds."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.keys import SAME_EXPERIMENT, flat, without
from nflow_cli.constants import SWEEP
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.warnings import words
from nflow_cli.experiments.parts import Report, part
from nflow_cli.experiments.run import Run
from nflow_cli.registry import KINDS
from nflow_cli.runs.array_shapes import DENSITIES
from nflow_cli.runs.directory import METRICS, RUN, SUMMARY, RunDirectory

# Keys of a group's identity, of `settings_of`, and those found from the rows.
IDENTITY = (
    *("target", "data.name", "data.binarization", "data.kinds"),
    *("flow.pattern", "flow.k", "flow.affine", "prior"),
)


class Identity(NamedTuple):
    """Identity of a line in a comparison: subject, flow, and K."""

    subject: str
    flow: str
    k: int


class Result(Run):
    """Completed run among others."""

    @property
    def report(self) -> Report:
        """Its scores in tables."""
        return part(self.config, "report")

    @property
    def identity(self) -> Identity:
        """Data or target, flow, and K."""
        config = self.config
        subject = self.report.subject_of(config, self.summary)
        return Identity(subject, config.model_text, config.k)

    @property
    def target(self) -> str:
        """Named target with its parameters, as text; "" without one."""
        target: Any = self.config.target
        return target.model_dump_json() if target else ""

    def settings(self) -> dict[str, str]:
        """Settings that define the experiment, without :attr:`identity`, by dotted key, as text."""
        config = self.config.model_dump(mode="json")
        settings = dict(flat(without(config, SAME_EXPERIMENT + IDENTITY)))
        return settings | self.report.settings_of(self.config, self.summary)

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
        return self.best.config.train.restarts

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
        is_ranked = "kl" in (measure.key for measure in self.best.report.MEASURES)
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
    result = Result(run)
    if all(result.value(measure.key) is None for measure in result.report.MEASURES):
        raise RunDirectoryError(f"{run.path / SUMMARY}: damaged: none of a run's scores")
    return result


def tables_of(results: Sequence[Result]) -> list[list[Group]]:
    """Groups of each kind of experiment: a table shares its scores."""
    tables = (group(r for r in results if r.config.command == name) for name in KINDS)
    return list(filter(None, tables))


def examples(results: Iterable[Result]) -> dict[str, tuple[str, str]]:
    """Run's name and reason for each warning label."""
    runs: dict[str, tuple[str, str]] = {}
    for result in results:
        for word, _, reason in result.warnings:
            runs.setdefault(word, (result.path.name, reason))
    return runs


def group(results: Iterable[Result]) -> list[Group]:
    """Group results of one experiment over seeds, by identity and settings."""
    results = list(results)
    targets: dict[str, dict[str, int]] = defaultdict(dict)  # those of a name, numbered
    for result in results:
        same = targets[result.identity[0]]
        same.setdefault(result.target, len(same) + 1)
    together: dict[Any, list[Result]] = defaultdict(list)
    for result in results:
        name, *rest = result.identity
        if len(same := targets[name]) > 1:
            name = f"{name} {same[result.target]}"
        together[(name, *rest), tuple(sorted(result.settings().items()))].append(result)
    shared: dict[str, set[tuple[str, str]]] = {}  # settings of all groups of a target
    for (name, *_), settings in together:
        shared[name] = shared.get(name, {*settings}) & {*settings}
    groups = []
    for identity, settings in sorted(together, key=_order):
        own = dict(setting for setting in settings if setting not in shared[identity[0]])
        groups.append(Group(identity, sorted(together[identity, settings], key=rank), own))
    return groups


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
    judges = (measure for measure in result.report.MEASURES if measure.judges)
    known = ((m.sign, value) for m in judges if (value := result.value(m.key)) is not None)
    return next((sign * value for sign, value in known), math.inf)


def densities(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axis ``(n,)`` and log-densities ``(n, n)`` of target and fit."""
    arrays = result.directory.read_evaluation(DENSITIES)
    return arrays["axis_1"], arrays["log_target"], arrays["log_q"]


def course(result: Result) -> tuple[np.ndarray, np.ndarray] | None:
    """Training curve: updates or epochs ``(n,)`` and scores ``(n,)``, if recorded."""
    if not result.directory.has(METRICS):
        return None
    course, count = result.report.COURSE, result.report.CURVES[0]
    rows = result.curves([count, course.column])
    return rows[count], course.sign * rows[course.column]


def course_name(results: Iterable[Result]) -> str:
    """Axis label of training curves: KL or free energy."""
    courses = ((result.report.COURSE, result) for result in results)
    names = (
        course.name
        if not course.otherwise or result.value("log_z") is not None
        else course.otherwise
        for course, result in courses
    )
    return ", or ".join(dict.fromkeys(names))
