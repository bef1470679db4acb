"""Scores of a density of cells: of test rows or another table, memorisation, arrays of pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.kinds import row_names
from nflow_cli.config.table import CellsConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.data.tables import LOG_Q, TableFile
from nflow_cli.densities.cells.density import CellDensity, RowScores, Scored
from nflow_cli.errors import DataError
from nflow_cli.evaluation.association import LostRelation, lost_relations
from nflow_cli.evaluation.likelihood import likelihood_of, tallied
from nflow_cli.evaluation.memorisation import Copies, Memorisation, copies, memorisation
from nflow_cli.evaluation.pit import pit
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.truth import UNKNOWN, gap_to_the_truth
from nflow_cli.experiments.cells import report
from nflow_cli.experiments.cells.report import Scores
from nflow_cli.experiments.rows import Answer, Judgement
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.summary import Judged
from nflow_cli.experiments.table.tables import (
    OWN,
    SPREAD,
    are_own,
    expect_room,
    spread_of,
    warnings_of,
    weights_in,
)
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_SAMPLES
from nflow_cli.training.progress import phase

Estimates = Mapping[str, np.ndarray]
BASELINE, ALONE = "independent", "log_independent"  # in a tally


def scored(
    density: CellDensity,
    rows: np.ndarray,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> Scored:
    """Scores of rows ``(n, C)`` by a density."""
    return density.scored_rows(rows, stream(seed, "pit"), advance)


def estimates(density: CellDensity, rows: np.ndarray, found: Scored) -> dict[str, np.ndarray]:
    """Estimates of rows ``(n, C)`` by their scores, from which those of the table are computed.

    Returns:
        ``log_q`` and ``log_independent`` ``(n, D)``, log-probabilities in nats of modelled and
        computed cells by the density and by independent columns, NaN if unknown; ``pit``
        ``(n, D)``; ``members`` ``(n, R)``, log-densities of members; ``new_levels`` ``(n,)``,
        numbers of cells with a level of no training row.
    """
    known = density.are_known(rows)
    has_levels = np.array([not column.has_numbers for column in density.scored])
    is_new = (rows[:, density.n_given :] < 0) & has_levels
    return {
        "log_q": np.where(known, found.log_q, np.nan),
        "log_independent": np.where(known, found.log_independent, np.nan),
        "pit": found.pit,
        "members": found.members,
        "new_levels": is_new.sum(axis=1).astype(float),
    }


def tally(density: CellDensity, estimated: Estimates, weights: np.ndarray | None = None) -> Tally:
    """Sums of scores over rows, by :func:`estimates` of them, with weights ``(n,)``."""
    columns, independent = density.cell_names, estimated["log_independent"]
    judged = tallied(estimated["log_q"], columns, {BASELINE: independent}, weights)
    alone = tallied(independent, columns, {}, weights).means[LOG_Q]
    counts = {**judged.counts, "n_new_levels": int(estimated["new_levels"].sum())}
    return Tally({**judged.means, ALONE: alone}, counts)


def figures(found: Tally, is_unmixed: bool, computed: Sequence[str]) -> dict[str, Any]:
    """Scores by their :func:`tally`: all but the PIT; ``computed``: names of computed columns."""
    judged = likelihood_of(found, [BASELINE])
    alone = likelihood_of(Tally({LOG_Q: found.means[ALONE]}, found.counts), [])
    gain = judged.gains[BASELINE]
    means = [gain.columns[name].mean for name in computed]
    of_computed = [mean for mean in means if mean is not None]
    return {
        "log_likelihood": judged.mean,
        "log_likelihood_standard_error": judged.standard_error,
        "n_effective": judged.n_effective,
        "n_impossible": judged.n_impossible,
        "n_unknown": judged.n_unknown,
        "n_new_levels": found.counts["n_new_levels"],
        "independent_log_likelihood": alone.mean,
        "independent_log_likelihood_standard_error": alone.standard_error,
        "gain": gain.mean,
        "gain_standard_error": gain.standard_error,
        "computed_gain": sum(of_computed) if of_computed else None,
        # An unmixed component is no column.
        "column_gains": {} if is_unmixed else gain.columns,
    }


def scores(density: CellDensity, estimated: Estimates, weights: np.ndarray | None = None) -> Scores:
    """Scores of a density by :func:`estimates` of rows, with weights ``(n,)``."""
    computed = [one.column.name for one in density.computed]
    facts = figures(tally(density, estimated, weights), bool(density.unmixing), computed)
    return Scores(**facts, pit=pit(estimated["pit"], density.cell_names, weights))


def held_out(
    density: CellDensity, data: Dataset, estimated: Estimates, seed: int, fresh: int | None = None
) -> dict[str, Any]:
    """All scores, by :func:`estimates` of the test rows and samples of the truth.

    ``fresh``: seed of the latter (``None``: the same).
    """
    return {
        **scores(density, estimated, data.weights.test).model_dump(),
        **gap(density, data.name, seed if fresh is None else fresh),
        "memorisation": memorised(density, data, seed).model_dump(),
        "copies": None if (found := copied(density, data, seed)) is None else found.model_dump(),
        "lost_relations": [one.model_dump() for one in lost(density, data, seed)],
    }


def judged(config: CellsConfig, density: CellDensity, data: Dataset) -> Judged:
    """Scores of a density by the test rows, and its arrays."""
    with phase(f"scoring: {len(data.test):,} test rows"):
        estimated = estimates(density, data.test, scored(density, data.test, config.seed))
        found = held_out(density, data, estimated, config.seed)
    with phase("preparing pictures"):
        shown = pictures(density, data, estimated, config.seed, config.evaluate.keep_rows)
    return Judged({**found, "shares": mean_shares(density)}, shown)


def mean_shares(density: CellDensity) -> dict[str, float]:
    """Mean weight of the networks beside each column's marginal."""
    shares = np.mean([member.shares for member in density.networks], axis=0)
    return {column.name: float(share) for column, share in zip(density.modelled, shares)}


