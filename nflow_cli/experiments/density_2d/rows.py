"""Printed scores of a fit to a 2-D target."""

from typing import Any

from nflow_cli.evaluation.reverse_kl import EXACT_DRAWS
from nflow_cli.evaluation.warnings import marked, number
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    figure,
    flow_row,
    mass_row,
    training_text,
    with_error,
)


def rows_of(summary: Summary, steps: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    free_energy, ess = f"{figure(summary, 'free_energy')} nats", figure(summary, "ess", 3)
    return [
        ("target", summary["target"]),
        flow_row(summary),
        *_kl_rows(summary, warnings),
        ("free energy", marked(free_energy, warnings, "free_energy")),
        ("ESS", marked(ess, warnings, "ess")),
        mass_row(summary, warnings),
        *_restarts(summary["restarts"]),
        ("training", training_text(summary, steps)),
    ]


def _kl_rows(scores: Summary, warnings: Warnings) -> Rows:
    if scores["log_z"] is None:
        return [("KL(q || p)", "unknown (as log Z is)")]
    text = f"{with_error(scores['kl'], scores['kl_standard_error'])} nats"
    rows, share = [("KL(q || p)", marked(text, warnings, "kl"))], number(scores, "uncovered_share")
    if share is None:  # without exact draws
        return rows
    uncovered = f"{round(share * EXACT_DRAWS):,} of {EXACT_DRAWS:,} draws of p have q < p/100"
    if share:
        return [*rows, ("", f"by the plain mean: {uncovered}")]
    return [*rows, ("", f"if q misses less than {3 / EXACT_DRAWS:.0e} of p: {uncovered}")]


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """KL, or the free energy where log Z is unknown, beside that of the base."""
    log_z = summary["log_z"]
    of_base, error = (summary[f"base_free_energy{end}"] for end in ("", "_standard_error"))
    base = "not finite" if None in (of_base, error) else with_error(of_base + (log_z or 0), error)
    rows = [("base without a flow", f"{base} nats")]
    if log_z is not None:
        return [*_kl_rows(summary, warnings), *rows, ("target itself", "0")]
    judged = f"{with_error(summary['free_energy'], summary['kl_standard_error'])} nats"
    return [("free energy", marked(judged, warnings, "free_energy")), *rows]


def _restarts(restarts: Summary) -> Rows:
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def evaluated_rows(trained: Any, scores: Summary, n: int, seed: int, warnings: Warnings) -> Rows:
    """Rows of ``nflow evaluate``, from ``n`` fresh samples."""
    config = trained.config
    free_energy = f"{with_error(scores['free_energy'], scores['kl_standard_error'])} nats"
    ess = f"{scores['ess']:.4f} ± {scores['ess_standard_error']:.4f}"
    rows = [
        ("target", config.target.name),
        ("flow", f"{config.flow.text}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
        *_kl_rows(scores, warnings),
        ("free energy", marked(free_energy, warnings, "free_energy")),
        ("ESS", marked(ess, warnings, "ess")),
        ("log Z", marked(_log_z(scores, trained), warnings, "estimated_log_z")),
        ("k-hat", f"{scores['pareto_k']:.2f}, of the weights' tail"),
    ]
    if trained.base.bounded:
        rows.append(("", "q is 0 outside a bounded region: log Z is that of the region"))
    return rows


def _log_z(scores: Summary, trained: Any) -> str:
    estimate = f"{scores['estimated_log_z']:.5f} ± {scores['log_z_standard_error']:.5f} nats"
    true = trained.target.log_z
    bound = "a lower bound, " if trained.base.bounded else ""
    return f"{estimate} ({bound}true: {'unknown' if true is None else f'{true:.5f}'})"
