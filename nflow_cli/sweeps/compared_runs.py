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

from nflow_cli.config.keys import SAME_EXPERIMENT, flat, value_text, without
from nflow_cli.config.schema import run_schemas
from nflow_cli.constants import RUN, SWEEP
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.tallies import Moments
from nflow_cli.evaluation.warnings import words
from nflow_cli.experiments.run import Report, Run, kind_of
from nflow_cli.experiments.summary import LOG_Z, Measure
from nflow_cli.runs.directory import EVALUATION, METRICS, SUMMARY, RunDirectory
from nflow_cli.runs.npz import DENSITIES, ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.text import printable

# Keys compared as the identity of a result or by `compared_of`, and those derived from the rows.
IDENTITY_KEYS = (
    "target",
    "data.name",
    "data.binarization",
    "data.kinds",
    "flow.pattern",
    "flow.k",
    "flow.affine",
    "prior",
)


Settings = frozenset[tuple[str, str]]  # dotted keys and values, as text


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
        return kind_of(self.config).report

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
        shapes = self.report.shapes_of(self.config)  # axes of each recorded array, a letter each
        return all(len(shapes.get(key, "")) == len(axes) for key, axes in DENSITIES.items())

    def settings(self) -> dict[str, str]:
        """Settings that define the experiment, without :attr:`identity`, by dotted key, as text."""
        left_out = SAME_EXPERIMENT + IDENTITY_KEYS
        if self.config.train.restarts == 1:  # halving leaves out the worse half of restarts
            left_out += ("train.halving",)
        settings = dict(flat(without(self.config.model_dump(mode="json"), left_out)))
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
        labels = dict.fromkeys(words(result.warnings, key) for result in self.results)
        return ", ".join(filter(None, labels))

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
    """Completed runs of paths, of a run or of a sweep each, and the number of unfinished ones by
    their status.
    """
    results: dict[Path, Result] = {}
    unfinished: Counter[str] = Counter()
    for path in paths:
        directories = _runs_of_sweep(Path(path)) or [RunDirectory.open(path)]
        for directory in directories:
            result = Result(directory)
            status = result.record.get("status")
            if status != "completed":
                unfinished[str(status)] += 1
                continue
            if all(result.value(measure.key) is None for measure in result.report.MEASURES):
                raise RunDirectoryError(f"{result.path / SUMMARY}: damaged: none of a run's scores")
            results[result.path.resolve()] = result
    return list(results.values()), unfinished


def _runs_of_sweep(path: Path) -> list[RunDirectory]:
    """Run directories of a sweep's folder; none if it is no sweep's. An error if none has begun."""
    sweep = RunDirectory(path)
    if not sweep.has(SWEEP):
        return []
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    runs = [run for run in map(sweep.below, folders) if run.has(RUN)]
    if not runs:
        raise RunDirectoryError(f"{path}: no run of this sweep has begun")
    return [RunDirectory.open(str(run.path)) for run in runs]


def tables_of(results: Sequence[Result]) -> list[list[Group]]:
    """Groups of results of each command, a list for each table: those of one share its scores."""
    tables = [group(r for r in results if r.config.command == command) for command in run_schemas()]
    return [groups for groups in tables if groups]


def examples(results: Iterable[Result]) -> dict[str, tuple[str, str]]:
    """Example of each warning, by its label: the name of the first run that has it, and the
    reason.
    """
    examples_by_word: dict[str, tuple[str, str]] = {}
    for result in results:
        for warning in result.warnings:
            examples_by_word.setdefault(warning.word, (result.path.name, warning.reason))
    return examples_by_word


def group(results: Iterable[Result]) -> list[Group]:
    """Group results of one experiment over seeds, by identity and settings."""
    results = list(results)
    identities = _numbered_identities(results)
    runs_by_settings: dict[tuple[Identity, Settings], list[Result]] = defaultdict(list)
    for identity, result in zip(identities, results):
        runs_by_settings[identity, frozenset(result.settings().items())].append(result)
    shared: dict[str, Settings] = {}  # by all groups of a subject
    for identity, settings in runs_by_settings:
        shared[identity.subject] = shared.get(identity.subject, settings) & settings
    groups = []
    for (identity, settings), runs in runs_by_settings.items():
        differing = dict(sorted(settings - shared[identity.subject]))
        groups.append(Group(identity, sorted(runs, key=rank), differing))
    return sorted(groups, key=_sorting_key)


