"""Verify a run by itself: its model against mathematics, its files against each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli import density_checks, image_checks
from nflow_cli.caveats import caveats_of, records
from nflow_cli.checked_run import CheckedRun, differences
from nflow_cli.config import fingerprint
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.flow_checks import (
    Outcome,
    Verdict,
    check_log_det,
    check_margin,
    check_round_trip,
    passed,
)
from nflow_cli.run_dir import CONFIG, ENDED, FILES, METRICS, MODEL, RUN, SUMMARY, RunDirectory
from nflow_cli.saving import weights_sha256
from nflow_cli.schema import MAX_SEED
from nflow_cli.trained import load

Checks = dict[str, Callable[[CheckedRun], Verdict]]


@dataclass(frozen=True)
class Finding:
    """One check: its name, what it ended in, and its figures or what was wrong."""

    name: str
    outcome: Outcome
    detail: str


def check_run(path: str) -> Iterator[Finding]:
    """Check a run, one thing after another.

    Raises:
        RunDirectoryError: If ``path`` is not a run directory.
    """
    directory = RunDirectory.open(path)
    try:
        run = CheckedRun(directory, load(path))
    except NflowError as error:
        yield Finding("model", Outcome.FAIL, str(error))
        return
    text = f"{MODEL} holds the {type(run.model).__name__} of {CONFIG}"
    yield Finding("model", Outcome.OK, text)
    for name, check in CHECKS[run.config.experiment].items():
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
    """Check that the files hold the bytes that the run ended with.

    That is all that can be said of the seconds, of the restarts that were dropped, and of the rows
    of a training: to compute them again is to train again.
    """
    received, recorded = run.directory.checksums(), run.record.get(FILES)
    names = ", ".join(received)
    if run.is_older:
        return Outcome.UNKNOWN, f"{RUN} has no SHA-256 of {names}: not completed, or an older run"
    known = recorded if isinstance(recorded, dict) else {}
    wrong = [name for name in ENDED if received.get(name) != known.get(name)]
    if wrong:
        return Outcome.FAIL, f"{', '.join(wrong)}: not what the run ended with, by {RUN}"
    return Outcome.RECORDED, f"{names}: the SHA-256 that {RUN} says the run ended with"


def check_record(run: CheckedRun) -> Verdict:
    """Check that config.yaml, run.json, summary.json and the model say the same."""
    config, summary = run.config, run.summary
    expected = {
        "flow": ",".join(config.flow.pattern),
        "k": config.flow.k,
        "seed": config.seed,
        "n_parameters": run.model.count_params(),
        "config_sha256": fingerprint(run.directory.read_preset(CONFIG)),
    }
    if config.command == "fit-2d":
        target = None if config.target is None else config.target.name
        expected |= {"target": target, "base": config.base_name}
    else:
        expected |= {"amortized": config.flow.amortized, "latent_dim": config.model.latent_dim}
        expected["binarization"] = config.data.binarization
    recorded = {"command": config.command, "seed": config.seed}
    wrong = differences(SUMMARY, expected, summary) + differences(RUN, recorded, run.record)
    named = ", ".join(f"{key} {expected[key]}" for key in ("flow", "k", "seed"))
    text = f"{CONFIG}, {RUN}, {SUMMARY} and the model agree: {named}"
    return passed(not wrong), "; ".join(wrong) or text


def check_training(run: CheckedRun) -> Verdict:
    """Check that config.yaml, summary.json and the rows of metrics.csv are of one training."""
    config, is_fit = run.config, run.config.command == "fit-2d"
    key, column = ("steps", "update") if is_fit else ("epochs", "epoch")
    made = _whole(_column(run, column)[-1])
    expected: dict[str, int | None] = {key: made}
    wrong = []
    if config.train.early_stopping is None and made != getattr(config.train, key):
        wrong.append(f"{METRICS}: ends at {column} {made}, not at {getattr(config.train, key)}")
    if config.data is not None and is_fit:
        expected["best_update"] = _kept_at(run, "validation_loss", column)
    elif not is_fit and not run.lacks("best_epoch"):
        validated = config.train.early_stopping is not None
        best = _kept_at(run, "validation_negative_elbo", column) if validated else None
        expected["best_epoch"] = best
    wrong += differences(SUMMARY, expected, run.summary)
    if is_fit and config.data is None:
        wrong += _wrong_restarts(run, made)
    told = ", ".join(f"{name} {value:,}" for name, value in expected.items() if value is not None)
    return passed(not wrong), "; ".join(wrong) or f"{told}, by {METRICS}"


def _column(run: CheckedRun, name: str) -> np.ndarray:
    """Return a column of metrics.csv."""
    if name not in run.metrics:
        raise RunDirectoryError(f"{METRICS}: damaged: expected a column {name}")
    return run.metrics[name]


def _whole(value: float) -> int:
    """Return a number of metrics.csv that must be whole."""
    if not value == value // 1:
        raise RunDirectoryError(f"{METRICS}: damaged: expected a whole number, received {value}")
    return int(value)


def _kept_at(run: CheckedRun, loss: str, column: str) -> int:
    """Return where the validation loss was lowest; the end where none is finite.

    What was still annealed does not count.
    """
    values, ends = _column(run, loss), _column(run, column)
    counted = np.isfinite(values) & (run.metrics.get("beta", np.ones(len(values))) >= 1)
    best = np.where(counted, values, np.inf).argmin() if counted.any() else -1
    return _whole(ends[best])


def _wrong_restarts(run: CheckedRun, steps: int) -> list[str]:
    """Say what the summary tells wrongly of the restart that was kept."""
    restarts: Any = run.summary.get("restarts")
    count = run.config.train.restarts
    try:
        best = int(restarts["best"])
        kept = {key: restarts[key][best] for key in ("kl", "updates")}
        of_each = {len(restarts["kl"]), len(restarts["updates"])}
    except (KeyError, IndexError, TypeError, ValueError):
        return [f"{SUMMARY}: restarts: damaged: received {restarts!r:.80}"]
    expected = {"count": count, "seed": (run.config.seed + best) % (MAX_SEED + 1)}
    wrong = differences(f"{SUMMARY}: restarts", expected, restarts)
    whole = {"kl": run.summary.get("kl"), "updates": steps}
    wrong += differences(f"{SUMMARY}: the restart kept", whole, kept)
    if best not in range(count) or of_each != {count}:
        wrong.append(f"{SUMMARY}: restarts: expected {count} of them")
    return wrong


def check_weights(run: CheckedRun) -> Verdict:
    """Count the weights: no others than those of the config are loaded, and all are finite."""
    count = f"{len(run.model.weights)} arrays, {run.model.count_params():,} numbers"
    return Outcome.OK, f"{count}, all finite"


def check_checksum(run: CheckedRun) -> Verdict:
    """Check that the weights are, to the bit, those that training ended with."""
    expected, received = run.summary.get("model_sha256"), weights_sha256(run.model)
    if expected != received:
        return Outcome.FAIL, f"expected SHA-256 {expected!r:.80}, received {received}"
    return Outcome.OK, f"SHA-256 {received[:12]}… of the weights, as recorded"


def check_caveats(run: CheckedRun) -> Verdict:
    """Check that the summary says which of its figures it cannot vouch for."""
    expected = records(caveats_of(run.config, run.summary))
    named = ", ".join(caveat["word"] for caveat in expected) or "none"
    if "caveats" not in run.summary:
        return Outcome.UNKNOWN, f"{named}; the summary of an older run has no list"
    wrong = differences(SUMMARY, {"caveats": expected}, run.summary)
    return passed(not wrong), "; ".join(wrong) or named


_OF_FILES: Checks = {
    "status": check_status,
    "files": check_files,
    "record": check_record,
    "training": check_training,
    "weights": check_weights,
    "checksum": check_checksum,
    "caveats": check_caveats,
}
_OF_FLOWS: Checks = {
    "invertibility": lambda run: check_margin(run.flows),
    "log-det": lambda run: check_log_det(run.flows),
    "round trip": lambda run: check_round_trip(run.flows),
}
FLOW_CHECKS: Checks = {
    **_OF_FILES,
    **_OF_FLOWS,
    "mass": density_checks.check_mass,
    "summary": density_checks.check_replay,
    "fresh draws": density_checks.check_fresh,
    "arrays": density_checks.check_arrays,
}
POINTS_CHECKS: Checks = {
    **_OF_FILES,
    "data": density_checks.check_points,
    **_OF_FLOWS,
    "mass": density_checks.check_mass,
    "summary": density_checks.check_held_out,
    "arrays": density_checks.check_arrays_of_points,
}
VAE_CHECKS: Checks = {
    **_OF_FILES,
    "data": image_checks.check_images,
    **_OF_FLOWS,
    "bound": image_checks.check_bound,
    "arrays": image_checks.check_arrays,
}
CHECKS = {"fit-2d": FLOW_CHECKS, "points": POINTS_CHECKS, "train-vae": VAE_CHECKS}
