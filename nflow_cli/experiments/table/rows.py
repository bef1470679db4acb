"""The scores of a fit to a table, as rows of tables."""

from nflow_cli.evaluation.caveats import marked
from nflow_cli.experiments.rows import (
    Caveats,
    Rows,
    Summary,
    flow_row,
    mass_row,
    training_text,
)


def rows_of(summary: Summary, steps: int, caveats: Caveats) -> Rows:
    """Return the rows of the table that a training ends with."""
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        flow_row(summary),
        *held_out_rows(summary, caveats),
        mass_row(summary, caveats),
        ("training", f"{training_text(summary, steps)}; best after {summary['best_update']:,}"),
    ]


def held_out_rows(scores: Summary, caveats: Caveats) -> Rows:
    """Return the rows of the log-likelihood of the test points, that of a Gaussian, and the gap."""
    names = {"log-likelihood": "log_likelihood", "of a Gaussian": "gaussian_log_likelihood"}
    rows = []
    for name, key in names.items():
        error = scores[f"{key}_standard_error"]
        text = f"{scores[key]:.5f} ± {error:.5f} nats a test point"
        rows.append((name, marked(text, caveats, key)))
    if scores["gap"] is not None:
        text = f"{scores['gap']:.5f} ± {scores['gap_standard_error']:.5f} nats a fresh point"
        rows.append(("gap to the truth", text))
    return rows
