"""Scores of a run: typed in ``summary.json``, and as printed rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config import presets
from nflow_cli.config.run_config import RunConfig
from nflow_cli.config.strict import Count, Figure, Strict, Text
from nflow_cli.evaluation.estimates import in_decimals, with_error
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.warnings import (
    ScoreWarning,
    Summary,
    has_unequal_weights,
    marked,
    number,
)
from nflow_cli.runs.directory import CONFIG, EVALUATION, SUMMARY
from nflow_cli.terminal.output import hanging

MOST_WARNINGS = 100
Rows = list[tuple[str, str]]
Warnings = Sequence[ScoreWarning]
Counted = Mapping[str, tuple[str, str]]


class WarningRecord(Strict):
    """Warning: its word, the keys of its figures, and its reason."""

    word: Text
    figures: list[Text]
    reason: Text


class RunSummary(Strict):
    """Summary of any run; keys that do not apply are absent.

    ``flow`` is the model as text, ``k`` its number of maps, ``n_parameters`` that of its weights.
    """

    flow: Text
    k: Count
    seed: int = Field(ge=0, le=MAX_SEED)
    n_parameters: Count
    model_sha256: Text
    config_sha256: Text
    compile_seconds: Figure
    warnings: list[WarningRecord] = Field(default=[], max_length=MOST_WARNINGS)

    @property
    def facts(self) -> dict[str, Any]:
        """Figures by key, without those that do not apply."""
        return self.model_dump(exclude_unset=True)

    def with_scores(self, scores: Mapping[str, Any]) -> Self:
        """Summary with other scores, by key."""
        return type(self)(**{**self.facts, **scores})


class UpdatesSummary(RunSummary):
    """Summary of a training that counts updates.

    Attributes:
        steps: Updates made.
        train_seconds: Their duration, with compilation.
        steps_per_second: Median speed without compilation; None if unknown.
    """

    steps: Count
    train_seconds: Figure
    steps_per_second: Figure


class DataRecord(Strict):
    """Name of the data, and their SHA-256."""

    name: Text
    sha256: Text

    @property
    def checksum(self) -> dict[str, str]:
        """Checksum, as a setting."""
        return {"data.sha256": self.sha256[:12]}


def identity_of(config: Any) -> dict[str, Any]:
    """Summary entries that the config determines."""
    return {
        "flow": config.model_text,
        "k": config.k,
        "seed": config.seed,
        "config_sha256": presets.fingerprint(config),
    }


class Judged(NamedTuple):
    """Scores of a model by summary key, and arrays of its pictures."""

    scores: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class Fitted(NamedTuple):
    """Scores and arrays, as of :class:`Judged`, of a training, and its config with what it
    decided.
    """

    config: RunConfig
    scores: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class Measure(NamedTuple):
    """Score of ``summary.json`` in tables.

    Runs are ranked by the first known ``judges`` score: lower is better, or higher if ``sign`` is
    -1. ``has_spread``: whether tables show its spread over seeds.
    """

    key: str
    name: str
    unit: str
    decimals: int
    judges: bool = False
    has_spread: bool = True
    sign: int = 1


LOG_Z = "log Z"  # name of a measure


class Course(NamedTuple):
    """Training curve: ``sign`` times a column of ``metrics.csv``, and its name.

    ``otherwise``: its name if log Z is unknown.
    """

    column: str
    name: str
    sign: int = 1
    otherwise: str = ""


class RestartsRecord(Strict):
    """Outcome of the restarts of one fit: the ``best`` one, and of each the updates and last score.

    ``kl``: KL divergence (nats), or free energy if log Z is unknown; None: not finite, or never
    judged.
    """

    count: Count
    best: Count
    seed: Count
    kl: list[Figure]
    updates: list[Count]

    @model_validator(mode="after")
    def _of_each(self) -> "RestartsRecord":
        if not len(self.kl) == len(self.updates) == self.count > self.best:
            raise ValueError("one KL and one number of updates of each restart")
        return self

    def judged(self, scores: Mapping[str, Any]) -> "RestartsRecord":
        """Record with the final score (nats) of the restart kept."""
        kls = [*self.kl[: self.best], final_kl(scores), *self.kl[self.best + 1 :]]
        return RestartsRecord(**{**self.model_dump(), "kl": kls})


def final_kl(scores: Mapping[str, Any]) -> Any:
    """KL divergence (nats), or the free energy where log Z is unknown: an estimate would be lower
    for a restart that lost a mode.
    """
    return scores["free_energy"] if scores["log_z"] is None else scores["kl"]


class Judgement(NamedTuple):
    """Scores by key as in ``summary.json``, as printed rows, their warnings, and for a table that
    may be a part of another the sums that they follow from.
    """

    scores: dict[str, Any]
    rows: Rows
    warnings: list[ScoreWarning]
    tally: Tally | None = None


class Answer(NamedTuple):
    """Answer to a question about a table: columns ``(n,)`` by name, written beside its own, and
    their scores.
    """

    columns: Mapping[str, Any]
    judgement: Judgement


def laid_out(rows: Rows, warnings: Warnings, least: int = 12) -> str:
    """Rows in two columns, the first at least ``least`` wide, with warnings below."""
    every = with_reasons(rows, warnings)
    width = max(least, *(len(name) for name, _ in every))
    return "\n".join(hanging(f"{name:<{width}} ", value) for name, value in every)


def with_reasons(rows: Rows, warnings: Warnings) -> Rows:
    """Rows followed by the reasons of warnings."""
    return [*rows, *((f"[{warning.word}]", warning.reason) for warning in warnings)]


def counted_rows(counted: Counted, scores: Summary, **words: str) -> Rows:
    """Rows of the counts that are not 0: labels and texts by key."""
    some = [row for key, row in counted.items() if scores.get(key)]
    return [(label, text.format(**scores, **words)) for label, text in some]


def flow_row(summary: Summary) -> tuple[str, str]:
    """Row of a flow stack and its size."""
    text = f"{summary['flow']}, K = {summary['k']}, {summary['n_parameters']} parameters"
    return "flow", text


def mass_row(summary: Summary, warnings: Warnings) -> tuple[str, str]:
    """Row of the mass of a density."""
    text = with_error(summary.get("mass"), summary.get("mass_error"))
    return "mass of q", marked(text, warnings, "mass")


def figure(summary: Summary, key: str, decimals: int = 5) -> str:
    """Score of a key as text, in decimals."""
    return in_decimals(summary.get(key), decimals)


def training_text(summary: Summary, planned: int) -> str:
    """Updates, duration and speed."""
    text = (
        f"{length_text(summary['steps'], planned, 'updates')} in {summary['train_seconds']:.1f} s"
    )
    speed = summary["steps_per_second"]
    if speed is None:
        return f"{text}, compiling included"
    return f"{text} ({speed:,.0f} a second, after {summary['compile_seconds']:.1f} s of compiling)"


def length_text(made: int, planned: int, unit: str) -> str:
    """Length of a training, and whether it stopped early."""
    if made >= planned:
        return f"{made} {unit.removesuffix('s') if made == 1 else unit}"
    return f"stopped early after {made:,} of {planned:,} {unit}"


def gap_rows(scores: Summary) -> Rows:
    """Row of the gap to the truth, if known."""
    if scores.get("gap") is None:
        return []
    text = with_error(scores["gap"], scores["gap_standard_error"])
    return [("gap to the truth", f"{text} nats a fresh point")]


def likelihood_rows(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of the log-likelihood of user points."""
    outside, points = scores["outside"], f"{scores['n']:,} point{'s' if scores['n'] > 1 else ''}"
    if not scores["n"]:
        return [("log-likelihood", "unknown: every row has missing values")]
    if not outside:
        text = mean_text(scores, "log_likelihood", f"nats, mean of {points}")
        return [("log-likelihood", marked(text, warnings, "log_likelihood"))]
    rows = [("log-likelihood", f"-inf: q is 0 at {outside:,} of {points}")]
    if (mean := scores["log_likelihood_inside"]) is not None:
        others = {**scores, "log_likelihood": mean}
        text = mean_text(others, "log_likelihood", "nats, mean of the others")
        rows.append(("", marked(text, warnings, "log_likelihood")))
    return rows


def mean_text(scores: Summary, key: str, unit: str) -> str:
    """Mean over rows ± its standard error, with the effective sample size of unequal weights."""
    error = number(scores, f"{key}_standard_error")
    text = f"{with_error(number(scores, key), error)} {unit}"
    if error is None or not math.isfinite(error):
        text += ", standard error unknown"
    if key == "log_likelihood" and has_unequal_weights(scores):
        text += f", effective sample size {scores['n_effective']:,.1f}"
    return text


def without_mass(summary: Summary) -> Summary:
    """Recorded scores without the error of the mass, which is not shown with fresh ones."""
    return {key: value for key, value in summary.items() if key != "mass_error"}


def inconsistency_with_columns(
    arrays: Mapping[str, Any], summary: Summary, columns: Sequence[str]
) -> str:
    """Inconsistency between files and columns, or ""."""
    if summary["columns"] != list(columns):
        return f"{SUMMARY}: damaged: expected the columns of {CONFIG}"
    shown = arrays.get("columns_shown", np.zeros(1, int))
    if not ((shown >= 0) & (shown < len(columns))).all():
        return f"{EVALUATION}: damaged: columns_shown: expected some of D"
    return ""
