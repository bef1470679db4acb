"""Printed scores of drift, and their warnings."""

from collections.abc import Mapping, Sequence

from nflow_cli.data.tables import listed
from nflow_cli.evaluation.drift import Change, Drift, Link, RowChange
from nflow_cli.evaluation.warnings import ScoreWarning, marked
from nflow_cli.experiments.rows import Rows, Warnings
from nflow_cli.text import printable

PRINTED = 20  # changes in each list
LEAST = 50  # rows of either sample
OWN_ROWS = ScoreWarning(
    "own rows",
    ("p_value",),
    "these are the run's own rows, the held-out rows among them: they cannot have moved",
)


def few_rows(found: Drift) -> ScoreWarning | None:
    """Warn about fewer than 50 rows in either sample."""
    fewer = min(found.n, found.n_held_out)
    if fewer >= LEAST:
        return None
    reason = (
        f"{found.n:,} new and {found.n_held_out:,} held-out rows: below {LEAST} small changes are "
        "not found, and p-values are approximate"
    )
    return ScoreWarning("few rows", ("p_value",), reason)


def rows_of(found: Drift, name: str, warnings: Warnings, left_out: Sequence[str]) -> Rows:
    """Printed scores of the drift of a table of that name; columns ``left_out`` of the density."""
    text = f"{printable(name)}: {found.n:,} rows, against {found.n_held_out:,} held-out rows"
    overall = f"{p_text(found.p_value)}, of {found.tests} tests (Bonferroni)"
    return [
        ("data", text),
        *_list("columns", "moved", found.columns, found.moved),
        *_list("relations", "changed", found.relations, found.moved_relations),
        ("row", _row_text(found.row, found.row_moved)),
        ("p-value", marked(overall, warnings, "p_value")),
        *([("not compared", f"{listed(left_out)}, left out of the run")] if left_out else []),
    ]


def p_text(p: float) -> str:
    """P-value with two digits; below 1e-99 as a bound."""
    return f"{p:.2g}" if p >= 1e-99 else "below 1e-99"


def _list(name: str, verb: str, every: Mapping[str, Change], some: Sequence[str]) -> Rows:
    head = f"{len(some):,} of {len(every):,} {verb}"
    rows = [(printable(one), _text(every[one])) for one in some[:PRINTED]]
    more = len(some) - PRINTED
    return [(name, head), *rows, *([("", f"and {more:,} more")] if more > 0 else [])]


def _text(change: Change) -> str:
    return f"p {p_text(change.p_value)}: {'; '.join(_effects(change))}"


def _effects(change: Change) -> list[str]:
    texts = []
    if one := change.shift:
        texts.append(f"shift {one.mean:+.2f} ± {one.mean_standard_error:.2f} sd")
        if one.spread is not None:
            texts.append(f"spread × {one.spread:.2f} ± {one.spread_standard_error:.2f}")
    if one := change.share:
        shares = f"{one.before:.1%} → {one.after:.1%} ± {one.standard_error:.1%}"
        texts.append(f"{printable(one.level)} {shares}")
    if one := change.link:
        texts.append(f"with {printable(one.column)}{_correlations(one)}")
    if change.missing_before != change.missing_after:
        texts.append(f"missing {change.missing_before:.1%} → {change.missing_after:.1%}")
    if change.n_new_levels:
        texts.append(f"{change.n_new_levels:,} cells of new levels")
    return texts


def _correlations(link: Link) -> str:
    if link.before is None or link.after is None:
        return ""
    return f", rank correlation {link.before:+.2f} → {link.after:+.2f}"


def _row_text(row: RowChange, has_moved: bool) -> str:
    verb = "changed" if has_moved else "no change found"
    texts = [f"{verb}, p {p_text(row.p_value)}"]
    if row.difference is not None:
        error = f"{row.standard_error:.3f} nats"
        texts.append(f"mean log-probability {row.difference:+.3f} ± {error}")
    if row.n_impossible or row.n_impossible_held_out:
        texts.append(
            f"{row.n_impossible:,} impossible rows ({row.n_impossible_held_out:,} held-out)"
        )
    if row.n_unknown:
        texts.append(f"{row.n_unknown:,} rows with unknown cells left out")
    return f"{texts[0]}: {'; '.join(texts[1:])}" if texts[1:] else texts[0]
