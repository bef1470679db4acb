"""Scores of the rows of a table by a density, of the test rows or of another table."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.files.table_files import names_of_set
from nflow_cli.data.files.tables import LOG_Q, TableFile
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import (
    Moments,
    RowScores,
    Tally,
    likelihood,
    tallied,
)
from nflow_cli.evaluation.warnings import TRAINED_ON, few_rows, grouped_rows, raised_warnings
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Answer, Judged, Judgement, Rows, without_mass
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve
from nflow_cli.tables import table_report
from nflow_cli.tables.loaded_tables import (
    OWN_TABLES,
    SPREAD_COLUMN,
    TableModel,
    TableRun,
    are_rows_of_run,
    expect_new_names,
    row_weights_in,
    spread_of,
)
from nflow_cli.tables.scores.dominance import DominantRow, dominant_row
from nflow_cli.tables.scores.pit import Pit, distribution, pit
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

Config = CellsConfig | FitConfig
WEIGHTED = "weighted"  # in a tally: tables with weights
FRESH_POINTS = 100_000  # samples of the true density
UNKNOWN = {"gap": None, "gap_standard_error": None}  # of other data


class RowDensity(Protocol):
    """Density of a table's rows, by cells or by flows."""

    def log_prob(self, rows: np.ndarray, /) -> np.ndarray:
        """Log-density ``(n,)`` in nats of rows ``(n, C)``."""
        ...


def judged(model: TableModel, config: Config, density: RowDensity, data: Dataset) -> Judged:
    """Scores of a density by the test rows, and its arrays."""
    weights = data.weights.test
    with phase(f"scoring: {len(data.test):,} test rows"):
        row_scores = model.row_scores(density, data.test, config.seed, data)
        scores = scores_of_test(model, config, density, data, row_scores, config.seed)
    with phase("preparing pictures"):
        arrays = model.arrays(density, data, config.seed, config.evaluate.keep_rows)
        arrays["pit"] = distribution(_pit_values(row_scores), weights)
        if config.evaluate.keep_rows:
            arrays["test_log_q"] = row_scores.log_density.astype(np.float64)
            if weights is not None:
                arrays["test_weights"] = weights
        return Judged(scores, arrays)


def scores_of_test(
    model: TableModel,
    config: Config,
    density: RowDensity,
    data: Dataset,
    row_scores: RowScores,
    fresh: int,
) -> dict[str, Any]:
    """All scores, by those of the test rows and samples of the truth, of the seed ``fresh``."""
    weights = data.weights.test
    further = model.further_scores(density, data, row_scores, config.seed)
    mean_scores = likelihood(tallied(row_scores, weights), computed_in(config))
    dominant = dominant_row(row_scores, weights)
    return {
        **mean_scores.model_dump(exclude_unset=True),
        "dominant_row": _recorded(dominant),
        "pit": pit_of(row_scores, weights).model_dump(),
        **gap(config, density.log_prob, data, fresh),
        **further,
    }


def _recorded(row: DominantRow | None) -> dict[str, Any] | None:
    return None if row is None else row.model_dump()


def computed_in(config: Config) -> list[str]:
    """Names of computed columns."""
    return config.data.row_names.computed


def pit_of(row_scores: RowScores, weights: np.ndarray | None) -> Pit:
    """Calibration by the scores of rows that have a PIT."""
    return pit(_pit_values(row_scores), row_scores.pit_columns, weights)


def _pit_values(row_scores: RowScores) -> np.ndarray:
    return np.empty((0, 0)) if row_scores.pit is None else row_scores.pit


def gap(
    config: Config, log_prob: Callable[[np.ndarray], np.ndarray], data: Dataset, seed: int
) -> dict[str, float | None]:
    """Gap to the truth of a built-in set of plain numbers; ``None`` of other data."""
    kinds = config.data.kinds or {}
    if not all(kinds[name].is_continuous for name in data.modelled_names):
        return {**UNKNOWN}
    return gap_to_the_truth(log_prob, data.name, seed, data.modelled_names)


def gap_to_the_truth(
    log_prob: Callable[[np.ndarray], np.ndarray], name: str, seed: int, columns: Sequence[str] = ()
) -> dict[str, float | None]:
    """``KL(p || q)`` from the density ``p`` of a built-in point set, by 100,000 fresh samples.

    ``log_prob`` returns ``log q`` ``(n,)`` in nats of points ``(n, D)``, with ``columns`` in its
    order (empty: all). ``gap``, the mean of ``log p - log q`` in nats, and its standard error are
    infinite and ``None`` if ``q`` is 0 at a sample; ``None`` for other data, and for fewer columns.
    """
    if name not in POINT_SETS:
        return {**UNKNOWN}
    points = resolve(POINT_SETS[name])()
    x = points.sample(stream(seed, "fresh"), FRESH_POINTS)
    names = names_of_set(x)
    if columns and len(columns) < len(names):
        return {**UNKNOWN}
    order = [names.index(name) for name in columns or names]
    return Moments.of(points.log_prob(x) - log_prob(x[:, order])).scores("gap")


