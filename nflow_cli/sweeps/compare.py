"""Comparison of runs: scores grouped over seeds, paired differences, Bayes factor, table."""

import json
import math
import statistics
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.keys import SAME_EXPERIMENT, flat, without
from nflow_cli.config.schema import RUNS
from nflow_cli.constants import RUN, SWEEP
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.evaluation.warnings import words
from nflow_cli.experiments.run import Report, Run, part
from nflow_cli.experiments.summary import LOG_Z, Measure
from nflow_cli.runs.directory import EVALUATION, METRICS, SUMMARY, RunDirectory
from nflow_cli.runs.npz import DENSITIES, ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.text import printable

# Keys of a group's identity, of `compared_of`, and those found from the rows.
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
    def measures(self) -> Sequence[Measure]:
        """Scores in tables: of a density KL where log Z is known, else free energy and log Z."""
        if "free_energy" not in self.facts:
            return self.report.MEASURES
        hidden = ["kl"] if self.value("log_z") is None else ["free_energy", "estimated_log_z"]
        return [measure for measure in self.report.MEASURES if measure.key not in hidden]

    @property
    def identity(self) -> Identity:
        """Data or target, flow, and K."""
        config = self.config
        subject = self.report.compared_of(config, self.summary)[0]
        return Identity(subject, config.model_text, config.k)

    @property
    def target(self) -> str:
        """Named target with its parameters, as text; "" without one."""
        target: Any = getattr(self.config, "target", None)
        return target.model_dump_json() if target else ""

    @property
    def has_densities(self) -> bool:
        """Whether it keeps the densities of target and fit over a grid of the plane."""
        shapes = self.report.shapes_of(self.config)
        return all(len(shapes.get(key, "")) == len(axes) for key, axes in DENSITIES.items())

    def settings(self) -> dict[str, str]:
        """Settings that define the experiment, without :attr:`identity`, by dotted key, as text."""
        config = self.config.model_dump(mode="json")
        idle = (
            ("train.halving",) if self.config.train.restarts == 1 else ()
        )  # there is no worse half
        settings = dict(flat(without(config, SAME_EXPERIMENT + IDENTITY + idle)))
        return settings | self.report.compared_of(self.config, self.summary)[1]

    def value(self, key: str) -> float | None:
        """Score of the summary, or ``None``."""
        value = self.facts.get(key)
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

    def values(self, key: str) -> list[float]:
        """Score of each run; none if a run lacks it."""
        values = [result.value(key) for result in self.results]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else []

    def spread(self, key: str) -> Spread | None:
        """Spread of a score; ``None`` if a run lacks it."""
        values = self.values(key)
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def error(self, key: str) -> float | None:
        """Standard error of a score of a single run, else ``None``."""
        return self.best.value(f"{key}_standard_error") if len(self.results) == 1 else None

    def shows(self, key: str) -> bool:
        """Whether a score is shown: of those that all runs have."""
        return self.spread(key) is not None and key in (m.key for m in self.best.measures)


def gather(paths: Iterable[str]) -> tuple[list[Result], Counter[str]]:
    """Read completed runs, also those of sweeps; count unfinished ones by status."""
    results: dict[Path, Result] = {}
    unfinished: Counter[str] = Counter()
    for path in paths:
        for run in _runs_of_sweep(Path(path)) or [RunDirectory.open(path)]:
            result = Result(run)
            status = result.record.get("status")
            if status != "completed":
                unfinished[str(status)] += 1
                continue
            if all(result.value(measure.key) is None for measure in result.report.MEASURES):
                raise RunDirectoryError(f"{run.path / SUMMARY}: damaged: none of a run's scores")
            results[run.path.resolve()] = result
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


