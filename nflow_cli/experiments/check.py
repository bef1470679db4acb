"""Verify a run: its model against mathematics, its files against each other."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nflow_cli import experiments
from nflow_cli.config.presets import fingerprint
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.verdicts import Outcome, Verdict, passed
from nflow_cli.evaluation.warnings import records
from nflow_cli.experiments.checked_run import CheckedRun, Checks
from nflow_cli.experiments.comparison import agreement, differences
from nflow_cli.experiments.summary import identity_of
from nflow_cli.registry import resolve
from nflow_cli.runs.directory import (
    CONFIG,
    ENDED,
    FILES,
    METRICS,
    RUN,
    SUMMARY,
    RunDirectory,
)


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
        experiment = experiments.of(directory.read_config())
        experiment.expect_trained(directory)
        trained = experiment.load(directory)
        run = resolve(experiment.checking)(directory, trained, experiment)
    except NflowError as error:
        yield Finding("model", Outcome.FAIL, str(error))
        return
    text = f"{experiment.model_file} holds the {run.weights.model} of {CONFIG}"
    yield Finding("model", Outcome.OK, text)
    for name, check in {**OF_FILES, **run.checks}.items():
        try:
            with np.errstate(all="ignore"):  # weights that are not finite fail, and that is all
                outcome, detail = check(run)
        except NflowError as error:
            outcome, detail = Outcome.FAIL, str(error)
        yield Finding(name, outcome, detail)


def check_status(run: CheckedRun) -> Verdict:
    """Check that the run ended well."""
    status = run.record.get("status")
    return passed(status == "completed"), f"{status!r:.60}".strip("'")


def check_files(run: CheckedRun) -> Verdict:
    """Check that the files have the recorded checksums.

    Seconds, dropped restarts and the rows of a training cannot be recomputed without training
    again.
    """
    received, recorded = run.directory.checksums(), run.record.get(FILES)
    known = recorded if isinstance(recorded, dict) else {}
    wrong = [name for name in ENDED if received.get(name) != known.get(name)]
    if wrong:
        return Outcome.FAIL, f"{', '.join(wrong)}: not what the run ended with, by {RUN}"
    names = ", ".join(received)
    return Outcome.UNCHANGED, f"{names}: the SHA-256 that {RUN} says the run ended with"


def check_record(run: CheckedRun) -> Verdict:
    """Check that config.yaml, run.json, summary.json and the model agree."""
    config, summary = run.config, run.summary
    expected = {
        **identity_of(config),
        "n_parameters": run.weights.numbers,
        "config_sha256": fingerprint(run.directory.read_preset(CONFIG)),
    }
    expected |= run.experiment.labels()
    recorded = {"command": config.command, "seed": config.seed}
    wrong = differences(SUMMARY, expected, summary) + differences(RUN, recorded, run.record)
    named = ", ".join(f"{key} {expected[key]}" for key in ("flow", "k", "seed"))
    return agreement(wrong, f"{CONFIG}, {RUN}, {SUMMARY} and the model agree: {named}")


def check_training(run: CheckedRun) -> Verdict:
    """Check that config.yaml, summary.json and metrics.csv are of one training."""
    experiment, made, planned = run.experiment, run.length, run.config.length
    expected = {run.config.train.length_key: made, **run.training}
    wrong = differences(SUMMARY, expected, run.summary)
    if run.config.train.early_stopping is None and made != planned:
        wrong.append(f"{METRICS}: ends at {experiment.column} {made}, not at {planned}")
    counts = (f"{name} {n:,}" for name, n in expected.items() if isinstance(n, int))
    return agreement(wrong, f"{', '.join(counts)}, by {METRICS}")


def check_weights(run: CheckedRun) -> Verdict:
    """Count the weights; those loaded are those of the config, and finite."""
    return Outcome.OK, f"{run.weights.arrays} arrays, {run.weights.numbers:,} numbers, all finite"


def check_checksum(run: CheckedRun) -> Verdict:
    """Check that the weights are, to the bit, the recorded ones."""
    expected, received = run.summary.get("model_sha256"), run.weights.sha256
    if expected != received:
        return Outcome.FAIL, f"expected SHA-256 {expected!r:.80}, received {received}"
    return Outcome.OK, f"SHA-256 {received[:12]}… of the weights, as recorded"


def check_warnings(run: CheckedRun) -> Verdict:
    """Check the warnings in the summary."""
    expected = records(run.experiment.warnings(run.summary))
    named = ", ".join(warning["word"] for warning in expected) or "none"
    return agreement(differences(SUMMARY, {"warnings": expected}, run.summary), named)


OF_FILES: Checks = {
    "status": check_status,
    "files": check_files,
    "record": check_record,
    "training": check_training,
    "weights": check_weights,
    "checksum": check_checksum,
    "warnings": check_warnings,
}
