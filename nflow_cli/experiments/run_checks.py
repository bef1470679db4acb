"""Checks of a run: its model against mathematics, its files against each other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.presets import fingerprint
from nflow_cli.constants import RUN
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.warnings import records
from nflow_cli.experiments.comparison import (
    Outcome,
    Tolerance,
    Verdict,
    agreement,
    differences,
    passed,
)
from nflow_cli.experiments.run import Run, kind_of, plain_preset
from nflow_cli.experiments.summary import Judged, identity_of
from nflow_cli.runs.directory import (
    CONFIG,
    ENDED,
    EVALUATION,
    FILES,
    METRICS,
    SUMMARY,
    RunDirectory,
)

STANDARD_ERROR = "_standard_error"  # end of a key
Check = Callable[[Any], Verdict]
Checks = Mapping[str, Check]


class Weights(NamedTuple):
    """Weights of a model: its name, their number and SHA-256."""

    model: str
    arrays: int
    numbers: int
    sha256: str


class CheckedRun(Run):
    """Base of runs to check."""

    source = "from the same draws"

    @property
    def checks(self) -> Checks:
        """Checks beside those of every run, by name."""
        return {}

    @property
    def tolerances(self) -> Mapping[str, Tolerance]:
        """Those that replace some of ``comparison``."""
        return {}

    @cached_property
    def weights(self) -> Weights:
        """Weights that were saved."""
        raise NotImplementedError

    @cached_property
    def judged(self) -> Judged:
        """Scores and arrays, recomputed by the function that training uses."""
        raise NotImplementedError

    @property
    def training(self) -> dict[str, Any]:
        """Figures of the training by metrics.csv, beside its length."""
        raise NotImplementedError

    @property
    def count(self) -> str:
        """Column of metrics.csv that counts updates or epochs."""
        return kind_of(self.config).report.CURVES[0]

    def column(self, name: str) -> np.ndarray:
        """Column of metrics.csv."""
        if name not in self.metrics:
            raise RunDirectoryError(f"{METRICS}: damaged: expected a column {name}")
        return self.metrics[name]

    @property
    def length(self) -> int:
        """Number of updates, or epochs, in metrics.csv."""
        return whole_number(self.column(self.count)[-1])

    def best_at(self, loss: str) -> int:
        """Time of the lowest validation loss after annealing; the end if none is finite."""
        values = self.column(loss)
        ends = self.column(self.count)
        beta = self.metrics.get("beta", np.ones(len(values)))
        counted = np.isfinite(values) & (beta >= 1)
        best = np.where(counted, values, np.inf).argmin() if counted.any() else -1
        return whole_number(ends[best])


@dataclass(frozen=True)
class Finding:
    """One check: name, outcome, and scores or error."""

    name: str
    outcome: Outcome
    detail: str


def check_run(path: str) -> Iterator[Finding]:
    """Check a run; a path that is no run directory is a ``RunDirectoryError``."""
    directory = RunDirectory.open(path)
    try:
        run = Run(directory).kind.checks.Checked(directory)
        run.expect_trained()
        text = f"{run.model_file} holds the {run.weights.model} of {CONFIG}"
    except NflowError as error:
        yield Finding("model", Outcome.FAIL, str(error))
        return
    yield Finding("model", Outcome.OK, text)
    for name, check in {**OF_FILES, **run.checks}.items():
        try:
            with np.errstate(all="ignore"):  # weights that are not finite fail, and that is all
                outcome, detail = check(run)
        except NflowError as error:
            outcome = Outcome.FAIL
            detail = str(error)
        yield Finding(name, outcome, detail)


def whole_number(value: float) -> int:
    """Number of metrics.csv that must be whole."""
    if not value == value // 1:
        raise RunDirectoryError(f"{METRICS}: damaged: expected a whole number, received {value}")
    return int(value)


def check_status(run: CheckedRun) -> Verdict:
    """Check that the run ended well."""
    status = run.record.get("status")
    return passed(status == "completed"), f"{status!r:.60}".strip("'")


def check_files(run: CheckedRun) -> Verdict:
    """Check that the files have the recorded checksums.

    Seconds, dropped restarts and the rows of a training cannot be recomputed without training
    again.
    """
    received = run.directory.checksums()
    recorded = run.record.get(FILES)
    if not isinstance(recorded, dict):
        recorded = {}
    wrong = [name for name in ENDED if received.get(name) != recorded.get(name)]
    if wrong:
        return Outcome.FAIL, f"{', '.join(wrong)}: SHA-256 not that recorded in {RUN}"
    names = ", ".join(received)
    return Outcome.UNCHANGED, f"{names}: SHA-256 as recorded in {RUN} at the end"


def check_record(run: CheckedRun) -> Verdict:
    """Check that config.yaml, run.json, summary.json and the model agree."""
    config = run.config
    expected = {
        **identity_of(config),
        "n_parameters": run.weights.numbers,
        "config_sha256": fingerprint(plain_preset(run.directory, CONFIG)),
        **kind_of(config).report.labels_of(config),
    }
    recorded = {"command": config.command, "seed": config.seed}
    wrong = differences(SUMMARY, expected, run.facts)
    wrong += differences(RUN, recorded, run.record)
    identity = ", ".join(f"{key} {expected[key]}" for key in ("flow", "k", "seed"))
    return agreement(wrong, f"{CONFIG}, {RUN}, {SUMMARY} and the model agree: {identity}")


def check_training(run: CheckedRun) -> Verdict:
    """Check that config.yaml, summary.json and metrics.csv are of one training."""
    length = run.length
    planned = run.config.length
    expected = {run.config.train.length_key: length, **run.training}
    wrong = differences(SUMMARY, expected, run.facts)
    if run.config.train.early_stopping is None and length != planned:
        wrong.append(f"{METRICS}: ends at {run.count} {length}, not at {planned}")
    counts = (f"{name} {n:,}" for name, n in expected.items() if isinstance(n, int))
    return agreement(wrong, f"{', '.join(counts)}, by {METRICS}")


def check_weights(run: CheckedRun) -> Verdict:
    """Count the weights; those loaded are those of the config, and finite."""
    return Outcome.OK, f"{run.weights.arrays} arrays, {run.weights.numbers:,} numbers, all finite"


def check_checksum(run: CheckedRun) -> Verdict:
    """Check that the weights are, to the bit, the recorded ones."""
    expected = run.facts.get("model_sha256")
    received = run.weights.sha256
    if expected != received:
        return Outcome.FAIL, f"expected SHA-256 {expected!r:.80}, received {received}"
    return Outcome.OK, f"SHA-256 {received[:12]}… of the weights, as recorded"


def check_warnings(run: CheckedRun) -> Verdict:
    """Check the warnings in the summary."""
    expected = records(run.warnings)
    words = ", ".join(warning["word"] for warning in expected) or "none"
    return agreement(differences(SUMMARY, {"warnings": expected}, run.facts), words)


def check_scores(run: CheckedRun) -> Verdict:
    """Compare the scores of the summary with recomputed ones; earlier versions wrote fewer."""
    recomputed = run.judged.scores
    # Typed as a summary: values that are not finite are None.
    summary = run.summary.with_scores(recomputed).facts
    scores = {key: summary[key] for key in recomputed if key in run.facts}
    numbers = {key: x for key, x in scores.items() if type(x) in (int, float)}
    wrong = differences(SUMMARY, scores, run.facts, run.tolerances)
    return agreement(wrong, f"{', '.join(with_errors(numbers))} {run.source}")


def with_errors(numbers: Mapping[str, float]) -> Iterator[str]:
    """Numbers of a summary as text, each with its standard error if that is the next."""
    keys = [*numbers]
    for key, following in zip(keys, [*keys[1:], ""]):
        value = numbers[key]
        if following.endswith(STANDARD_ERROR):
            yield f"{key} {with_error(value, numbers.get(following))}"
        elif not key.endswith(STANDARD_ERROR):
            text = value if isinstance(value, int) else f"{value:.5g}"
            yield f"{key} {text}"


def check_arrays(run: CheckedRun) -> Verdict:
    """Compare the recomputed arrays of the pictures with those of the run."""
    arrays = {name: array for name, array in run.judged.arrays.items() if name in run.arrays}
    wrong = differences(EVALUATION, arrays, run.arrays)
    return agreement(wrong, f"{EVALUATION}: as the model gives it")


OF_FILES: Checks = {
    "status": check_status,
    "files": check_files,
    "record": check_record,
    "training": check_training,
    "weights": check_weights,
    "checksum": check_checksum,
    "warnings": check_warnings,
}
OF_SCORES: Checks = {"summary": check_scores, "arrays": check_arrays}
