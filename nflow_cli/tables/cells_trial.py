"""Trial of a density of cells: what its building, updates and scores cost in seconds."""

import time
from functools import partial

import numpy as np

from nflow_cli.config.table import CellsConfig
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_SAMPLES
from nflow_cli.tables.cells_scoring import COMPARED
from nflow_cli.tables.cells_trainer import CellChunks
from nflow_cli.tables.cells_training import (
    BATCH_ROWS,
    BuiltCells,
    batches_of,
    build,
    filling_of,
    masked_networks,
    validator,
)
from nflow_cli.training.budget import Cost, pace, seconds_of

TRIAL_CELLS = 300_000  # of training rows, at most
TIMES_AS_MANY = 5  # rows, to see what further rows cost
TIMED_BATCHES = 4  # of validation rows, at most
TIMED_ROWS = 300  # that are scored


def trial(config: CellsConfig, data: Dataset) -> Cost:
    """Time the building and the updates of the networks, and the scores by those of some rows.

    Of a large table some rows are built on; what takes longer of more rows is scaled to all.
    """
    n = len(data.train)
    few_rows = TRIAL_CELLS // len(data.columns)
    few = data.thinned(few_rows)
    start = time.perf_counter()
    built = build(config, few)
    building = time.perf_counter() - start
    chunks = batches_of(built, few, config.train, config.seed)
    update, compiling = pace(built.model, chunks)
    validating = _validating(built, data) + _filling(built, few, chunks) * n / len(few.train)
    validating_an_update = validating / (config.train.chunk or 1)
    scoring, scoring_a_row = _scoring(built, data)
    beside_updates = building + compiling + scoring
    if len(few.train) == n:
        return Cost(update + validating_an_update, beside_updates)
    building_a_row = _building_a_row(config, few, data.thinned(TIMES_AS_MANY * few_rows))
    return Cost(
        update + validating_an_update,
        beside_updates + building_a_row * (n - len(few.train)),
        n,
        validating_an_update / n,
        building_a_row + scoring_a_row,
    )


def _building_a_row(config: CellsConfig, few: Dataset, larger: Dataset) -> float:
    """Seconds that each further row adds to the building, beside that of a map of columns."""
    cells = config.cells.model_copy(update={"unmixed": False})
    config = config.model_copy(update={"cells": cells})
    of_few = seconds_of(lambda: build(config, few))
    of_larger = seconds_of(lambda: build(config, larger))
    return max(of_larger - of_few, 0.0) / (len(larger.train) - len(few.train))


def _validating(built: BuiltCells, data: Dataset) -> float:
    """Seconds of a validation, by some batches of rows."""
    timed = slice(TIMED_BATCHES * BATCH_ROWS)
    rows = data.validation[timed]
    weights = data.weights.validation
    validate = validator(built, rows, None if weights is None else weights[timed])
    validate()  # compiles
    return seconds_of(validate) * len(data.validation) / len(rows)


def _filling(built: BuiltCells, few: Dataset, chunks: CellChunks) -> float:
    """Seconds in which the gaps of some rows are filled once."""
    return sum(seconds_of(partial(filling.fill, 0)) for filling in filling_of(built, few, chunks))


def _scoring(built: BuiltCells, data: Dataset) -> tuple[float, float]:
    """Seconds of the scores, and what each training row adds: test rows are a share of them."""
    networks = masked_networks(built)
    count = len(networks) + 1
    shares = np.full((count, len(built.density.marginals)), 1 / count)
    density = built.density.with_networks(networks, shares)
    rows = data.validation[:TIMED_ROWS]
    n = len(data.train)
    a_row = seconds_of(lambda: density.scored_rows(rows, stream(0, "pit"))) / len(rows)
    n_held_out = len(data.validation) + len(data.test)
    n_compared = min(n, COMPARED) + min(len(data.test), COMPARED)
    n_scored = n_held_out + n_compared + min(n, SHOWN_SAMPLES)
    return a_row * n_scored, a_row * n_held_out / n
