"""Printed scores of a fit of flows to a table."""

from nflow_cli.evaluation.warnings import errors_of_95, marked, number
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    flow_row,
    gap_rows,
    likelihood_rows,
    mass_row,
    mean_text,
    training_text,
)
from nflow_cli.text import printable


def rows_of(summary: Summary, steps: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        flow_row(summary),
        *held_out_rows(summary, warnings),
        *([mass_row(summary, warnings)] if "mass" in summary else []),
        ("training", f"{training_text(summary, steps)}; best after {_best_text(summary)}"),
    ]


def _best_text(summary: Summary) -> str:
    if summary["best_update"]:
        return f"{summary['best_update']:,}"
    start = "linear regression" if summary.get("given") else "Gaussian"
    start = start if summary["flow"].endswith("+ full affine") else "start"
    return f"0: the {start} was never beaten on the validation rows"


def held_out_rows(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of held-out scores."""
    rows = likelihoods(scores, warnings)
    if members := scores.get("member_log_likelihoods"):
        text = f"{min(members):.5f} to {max(members):.5f} nats each"
        spread = f"standard deviation {scores['member_spread']:.5f} in a row"
        rows.append((f"{len(members)} members", f"{text}, {spread}"))
    rows += differences(scores, warnings)
    if "normality" in scores:
        rows += normality_rows(scores["normality"])
    return rows


def verdict_of(summary: Summary, warnings: Warnings) -> Rows:
    """Rows of log-likelihood, Gaussian, gain and gap."""
    return likelihoods(summary, warnings) + differences(summary, warnings)


def likelihoods(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of log-likelihood and that of a Gaussian."""
    names = {"log-likelihood": "log_likelihood", "Gaussian": "gaussian_log_likelihood"}
    rows = []
    for name, key in names.items():
        text = mean_text(scores, key, "nats a test point")
        rows.append((name, marked(text, warnings, key)))
    return rows


def differences(scores: Summary, warnings: Warnings) -> Rows:
    """Rows of the gain and the gap."""
    rows = []
    if "gain" in scores:
        gain, error = (number(scores, key) for key in ("gain", "gain_standard_error"))
        errors = errors_of_95(number(scores, "n_effective"))
        # To the printed decimals.
        is_sure = gain is not None and error is not None and round(gain, 5) > errors * error
        unsure = "" if is_sure else " (not known to be better than a Gaussian)"
        text = mean_text(scores, "gain", "nats, paired") + unsure
        rows.append(("gain", marked(text, warnings, "gain")))
    return rows + gap_rows(scores)


def normality_rows(normality: Summary) -> Rows:
    """Row of distances of test latents from ``N(0, I)``."""
    if not normality["n"]:
        return []
    worst = f"{normality['distance']:.4f} (worst column {printable(normality['worst_column'])})"
    radius = f"{normality['radius_distance']:.4f} (|z|²)"
    bands = f"95 % bands {normality['band']:.4f} and {normality['radius_band']:.4f}"
    rows = [("normality", f"KS distance {worst}, {radius}; {bands}")]
    if n := normality["n_lost"]:
        lost = "1 row has" if n == 1 else f"{n:,} rows have"
        rows.append(("", f"{lost} latents that are not finite"))
    return rows


def scored_rows(scores: Summary, warnings: Warnings, weighted: str) -> Rows:
    """Rows of scores of a user's table."""
    rows = likelihood_rows(scores, warnings)
    if weighted:
        rows.append(("", f"weighted by {printable(weighted)}"))
    if n := scores["n_missing"]:
        lack = "1 row lacks a value and has" if n == 1 else f"{n:,} rows lack a value and have"
        rows.append(("", f"{lack} no log-density"))
    return rows
