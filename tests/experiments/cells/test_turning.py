"""The trained linear map of columns of numbers to components."""

import keras
import numpy as np
import pytest
from scipy.stats import norm
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import table_of
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.fitting import fitted_columns, layout_of
from nflow_cli.densities.cells.starting_weights import StartingWeights
from nflow_cli.densities.cells.unmixing import component, fit_unmixing


def test_the_loss_is_of_the_density_of_rows():
    from nflow_cli.densities.cells.weights import CellWeights
    from nflow_cli.experiments.cells.turning import FAR, TURN, FitMaps

    rng, columns = np.random.default_rng(0), [component(i, 1e-5, -FAR, FAR) for i in range(3)]
    layout, maps = layout_of(columns, 0, 1, 4), np.stack([2 * np.eye(3), np.ones((3, 3))])
    maps[1] += np.diag([1.0, -3.0, 0.5])
    zeros = {name: np.zeros(shape) for name, shape in network.shapes(layout, 1).items()}
    weights = CellWeights([{**zeros, TURN: rng.standard_normal((3, 3))} for _ in maps])
    model = FitMaps(maps, layout, columns, weights, StartingWeights({}, {}))
    u = rng.standard_normal((3, 50))
    loss = to_numpy(model.objective(keras.ops.convert_to_tensor(u.astype("float32")), 0)["loss"])
    for found, matrix in zip(loss, to_numpy(model.matrices).astype(float)):
        v = matrix @ u
        cells = np.log(0.99 * norm.pdf(v) + 0.01 * norm.pdf(v, scale=3.0))
        log_q = cells.sum(axis=0) + np.log(abs(np.linalg.det(matrix)))
        assert found == pytest.approx(-log_q.mean(), rel=1e-4)


def test_a_map_is_found_where_no_components_are_independent():
    from nflow_cli.experiments.cells.turning import trained_unmixing

    rng = np.random.default_rng(1)
    x = rng.standard_normal(1_000)
    sources = np.stack([x, np.sin(2 * x) + 0.1 * rng.standard_normal(1_000)], axis=1)
    turn = np.array([[1.0, 0.5], [0.8, -0.6]])
    columns = dict(zip("ab", (sources @ turn.T).T))
    data = load_dataset(TableData(name="table", missing="model"), table_of(columns))
    start = fit_unmixing(fitted_columns(data), data)
    assert start is not None
    train = {"chunk": 100, "batch_size": 128}
    short = {"command": "fit", "data": "table", "flow": None, "train": train}
    config = presets.validate(short, "a test").settled(data.kinds, len(data.train))

    def cosine(found):
        """Of the first component with x."""
        return abs(np.corrcoef(found.components(sources @ turn.T)[:, 0], x)[0, 1])

    assert cosine(start) < 0.9
    found, is_better = trained_unmixing(start, data, config)
    assert is_better and cosine(found) > 0.98


def test_a_mixture_is_likelier_without_a_map():
    from nflow_cli.experiments.cells.turning import trained_unmixing

    rng = np.random.default_rng(3)
    kind, x = rng.integers(3, size=2_000), rng.standard_normal((2_000, 3))
    places = rng.normal(0, 4, (3, 3))
    turns = rng.standard_normal((3, 3, 3))
    x = places[kind] + np.einsum("nij,nj->ni", turns[kind], x)
    data = load_dataset(TableData(name="table", missing="model"), table_of(dict(zip("abc", x.T))))
    start = fit_unmixing(fitted_columns(data), data)
    assert start is not None
    train = {"chunk": 100, "batch_size": 128}
    short = {"command": "fit", "data": "table", "flow": None, "train": train}
    config = presets.validate(short, "a test").settled(data.kinds, len(data.train))
    _, is_better = trained_unmixing(start, data, config)
    assert not is_better
