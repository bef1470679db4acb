"""Fits of densities of cells to tables whose density is known, and of the map of their numbers."""

import keras
import numpy as np
import pytest
from scipy.stats import norm
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.config.table import CellsConfig, TableData
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.tables import cells_training
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.fitting import fitted_columns, layout_of
from nflow_cli.tables.cells.network_start import StartingWeights
from nflow_cli.tables.cells.unmixing import component, fit_unmixing


def parts_of(table, roles=None, **train):
    """Return the config, rows and untrained parts of a small fit to a table."""

    data = {"name": "<python>", "missing": "model", **(roles or {})}
    sizes = {"width": 16, "blocks": 1, "components": 3, "unmixed": False}
    settings = {"command": "fit", "data": data, "train": train, "cells": sizes}
    config = CellsConfig.model_validate(settings)
    rows = load_dataset(config.data, table_of(table))
    config = config.settled(dict(rows.kinds), len(rows.train))
    return config, rows, cells_training.build(config, rows)


@pytest.mark.parametrize("noise", [pytest.param(1e-2, marks=pytest.mark.slow), 1e-4])
def test_a_column_that_nearly_is_another_has_its_density_after_a_few_updates(noise):

    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 2_000))
    train = {"steps": 20, "chunk": 10, "batch_size": 256, "ensemble": 1}
    config, rows, parts = parts_of({"x": x, "y": x + noise * z}, **train)
    cells = trained(parts, rows, config).cell_log_probs(rows.test)[:, 1]
    residual = (rows.test[:, 1] - rows.test[:, 0]) / noise
    truth = -0.5 * residual**2 - np.log(noise * np.sqrt(2 * np.pi))
    assert np.mean(truth - cells) < 0.3


def test_a_table_with_each_row_twice_has_the_fit_of_the_single_rows():
    x, z = np.random.default_rng(6).standard_normal((2, 300))
    scores = []
    for times in (1, 2):
        table = {"x": np.tile(x, times), "y": np.tile(0.8 * x + 0.6 * z, times)}
        config, rows, parts = parts_of(table, steps=20, chunk=10, batch_size=64, ensemble=1)
        scores.append(trained(parts, rows, config).cell_log_probs(rows.test))
    np.testing.assert_array_equal(*scores, strict=True)


def test_a_column_that_groups_rows_and_is_given_is_conditioned_on():
    """It was a group alone, and x had the law of all sites together."""
    rng = np.random.default_rng(0)
    site = rng.integers(0, 60, 2_000) / 10
    table = {"site": site, "x": 2 * site + rng.normal(0, 0.1, 2_000)}
    train = {"steps": 20, "chunk": 10, "batch_size": 256, "ensemble": 1}
    config, rows, parts = parts_of(table, {"group": "site", "given": ["site"]}, **train)
    new = rng.uniform(0.5, 5.5, 1_000)  # of no row, as the sites of the test
    x = 2 * new + rng.normal(0, 0.1, 1_000)
    log_q = trained(parts, rows, config).log_prob(np.column_stack([new, x]))
    assert abs(np.mean(norm.logpdf(x, 2 * new, 0.1) - log_q)) < 0.5  # 3.5 of all sites together


def test_early_networks_are_those_of_a_shorter_training_and_the_last_those_of_the_end():
    x, z = np.random.default_rng(7).standard_normal((2, 300))
    table = {"x": x, "y": 0.8 * x + 0.6 * z}
    settings = {"chunk": 10, "batch_size": 64, "ensemble": 2, "schedule": "constant"}
    kept = {}
    for steps, early in ((20, 10), (60, 15), (60, 1)):
        config, rows, parts = parts_of(table, steps=steps, early=early, **settings)
        _, kept[steps, early], _ = cells_training.fit(parts, rows, config)
        assert (len(kept[steps, early]), config.train.stopping) == (config.train.n_networks, None)
    last_of_20 = kept[20, 10][2:]
    early_of_60 = kept[60, 15][:2]  # after two chunks
    for short, early, end in zip(last_of_20, early_of_60, kept[60, 1][2:]):
        assert all(np.array_equal(short[name], early[name]) for name in short)
        assert not np.array_equal(short["inputs_kernel"], end["inputs_kernel"])
    first = kept[20, 10][:2]
    for ten, also_ten in zip(first, kept[60, 1][:2]):
        assert all(np.array_equal(ten[name], also_ten[name]) for name in ten)


def test_zeros_that_another_column_tells_are_told_at_the_start():
    """Else mass of their wide interval would leak into the numbers beside it."""

    rng = np.random.default_rng(4)
    flag = rng.integers(0, 2, 600)
    hours = np.where(flag == 1, 0.0, 1 + np.round(rng.gamma(4, 5, 600)))
    table = {"flag": flag, "hours": hours}
    _, rows, parts = parts_of(table, steps=20, chunk=10, batch_size=64, ensemble=1)
    parts.density.networks = cells_training.masked_networks(parts)
    drawn = parts.density.draw(np.full((4_000, 2), np.nan), rng)
    (with_zeros,) = set(rows.train[rows.train[:, 1] == 0, 0])
    assert (drawn[drawn[:, 0] == with_zeros, 1] == 0).mean() > 0.95