def tables_of(results: Sequence[Result]) -> list[list[Group]]:
    """Groups of each kind of experiment: a table shares its scores."""
    tables = (group(r for r in results if r.config.command == name) for name in RUNS)
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
        same = targets[result.identity.subject]
        same.setdefault(result.target, len(same) + 1)

    def identity_of(result: Result) -> Identity:
        identity, same = result.identity, targets[result.identity.subject]
        number = f" {same[result.target]}" if len(same) > 1 else ""
        return identity._replace(subject=identity.subject + number)

    together: dict[Any, list[Result]] = defaultdict(list)
    for result in results:
        together[identity_of(result), frozenset(result.settings().items())].append(result)
    shared: dict[str, Any] = {}  # settings of all groups of a target
    for identity, settings in together:
        shared[identity.subject] = shared.get(identity.subject, settings) & settings
    groups = [
        Group(identity, sorted(some, key=rank), dict(sorted(settings - shared[identity.subject])))
        for (identity, settings), some in together.items()
    ]
    return sorted(groups, key=_place)


def _place(group: Group) -> Any:
    """Numeric settings are sorted as numbers."""
    return group.identity, [(name, _number(text), text) for name, text in group.settings.items()]


def _number(text: str) -> float:
    with suppress(ValueError):
        return float(text)
    return math.inf


def rank(result: Result) -> float:
    """Score for ranking, the lower the better."""
    judges = (measure for measure in result.measures if measure.judges)
    known = ((m.sign, value) for m in judges if (value := result.value(m.key)) is not None)
    return next((sign * value for sign, value in known), math.inf)


