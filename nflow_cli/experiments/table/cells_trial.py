"""Trial of a density of cells: what its building, updates and scores cost in seconds."""

import time
from functools import partial

from nflow_cli.config.table import CellsConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.experiments.table.cells import COMPARED
from nflow_cli.experiments.table.cells_training import (
    AT_A_TIME,
    Parts,
    batches_of,
    build,
    filling_of,
    networks_of,
    validator,
)
from nflow_cli.experiments.table.trainer import CellChunks
from nflow_cli.random_streams import stream
from nflow_cli.runs.npz import SHOWN_SAMPLES
from nflow_cli.training.budget import Cost, pace, seconds_of

TRIAL_CELLS = 300_000  # of training rows, at most
MORE = 5  # times as many, to see what further rows cost
TIMED_BATCHES = 4  # of validation rows, at most
TIMED_ROWS = 300  # that are scored


def trial(config: CellsConfig, data: Dataset) -> Cost:
    """Time the building and the updates of the networks, and the scores by those of some rows.

    Of a large table some rows are built on; what takes longer of more rows is scaled to all.
    """
    n, most = len(data.train), TRIAL_CELLS // len(data.columns)
    few = data.thinned(most)
    start = time.perf_counter()
    parts = build(config, few)
    building = time.perf_counter() - start
    chunks = batches_of(parts, few, config)
    update, compiling = pace(parts.model, chunks)
    validating = _validating(parts, data) + _filling(parts, few, chunks) * n / len(few.train)
    each_update = validating / (config.train.chunk or 1)
    scoring, scoring_by_row = _scoring(parts, data)
    others = building + compiling + scoring
    if len(few.train) == n:
        return Cost(update + each_update, others)
    of_build = _building_by_row(config, few, data.thinned(MORE * most))
    others += of_build * (n - len(few.train))
    return Cost(update + each_update, others, n, each_update / n, of_build + scoring_by_row)


def _building_by_row(config: CellsConfig, few: Dataset, more: Dataset) -> float:
    """Seconds that each further row adds to the building, beside that of a map of columns."""
    cells = config.cells.model_copy(update={"unmixed": False})
    config = config.model_copy(update={"cells": cells})
    of_few = seconds_of(lambda: build(config, few))
    of_more = seconds_of(lambda: build(config, more))
    return max(of_more - of_few, 0.0) / (len(more.train) - len(few.train))


def _validating(parts: Parts, data: Dataset) -> float:
    """Seconds of a validation, by some batches of rows."""
    some = slice(TIMED_BATCHES * AT_A_TIME)
    rows, weights = data.validation[some], data.weights.validation
    validate = validator(parts, rows, None if weights is None else weights[some])
    validate()  # compiles
    return seconds_of(validate) * len(data.validation) / len(rows)


def _filling(parts: Parts, few: Dataset, chunks: CellChunks) -> float:
    """Seconds in which the gaps of some rows are filled once."""
    return sum(seconds_of(partial(one.fill, 0)) for one in filling_of(parts, few, chunks))


def _scoring(parts: Parts, data: Dataset) -> tuple[float, float]:
    """Seconds of the scores, and what each training row adds: test rows are a share of them."""
    density = parts.density.with_networks(networks_of(parts))
    rows = data.validation[:TIMED_ROWS]
    each = seconds_of(lambda: density.scored_rows(rows, stream(0, "pit"))) / len(rows)
    n, held_out = len(data.train), len(data.validation) + len(data.test)
    compared = sum(min(len(part), COMPARED) for part in (data.train, data.test))
    return each * (held_out + compared + min(n, SHOWN_SAMPLES)), each * held_out / n
