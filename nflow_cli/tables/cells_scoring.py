"""Scores of rows by a density of cells: by cell, memorisation, arrays of pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.evaluation.association import LostRelation, lost_relations
from nflow_cli.evaluation.tallies import Moments, RowScores
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_SAMPLES
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores
from nflow_cli.tables.losses import of_held_out
from nflow_cli.tables.scores.level_shares import LostShare, lost_shares
from nflow_cli.tables.scores.memorisation import Copies, Memorisation, copies, memorisation

COMPARED = 5_000  # training rows, and test rows, at most


def row_scores(
    density: CellDensity,
    rows: np.ndarray,
    seed: int,
    data: Dataset | None = None,
    advance: Callable[[int], None] | None = None,
) -> RowScores:
    """Scores of rows ``(n, C)``: of modelled and computed cells, beside independent columns."""
    scored = density.scored_rows(rows, stream(seed, "pit"), advance)
    are_known = density.are_known(rows)
    has_levels = np.array([column.has_levels for column in density.scored_columns])
    return RowScores(
        log_q=np.where(are_known, scored.log_q, np.nan),
        members=scored.log_q_by_member,
        baseline=np.where(are_known, scored.log_independent, np.nan),
        # An unmixed component is no column.
        columns=() if density.unmixing else density.cell_names,
        pit=scored.pit,
        pit_columns=density.cell_names,
        n_new_levels=int(((rows[:, density.n_given :] < 0) & has_levels).sum()),
    )


def further_scores(
    density: CellDensity, data: Dataset, test_scores: RowScores, seed: int
) -> dict[str, Any]:
    """Memorisation, copies, lost relations, shares of the networks beside the marginals, and losses
    of predictions of the only modelled column.
    """
    repeats = copied(density, data, seed)
    copies_record = None if repeats is None else repeats.model_dump()
    weights = data.weights.test
    if weights is not None:
        weights = weights[:SHOWN_SAMPLES]
    losses = of_held_out(density, data.test[:SHOWN_SAMPLES], weights, seed)
    relations, level_shares = lost(density, data, seed)
    shares = density.shares[:-1].sum(axis=0)
    scores = {
        "memorisation": memorised(density, data, seed).model_dump(),
        "copies": copies_record,
        "lost_relations": [relation.model_dump() for relation in relations],
        "lost_shares": [share.model_dump() for share in level_shares],
        "shares": {column.name: w for column, w in zip(density.modelled_columns, shares.tolist())},
    }
    if losses:
        scores["losses"] = losses
    return scores | _scores_of_kept(data, test_scores)


def _scores_of_kept(data: Dataset, test_scores: RowScores) -> dict[str, Any]:
    """Number of rows that a robust fit leaves out, and the log-likelihood of the test rows that are
    not as odd; empty of any other fit.
    """
    if data.odd_rows is None:
        return {}
    are_kept = ~np.isin(data.row_numbers.test, data.odd_rows.test)
    weights = data.weights.test
    if weights is not None:
        weights = weights[are_kept]
    log_q = Moments.of(test_scores.log_density[are_kept], weights)
    counts = {"n_left_out": data.n_left_out, "n_odd_test": len(data.odd_rows.test)}
    return {**counts, **log_q.scores("kept_log_likelihood")}


def arrays(
    density: CellDensity, data: Dataset, seed: int, keep_rows: bool
) -> dict[str, np.ndarray]:
    """Test rows, if ``keep_rows``, and draws with their log-density."""
    n_kept = SHOWN_SAMPLES if keep_rows else 0
    given = np.resize(data.test, (min(SHOWN_SAMPLES, len(data.train)), data.test.shape[1]))
    draws = density.draw(given, stream(seed, "shown"))
    rows = {"rows": data.test[:n_kept]}
    if data.test_groups is not None:
        rows["groups"] = data.test_groups[:n_kept]
    return {**rows, "draws": draws, "draws_log_q": density.log_prob(draws)}


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
    train = _sampled_places(of_train, rng)
    test = _sampled_places(of_test, rng)
    rows = np.concatenate([data.train[train], data.test[test]])
    gains = gains_of(density, rows)
    train_weights = None if data.weights.train is None else data.weights.train[train]
    test_weights = None if data.weights.test is None else data.weights.test[test]
    n = len(train)
    return memorisation(gains[:n], gains[n:], train_weights, test_weights)


def gains_of(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Gains ``(n,)`` in nats of rows ``(n, C)`` over independent columns; -inf if impossible."""
    (gains,) = density.by_blocks(_gains, rows)
    return gains


def _gains(block: CellScores) -> tuple[np.ndarray]:
    with np.errstate(invalid="ignore"):  # of a row that neither can have
        gains = (block.log_q - block.by_marginals).sum(axis=1)
    return (np.nan_to_num(gains, nan=-np.inf, neginf=-np.inf),)


def copied(density: CellDensity, data: Dataset, seed: int) -> Copies | None:
    """Copies of training rows among 5,000 draws, at the given columns of test rows."""
    if not len(data.test):
        return None
    at = np.full((COMPARED, data.train.shape[1]), np.nan)
    at[:, : density.n_given] = np.resize(data.test, at.shape)[:, : density.n_given]
    draws = density.draw(at, stream(seed, "copies"))
    return copies(data.train, draws, data.test)


def lost(
    density: CellDensity, data: Dataset, seed: int
) -> tuple[list[LostRelation], list[LostShare]]:
    """Relations of training and validation rows that 5,000 draws, at their given columns, lose, and
    shares of levels in bins of other columns.
    """
    rng = stream(seed, "relations")
    rows = np.concatenate([data.train, data.validation])
    parts = [part for part in (data.weights.train, data.weights.validation) if part is not None]
    weights = np.concatenate(parts) if parts else None
    at = np.full((COMPARED, rows.shape[1]), np.nan)
    shares = None if weights is None else weights / weights.sum()
    chosen = rng.choice(len(rows), COMPARED, p=shares)
    at[:, : density.n_given] = rows[chosen, : density.n_given]
    draws = density.draw(at, rng)
    kinds = {column.name: column.kind.alone for column in density.row_columns}
    relations = lost_relations(kinds, rows, draws, rng, weights, density.n_given)
    return relations, lost_shares(kinds, rows, draws, weights, density.n_given)


def _are_comparable(
    density: CellDensity, rows: np.ndarray, train: np.ndarray, least: int
) -> np.ndarray:
    """Which rows ``(n,)`` have only levels of more than ``least`` training rows."""
    are_comparable = np.ones(len(rows), bool)
    for place, column in enumerate(density.row_columns):
        if place < density.n_given or not column.has_levels:
            continue
        cells = rows[:, place]
        codes = train[:, place]
        levels, counts = np.unique(codes[codes >= 0], return_counts=True)
        are_comparable &= np.isnan(cells) | np.isin(cells, levels[counts > least])
    return are_comparable


def _sampled_places(comparable: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of at most 5,000 of the comparable rows."""
    places = np.flatnonzero(comparable)
    if len(places) <= COMPARED:
        return places
    return np.sort(rng.choice(places, COMPARED, replace=False))