def densities(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axis ``(n,)`` and log-densities ``(n, n)`` of target and fit."""
    arrays = result.directory.read_arrays(EVALUATION, DENSITIES)
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


# Keys of the data that change neither test rows nor columns nor units.
SAME_ROWS = ("name", "bounds", "exclude")


class Difference(NamedTuple):
    """Mean of ``log q - log q_best`` over test rows in nats, and its standard error."""

    value: float
    standard_error: float


def differences(groups: Sequence[Group]) -> list[Difference | None]:
    """Difference of each group's best run from the best run on the same test rows.

    ``None`` for the best, and where test rows differ, are unknown or were not kept.
    """
    bests = [group.best for group in groups]
    rows = [_rows_judged(result) for result in bests]
    first: dict[Any, Result] = {}  # by its test rows
    for key, result in sorted(zip(rows, bests), key=lambda pair: rank(pair[1])):
        first.setdefault(key, result)
    return [
        None if key is None or first[key] is result else _difference(result, first[key])
        for key, result in zip(rows, bests)
    ]


def _rows_judged(result: Result) -> Any:
    if not _shapes(result):
        return None
    settings = result.config.model_dump(mode="json")["data"]
    same = {key: value for key, value in settings.items() if key not in SAME_ROWS}
    return result.facts["data"].get("sha256"), json.dumps(same)


def _difference(one: Result, other: Result) -> Difference | None:
    (a, weights), (b, _) = _rows(one), _rows(other)
    if a.shape != b.shape:
        return None
    with np.errstate(invalid="ignore"):  # of infinities
        moments = Moments.of(a - b, weights)
    error = moments.standard_error
    return None if error is None else Difference(moments.mean, error)


def _rows(result: Result) -> tuple[np.ndarray, np.ndarray | None]:
    arrays = result.directory.read_arrays(EVALUATION, _shapes(result))
    return arrays["test_log_q"], arrays.get("test_weights")


def _shapes(result: Result) -> Shapes:
    shapes = result.report.shapes_of(result.config)
    return {key: shapes[key] for key in (*ROWS, *ROW_WEIGHTS) if key in shapes}


class BayesFactor(NamedTuple):
    """Log Bayes factor ``log Z_1 - log Z_2`` in nats of two runs, and its standard error."""

    first: str
    second: str
    log_bayes_factor: float
    standard_error: float

    def __str__(self) -> str:
        names = f"{printable(self.first)} over {printable(self.second)}"
        value = with_error(self.log_bayes_factor, self.standard_error)
        return f"log Bayes factor of {names}: {value} nats"


def bayes_factor(results: Sequence[Result]) -> BayesFactor | None:
    """Bayes factor of two runs; ``None`` of other numbers, or without log Z and its error.

    Errors of independent runs: ``√(s_1² + s_2²)``.
    """
    if len(results) != 2:
        return None
    (log_z, error), (other, its_error) = map(_log_z, results)
    if log_z is None or other is None or error is None or its_error is None:
        return None
    first, second = (str(result.path) for result in results)
    return BayesFactor(first, second, log_z - other, math.hypot(error, its_error))


def _log_z(result: Result) -> tuple[float | None, float | None]:
    """Estimate of log Z in nats, and its standard error; ``None`` if unknown."""
    key = next((m.key for m in result.measures if m.name == LOG_Z), "")
    return result.value(key), result.value("log_z_standard_error")


Columns = list[tuple[str, Sequence[str]]]  # a name, and a text for each group
CHECKSUMS = ("data.sha256", "density.sha256", "measure")
LETTERS = string.ascii_uppercase
MOST_LETTERS = 24  # of a list


def scores_table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each group of one experiment."""
    best = groups[0].best
    known = [m for m in best.measures if any(g.shows(m.key) for g in groups)]
    subjects, flows, ks = zip(*(map(str, group.identity) for group in groups))
    columns: Columns = [
        *((best.config.subject_key, subjects), ("flow", flows), ("K", ks)),
        ("seeds", [str(len(group.seeds)) for group in groups]),
        *(column for m in known if m.has_spread for column in _scores(groups, m)),
        *_differences(groups),
        *setting_columns(groups),
        *(column for m in known if not m.has_spread for column in _scores(groups, m)),
        ("best run", [group.best.path.resolve().name for group in groups]),
    ]
    header = [name for name, _ in columns]
    return header, [list(row) for row in zip(*(texts for _, texts in columns))]


def setting_columns(groups: Sequence[Group]) -> Columns:
    """Settings that differ among some groups, as a table shows them."""
    differing = sorted({key for group in groups for key in group.settings})
    settings = [group.best.settings() for group in groups]
    return [(key, _shown(key, [some.get(key, "") for some in settings])) for key in differing]


def _shown(key: str, texts: Sequence[str]) -> Sequence[str]:
    """Values of a setting: of checksums a letter for each, of lists their first items and number,
    if these tell them apart.
    """
    different = [*dict.fromkeys(filter(None, texts))]
    if key in CHECKSUMS and len(different) <= len(LETTERS):
        return [text and LETTERS[different.index(text)] for text in texts]
    shown = [*map(_list, texts)]
    return shown if len({*shown}) == len({*texts}) else texts


def _list(text: str) -> str:
    if not text.startswith("["):
        return text
    with suppress(ValueError):
        items = [item if isinstance(item, str) else json.dumps(item) for item in json.loads(text)]
        line = ", ".join(items)
        return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}… ({len(items)})"
    return text


def _differences(groups: Sequence[Group]) -> Columns:
    found = differences(groups)
    texts = [with_error(*difference) if difference else "" for difference in found]
    return [("to the best, paired", texts)] if any(found) else []


def _scores(groups: Sequence[Group], measure: Measure) -> Columns:
    scores, ranges = zip(*(_score(group, measure) for group in groups))
    if measure.has_spread and any(len(group.seeds) > 1 for group in groups):
        return [(f"{measure.name} median", scores), (f"{measure.name} min – max", ranges)]
    return [(measure.name, scores)]


def _score(group: Group, measure: Measure) -> tuple[str, str]:
    """Median with its warnings, and range of a score."""
    spread = group.spread(measure.key) if group.shows(measure.key) else None
    if spread is None:
        return "", ""
    median, low, high = (f"{value:,.{measure.decimals}f}" for value in spread)
    error, word = group.error(measure.key), group.words(measure.key)
    text = median if error is None else with_error(spread.median, error)
    spread = f"{low} – {high}" if len(group.seeds) > 1 else ""
    return f"{text} [{word}]" if word else text, spread
