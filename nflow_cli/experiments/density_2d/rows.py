"""Printed scores of a fit to a 2-D target."""

from typing import Any

from nflow_cli.evaluation.warnings import marked
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    figure,
    flow_row,
    mass_row,
    training_text,
)


def rows_of(summary: Summary, steps: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    text = "unknown (as log Z is)"
    if summary["log_z"] is not None:
        error = f"± {figure(summary, 'kl_standard_error')} nats"
        text = marked(f"{figure(summary, 'kl')} {error}", warnings, "kl")
    free_energy, ess = f"{figure(summary, 'free_energy')} nats", figure(summary, "ess", 3)
    return [
        ("target", summary["target"]),
        flow_row(summary),
        ("KL(q || p)", text),
        ("free energy", marked(free_energy, warnings, "free_energy")),
        ("ESS", marked(ess, warnings, "ess")),
        mass_row(summary, warnings),
        *_restarts(summary["restarts"]),
        ("training", training_text(summary, steps)),
    ]


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """KL, or the free energy where log Z is unknown, beside that of the base."""
    name, key, log_z = "KL(q || p)", "kl", summary["log_z"]
    if log_z is None:
        name, key, log_z = "free energy", "free_energy", 0.0
    judged = f"{figure(summary, key)} ± {figure(summary, 'kl_standard_error')} nats"
    of_base, error = (summary[f"base_free_energy{end}"] for end in ("", "_standard_error"))
    base = "not finite" if None in (of_base, error) else f"{of_base + log_z:.5f} ± {error:.5f} nats"
    rows = [(name, marked(judged, warnings, key)), ("base without a flow", base)]
    return rows if key == "free_energy" else [*rows, ("target itself", "0")]


def _restarts(restarts: Summary) -> Rows:
    if restarts["count"] == 1:
        return []
    kls = ", ".join("not finite" if kl is None else f"{kl:.4f}" for kl in restarts["kl"])
    return [("restarts", f"KL {kls}; seed {restarts['seed']} is kept")]


def evaluated_rows(trained: Any, scores: Summary, n: int, seed: int, warnings: Warnings) -> Rows:
    """Rows of ``nflow evaluate``, from ``n`` fresh samples."""
    config = trained.config
    kl, error = scores["kl"], scores["kl_standard_error"]
    free_energy = f"{scores['free_energy']:.5f} ± {error:.5f} nats"
    ess = f"{scores['ess']:.4f} ± {scores['ess_standard_error']:.4f}"
    text = "unknown (as log Z is)" if kl is None else f"{kl:.5f} ± {error:.5f} nats"
    rows = [
        ("target", config.target.name),
        ("flow", f"{config.flow.text}, K = {config.flow.k}"),
        ("samples", f"{n:,}, seed {seed}"),
        ("KL(q || p)", text if kl is None else marked(text, warnings, "kl")),
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
