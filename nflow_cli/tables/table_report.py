"""Summary of a fit to a table: warnings, printed rows, pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.declared_rules import plain_rules
from nflow_cli.config.strict import MAX_COLUMNS, Count, Error, Figure, Text
from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.constants import LARGEST_CELL
from nflow_cli.data.files.tables import listed
from nflow_cli.evaluation.association import LostRelation
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.tallies import Likelihood
from nflow_cli.evaluation.warnings import (
    SIGMAS,
    ScoreWarning,
    errors_of_95,
    few_rows,
    grouped_rows,
    marked,
    mass,
    number,
    raised_warnings,
    ruined_fit,
    ruined_text,
)
from nflow_cli.experiments.summary import (
    Course,
    DataRecord,
    Measure,
    Rows,
    Summary,
    UpdatesSummary,
    Warnings,
    counted_rows,
    flow_row,
    gap_rows,
    inconsistency_with_columns,
    mass_row,
    mean_text,
    training_text,
)
from nflow_cli.runs.directory import EVALUATION
from nflow_cli.runs.npz import DEFORMATION_ARRAYS, ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.tables.scores.dominance import DominantRow
from nflow_cli.tables.scores.level_shares import LostShare
from nflow_cli.tables.scores.memorisation import Copies, Memorisation
from nflow_cli.tables.scores.pit import LEVELS, Pit
from nflow_cli.text import printable

Config = CellsConfig | FitConfig


class TableSummary(Likelihood, UpdatesSummary):
    """Scores of a fit to a table by its test rows, in nats a row.

    Attributes:
        columns: Columns with a probability.
        measure: SHA-256 of the base measure: log-likelihoods compare only if equal.
        best_update: Update of the kept weights, the latest of several members.
        baseline: Density that the gain is over.
        gap: Mean ``log p - log q`` over fresh points of a built-in set, else ``None``.
        dominant_row: Test row by which the log-likelihood is decided, if there is one.
        pit: Of columns, or of an ensemble of flows that of the worst member.
        shares: Of cells: mean weight of the networks beside the marginal of each column.
        fill_acceptance: Share of the proposed fills of gaps in training rows that were accepted, of
            each column with gaps, if ``train.filled`` is not 0.
        lost_relations: Relations of the rows that draws of cells lose, the most lost first.
        lost_shares: Shares of levels in bins of other columns that these draws lose.
        n_left_out: Of a robust fit: number of odd training and validation rows that it leaves out.
        n_odd_test: Number of test rows that are as odd.
        kept_log_likelihood: Mean of the other test rows.
        losses: Of cells with one modelled column and given ones: losses of its predictions, and of
            those by the column alone, over the test rows that the run keeps.
        base_log_likelihood: Of flows: mean of the base without a flow.
        member_spread: Mean standard deviation of ``log q`` over members of flows.
        mass: ``∫ q`` of flows in two columns, over a grid.
    """

    target: None
    data: DataRecord
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    given: list[Text] = Field(max_length=MAX_COLUMNS)
    measure: Text
    best_update: Count
    n_train: Count
    n_validation: Count
    n_test: Count
    baseline: Text
    gap: Figure
    gap_standard_error: Error
    dominant_row: DominantRow | None = None
    pit: Pit
    shares: Mapping[str, Figure] = {}
    fill_acceptance: Mapping[str, Figure] = {}
    memorisation: Memorisation | None = None
    copies: Copies | None = None
    lost_relations: Sequence[LostRelation] = ()
    lost_shares: Sequence[LostShare] = ()
    n_left_out: Count | None = None
    n_odd_test: Count | None = None
    kept_log_likelihood: Figure = None
    kept_log_likelihood_standard_error: Error = None
    losses: Mapping[str, Figure] = {}
    base_log_likelihood: Figure = None
    base_log_likelihood_standard_error: Error = None
    member_log_likelihoods: list[Figure] = Field(default=[])
    member_spread: Error = None
    mass: Figure = None
    mass_error: Error = None


# Printed rows.

# By baseline: what it is, and what has no log-probability beside a density with it.
BASELINES = {
    "Gaussian": ("a Gaussian", "rows that lack a value, and have no log-density"),
    "independent": ("independent columns", "missing cells of columns complete in training"),
}
ALONE = "_alone"  # end of the keys of losses by a column's own distribution
# By key: label, unit, and what predicts by the column alone.
LOSSES = {
    "rmse": ("RMSE of mean", "", "the column's own mean"),
    "pinball": ("pinball loss", "", "its own quantiles"),
    "log_loss": ("log loss", " nats", "shares alone"),
    "error_rate": ("error rate", "", "the most frequent level"),
}
GAINS = 3  # columns that gain most
COUNTED = {
    "n_impossible": (
        "impossible",
        "{n_impossible:,} {part}rows have a value of density 0, off its grid, out of bounds or far "
        "away",
    ),
    "n_new_levels": (
        "new levels",
        "{n_new_levels:,} {part}cells have a level not in the training rows",
    ),
    "n_unknown": ("left out", "{n_unknown:,} {part}{unknown}"),
}
STUCK = 0.02  # acceptance of fills of gaps, below which they have hardly moved


def rows_of(config: Config, summary: TableSummary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    facts = summary.facts
    parts = (
        f"{summary.n_train:,} train, {summary.n_validation:,} validation, {summary.n_test:,} test"
    )
    model = flow_row(facts) if config.is_of_flows else ("model", summary.flow)
    rows = [("data", f"{printable(summary.data.name)}: {parts} rows"), model]
    rows += score_rows(config, summary, warnings)
    if "mass" in facts:
        rows.append(mass_row(facts, warnings))
    kept = f"best after {_best_text(summary)}"
    if early := config.train.early_update:
        kept = f"kept after {early:,} and {summary.best_update:,}"
    return [*rows, ("training", f"{training_text(facts, config.length)}; {kept}")]


def _best_text(summary: TableSummary) -> str:
    if summary.best_update:
        return f"{summary.best_update:,}"
    if summary.baseline != "Gaussian":
        start = "initial conditionals were"
    elif not summary.flow.endswith("+ full affine"):
        start = "start was"
    elif summary.given:
        start = "linear regression was"
    else:
        start = "Gaussian was"
    return f"0: the {start} never beaten on the validation rows"


def score_rows(config: Config, summary: TableSummary, warnings: Warnings) -> Rows:
    """Rows of all scores of test rows."""
    computed = config.data.row_names.computed
    rows = verdict_of(summary, warnings)
    if members := summary.member_log_likelihoods:
        finite = [value for value in members if value is not None]
        text = f"{min(finite):.5f} to {max(finite):.5f} nats each" if finite else "not finite"
        spread = f"standard deviation {summary.member_spread or 0:.5f} in a row"
        rows.append((f"{len(members)} members", f"{text}, {spread}"))
    if summary.n_left_out is not None:
        rows.append(("robust", _robust_text(summary)))
    rows += loss_rows(summary.losses)
    rows += best_columns(summary, computed)
    rows += pit_rows(summary, warnings)
    if effect := memorisation_text(summary.memorisation):
        text = f"training rows likelier than test rows by {effect}"
        rows.append(("memorisation", marked(text, warnings, "memorisation")))
    if text := copies_text(summary.copies):
        rows.append(("copies", marked(text, warnings, "copies")))
    if texts := lost_texts(summary.lost_relations, summary.lost_shares):
        text = f"{len(texts)} lost in draws; {texts[0]}"
        rows.append(("relations", marked(text, warnings, "lost_relations")))
    rows += notes(summary, summary.baseline, "test ")
    if isinstance(config, CellsConfig) and (rules := plain_rules(config.cells.rules or ())):
        texts = [printable(rule.text) for rule in rules]
        rows.append(("rules", f"{len(rules)} kept by every row drawn: {listed(texts)}"))
    shares = summary.fill_acceptance.items()
    if stuck := [printable(name) for name, share in shares if (share or 0) < STUCK]:
        text = f"under {STUCK:.0%} of the fills of gaps accepted: {', '.join(stuck)}"
        rows.append(("fills", f"{text}; what depends on these columns may be biased"))
    return rows


def _robust_text(summary: TableSummary) -> str:
    """What a robust fit leaves out, and the log-likelihood of the test rows without odd ones."""
    mean = mean_text(vars(summary), "kept_log_likelihood", "nats a test row")
    return (
        f"{summary.n_left_out:,} odd rows left out; {mean} without the {summary.n_odd_test:,} odd"
    )


def verdict_of(summary: TableSummary, warnings: Warnings) -> Rows:
    """Rows of log-likelihood, baseline, gain and gap."""
    return likelihood_rows(summary, summary.baseline, warnings, "test ") + gap_rows(vars(summary))


def likelihood_rows(scores: Likelihood, baseline: str, warnings: Warnings, part: str = "") -> Rows:
    """Rows of log-likelihood, and if there is a baseline of this and the gain."""
    if not scores.n:
        return [("log-likelihood", "unknown: no row has a known cell")]
    names = {"log-likelihood": "log_likelihood", baseline: "baseline_log_likelihood"}
    rows = [
        (name, marked(mean_text(vars(scores), key, f"nats a {part}row"), warnings, key))
        for name, key in names.items()
        if key in scores.model_fields_set
    ]
    if len(rows) == 1:
        return rows
    gain = scores.gain
    error = scores.gain_standard_error
    text = mean_text(vars(scores), "gain", "nats, paired")
    if scores.computed_gain is not None:
        text += f", of which {scores.computed_gain:.5f} by computed columns"
    # To the printed decimals.
    least = errors_of_95(scores.n_effective)
    if gain is None or error is None or not round(gain, 5) > least * error:
        text += f" (not known to be better than {BASELINES[baseline][0]})"
    return [*rows, ("gain", marked(text, warnings, "gain"))]


def loss_rows(scores: Summary) -> Rows:
    """Rows of losses of a column's predictions, each beside that by its own distribution."""
    rows = [
        (label, f"{_loss(scores, key)}{unit} ({beside}: {_loss(scores, f'{key}{ALONE}')})")
        for key, (label, unit, beside) in LOSSES.items()
        if key in scores
    ]
    if "auc" in scores:
        rows.append(("AUC", _loss(scores, "auc")))
    return rows


