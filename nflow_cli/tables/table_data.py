"""Table that a density is fitted to."""

import os
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from nflow_cli.config import presets
from nflow_cli.config.table import CellsConfig, FitConfig, TableData, Tails
from nflow_cli.constants import RUN
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.files.tables import TableFile
from nflow_cli.data.kinds.dataset import ODD_ROWS, Dataset, load_dataset
from nflow_cli.data.kinds.found_rules import rules_of
from nflow_cli.data.points import Parts
from nflow_cli.errors import ConfigError, DataError, RunDirectoryError
from nflow_cli.experiments.recorded_data import (
    found_again,
    is_named,
    place_of,
    record_of_data,
    record_of_tests,
)
from nflow_cli.experiments.run import Run
from nflow_cli.runs.directory import CONFIG
from nflow_cli.tables.cells.fitting import fitted_columns
from nflow_cli.tables.cells.unmixing import are_better, fit_unmixing
from nflow_cli.tables.robust import note_of_odd_rows, without_odd_rows
from nflow_cli.terminal.progress import phase

TableConfigT = TypeVar("TableConfigT", CellsConfig, FitConfig)
GAPS = 0.1  # least share of training rows with gaps, of which some are filled in training
FILLED = 0.5  # share of a batch, then


def tails_of(config: CellsConfig | FitConfig) -> Tails | None:
    """Transform of tails before flows; ``None`` without flows."""
    return config.units.tails if isinstance(config, FitConfig) else None


def load(config: CellsConfig | FitConfig, table: TableFile | None = None) -> Dataset:
    """Rows of a config, of its table or of ``table``; of a robust fit without the odd ones."""
    data = load_dataset(config.data, table, flows=tails_of(config))
    if not config.data.robust:
        return data
    with phase(f"looking for odd rows among {len(data.train):,}"):
        data = without_odd_rows(data)
    return replace(data, notes=[*data.notes, note_of_odd_rows(data)])


def sampled(config: TableConfigT, data: Dataset, share: float) -> tuple[TableConfigT, Dataset]:
    """Config of a share of its rows, drawn at random, and these."""
    n_rows = len(data.train) + len(data.validation)
    if data.test_file is None:
        n_rows += len(data.test)
    settings = config.data.model_copy(update={"max_rows": int(share * n_rows)})
    fewer = config.model_copy(update={"data": settings})
    return fewer, load(fewer, data.table)


def reopen(run: Run) -> Dataset:
    """Rows of a run, unchanged."""
    expect_settled(run)
    config = run.config
    settings = with_tests(run, config.data)
    tails = tails_of(config)
    data = found_again(
        run, lambda name: load_dataset(settings.model_copy(update={"name": name}), flows=tails)
    )
    odd_rows = recorded_odd_rows(run)
    if odd_rows is None:
        return data
    are_odd = map(np.isin, data.row_numbers, odd_rows)
    return data.without(Parts(*map(np.flatnonzero, are_odd)))


def facts_of(data: Dataset) -> dict[str, Any]:
    """What a summary says of the rows."""
    record = {"name": data.name, "sha256": data.sha256}
    return {"data": record, "measure": data.measure, "columns": data.scored_names, **data.sizes}


def with_tests(run: Run, settings: TableData) -> TableData:
    """Settings of a run with the present path of its file of test rows, if any."""
    if settings.test is None:
        return settings
    tests = record_of_tests(record_of_data(run))
    place = place_of(tests) if is_named(tests) else settings.test
    if not os.path.exists(place):
        raise DataError(f"{place}: no such table; expected the test rows of this run")
    return settings.model_copy(update={"test": place})


def recorded_odd_rows(run: Run) -> Parts | None:
    """Row numbers, from 0, of the outliers that a robust run left out; ``None`` of any other."""
    record = record_of_data(run).get(ODD_ROWS)
    if record is None:
        return None
    try:
        numbers = [np.array(record[part], int) for part in Parts._fields]
    except (KeyError, TypeError, ValueError, OverflowError):
        problem = "damaged: expected row numbers of data"
        raise RunDirectoryError(f"{run.path / RUN}: {problem}") from None
    train, validation, test = numbers
    return Parts(train - 1, validation - 1, test - 1)


def expect_settled(run: Run) -> None:
    """Refuse a run whose config lacks kinds or sizes."""
    config = run.config
    if not config.is_settled:
        raise RunDirectoryError(
            f"{run.path / CONFIG}: damaged: expected data.kinds, all sizes and train.steps"
        )


def read(name: str) -> TableFile:
    """Table by which a density is scored."""
    return open_table(name)


def settled_config(config: TableConfigT, data: Dataset) -> TableConfigT:
    """Config with column kinds, sizes and updates resolved; of cells also ``train.filled``, and
    ``cells.unmixed`` unless the training decides.
    """
    config = config.settled(data.kinds, len(data.train))
    presets.expect_readable(config, data.name)
    config = presets.validate(config.model_dump(), data.name)
    if not isinstance(config, CellsConfig):
        return config
    train = config.train
    if train.filled is None:
        modelled = slice(len(data.given_names), len(data.given_names) + len(data.modelled_names))
        have_gaps = np.isnan(data.train[:, modelled]).any(axis=1).mean() >= GAPS
        filled = FILLED if have_gaps else 0.0
        train = train.model_copy(update={"filled": filled})
    unmixed = _unmixed(config, data)
    rules = config.cells.rules
    if rules is None:  # components of a map are no columns
        find = config.cells.find_rules and unmixed is False
        rules = rules_of(data, config.cells.declared, find)
    cells = config.cells.model_copy(update={"unmixed": unmixed, "rules": rules})
    return config.model_copy(update={"cells": cells, "train": train})


def _unmixed(config: CellsConfig, data: Dataset) -> bool | None:
    """Whether a density of cells is one of unmixed components; ``None``: if a trained map of them
    is likelier.
    """
    requested = False if config.cells.declared else config.cells.unmixed
    unmixing = None
    if requested is not False and data.may_be_linear:
        data = data.straightened()
        unmixing = fit_unmixing(fitted_columns(data), data)
    if requested and not unmixing:
        raise ConfigError(
            "cells.unmixed: expected two or more columns of plain numbers, none of them given "
            f"or linear in others. Received: {data.name}"
        )
    if requested or (unmixing and are_better(unmixing, data)):
        return requested
    return False