def evaluate(run: Run, data: Dataset | TableFile, samples: int | None, seed: int) -> Judgement:
    """Score a density by the test rows of its data set, or by a table."""
    config = run.config
    trained = run.trained
    if not isinstance(data, Dataset):
        rows = trained.rows_of(data)
        return judgement(trained, data, rows, scored_table(trained, rows))
    row_scores = trained.table_model.row_scores(trained.density, data.test, config.seed, data)
    scores = scores_of_test(trained.table_model, config, trained.density, data, row_scores, seed)
    summary = table_report.SCHEMA(**{**without_mass(run.facts), **data.sizes, **scores})
    warnings = table_report.warnings_of(config, summary)
    lines = [*_head(config, config.subject), *table_report.score_rows(config, summary, warnings)]
    return Judgement(scores, lines, warnings)


def _head(config: Config, name: str) -> Rows:
    """Lines of the data and the model."""
    if config.is_of_flows:
        return [("data", name), ("flow", f"{config.model_text}, K = {config.k}")]
    return [("data", name), ("model", config.model_text)]


def scored_table(trained: TableRun, rows: np.ndarray) -> RowScores:
    """Scores of a table's rows, with progress."""
    config = trained.config
    with phase(f"scoring: {len(rows):,} rows", len(rows)) as advance:
        return trained.table_model.row_scores(trained.density, rows, config.seed, advance=advance)


def judgement(
    trained: TableRun, table: TableFile, rows: np.ndarray, row_scores: RowScores
) -> Judgement:
    """Judgement of a table by the scores of its rows."""
    weights = row_weights_in(trained, table)
    facts = {OWN_TABLES: are_rows_of_run(trained, rows), WEIGHTED: weights is not None}
    tally = tallied(row_scores, weights)
    tally = tally._replace(counts={**tally.counts, **facts})
    dominant = dominant_row(row_scores, weights)
    by_tally = judge_scores(trained.config, tally, table.name, dominant)
    if row_scores.pit is None:
        return by_tally
    calibration = pit_of(row_scores, weights).model_dump()
    return by_tally._replace(scores={**by_tally.scores, "pit": calibration})


def judge_scores(
    config: Config, tally: Tally, name: str, dominant: DominantRow | None = None
) -> Judgement:
    """Scores and warnings of a table, by sums over its rows; not of single rows of many files."""
    scores = likelihood(tally, computed_in(config))
    facts = vars(scores)
    warnings = raised_warnings(
        TRAINED_ON if tally.counts[OWN_TABLES] else None,
        few_rows(facts),
        table_report.dominated(dominant),
        grouped_rows(facts, config.data.group),
    )
    baseline = table_report.labels_of(config)["baseline"]
    lines = [*_head(config, name), ("rows", f"{scores.n:,}")]
    lines += table_report.likelihood_rows(scores, baseline, warnings)
    lines += table_report.notes(scores, baseline)
    if tally.counts[WEIGHTED]:
        lines.append(("", f"weighted by {printable(config.data.weights)}"))
    table_scores = {
        **scores.model_dump(exclude_unset=True),
        "dominant_row": _recorded(dominant),
    }
    return Judgement(table_scores, lines, warnings, tally)


def score(trained: Any, table: TableFile, with_latents: bool) -> Answer:
    """The ``log_q`` of a table's rows in nats, and their scores.

    An ensemble adds ``log_q_spread``, the standard deviation over members; ``with_latents``, of
    flows, adds ``latent_1`` … ``latent_D``.
    """
    if with_latents and not trained.config.is_of_flows:
        raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
    is_ensemble = trained.density.n_members > 1
    spread = [SPREAD_COLUMN] if is_ensemble else []
    latents = [f"latent_{i + 1}" for i in range(trained.dim)] if with_latents else []
    expect_new_names(trained, [LOG_Q, *spread, *latents])
    rows = trained.rows_of(table)
    row_scores = scored_table(trained, rows)
    added = {LOG_Q: row_scores.log_density}
    if is_ensemble:
        added |= spread_of(row_scores.members.T)
    if latents:
        added |= dict(zip(latents, trained.latent(rows).T))
    return Answer(added, judgement(trained, table, rows, row_scores))