def _loss(scores: Summary, key: str) -> str:
    return with_error(number(scores, key), number(scores, f"{key}_standard_error"))


def best_columns(scores: Likelihood, computed: Sequence[str]) -> Rows:
    """Row of the columns with the largest gain from conditioning, which computed ones have by
    definition.
    """
    gains = {
        name: round(gain.mean or 0.0, 3) + 0.0  # no -0.000
        for name, gain in scores.column_gains.items()
        if name not in computed
    }
    if len(gains) <= 1:
        return []
    largest = sorted(gains, key=lambda name: -gains[name])[:GAINS]
    text = ", ".join(f"{printable(name)} {gains[name]:.3f}" for name in largest)
    return [("largest gains", text)]


def pit_rows(summary: TableSummary, warnings: Warnings) -> Rows:
    """Row of the largest distance of a column's PIT from uniform."""
    if (name := summary.pit.worst_column) is None:
        return []
    worst = summary.pit.columns[name]
    distance = f"{worst.distance:.4f} (worst column {printable(name)})"
    text = f"KS distance {distance}; 99 % band {worst.band:.4f}"
    return [("PIT", marked(text, warnings, "pit"))]


def notes(scores: Likelihood, baseline: str, part: str = "") -> Rows:
    """Rows of impossible rows, new levels and cells left out."""
    return counted_rows(COUNTED, vars(scores), part=part, unknown=BASELINES[baseline][1])


