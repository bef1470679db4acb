"""Scores of the rows of a table by a density, of the test rows or of another table."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.kinds import row_names
from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.data.table_files import names_of_set
from nflow_cli.data.tables import LOG_Q, TableFile
from nflow_cli.errors import DataError
from nflow_cli.evaluation.dominance import DominantRow, dominant_row
from nflow_cli.evaluation.pit import Pit, distribution, pit
from nflow_cli.evaluation.tallies import (
    Moments,
    RowScores,
    Tally,
    likelihood,
    tallied,
)
from nflow_cli.evaluation.warnings import TRAINED_ON, few_rows, grouped_rows
from nflow_cli.evaluation.warnings import raised_warnings as told
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Answer, Judged, Judgement, Rows, without_mass
from nflow_cli.experiments.table import model_of, report
from nflow_cli.experiments.table.tables import (
    OWN,
    SPREAD,
    TableRun,
    are_own,
    expect_room,
    spread_of,
    weights_in,
)
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS, resolve
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

Config = CellsConfig | FitConfig
WEIGHTED = "weighted"  # in a tally: tables with weights
FRESH_POINTS = 100_000  # samples of the true density
UNKNOWN = {"gap": None, "gap_standard_error": None}  # of other data


def judged(config: Config, density: Any, data: Dataset) -> Judged:
    """Scores of a density by the test rows, and its arrays."""
    model, keeps_rows = model_of(config), config.evaluate.keep_rows
    with phase(f"scoring: {len(data.test):,} test rows"):
        found = model.row_scores(density, data.test, config.seed, data)
        scores = scores_of_test(config, density, data, found, config.seed)
    with phase("preparing pictures"):
        arrays = model.arrays(config, density, data)
        arrays["pit"] = distribution(found.pit, data.weights.test)
        if keeps_rows:
            arrays["test_log_q"] = found.log_density.astype(np.float64)
        if keeps_rows and data.weights.test is not None:
            arrays["test_weights"] = data.weights.test
        return Judged(scores, arrays)


def scores_of_test(
    config: Config, density: Any, data: Dataset, found: RowScores, fresh: int
) -> dict[str, Any]:
    """All scores, by those of the test rows and samples of the truth, of the seed ``fresh``."""
    further = model_of(config).further_scores(density, data, found, config.seed)
    known = likelihood(tallied(found, data.weights.test), computed_in(config))
    dominant = dominant_row(found, data.weights.test)
    return {
        **known.model_dump(exclude_unset=True),
        "dominant_row": None if dominant is None else dominant.model_dump(),
        "pit": pit_of(found, data.weights.test).model_dump(),
        **gap(config, density.log_prob, data, fresh),
        **further,
    }


def computed_in(config: Config) -> list[str]:
    """Names of computed columns."""
    return row_names(config.data.kinds or {}, config.data.given).computed


def pit_of(found: RowScores, weights: np.ndarray | None) -> Pit:
    """Calibration by the scores of rows that have a PIT."""
    values = np.empty((0, 0)) if found.pit is None else found.pit
    return pit(values, found.pit_columns, weights)


def gap(config: Config, log_prob: Any, data: Dataset, seed: int) -> dict[str, float | None]:
    """Gap to the truth of a built-in set of plain numbers; ``None`` of other data."""
    kinds = config.data.kinds or {}
    if not all(kinds[name].is_continuous for name in data.modelled):
        return {**UNKNOWN}
    return gap_to_the_truth(log_prob, data.name, seed, data.modelled)


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


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Score a density by the test rows of its data set, or by a table."""
    config, trained = run.config, run.trained
    if not isinstance(data, Dataset):
        rows = trained.rows_of(data)
        return judgement(trained, data, rows, scored_table(trained, rows))
    found = model_of(config).row_scores(trained.density, data.test, config.seed, data)
    scores = scores_of_test(config, trained.density, data, found, seed)
    summary = report.SCHEMA(**{**without_mass(run.facts), **data.sizes, **scores})
    warnings = report.warnings_of(config, summary)
    rows = [*_head(config, config.subject), *report.score_rows(config, summary, warnings)]
    return Judgement(scores, rows, warnings)


def _head(config: Config, name: str) -> Rows:
    size = f", K = {config.k}" if config.is_of_flows else ""
    return [("data", name), ("flow" if size else "model", f"{config.model_text}{size}")]


def scored_table(trained: TableRun, rows: np.ndarray) -> RowScores:
    """Scores of a table's rows, with progress."""
    config = trained.config
    with phase(f"scoring: {len(rows):,} rows", len(rows)) as advance:
        return model_of(config).row_scores(trained.density, rows, config.seed, advance=advance)


def judgement(trained: TableRun, table: TableFile, rows: np.ndarray, found: RowScores) -> Judgement:
    """Judgement of a table by the scores of its rows."""
    weights = weights_in(trained, table)
    tally, dominant = tallied(found, weights), dominant_row(found, weights)
    facts = {OWN: are_own(trained, rows), WEIGHTED: weights is not None}
    tally = tally._replace(counts={**tally.counts, **facts})
    judged = judge_scores(trained.config, tally, table.name, dominant)
    of_pit = {} if found.pit is None else {"pit": pit_of(found, weights).model_dump()}
    return judged._replace(scores={**judged.scores, **of_pit})


def judge_scores(
    config: Config, found: Tally, name: str, dominant: DominantRow | None = None
) -> Judgement:
    """Scores and warnings of a table, by sums over its rows; not of single rows of many files."""
    scores = likelihood(found, computed_in(config))
    own, facts = TRAINED_ON if found.counts[OWN] else None, vars(scores)
    decided = report.dominated(dominant)
    warnings = told(own, few_rows(facts), decided, grouped_rows(facts, config.data.group))
    baseline = report.labels_of(config)["baseline"]
    lines = [*_head(config, name), ("rows", f"{scores.n:,}")]
    lines += report.likelihood_rows(scores, baseline, warnings) + report.notes(scores, baseline)
    if found.counts[WEIGHTED]:
        lines.append(("", f"weighted by {printable(config.data.weights)}"))
    of_rows = {"dominant_row": None if dominant is None else dominant.model_dump()}
    return Judgement({**scores.model_dump(exclude_unset=True), **of_rows}, lines, warnings, found)


def score(trained: Any, table: TableFile, with_latents: bool) -> Answer:
    """The ``log_q`` of a table's rows in nats, and their scores.

    An ensemble adds ``log_q_spread``, the standard deviation over members; ``with_latents``, of
    flows, adds ``latent_1`` … ``latent_D``.
    """
    is_ensemble = trained.density.members > 1
    if with_latents and not trained.config.is_of_flows:
        raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
    names = [f"latent_{i + 1}" for i in range(trained.dim if with_latents else 0)]
    expect_room(trained, [LOG_Q, *([SPREAD] if is_ensemble else []), *names])
    rows = trained.rows_of(table)
    found = scored_table(trained, rows)
    added = {LOG_Q: found.log_density}
    added |= spread_of(found.members.T) if is_ensemble else {}
    added |= dict(zip(names, trained.latent(rows).T)) if names else {}
    return Answer(added, judgement(trained, table, rows, found))
