"""Table that a density of cells is fitted to."""

from typing import Any

import numpy as np

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.fitting import fitted_columns
from nflow_cli.densities.cells.unmixing import are_better, can_be_unmixed, fit_unmixing
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.table import data as tables
from nflow_cli.experiments.table.data import again, expect_fits, load, read

__all__ = ["again", "expect_fits", "load", "read", "settled"]

GAPS = 0.1  # least share of training rows with gaps, of which some are filled in training
FILLED = 0.5  # share of a batch, then


def settled(config: CellsConfig, data: Dataset) -> Any:
    """Config with column kinds, sizes, updates, ``cells.unmixed`` and ``train.filled`` resolved."""
    config = tables.settled(config, data)
    asked, found = config.cells.unmixed, None
    if asked is not False and can_be_unmixed(data):
        found = fit_unmixing(fitted_columns(data), data)
    if asked and not found:
        raise ConfigError(
            "cells.unmixed: expected two or more columns of plain numbers, none of them given "
            f"or linear in others. Received: {data.name}"
        )
    unmixed = asked or (found is not None and are_better(found, data))
    if found and unmixed and not asked:
        from nflow_cli.experiments.table.unmixing import trained_unmixing

        _, unmixed = trained_unmixing(found, data, config)
    cells = config.cells.model_copy(update={"unmixed": unmixed})
    train = config.train
    if train.filled is None:
        train = train.model_copy(update={"filled": FILLED if _have_gaps(data) else 0.0})
    return config.model_copy(update={"cells": cells, "train": train})


def _have_gaps(data: Any) -> bool:
    modelled = slice(len(data.given), len(data.given) + len(data.modelled))
    return bool(np.isnan(data.train[:, modelled]).any(axis=1).mean() >= GAPS)