def _numbered_identities(results: Sequence[Result]) -> list[Identity]:
    """Identities of results, in order; a subject that is the name of several targets has a number
    behind it.
    """
    targets_by_subject: dict[str, list[str]] = defaultdict(list)
    for result in results:
        namesakes = targets_by_subject[result.identity.subject]
        if result.target not in namesakes:
            namesakes.append(result.target)
    identities = []
    for result in results:
        identity = result.identity
        namesakes = targets_by_subject[identity.subject]
        if len(namesakes) > 1:
            number = namesakes.index(result.target) + 1
            identity = identity._replace(subject=f"{identity.subject} {number}")
        identities.append(identity)
    return identities


def _sorting_key(group: Group) -> tuple[Identity, list[tuple[str, float, str]]]:
    """Sorting key of a group: numeric settings are sorted as numbers."""
    return group.identity, [
        (key, _number_or_infinity(text), text) for key, text in group.settings.items()
    ]


def _number_or_infinity(text: str) -> float:
    """Number of a text; infinite for other text, which is sorted behind numbers."""
    with suppress(ValueError):
        return float(text)
    return math.inf


def rank(result: Result) -> float:
    """Score for ranking, the lower the better."""
    for measure in result.measures:
        value = result.value(measure.key)
        if measure.judges and value is not None:
            return measure.sign * value
    return math.inf


