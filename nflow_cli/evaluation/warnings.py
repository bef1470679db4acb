"""Warnings about unreliable scores, by the config and the summary."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nflow_cli.text import printable

UNRESOLVED = 5e-3  # deviation of the mass of a density from 1, or its error
SIGMAS = 4.0
FAIR_COIN_NATS = 784 * math.log(2)  # -log-likelihood of an image by fair coins
FEW_ROWS = 10  # effective sample size below which a standard error is uncertain
LEAST_ROWS = 1.5  # effective sample size below which there is no standard error
# Half width of a 95 % interval in standard errors, for 2 to 9 rows: Student's t.
T_95 = (12.7, 4.3, 3.2, 2.8, 2.6, 2.4, 2.4, 2.3)
_JUDGES = ("kl", "free_energy", "log_likelihood", "negative_elbo", "negative_log_likelihood")

Summary = Mapping[str, Any]
GOOD = 0.5  # k-hat below which the variance is finite
ROUGH = 0.7  # k-hat below which weights are usable
JUMP_SIGMAS = 3.0  # standard errors of a significant jump of log Z, at least
LEAST_JUMP = 0.02  # its nats, at least
EXACT_DRAWS = 100_000  # of p, by which its coverage is judged
UNCOVERED_RATIO = 100  # p/q above which q does not cover p


class ScoreWarning(NamedTuple):
    """Warning about scores of a summary: a short form, the keys of the scores, and why."""

    word: str
    figures: tuple[str, ...]
    reason: str


TRAINED_ON = ScoreWarning(
    "trained on",
    ("log_likelihood",),
    "these are the run's own points, most of them training points, not held out: without --data "
    "its test points are scored",
)


def records(warnings: Iterable[ScoreWarning]) -> list[dict[str, Any]]:
    """Warnings as ``summary.json`` holds them."""
    return [{**warning._asdict(), "figures": list(warning.figures)} for warning in warnings]


def raised_warnings(*warnings: ScoreWarning | None) -> list[ScoreWarning]:
    """Warnings of rules that each raise one or none."""
    return [warning for warning in warnings if warning is not None]


def words(warnings: Iterable[ScoreWarning], key: str) -> str:
    """Short forms of a score's warnings, or ""."""
    return ", ".join(warning.word for warning in warnings if key in warning.figures)


def marked(text: str, warnings: Iterable[ScoreWarning], key: str) -> str:
    """Score as text, with its warnings."""
    marks = words(warnings, key)
    return f"{text} [{marks}]" if marks else text


def number(summary: Summary, key: str) -> float | None:
    """Number in a summary: None if unknown, NaN if not finite."""
    value = summary.get(key)
    if value is None:
        return None
    return float(value) if abs(value) < 1e300 else math.nan


def ruined_fit(summary: Summary, key: str, sign: int) -> ScoreWarning | None:
    """Warn about a fit with a score ``key`` worse than that of its base distribution.

    ``sign``: 1 if smaller scores are better, else -1.
    """
    base_key = f"base_{key}"
    if base_key not in summary:
        return None
    score = number(summary, key)
    if score is None or math.isnan(score):  # null in JSON: not finite
        return ruined_text("the fit is not finite")
    base_score = number(summary, base_key)
    error = number(summary, f"{base_key}_standard_error")
    if base_score is None or error is None or not sign * (score - base_score) > SIGMAS * error:
        return None
    return ruined_text(f"worse than the base without a flow ({base_score:.4g} nats)")


def ruined_text(text: str) -> ScoreWarning:
    """Warning of a failed fit."""
    return ScoreWarning("ruined", _JUDGES, f"{text}; try a smaller learning rate")


def mass(summary: Summary) -> ScoreWarning | None:
    """Warn about a mass that was not resolved."""
    if "mass_error" not in summary:
        return None
    value = number(summary, "mass")
    error = number(summary, "mass_error")
    if value is None or error is None or math.isnan(value + error):
        return ScoreWarning(
            "unresolved", ("mass",), "the integral of q around its samples is not finite"
        )
    if error <= UNRESOLVED and abs(value - 1) <= UNRESOLVED:
        return None
    reason = "q is too narrow, or its tails too long, to be integrated around its samples"
    return ScoreWarning("unresolved", ("mass",), reason)


def rows_judged(summary: Summary) -> float | None:
    """Rows in a log-likelihood: possible test rows, or those of other data, of ``n``."""
    n = number(summary, "n")
    if n is None:
        n = number(summary, "n_test")
    left_out = [number(summary, key) or 0 for key in ("outside", "n_impossible")]
    return None if n is None else n - sum(left_out)


def has_unequal_weights(summary: Summary) -> bool:
    """Whether the effective sample size is below the number of rows."""
    rows = rows_judged(summary)
    effective = number(summary, "n_effective")
    return rows is not None and effective is not None and effective < rows * (1 - 1e-6)


def errors_of_95(n: float | None) -> float:
    """Half width of a 95 % interval in standard errors, by effective sample size.

    2 from ten on, or if unknown; infinite below 1.5.
    """
    if n is None or n >= FEW_ROWS:
        return 2.0
    return T_95[min(round(n), FEW_ROWS - 1) - 2] if n >= LEAST_ROWS else math.inf


def grouped_rows(summary: Summary, column: str | None) -> ScoreWarning | None:
    """Warn about errors of scores of rows that are grouped by a column."""
    if column is None or not rows_judged(summary):
        return None
    reason = (
        f"rows with equal {printable(column)} depend on each other, but errors, bands and p-values "
        "count them as independent: they are too small, as if there were more rows; the effective "
        "sample size may be as small as the number of groups"
    )
    figures = ("log_likelihood", "gain", "pit", "log_p", "coverage", "p_value")
    return ScoreWarning("grouped rows", figures, reason)


def few_rows(summary: Summary) -> ScoreWarning | None:
    """Warn about an effective sample size below ten."""
    n = number(summary, "n_effective")
    if n is None or not 0 < n < FEW_ROWS:
        return None
    fact = f"a mean of {n:.0f} row{_plural(n)}"
    effect = "its standard error is unknown"
    if has_unequal_weights(summary):
        rows = f"{rows_judged(summary):,.0f} rows of unequal weights"
        fact = f"a mean of {rows}, with an effective sample size of {n:.1f}"
        if n >= LEAST_ROWS:
            effect = "its standard error is itself uncertain, and often too small"
    elif n >= LEAST_ROWS:
        degrees = round(n) - 1
        freedom = f"{degrees} degree{_plural(degrees)} of freedom"
        interval = f"a 95 % interval is ± {errors_of_95(n)} standard errors"
        effect = f"{interval}, by Student's t with {freedom}"
    return ScoreWarning("few rows", ("log_likelihood", "gain"), f"{fact}: {effect}")


def _plural(count: float) -> str:
    return "s" if count > 1 else ""


def verdict(k: float | None) -> str:
    """Reliability by k-hat: good, rough, poor or unknown."""
    if k is None or not k < math.inf:
        return "unknown"
    if k < GOOD:
        return "good"
    return "rough" if k < ROUGH else "poor"


def jump(difference: float | None, error: float | None) -> float | None:
    """Nats by which log Z is larger than by the draws of ``q`` alone, if significant."""
    if difference and difference > max(JUMP_SIGMAS * (error or 0.0), LEAST_JUMP):
        return difference
    return None