def gap(density: CellDensity, name: str, seed: int) -> dict[str, float | None]:
    """Gap to the truth of a built-in set without atoms or given columns, ``None`` if not finite."""
    are_numbers = all(c.kind.is_continuous for c in density.row)
    if density.n_given or density.computed or not are_numbers:
        return {**UNKNOWN}
    columns = [column.name for column in density.row]
    found = gap_to_the_truth(lambda x: CellDensity.log_prob(density, x), name, seed, columns)
    is_finite = all(value is not None and math.isfinite(value) for value in found.values())
    return found if is_finite else {**UNKNOWN}


COMPARED = 5_000  # training rows, and test rows, at most


def memorised(density: CellDensity, data: Dataset, seed: int) -> Memorisation:
    """Compare gains of at most 5,000 training rows and 5,000 test rows, sampled at random.

    The gain over independent columns: log q alone knows new values, which no training row has.
    Rows with a level of no other training row are left out: it makes a test row unlikely without
    memorisation. So are test rows with an unknown cell: log q has fewer terms.
    """
    rng = stream(seed, "memorisation")
    of_train = _are_comparable(density, data.train, data.train, 1)
    of_test = _are_comparable(density, data.test, data.train, 0)
    of_test &= density.are_known(data.test).all(axis=1)
    train, test = (_places(comparable, rng) for comparable in (of_train, of_test))
    rows = np.concatenate([data.train[train], data.test[test]])
    (gains,) = density.by_blocks(_gains, rows)
    u, v = data.weights.train, data.weights.test
    weights = None if u is None else u[train], None if v is None else v[test]
    return memorisation(gains[: len(train)], gains[len(train) :], *weights)


def _gains(block: RowScores) -> tuple[np.ndarray]:
    with np.errstate(invalid="ignore"):  # of a row that neither can have
        gains = (block.by_mixture - block.by_marginals).sum(axis=1)
    return (np.nan_to_num(gains, nan=-np.inf, neginf=-np.inf),)


def copied(density: CellDensity, data: Dataset, seed: int) -> Copies | None:
    """Copies of training rows among 5,000 draws, at the given columns of test rows."""
    if not len(data.test):
        return None
    at = np.full((COMPARED, data.train.shape[1]), np.nan)
    at[:, : density.n_given] = np.resize(data.test, at.shape)[:, : density.n_given]
    draws = density.draw(at, stream(seed, "copies"))
    return copies(data.train, draws, data.test)


def lost(density: CellDensity, data: Dataset, seed: int) -> list[LostRelation]:
    """Relations of training and validation rows that 5,000 draws, at their given columns, lose."""
    rng = stream(seed, "relations")
    rows = np.concatenate([data.train, data.validation])
    parts = [part for part in (data.weights.train, data.weights.validation) if part is not None]
    weights = np.concatenate(parts) if parts else None
    at = np.full((COMPARED, rows.shape[1]), np.nan)
    shares = None if weights is None else weights / weights.sum()
    chosen = rng.choice(len(rows), COMPARED, p=shares)
    at[:, : density.n_given] = rows[chosen, : density.n_given]
    draws, kinds = density.draw(at, rng), {c.name: c.kind.alone for c in density.row}
    return lost_relations(kinds, rows, draws, rng, weights, density.n_given)


def _are_comparable(
    density: CellDensity, rows: np.ndarray, train: np.ndarray, own: int
) -> np.ndarray:
    """Which rows ``(n,)`` have only levels of more than ``own`` training rows."""
    found = np.ones(len(rows), bool)
    for place, column in enumerate(density.row):
        if place < density.n_given or column.has_numbers:
            continue
        seen, codes = train[:, place], np.nan_to_num(rows[:, place], nan=-2.0).astype(int)
        counts = np.bincount(seen[seen >= 0].astype(int), minlength=len(column.first))
        found &= (codes == -2) | ((codes >= 0) & (counts[codes] > own))
    return found