def densities(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axis ``(n,)`` and log-densities ``(n, n)`` of target and fit."""
    arrays = result.directory.read_arrays(EVALUATION, DENSITIES)
    return arrays["axis_1"], arrays["log_target"], arrays["log_q"]


def course(result: Result) -> tuple[np.ndarray, np.ndarray] | None:
    """Training curve: updates or epochs ``(n,)`` and scores ``(n,)``; None if not recorded."""
    if not result.directory.has(METRICS):
        return None
    course = result.report.COURSE
    step_column = result.report.CURVES[0]
    curves = result.curves([step_column, course.column])
    return curves[step_column], course.sign * curves[course.column]


def course_name(results: Iterable[Result]) -> str:
    """Axis label of training curves: what their scores are, such as KL or free energy."""
    names: list[str] = []
    for result in results:
        course = result.report.COURSE
        if course.otherwise and result.value("log_z") is None:
            names.append(course.otherwise)
        else:
            names.append(course.name)
    return ", or ".join(dict.fromkeys(names))


# Keys of the data that change neither test rows nor columns nor units.
KEYS_OF_SAME_ROWS = ("name", "bounds", "exclude")


class Difference(NamedTuple):
    """Mean of ``log q - log q_best`` over test rows in nats, and its standard error."""

    value: float
    standard_error: float


def differences(groups: Sequence[Group]) -> list[Difference | None]:
    """Difference of each group's best run from the best of those on the same test rows.

    ``None`` for the best on its rows, so for the only one, too; where rows are unknown; and where
    their ``log q`` was not kept.
    """
    results = [group.best for group in groups]
    best_by_rows: dict[tuple[str, str] | None, Result] = {}  # None: of unknown rows
    for result in sorted(results, key=rank):
        best_by_rows.setdefault(_test_rows_key(result), result)
    return [_difference(result, best_by_rows[_test_rows_key(result)]) for result in results]


def _test_rows_key(result: Result) -> tuple[str, str] | None:
    """Checksum of the data and the settings that decide the test rows; ``None`` if not kept."""
    if not _shapes_of_test_rows(result):
        return None
    data = result.config.model_dump(mode="json")["data"]
    deciding = {key: value for key, value in data.items() if key not in KEYS_OF_SAME_ROWS}
    return result.facts["data"].get("sha256"), json.dumps(deciding)


def _difference(result: Result, best: Result) -> Difference | None:
    """Difference of a result from the best on the same test rows, by pairs of these; None of the
    best itself, or without log-densities of as many rows.
    """
    if result is best or not _shapes_of_test_rows(result):
        return None
    log_q, weights = _test_log_q(result)
    log_q_best, _ = _test_log_q(best)
    if log_q.shape != log_q_best.shape:
        return None
    with np.errstate(invalid="ignore"):  # of infinities
        moments = Moments.of(log_q - log_q_best, weights)
    error = moments.standard_error
    return None if error is None else Difference(moments.mean, error)


def _test_log_q(result: Result) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-densities ``(n,)`` of the test rows, in nats, and their weights ``(n,)``, if any."""
    arrays = result.directory.read_arrays(EVALUATION, _shapes_of_test_rows(result))
    return arrays["test_log_q"], arrays.get("test_weights")


def _shapes_of_test_rows(result: Result) -> Shapes:
    """Shapes of the recorded arrays of test rows, by name; empty if none were kept."""
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
    first, second = results
    log_z_1, error_1 = _log_z_and_error(first)
    log_z_2, error_2 = _log_z_and_error(second)
    if log_z_1 is None or log_z_2 is None or error_1 is None or error_2 is None:
        return None
    error = math.hypot(error_1, error_2)
    return BayesFactor(str(first.path), str(second.path), log_z_1 - log_z_2, error)


def _log_z_and_error(result: Result) -> tuple[float | None, float | None]:
    """Estimate of log Z in nats, and its standard error; ``None`` if unknown."""
    key = next((m.key for m in result.measures if m.name == LOG_Z), "")
    return result.value(key), result.value("log_z_standard_error")


Columns = list[tuple[str, Sequence[str]]]  # of a table: a name, and a text for each group
CHECKSUM_KEYS = ("data.sha256", "density.sha256", "measure")
LETTERS = string.ascii_uppercase
MAX_LIST_LETTERS = 24  # of the items of a list that are shown


def scores_table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Table of the groups of one experiment: header, and a row of texts for each."""
    best = groups[0].best
    measures = [m for m in best.measures if any(group.shows(m.key) for group in groups)]
    columns: Columns = [
        (best.config.subject_key, [group.identity.subject for group in groups]),
        ("flow", [group.identity.flow for group in groups]),
        ("K", [str(group.identity.k) for group in groups]),
        ("seeds", [str(len(group.seeds)) for group in groups]),
    ]
    for measure in measures:
        if measure.has_spread:
            columns += _score_columns(groups, measure)
    columns += _difference_columns(groups)
    columns += setting_columns(groups)
    for measure in measures:
        if not measure.has_spread:
            columns += _score_columns(groups, measure)
    columns.append(("best run", [group.best.path.resolve().name for group in groups]))
    header = [name for name, _ in columns]
    return header, [list(row) for row in zip(*(texts for _, texts in columns))]


def setting_columns(groups: Sequence[Group]) -> Columns:
    """Columns of the settings that differ among groups of the same target or data."""
    differing = sorted({key for group in groups for key in group.settings})
    settings = [group.best.settings() for group in groups]
    return [
        (key, _texts_of_setting(key, [texts.get(key, "") for texts in settings]))
        for key in differing
    ]


def _texts_of_setting(key: str, texts: Sequence[str]) -> Sequence[str]:
    """Texts that a table shows of a setting's values ``texts``: of checksums a letter for each
    distinct one, of long lists the first items and the number, if these tell all apart.
    """
    distinct = list(dict.fromkeys(filter(None, texts)))
    if key in CHECKSUM_KEYS and len(distinct) <= len(LETTERS):
        return [text and LETTERS[distinct.index(text)] for text in texts]  # "" stays
    shortened = [_shortened_list(text) for text in texts]
    return shortened if len(set(shortened)) == len(set(texts)) else texts


def _shortened_list(text: str) -> str:
    """First items of a JSON list and their number, if it is long; any other text as it is."""
    if not text.startswith("["):
        return text
    try:
        values = json.loads(text)
    except ValueError:
        return text
    line = ", ".join(value_text(value) for value in values)
    return line if len(line) <= MAX_LIST_LETTERS else f"{line[:MAX_LIST_LETTERS]}… ({len(values)})"


def _difference_columns(groups: Sequence[Group]) -> Columns:
    """Column of the paired differences from the best run; none if no group has one."""
    to_best = differences(groups)
    if not any(to_best):
        return []
    texts = []
    for difference in to_best:
        texts.append(with_error(*difference) if difference else "")
    return [("to the best, paired", texts)]


def _score_columns(groups: Sequence[Group], measure: Measure) -> Columns:
    """Columns of a score: medians, and ranges over seeds if it has them and some group several."""
    medians = [_median_text(group, measure) for group in groups]
    if not measure.has_spread or all(len(group.seeds) == 1 for group in groups):
        return [(measure.name, medians)]
    ranges = [_range_text(group, measure) for group in groups]
    return [(f"{measure.name} median", medians), (f"{measure.name} min – max", ranges)]


def _median_text(group: Group, measure: Measure) -> str:
    """Median of a score in words, with warning labels, and of a single run with its standard error;
    "" if it is not shown.
    """
    spread = _spread_if_shown(group, measure)
    if spread is None:
        return ""
    text = f"{spread.median:,.{measure.decimals}f}"
    error = group.error(measure.key)
    if error is not None:
        text = with_error(spread.median, error)
    labels = group.words(measure.key)
    return f"{text} [{labels}]" if labels else text


def _range_text(group: Group, measure: Measure) -> str:
    """Range of a score over several seeds in words; "" of one seed, or if it is not shown."""
    spread = _spread_if_shown(group, measure)
    if spread is None or len(group.seeds) == 1:
        return ""
    return f"{spread.low:,.{measure.decimals}f} – {spread.high:,.{measure.decimals}f}"


def _spread_if_shown(group: Group, measure: Measure) -> Spread | None:
    """Spread of a score over a group's seeds, if tables show it."""
    return group.spread(measure.key) if group.shows(measure.key) else None
