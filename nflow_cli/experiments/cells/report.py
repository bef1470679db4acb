"""Summary of a density of cells: warnings, printed rows, pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from nflow_cli.config.kinds import row_names
from nflow_cli.config.strict import Count, Error, Figure, Strict, Text
from nflow_cli.config.table import CellsConfig
from nflow_cli.evaluation.association import LostRelation
from nflow_cli.evaluation.likelihood import Mean
from nflow_cli.evaluation.memorisation import Copies, Memorisation
from nflow_cli.evaluation.pit import Pit, pit
from nflow_cli.evaluation.warnings import (
    SIGMAS,
    ScoreWarning,
    errors_of_95,
    few_rows,
    found,
    grouped_rows,
    marked,
    number,
    ruined_text,
)
from nflow_cli.experiments.cells.kept_rows import wrong_cells
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    counted_rows,
    gap_rows,
    mean_text,
    training_text,
)
from nflow_cli.experiments.summary import Measure, checksum_of_data
from nflow_cli.experiments.table import report as of_tables
from nflow_cli.experiments.table.report import OfTableSummary, shapes_of_scores
from nflow_cli.runs.directory import EVALUATION
from nflow_cli.runs.npz import Shapes
from nflow_cli.text import printable


class Scores(Strict):
    """Held-out scores of a density in nats; ``None`` where not finite.

    Attributes:
        log_likelihood: Mean ``log q`` of rows of positive probability.
        n_effective: Effective sample size of those rows.
        n_impossible: Rows of probability 0.
        n_unknown: Cells left out: missing ones of columns without missing cells in training.
        n_new_levels: Cells with a level of no training row.
        gain: Mean difference from independent columns, paired by row.
        computed_gain: Part of it by computed columns; ``None`` without any.
        column_gains: Gain of each column's cells; their sum is ``gain``.
    """

    log_likelihood: Figure
    log_likelihood_standard_error: Error
    n_effective: Figure
    n_impossible: Count
    n_unknown: Count
    n_new_levels: Count
    independent_log_likelihood: Figure
    independent_log_likelihood_standard_error: Error
    gain: Figure
    gain_standard_error: Error
    computed_gain: Figure = None
    column_gains: Mapping[str, Mean]
    pit: Pit


class CellsSummary(Scores, OfTableSummary):
    """Scores of a density of cells.

    Attributes:
        measure: SHA-256 of the base measure: log-likelihoods compare only if equal.
        shares: Mean weight of the networks beside the marginal of each column.
        fill_acceptance: Share of the proposed fills of gaps in training rows that were accepted, of
            each column with gaps, if ``train.filled`` is not 0.
        lost_relations: Relations of the rows that draws lose, the most lost first.
    """

    measure: Text
    shares: Mapping[str, Figure]
    fill_acceptance: Mapping[str, Figure] = {}
    memorisation: Memorisation
    copies: Copies | None
    lost_relations: Sequence[LostRelation] = ()


SHOWN = 3  # columns that gain most
COUNTED = {
    "n_impossible": (
        "impossible",
        "{n_impossible:,} {part}rows have a value of density 0, off its grid or far away",
    ),
    "n_new_levels": (
        "new levels",
        "{n_new_levels:,} {part}cells have a level not in the training rows",
    ),
    "n_unknown": ("left out", "{n_unknown:,} missing {part}cells of columns complete in training"),
}
STUCK = 0.02  # acceptance of fills of gaps, below which they have hardly moved


def rows_of(config: CellsConfig, summary: Summary, warnings: Warnings) -> Rows:
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
        ("training", f"{training_text(summary, config.length)}; {best}"),
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
    rows = counted_rows(COUNTED, summary, part=part)
    shares = summary.get("fill_acceptance") or {}
    if stuck := [printable(name) for name, share in shares.items() if (share or 0) < STUCK]:
        text = f"under {STUCK:.0%} of the fills of gaps accepted: {', '.join(stuck)}"
        rows.append(("fills", f"{text}; what depends on these columns may be biased"))
    return rows


SHOWN = 5  # columns in a message
CHANCE = 3.0  # standard errors of an AUC above 1/2
NEGLIGIBLE = 1e-3  # nats, and rounding where no network gains over a marginal
MEMORISED = 0.6  # smallest AUC of a warning


def ruined(summary: Summary) -> ScoreWarning | None:
    """Warning if the fit is worse than independent columns.

    By 4 standard errors, or twice the half width of a 95 % interval of few rows; and 0.001 nats.
    """
    gain, error = number(summary, "gain"), number(summary, "gain_standard_error")
    if summary.get("log_likelihood", 0.0) is None:
        return ruined_text("the fit is not finite")
    errors = SIGMAS / 2 * errors_of_95(number(summary, "n_effective"))
    if gain is None or error is None or not -gain > max(errors * error, NEGLIGIBLE):
        return None
    return ruined_text(f"worse than independent columns by {-gain:.4g} nats")


def miscalibrated(summary: Summary) -> ScoreWarning | None:
    """Warning of columns whose PIT is not uniform."""
    wrong = [
        name
        for name, column in summary.get("pit", {"columns": {}})["columns"].items()
        if column["distance"] is not None and column["distance"] > column["band"]
    ]
    if not wrong:
        return None
    names = ", ".join(map(printable, wrong[:SHOWN]))
    names += f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    reason = (
        f"the PIT of held-out cells of {names} is not uniform, at the 1 % level over all columns; "
        "more rows or updates may help"
    )
    return ScoreWarning("miscalibrated", ("pit",), reason)


def memorised(summary: Summary, are_chosen: bool = False) -> ScoreWarning | None:
    """Warning if training rows are much likelier than test rows.

    The AUC of the likelihood attack must be beyond chance and above 0.6. ``are_chosen``: the test
    rows are not random.
    """
    effect, facts = memorisation_text(summary), summary.get("memorisation", {})
    if not effect or not (number(facts, "auc") or 0) > MEMORISED:
        return None
    reason = (
        f"training rows are likelier than test rows, by {effect}: no error by itself, as the "
        "weights are the best on the validation rows; more rows reduce it, and, where it matters "
        "more than log-likelihood, a larger --set train.weight_decay=… or a smaller --set "
        "cells.width=…"
    )
    if are_chosen:
        reason += "; or the test rows, which are not a random sample, have another distribution"
    return ScoreWarning("memorised", ("memorisation",), reason)


def copied(summary: Summary) -> ScoreWarning | None:
    """Warning if draws repeat training rows more often than held-out rows do."""
    if not (text := copies_text(summary)):
        return None
    reason = (
        f"{text}: such draws disclose rows; try fewer updates or a larger train.weight_decay, or "
        "leave the copies out"
    )
    return ScoreWarning("copies", ("copies",), reason)


def lost(summary: Summary) -> ScoreWarning | None:
    """Warning of relations that rows have and draws lose."""
    if not (found := lost_texts(summary)):
        return None
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    reason = (
        f"the association of {'; '.join(found[:SHOWN])}{more}, beyond chance at the 1 % level over "
        "all pairs: predictions and draws miss these relations"
    )
    return ScoreWarning("lost relations", ("lost_relations",), reason)


def lost_texts(summary: Summary) -> list[str]:
    """Associations of lost relations in rows and in draws, the most lost first."""
    return [
        f"{' and '.join(map(printable, one['columns']))} is {one['rows']:.2f} in rows, "
        f"{one['draws']:.2f} in draws"
        for one in summary.get("lost_relations") or []
    ]


def copies_text(summary: Summary) -> str:
    """Shares of copies among draws and held-out rows; "" if the excess is within chance."""
    facts = summary.get("copies") or {}
    figures = {key: number(facts, key) for key in Copies.model_fields}
    if None in figures.values():
        return ""
    found = Copies.model_construct(None, **figures)
    if not found.excess > CHANCE * found.standard_error:
        return ""
    return (
        f"{found.drawn:.2%} of draws equal a training row, and {found.held_out:.2%} of test rows "
        f"(excess {found.excess:.2%} ± {found.standard_error:.2%})"
    )


def memorisation_text(summary: Summary) -> str:
    """Excess log-likelihood of training rows and the AUC; "" if within chance."""
    facts = summary.get("memorisation", {})
    auc, error = number(facts, "auc"), number(facts, "auc_standard_error")
    if auc is None or error is None or not auc - 0.5 > CHANCE * error:
        return ""
    nats, spread = number(facts, "nats"), number(facts, "nats_standard_error")
    by = "" if nats is None or spread is None else f"{nats:.3f} ± {spread:.3f} nats a row, "
    return f"{by}AUC {auc:.3f} ± {error:.3f}"


SCHEMA = CellsSummary
COURSE, CURVES, FORMATS = of_tables.COURSE, of_tables.CURVES, of_tables.FORMATS
BESIDE, SAMPLES, subject_of = (), None, of_tables.subject_of
MEASURES = (
    Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
    Measure("independent_log_likelihood", "independent", "nats", 4),
    Measure("gain", "gain", "nats", 4),
    Measure("gap", "gap to the truth", "nats", 4),
    Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
)


def labels_of(config: CellsConfig) -> dict[str, Any]:
    """Given columns."""
    return {"target": None, "given": [*config.data.given]}


def warnings_of(config: CellsConfig, summary: Summary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    data = config.data
    are_chosen = any((data.split, data.test, data.group))
    every = ruined(summary), few_rows(summary), miscalibrated(summary)
    of_rows = memorised(summary, are_chosen), copied(summary), lost(summary)
    return found(*every, *of_rows, grouped_rows(summary, data.group))


def settings_of(config: CellsConfig, summary: Summary) -> dict[str, str]:
    """Checksum of the rows, and base measure: only equal measures are comparable."""
    return {**checksum_of_data(summary), "measure": str(summary.get("measure"))[:12]}


def shapes_of(config: CellsConfig) -> Shapes:
    """Rows, draws, PIT, and scores by row."""
    names = row_names(config.data.kinds or {}, config.data.given)
    d = len(names.modelled) + len(names.computed)
    c = d + len(names.given)
    shown: Shapes = {"rows": ("t", c), "draws": ("s", c), "draws_log_q": "s", "pit": ("u", d)}
    return {**shown, **shapes_of_scores(config)}


def inconsistency_of(config: CellsConfig, arrays: Mapping[str, Any], summary: Summary) -> str:
    """Cells that are none of their columns."""
    kinds, given = config.data.kinds or {}, config.data.given
    wrong = wrong_cells(kinds, given, arrays["rows"], arrays["draws"])
    return f"{EVALUATION}: damaged: {wrong}" if wrong else ""


def figures_of(
    config: CellsConfig, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
) -> dict[str, Any]:
    """Marginals, dependence, pairs, PIT and training."""
    from nflow_cli import plotting

    kinds = config.data.kinds or {}
    names = [name for group in row_names(kinds, config.data.given) for name in group]
    subject = f"{printable(config.subject)}, {config.model_text}"
    shown, weights = arrays["pit"], arrays.get("test_weights")
    judged = pit(
        shown, list(summary["pit"]["columns"]), None if weights is None else weights[: len(shown)]
    )
    pictures = plotting.whole_table_figures(
        {name: kinds[name].alone for name in names},
        arrays,
        judged,
        subject,
        n_given=len(config.data.given),
    )
    return {**pictures, "training": plotting.likelihood_figure(metrics, summary)}
