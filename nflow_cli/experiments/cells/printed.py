"""Printed scores of a fit to a whole table."""

from collections.abc import Sequence

from nflow_cli.evaluation.warnings import errors_of_95, marked, number
from nflow_cli.experiments.cells.warnings import copies_text, lost_texts, memorisation_text
from nflow_cli.experiments.rows import Rows, Summary, Warnings, gap_rows, mean_text, training_text
from nflow_cli.text import printable

SHOWN = 3  # columns that gain most
STUCK = 0.02  # acceptance of fills of gaps, below which they have hardly moved


def rows_of(summary: Summary, steps: int, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    best = f"best after {summary['best_update']:,}"
    if not summary["best_update"]:
        best = "best after 0: the initial conditionals were never beaten on the validation rows"
    return [
        ("data", f"{printable(summary['data']['name'])}: {parts} rows"),
        ("model", summary["flow"]),
        *verdict_of(summary, warnings),
        *best_columns(summary),
        *pit_rows(summary, warnings),
        *memorisation_rows(summary, warnings),
        *copies_rows(summary, warnings),
        *lost_rows(summary, warnings),
        *notes(summary),
        ("training", f"{training_text(summary, steps)}; {best}"),
    ]


def verdict_of(summary: Summary, warnings: Warnings, part: str = "test ") -> Rows:
    """Rows of log-likelihood, independent columns, gain and gap."""
    names = {"log-likelihood": "log_likelihood", "independent": "independent_log_likelihood"}
    rows = [
        (name, marked(mean_text(summary, key, f"nats a {part}row"), warnings, key))
        for name, key in names.items()
    ]
    gain, error = number(summary, "gain"), number(summary, "gain_standard_error")
    errors = errors_of_95(number(summary, "n_effective"))
    is_sure = gain is not None and error is not None and round(gain, 5) > errors * error
    unsure = "" if is_sure else " (not known to be better than independent columns)"
    computed = number(summary, "computed_gain")
    of_computed = "" if computed is None else f", of which {computed:.5f} by computed columns"
    text = mean_text(summary, "gain", "nats, paired") + of_computed + unsure
    return [*rows, ("gain", marked(text, warnings, "gain")), *gap_rows(summary)]


def best_columns(summary: Summary) -> Rows:
    """Row of the columns with the largest gain from conditioning."""
    every = summary["column_gains"].items()
    gains = {name: round(gain["mean"] or 0.0, 3) + 0.0 for name, gain in every}  # no -0.000
    names: Sequence[str] = sorted(gains, key=lambda name: -gains[name])[:SHOWN]
    text = ", ".join(f"{printable(name)} {gains[name]:.3f}" for name in names)
    return [("largest gains", text)] if len(gains) > 1 else []


def pit_rows(summary: Summary, warnings: Warnings) -> Rows:
    """Row of the largest distance of a column's PIT from uniform."""
    columns = summary["pit"]["columns"]
    known = {name: c for name, c in columns.items() if c["distance"] is not None and c["band"]}
    if not known:
        return []
    worst = max(known, key=lambda name: known[name]["distance"] / known[name]["band"])
    distance, band = known[worst]["distance"], known[worst]["band"]
    text = f"KS distance {distance:.4f} (worst column {printable(worst)}); 99 % band {band:.4f}"
    return [("PIT", marked(text, warnings, "pit"))]


def memorisation_rows(summary: Summary, warnings: Warnings) -> Rows:
    """Row of memorisation, where it is beyond chance."""
    if not (effect := memorisation_text(summary)):
        return []
    text = f"training rows likelier than test rows by {effect}"
    return [("memorisation", marked(text, warnings, "memorisation"))]


def copies_rows(summary: Summary, warnings: Warnings) -> Rows:
    """Row of copies of training rows among draws, where they are beyond chance."""
    text = copies_text(summary)
    return [("copies", marked(text, warnings, "copies"))] if text else []


def lost_rows(summary: Summary, warnings: Warnings) -> Rows:
    """Row of the number of relations that draws lose, and the worst."""
    if not (found := lost_texts(summary)):
        return []
    text = f"{len(found)} lost in draws; the association of {found[0]}"
    return [("relations", marked(text, warnings, "lost_relations"))]


def notes(summary: Summary, part: str = "test ") -> Rows:
    """Rows of impossible rows, new levels and cells left out."""
    rows = []
    if n := summary["n_impossible"]:
        rows.append(
            ("impossible", f"{n:,} {part}rows have a value of density 0, off its grid or far away")
        )
    if n := summary["n_new_levels"]:
        rows.append(("new levels", f"{n:,} {part}cells have a level not in the training rows"))
    if n := summary["n_unknown"]:
        rows.append(("left out", f"{n:,} missing {part}cells of columns complete in training"))
    shares = summary.get("fill_acceptance") or {}
    if stuck := [printable(name) for name, share in shares.items() if (share or 0) < STUCK]:
        text = f"under {STUCK:.0%} of the fills of gaps accepted: {', '.join(stuck)}"
        rows.append(("fills", f"{text}; what depends on these columns may be biased"))
    return rows
