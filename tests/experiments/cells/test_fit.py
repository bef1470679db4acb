"""Fits of densities of cells to tables whose density is known."""

import numpy as np
import pytest

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import table_of


def parts_of(table, **train):
    """Return the config, rows and untrained parts of a small fit to a table."""
    from nflow_cli.experiments.cells import fit

    data = {"name": "<python>", "missing": "model"}
    sizes = {"width": 16, "blocks": 1, "components": 3, "unmixed": False}
    settings = {"command": "fit", "data": data, "train": train, "cells": sizes}
    config = CellsConfig.model_validate(settings)
    rows = load_dataset(config.data, table_of(table))
    config = config.settled(dict(rows.kinds), len(rows.train))
    return config, rows, fit.build(config, rows)


@pytest.mark.parametrize("noise", [pytest.param(1e-2, marks=pytest.mark.slow), 1e-4])
def test_a_column_that_nearly_is_another_has_its_density_after_a_few_updates(noise):
    from nflow_cli.experiments.cells import fit

    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 2_000))
    train = {"steps": 20, "chunk": 10, "batch_size": 256, "ensemble": 1}
    config, rows, parts = parts_of({"x": x, "y": x + noise * z}, **train)
    fit.train(parts, rows, config)
    cells = fit.fitted(parts, rows).cell_log_probs(rows.test)[:, 1]
    residual = (rows.test[:, 1] - rows.test[:, 0]) / noise
    truth = -0.5 * residual**2 - np.log(noise * np.sqrt(2 * np.pi))
    assert np.mean(truth - cells) < 0.3


def test_zeros_that_another_column_tells_are_told_at_the_start():
    """Else mass of their wide interval would leak into the numbers beside it."""
    from nflow_cli.experiments.cells import fit

    rng = np.random.default_rng(4)
    flag = rng.integers(0, 2, 600)
    hours = np.where(flag == 1, 0.0, 1 + np.round(rng.gamma(4, 5, 600)))
    table = {"flag": flag, "hours": hours}
    _, rows, parts = parts_of(table, steps=20, chunk=10, batch_size=64, ensemble=1)
    parts.density.networks = list(fit._networks(parts))
    drawn = parts.density.draw(np.full((4_000, 2), np.nan), rng)
    (with_zeros,) = set(rows.train[rows.train[:, 1] == 0, 0])
    assert (drawn[drawn[:, 0] == with_zeros, 1] == 0).mean() > 0.95


def test_numbers_are_round_by_the_reporter_who_rounds():
    """Atoms that an earlier column tells: a mixture over wide intervals cannot leave them out."""
    from nflow_cli.experiments.cells import fit

    rng = np.random.default_rng(5)
    rounds, y = rng.random(4_000) < 0.5, rng.normal(200, 40, 4_000)
    table = {"rounds": rounds.astype(int), "y": np.where(rounds, 10 * np.rint(y / 10), np.rint(y))}
    _, rows, parts = parts_of(table, steps=20, chunk=10, batch_size=64, ensemble=1)
    parts.density.networks = list(fit._networks(parts))
    drawn = parts.density.draw(np.full((20_000, 2), np.nan), rng)
    (never,) = set(rows.train[rows.train[:, 1] % 10 > 0, 0])
    is_round, by_who_rounds = drawn[:, 1] % 10 == 0, drawn[:, 0] != never
    assert is_round[by_who_rounds].mean() > 0.95
    # A tenth of whole numbers, and the few tens in the tails that are no atoms.
    assert 0.08 < is_round[~by_who_rounds].mean() < 0.15