# Warnings.

SHOWN = 5  # columns in a message
OF_GROUPS = (
    "columns that are constant in a group have as many values as there are groups, so few held-out "
    "groups may differ by chance; more groups may help, more rows of the same ones do not"
)
CHANCE = 3.0  # standard errors of an AUC above 1/2
NEGLIGIBLE = 1e-3  # nats, and rounding where no network gains over a marginal
MEMORISED = 0.6  # smallest AUC of a warning


def warnings_of(config: Config, summary: TableSummary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    data = config.data
    facts = summary.facts
    are_chosen = any((data.split, data.test, data.group))
    return raised_warnings(
        ruined_fit(facts, "log_likelihood", -1) if config.is_of_flows else ruined(summary),
        mass(facts),
        few_rows(facts),
        dominated(summary.dominant_row, "test "),
        miscalibrated(summary.pit, data.group),
        memorised(summary.memorisation, are_chosen, bool(config.train.early_update)),
        copied(summary.copies),
        lost(summary.lost_relations, summary.lost_shares),
        grouped_rows(facts, data.group),
    )


def ruined(scores: Likelihood) -> ScoreWarning | None:
    """Warning if the fit is worse than independent columns.

    By 4 standard errors, or twice the half width of a 95 % interval of few rows; and 0.001 nats.
    """
    gain = scores.gain
    error = scores.gain_standard_error
    if scores.log_likelihood is None:
        return ruined_text("the fit is not finite")
    errors = SIGMAS / 2 * errors_of_95(scores.n_effective)
    if gain is None or error is None or not -gain > max(errors * error, NEGLIGIBLE):
        return None
    return ruined_text(f"worse than independent columns by {-gain:.4g} nats")


def dominated(row: DominantRow | None, part: str = "") -> ScoreWarning | None:
    """Warning of a row by which the log-likelihood is decided."""
    if row is None:
        return None
    cell = ""
    if row.column is not None:
        nats = f"{row.column_nats:.4g} below that column's median"
        cell = f" (its cell of {printable(row.column)} {nats})"
    reason = (
        f"{part}row {row.row:,} is {row.nats:.4g} nats below the median row{cell}: "
        f"{row.share:.0%} of the nats of all rows below it; without this row the log-likelihood "
        f"is {row.others_log_likelihood:.5f}"
    )
    return ScoreWarning("one row", ("log_likelihood",), reason)


def miscalibrated(pit: Pit, group: str | None) -> ScoreWarning | None:
    """Warning of columns whose PIT is not uniform; ``group``: column that groups rows."""
    beyond = [name for name, column in pit.columns.items() if column.excess > 1]
    if not beyond:
        return None
    names = ", ".join(map(printable, beyond[:SHOWN]))
    if len(beyond) > SHOWN:
        names += f" and {len(beyond) - SHOWN} more"
    remedy = "more rows or updates may help" if group is None else OF_GROUPS
    reason = (
        f"the PIT of held-out cells of {names} is not uniform, at the 1 % level over all columns; "
        f"{remedy}"
    )
    return ScoreWarning("miscalibrated", ("pit",), reason)


def memorised(
    facts: Memorisation | None, are_chosen: bool = False, has_early: bool = False
) -> ScoreWarning | None:
    """Warning if training rows are much likelier than test rows.

    The AUC of the likelihood attack must be beyond chance and above 0.6. ``are_chosen``: the test
    rows are not random; ``has_early``: early and last weights were kept.
    """
    effect = memorisation_text(facts)
    if facts is None or not effect or not (facts.auc or 0) > MEMORISED:
        return None
    mends = "--set train.early=0, " if has_early else ""
    reason = (
        f"training rows are likelier than test rows, by {effect}: no error by itself, as the "
        "validation rows decide on the networks; more rows reduce it, and, where it matters more "
        f"than log-likelihood, {mends}a larger --set train.weight_decay=… or a smaller --set "
        "cells.width=…"
    )
    if are_chosen:
        reason += "; or the test rows, which are not a random sample, have another distribution"
    return ScoreWarning("memorised", ("memorisation",), reason)


def memorisation_text(facts: Memorisation | None) -> str:
    """Excess log-likelihood of training rows and the AUC; "" if within chance."""
    if facts is None or facts.auc is None or facts.auc_standard_error is None:
        return ""
    auc = facts.auc
    error = facts.auc_standard_error
    if not auc - 0.5 > CHANCE * error:
        return ""
    nats = facts.nats
    spread = facts.nats_standard_error
    excess = "" if nats is None or spread is None else f"{nats:.3f} ± {spread:.3f} nats a row, "
    return f"{excess}AUC {auc:.3f} ± {error:.3f}"


def copied(facts: Copies | None) -> ScoreWarning | None:
    """Warning if draws repeat training rows more often than held-out rows do."""
    if not (text := copies_text(facts)):
        return None
    reason = (
        f"{text}: such draws disclose rows; try fewer updates or a larger train.weight_decay, or "
        "leave the copies out"
    )
    return ScoreWarning("copies", ("copies",), reason)


def copies_text(facts: Copies | None) -> str:
    """Shares of copies among draws and held-out rows; "" if the excess is within chance."""
    if facts is None or not facts.excess > CHANCE * facts.standard_error:
        return ""
    return (
        f"{facts.drawn:.2%} of draws equal a training row, and {facts.held_out:.2%} of test rows "
        f"(excess {facts.excess:.2%} ± {facts.standard_error:.2%})"
    )


def lost(
    relations: Sequence[LostRelation], shares: Sequence[LostShare] = ()
) -> ScoreWarning | None:
    """Warning of relations that rows have and draws lose."""
    if not (texts := lost_texts(relations, shares)):
        return None
    ending = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    reason = (
        f"{'; '.join(texts[:SHOWN])}{ending}, beyond chance at the 1 % level over all pairs: "
        "predictions and draws miss these relations; --ensemble 6 may find more of them, "
        "--target COLUMN models one column given all others"
    )
    return ScoreWarning("lost relations", ("lost_relations", "lost_shares"), reason)


def lost_texts(relations: Sequence[LostRelation], shares: Sequence[LostShare] = ()) -> list[str]:
    """Lost associations, and shares of levels, in rows and in draws, the most lost first."""
    texts = []
    for relation in relations:
        names = " and ".join(map(printable, relation.columns))
        figures = f"{relation.rows:.2f} in rows, {relation.draws:.2f} in draws"
        texts.append(f"the association of {names} is {figures}")
    for share in shares:
        figures = f"{share.rows:.0%} of rows and {share.draws:.0%} of draws"
        texts.append(f"{printable(share.level)} in {figures} where {printable(share.among)}")
    return texts


# Comparisons.

SCHEMA = TableSummary
MEASURES = (
    Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
    Measure("baseline_log_likelihood", "baseline", "nats", 4),
    Measure("gain", "gain", "nats", 4),
    Measure("gap", "gap to the truth", "nats", 4),
    Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
)
COURSE = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
CURVES = ("update", "loss", "validation_loss")
FORMATS = (".csv", ".parquet", ".npy")
BESIDE = ()
SAMPLES = None


def labels_of(config: Config) -> dict[str, Any]:
    """Given columns and baseline."""
    given = config.data.row_names.given
    baseline = "Gaussian" if config.is_of_flows else "independent"
    return {"target": None, "given": given, "baseline": baseline}


def compared_of(config: Config, summary: TableSummary) -> tuple[str, dict[str, str]]:
    """Name of the table; checksum of its rows, and base measure: equal ones are comparable."""
    return summary.data.name, {**summary.data.checksum, "measure": summary.measure[:12]}


# Arrays and pictures.

PLANE: Shapes = {
    "axis_1": "x",
    "axis_2": "y",
    "log_q": "yx",
    "samples": ("s", 2),
    "test_points": ("t", 2),
    **DEFORMATION_ARRAYS,
}
LINE: Shapes = {"axis_1": "x", "log_q": "x"}


def shapes_of(config: Config) -> Shapes:
    """Density over a grid or rows, draws, PIT, and scores by row."""
    data = config.data
    names = data.row_names
    d = len(names.modelled) + len(names.computed)
    if isinstance(config, CellsConfig):
        c = d + len(names.given)
        shapes: Shapes = {"rows": ("t", c), "draws": ("s", c), "draws_log_q": "s"}
        if data.group:
            shapes = {**shapes, "groups": "?t"}
    elif config.is_in_the_plane:
        shapes = PLANE
    else:
        shapes = {"rows": ("t", d), "samples": ("s", d), "columns_shown": "c"}
        if d == 1 and not names.given:
            shapes = {**shapes, **LINE}
    shapes = {**shapes, "pit": (len(LEVELS), d + config.is_of_flows)}
    if config.evaluate.keep_rows:
        shapes = {**shapes, **ROWS}
        if data.weights:
            shapes = {**shapes, **ROW_WEIGHTS}
    return shapes


def inconsistency_of(
    config: Config, arrays: Mapping[str, np.ndarray], summary: TableSummary
) -> str:
    """Other columns than those of the config, or cells that are none of their columns."""
    kinds = config.data.kinds or {}
    names = config.data.row_names
    columns = [*names.modelled, *names.computed]
    if len(summary.pit.columns) != arrays["pit"].shape[1]:
        return f"{EVALUATION}: damaged: pit: expected the columns of the summary"
    if config.is_of_flows:
        return inconsistency_with_columns(arrays, summary.facts, columns)
    wrong = wrong_cells(kinds, [*names.given, *columns], arrays["rows"], arrays["draws"])
    return f"{EVALUATION}: damaged: {wrong}" if wrong else ""


def wrong_cells(kinds: Mapping[str, ColumnKind], names: Sequence[str], *tables: np.ndarray) -> str:
    """First column of rows ``(n, C)`` with a cell that is none of its kind, or ""."""
    for rows in tables:
        for name, cells in zip(names, rows.T):
            if not are_cells(kinds[name], cells[~np.isnan(cells)]).all():
                return f"expected values or level indices in column {name!r}"
    return ""


def are_cells(kind: ColumnKind, cells: np.ndarray) -> np.ndarray:
    """Whether known cells ``(n,)`` are numbers to 1e150 or level indices, -1 for a new level."""
    if kind.levels is None:
        return np.abs(cells) <= LARGEST_CELL
    return np.isin(cells, np.arange(-1, len(kind.levels)))


def figures_of(
    config: Config,
    arrays: Mapping[str, np.ndarray],
    metrics: Mapping[str, np.ndarray],
    summary: Summary,
) -> dict[str, Any]:
    """Density in the plane or corner of flows, or marginals and dependence of cells; PIT and
    training.
    """
    from nflow_cli.plotting.plane import points_figures
    from nflow_cli.plotting.training_figures import likelihood_figure
    from nflow_cli.tables.pictures.table_figures import (
        pit_figure,
        table_figures,
        whole_table_figures,
    )

    pit = Pit(**summary["pit"])
    subject = f"{printable(config.subject)}, {config.model_text}"
    if isinstance(config, CellsConfig):
        kinds = config.data.kinds or {}
        names = config.data.row_names
        alone = {name: kinds[name].alone for group in names for name in group}
        figures = whole_table_figures(alone, arrays, pit, subject, len(names.given))
        return {**figures, "training": likelihood_figure(metrics, summary, subject)}
    figures_of_rows = table_figures
    if config.is_in_the_plane:
        figures_of_rows = points_figures
    figures = figures_of_rows(arrays, metrics, summary)
    return {**figures, "pit": pit_figure(arrays["pit"], pit, subject)}
