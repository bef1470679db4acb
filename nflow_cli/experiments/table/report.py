"""Summary of a fit of flows to a table: warnings, printed rows, pictures."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from nflow_cli.config.strict import MAX_COLUMNS, Count, Error, Figure, Strict, Text
from nflow_cli.config.table import FitConfig
from nflow_cli.evaluation.warnings import (
    ScoreWarning,
    errors_of_95,
    few_rows,
    found,
    grouped_rows,
    marked,
    mass,
    number,
    ruined_fit,
)
from nflow_cli.experiments.rows import (
    Rows,
    Summary,
    Warnings,
    flow_row,
    gap_rows,
    inconsistency_with_columns,
    likelihood_rows,
    mass_row,
    mean_text,
    training_text,
)
from nflow_cli.experiments.summary import (
    Course,
    DataRecord,
    Measure,
    UpdatesSummary,
    checksum_of_data,
)
from nflow_cli.runs.npz import ROW_WEIGHTS, ROWS, STRIP, Shapes
from nflow_cli.text import printable


class Normality(Strict):
    """Distances of latents from ``N(0, I)``, of :mod:`nflow_cli.evaluation.normality`."""

    worst_column: Text | None
    distance: Error
    band: Error
    radius_distance: Error
    radius_band: Error
    n: Count
    n_lost: Count
    member: Count | None = None


class OfTableSummary(UpdatesSummary):
    """Scores of any fit to a table, in nats a test row.

    Attributes:
        best_update: Update of the kept weights, the latest of several members.
        log_likelihood: Mean ``log q``.
        n_effective: Effective sample size in that mean.
        gain: Mean ``log q`` less that of the baseline, paired by row.
        gap: Mean ``log p - log q`` over fresh points of a built-in set, else ``None``.
    """

    target: None
    data: DataRecord
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    given: list[Text] = Field(max_length=MAX_COLUMNS)
    best_update: Count
    n_train: Count
    n_validation: Count
    n_test: Count
    log_likelihood: Figure
    log_likelihood_standard_error: Error
    n_effective: Figure
    gain: Figure
    gain_standard_error: Error
    gap: Figure
    gap_standard_error: Error


class TableSummary(OfTableSummary):
    """Scores of flows fitted to a table, in nats a test row.

    Attributes:
        gaussian_log_likelihood: Mean of the Gaussian of the training rows, the baseline.
        base_log_likelihood: Mean of the base without a flow.
        member_spread: Mean standard deviation of ``log q`` over members.
        mass: ``∫ q`` of two columns, over a grid.
    """

    base: Text
    gaussian_log_likelihood: Figure
    gaussian_log_likelihood_standard_error: Error
    base_log_likelihood: Figure
    base_log_likelihood_standard_error: Error
    normality: Normality
    member_log_likelihoods: list[Figure] = Field(default=[])
    member_spread: Error = None
    mass: Figure = None
    mass_error: Error = None


def rows_of(config: FitConfig, summary: Summary, warnings: Warnings) -> Rows:
    """Rows printed after training."""
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        flow_row(summary),
        *held_out_rows(summary, warnings),
        *([mass_row(summary, warnings)] if "mass" in summary else []),
        ("training", f"{training_text(summary, config.length)}; best after {_best_text(summary)}"),
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


PLANE: Shapes = {
    **{"axis_1": "x", "axis_2": "y", "log_q": "yx", "samples": ("s", 2)},
    **{"test_points": ("t", 2), **STRIP},
}
LINE: Shapes = {"axis_1": "x", "log_q": "x"}


def shapes_of_rows(dim: int, is_conditional: bool) -> Shapes:
    """Array shapes of pictures of rows with D = ``dim`` columns."""
    rows: Shapes = {"rows": ("t", dim), "samples": ("s", dim)}
    return {**rows, "columns_shown": "c", **(LINE if dim == 1 and not is_conditional else {})}


SCHEMA = TableSummary
MEASURES = (
    Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
    Measure("gaussian_log_likelihood", "Gaussian", "nats", 4),
    Measure("gap", "gap to the truth", "nats", 4),
    Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
)
COURSE = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
CURVES = ("update", "loss", "validation_loss")
FORMATS, BESIDE, SAMPLES = (".csv", ".parquet", ".npy"), (), None


def labels_of(config: FitConfig) -> dict[str, Any]:
    """Base and given columns."""
    return {"target": None, "base": config.base_name, "given": config.given}


def warnings_of(config: FitConfig, summary: Summary) -> list[ScoreWarning]:
    """Warnings about the scores."""
    every = ruined_fit(summary, "log_likelihood", -1), mass(summary), few_rows(summary)
    return found(*every, grouped_rows(summary, config.data.group))


def subject_of(config: Any, summary: Summary) -> str:
    """Name of the table."""
    return summary["data"]["name"]


def settings_of(config: FitConfig, summary: Summary) -> dict[str, str]:
    """Checksum of the rows."""
    return checksum_of_data(summary)


def shapes_of_scores(config: Any) -> Shapes:
    """Shapes of the arrays by test row, if the run keeps them."""
    if not config.evaluate.keep_rows:
        return {}
    return {**ROWS, **(ROW_WEIGHTS if config.data.weights else {})}


def shapes_of(config: FitConfig) -> Shapes:
    """Density over a grid or rows, draws, and scores by row."""
    shown = PLANE
    if not config.is_in_the_plane:
        shown = shapes_of_rows(config.dim, bool(config.given))
    return {**shown, **shapes_of_scores(config)}


def inconsistency_of(config: FitConfig, arrays: Mapping[str, Any], summary: Summary) -> str:
    """Other columns than those of the config."""
    return inconsistency_with_columns(arrays, summary, config.columns)


def figures_of(
    config: FitConfig, arrays: Mapping[str, Any], metrics: Mapping[str, Any], summary: Summary
) -> dict[str, Any]:
    """Density in the plane, or corner and marginals; latents and training."""
    from nflow_cli import plotting

    figures = plotting.points_figures if config.is_in_the_plane else plotting.table_figures
    return figures(arrays, metrics, summary)
