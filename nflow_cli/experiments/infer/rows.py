"""Printed scores of a fit to a log-density."""

import math
from collections.abc import Mapping

from nflow_cli.evaluation.warnings import marked, number, words
from nflow_cli.evaluation.weights_verdict import SIGMAS, verdict
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    figure,
    flow_row,
    training_text,
    with_error,
)
from nflow_cli.text import printable

MOST_ROWS, MOST_WEIGHTS = 12, 8  # of moments; of a mixture
WORDS = {
    "good": "good: the weights have finite variance",
    "rough": "rough: the weights may have infinite variance; errors include the unseen tail",
    "poor": "poor: no reliable log Z or moments; try --base student-t, more flows or --bounds",
    "unknown": "unknown: the weights are not finite",
}
FAILS = "log p fails or is not finite away from q"
Truth = Mapping[str, tuple[float, float]]


def rows_of(summary: Summary, steps: int, warnings: Warnings, truth: Truth) -> Rows:
    """Rows printed after training."""
    return [
        ("density", printable(summary["target"])),
        flow_row(summary),
        *judged_rows(summary, warnings, truth),
        *_restarts(summary),
        *_mixture(summary),
        ("training", training_text(summary, steps)),
    ]


def judged_rows(scores: Summary, warnings: Warnings, truth: Truth) -> Rows:
    """Rows of scores by fresh samples."""
    return verdict_of(scores, warnings) + _moments(scores, truth)


def verdict_of(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of KL, free energy, k-hat, ESS and log Z."""
    rows = []
    if (kl := number(scores, "kl")) is not None:
        text = f"{with_error(kl, scores['kl_standard_error'])} nats"
        rows.append(("KL(q || p)", marked(text, warnings, "kl")))
    free_energy = with_error(scores["free_energy"], scores["free_energy_standard_error"])
    free_energy += " nats"
    rows.append(("free energy", marked(free_energy, warnings, "free_energy")))
    rows.append(("k-hat", f"{figure(scores, 'pareto_k', 2)}, {_verdict(scores, warnings)}"))
    rows.append(("ESS", f"{figure(scores, 'ess', 4)} of the draws"))
    log_z = _log_z(scores, "estimated_log_z", "log_z_standard_error")
    log_z += " of the mass that q covers"
    if (true := number(scores, "log_z")) is not None:
        log_z += f" (true: {true:.5f})"
    rows.append(("log Z", marked(log_z, warnings, "estimated_log_z")))
    rows.append(("", _by_q(scores)))
    if number(scores, "missed_share") is None and "missed_share" in scores:
        rows.append(("", f"missed mass unknown: {FAILS}"))
    return rows


def _by_q(scores: Summary) -> str:
    """Log Z by the draws of q alone, a check."""
    if number(scores, "q_log_z") is None:
        return f"by draws of q alone: {FAILS}"
    k, away = number(scores, "q_pareto_k"), number(scores, "log_z_difference")
    text = _log_z(scores, "q_log_z", "q_log_z_standard_error")
    text += f" by draws of q alone (k-hat {figure(scores, 'q_pareto_k', 2)}, {verdict(k)})"
    error = number(scores, "log_z_difference_standard_error")
    if away is None or not error or not abs(away) > SIGMAS * error:
        return text
    return f"{text}, {abs(away) / error:.1f} errors of the difference away"


def _verdict(scores: Summary, warnings: Warnings) -> str:
    word = verdict(number(scores, "pareto_k"))
    others = words((c for c in warnings if c.word != f"{word} weights"), "estimated_log_z")
    return f"{word}, but see [{others}]" if others else WORDS[word]


def _log_z(scores: Summary, key: str, error: str) -> str:
    text = figure(scores, key)
    if (known := number(scores, error)) is not None:
        text += f" ± {known:.5f}"
    return f"{text} nats"


def _moments(scores: Summary, truth: Truth) -> Rows:
    moments, rows = scores["moments"], []
    errors = scores.get("moments_standard_error") or {}
    for name, pair in list(moments.items())[:MOST_ROWS]:
        mean, spread = map(_with_error, pair, errors.get(name, (None, None)))
        known = truth.get(name)
        true = "" if known is None else f" (true: {known[0]:.5g}, sd {known[1]:.5g})"
        rows.append((printable(name)[:20], f"{mean}, sd {spread}{true}"))
    if (rest := len(moments) - MOST_ROWS) > 0:
        rows.append(("", f"{rest:,} more coordinates are in summary.json"))
    return rows


def _with_error(value: float | None, error: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "not finite"
    if error is None or not 0 < error < math.inf:
        return f"{value:.5g}"
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 12)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _restarts(summary: Summary) -> Rows:
    restarts = summary["restarts"]
    if restarts["count"] == 1:
        return []
    name = "free energy" if summary["log_z"] is None else "KL"
    scores = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"{name} {scores}; seed {restarts['seed']} is kept")]


def _mixture(summary: Summary) -> Rows:
    weights = sorted(summary["member_weights"], reverse=True)
    if len(weights) == 1:
        return []
    shown = ", ".join(f"{weight:.3g}" for weight in weights[:MOST_WEIGHTS])
    more = ", …" if len(weights) > MOST_WEIGHTS else ""
    seconds = f"{len(weights) - 1} added in {summary['member_seconds']:.1f} s"
    return [("mixture", f"{len(weights)} flows, weights {shown}{more}; {seconds}")]
