"""Fits of densities of cells to tables whose density is known."""

import keras
import numpy as np
import pytest

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import table_of

pytestmark = [
    pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="it is trained by it"),
    pytest.mark.usefixtures("without_xla"),
]


@pytest.mark.parametrize("noise", [1e-2, 1e-4])
def test_a_column_that_nearly_is_another_has_its_density_after_a_few_updates(noise):
    from nflow_cli.experiments.cells import fit

    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 2_000))
    data = {"name": "<python>", "missing": "model"}
    train = {"steps": 20, "chunk": 10, "batch_size": 256, "ensemble": 1}
    sizes = {"width": 16, "blocks": 1, "components": 3, "unmixed": False}
    settings = {"command": "fit", "data": data, "train": train, "cells": sizes}
    config = CellsConfig.model_validate(settings)
    rows = load_dataset(config.data, table_of({"x": x, "y": x + noise * z}))
    config = config.settled(dict(rows.kinds), len(rows.train))
    parts = fit.build(config, rows)
    fit.train(parts, rows, config)
    cells = fit.fitted(parts, rows).cell_log_probs(rows.test)[:, 1]
    residual = (rows.test[:, 1] - rows.test[:, 0]) / noise
    truth = -0.5 * residual**2 - np.log(noise * np.sqrt(2 * np.pi))
    assert np.mean(truth - cells) < 0.3