def _places(comparable: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places = np.flatnonzero(comparable)
    if len(places) <= COMPARED:
        return places
    return np.sort(rng.choice(places, COMPARED, replace=False))


def pictures(
    density: CellDensity,
    data: Dataset,
    estimated: Mapping[str, np.ndarray],
    seed: int,
    keeps_rows: bool,
) -> dict[str, np.ndarray]:
    """Test rows, draws with their log-density, and the PIT of test cells."""
    rows = data.test[:SHOWN_SAMPLES] if keeps_rows else data.test[:0]
    given = np.resize(data.test, (min(SHOWN_SAMPLES, len(data.train)), data.test.shape[1]))
    draws = density.draw(given, stream(seed, "shown"))
    shown = {"rows": rows, "draws": draws, "draws_log_q": density.log_prob(draws)}
    shown["pit"] = estimated["pit"][:SHOWN_SAMPLES]
    if not keeps_rows:
        return shown
    log_q = np.nan_to_num(estimated["log_q"], nan=0.0, neginf=-np.inf).sum(axis=1)
    weights = {} if data.weights.test is None else {"test_weights": data.weights.test}
    return {**shown, "test_log_q": log_q, **weights}


def evaluate(run: Run, data: Any, samples: None, seed: int) -> Judgement:
    """Score a density by the test rows of its data set, or by a table."""
    config, trained = run.config, run.trained
    if not isinstance(data, Dataset):
        return judged_table(trained, data)
    found = scored(trained, data.test, config.seed)
    estimated = estimates(trained, data.test, found)
    scores = held_out(trained, data, estimated, config.seed, seed)
    facts = {**data.sizes, **scores}
    found = report.warnings_of(config, facts)
    rows = report.verdict_of(facts, found) + report.pit_rows(facts, found)
    rows += report.memorisation_rows(facts, found) + report.copies_rows(facts, found)
    rows += report.lost_rows(facts, found)
    head = [("data", config.subject), ("model", config.model_text)]
    return Judgement(scores, head + rows + report.notes(facts), found)


def judged_table(trained: Any, table: TableFile) -> Judgement:
    """Score a density by the rows of a table, with weights if known."""
    rows = trained.rows_of(table)
    return judgement(trained, table, rows, scored_table(trained, rows))


def scored_table(trained: Any, rows: np.ndarray) -> Scored:
    """Scores of a table's rows, with progress."""
    with phase(f"scoring: {len(rows):,} rows", len(rows)) as advance:
        return scored(trained, rows, trained.config.seed, advance)


def judgement(trained: Any, table: TableFile, rows: np.ndarray, scores: Scored) -> Judgement:
    """Judgement of a table by the scores of its rows."""
    estimated, weights = estimates(trained, rows, scores), weights_in(trained, table)
    means, counts, _ = tally(trained, estimated, weights)
    found = Tally(means, {**counts, OWN: are_own(trained, rows)})
    judged = judge_scores(trained.config, found, table.name)
    of_cells = pit(estimated["pit"], trained.cell_names, weights).model_dump()
    return judged._replace(scores={**judged.scores, "pit": of_cells})


def judge_scores(config: CellsConfig, found: Tally, name: str) -> Judgement:
    """Judgement of a table's rows by the sums over them."""
    computed = row_names(config.data.kinds or {}, config.data.given).computed
    gains = figures(found, bool(config.cells.unmixed), computed)
    columns = {name: mean.model_dump() for name, mean in gains["column_gains"].items()}
    scores = {**gains, "column_gains": columns, "n": found.counts["n"]}
    warnings = warnings_of(found, scores, config.data.group)
    shown = report.verdict_of(scores, warnings, "") + report.notes(scores, "")
    of_model = ("data", name), ("model", config.model_text)
    lines = [*of_model, ("rows", f"{scores['n']:,}"), *shown]
    return Judgement(scores, lines, warnings, found)


def score(trained: Any, table: TableFile, with_latents: bool) -> Answer:
    """The ``log_q`` of a table's rows in nats, of an ensemble with the standard deviation over
    members, and their scores.
    """
    if with_latents:
        raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
    expect_room(trained, [LOG_Q, *([SPREAD] if trained.members > 1 else [])])
    rows = trained.rows_of(table)
    found = scored_table(trained, rows)
    spread = spread_of(found.members.T) if trained.members > 1 else {}
    log_q = np.where(trained.are_known(rows), found.log_q, 0.0).sum(axis=1)
    return Answer({LOG_Q: log_q, **spread}, judgement(trained, table, rows, found))
