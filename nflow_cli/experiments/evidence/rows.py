"""Printed scores of an estimate of log Z from draws."""

from nflow_cli.evaluation.warnings import marked, words
from nflow_cli.evaluation.weights_verdict import verdict
from nflow_cli.experiments.rows import Rows, Summary, Warnings, figure, flow_row, training_text
from nflow_cli.text import printable

REGIONS = "log Z is that of the regions that the chains visited: no other is in it"
DROPPED = (
    "lp__ leaves out the constants of ~ statements, so this log Z has none of them: write target "
    "+= …_lpdf(…), or compare models that drop the same"
)
KINDS = {"poor ratios": "poor", "rough ratios": "rough"}


def rows_of(summary: Summary, steps: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    return [
        ("draws", printable(summary["data"]["name"])),
        flow_row(summary),
        *judged_rows(summary, warnings),
        ("training", training_text(summary, steps)),
    ]


def judged_rows(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of log Z and of the chains."""
    chains = f"{scores['n_draws']:,} draws of {scores['n_chains']:,} chains"
    rhat = f"split R-hat {figure(scores, 'rhat', 3)} ({printable(scores['rhat_column'])})"
    temperatures = ", ".join(f"{t:g}" for t in scores["temperatures"])
    kl = f"{figure(scores, 'kl', 3)} nats, temperatures {temperatures}"
    return [
        *verdict_of(scores, warnings),
        ("KL(p || q)", marked(kl, warnings, "kl")),
        ("chains", f"{chains}, {rhat}, {scores['effective_draws'] or 0:,.0f} effective draws"),
    ]


def verdict_of(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of log Z, its reliability, and its limits."""
    error = f"± {figure(scores, 'log_z_standard_error')} nats"
    log_z = f"{figure(scores, 'log_z')} {error}"
    space = scores.get("space")
    rows = [
        ("log Z", marked(log_z, warnings, "log_z")),
        *([("space", printable(space))] if space else []),
        ("k-hat", f"{figure(scores, 'pareto_k', 2)}, {_reliability(scores, warnings)}"),
        ("", REGIONS),
    ]
    return [*rows, ("", DROPPED)] if scores["is_stan"] else rows


def _reliability(scores: Summary, warnings: Warnings) -> str:
    own = [KINDS[warning.word] for warning in warnings if warning.word in KINDS]
    word = own[0] if own else verdict(scores["pareto_k"])
    others = words((w for w in warnings if w.word not in KINDS), "log_z")
    return f"{word}, but see [{others}]" if others else word