def test_numbers_are_round_by_the_reporter_who_rounds():
    """Atoms that an earlier column tells: a mixture over wide intervals cannot leave them out."""

    rng = np.random.default_rng(5)
    rounds, y = rng.random(4_000) < 0.5, rng.normal(200, 40, 4_000)
    table = {"rounds": rounds.astype(int), "y": np.where(rounds, 10 * np.rint(y / 10), np.rint(y))}
    _, rows, parts = parts_of(table, steps=20, chunk=10, batch_size=64, ensemble=1)
    parts.density.networks = cells_training.masked_networks(parts)
    drawn = parts.density.draw(np.full((20_000, 2), np.nan), rng)
    (never,) = set(rows.train[rows.train[:, 1] % 10 > 0, 0])
    is_round, by_who_rounds = drawn[:, 1] % 10 == 0, drawn[:, 0] != never
    assert is_round[by_who_rounds].mean() > 0.95
    # A tenth of whole numbers, and the few tens in the tails that are no atoms.
    assert 0.08 < is_round[~by_who_rounds].mean() < 0.15


def test_the_loss_is_of_the_density_of_rows():
    from nflow_cli.tables.cells_trainer import CellWeights
    from nflow_cli.tables.cells_training import LARGEST_MEAN, TURN_ARRAY, FitMaps

    rng = np.random.default_rng(0)
    columns = [component(i, 1e-5, -LARGEST_MEAN, LARGEST_MEAN) for i in range(3)]
    layout, maps = layout_of(columns, 0, 1, 4), np.stack([2 * np.eye(3), np.ones((3, 3))])
    maps[1] += np.diag([1.0, -3.0, 0.5])
    zeros = {name: np.zeros(shape) for name, shape in network.shapes(layout, 1).items()}
    weights = CellWeights([{**zeros, TURN_ARRAY: rng.standard_normal((3, 3))} for _ in maps])
    model = FitMaps(maps, layout, columns, weights, StartingWeights({}, {}))
    u = rng.standard_normal((3, 50))
    loss = to_numpy(model.objective(keras.ops.convert_to_tensor(u.astype("float32")), 0)["loss"])
    for found, matrix in zip(loss, to_numpy(model.matrices).astype(float)):
        v = matrix @ u
        cells = np.log(0.99 * norm.pdf(v) + 0.01 * norm.pdf(v, scale=3.0))
        log_q = cells.sum(axis=0) + np.log(abs(np.linalg.det(matrix)))
        assert found == pytest.approx(-log_q.mean(), rel=1e-4)


def trained(parts, rows, config):
    """Return the density of a training."""
    _, networks, _ = cells_training.fit(parts, rows, config)
    masked = cells_training.masked_networks(parts, networks)
    return cells_training.fitted(parts.density, masked, rows)


def trained_map(columns):
    """Return the map that a fit starts from, the one that is trained, and whether it is better."""
    from nflow_cli.tables.cells_training import trained_unmixing

    table = TableData(name="table", missing="model")
    data = load_dataset(table, table_of(columns)).straightened()
    start = fit_unmixing(fitted_columns(data), data)
    assert start is not None
    train = {"chunk": 100, "batch_size": 128}
    short = {"command": "fit", "data": "table", "flow": None, "train": train}
    config = presets.validate(short, "a test").settled(data.kinds, len(data.train))
    return start, *trained_unmixing(start, data, config.train, config.seed)


def test_a_map_is_found_where_no_components_are_independent():
    """Its gain is 10 of its standard errors."""
    x, noise = np.random.default_rng(1).standard_normal((2, 4_000))
    turned = np.stack([x, np.sin(3 * x) + 0.1 * noise], axis=1) @ [[1.0, 0.5], [0.5, 1.0]]
    start, found, is_better = trained_map(dict(zip("ab", turned.T)))

    def cosine(found):
        """Of the first component with x."""
        return abs(np.corrcoef(found.components(turned)[:, 0], x)[0, 1])

    assert cosine(start) < 0.96
    assert is_better and cosine(found) > 0.98


def test_a_mixture_is_likelier_without_a_map():
    """Its gain, of 0.04 nats a validation row, is within its error: it had one by chance."""
    rng = np.random.default_rng(2)
    kind, x = rng.integers(3, size=2_000), rng.standard_normal((2_000, 3))
    places = rng.normal(0, 4, (3, 3))
    turns = rng.standard_normal((3, 3, 3))
    x = places[kind] + np.einsum("nij,nj->ni", turns[kind], x)
    assert not trained_map(dict(zip("abc", x.T)))[2]
