"""The first stage of a fit: the mode of a density, then a Gaussian."""

import numpy as np
import pytest
from keras import ops
from running import with_rows
from stacks import built, scores_of
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.errors import Interrupted
from nflow_cli.inference import reverse_kl_training as target_fit
from nflow_cli.inference.modes import climb
from nflow_cli.inference.restarts import widened
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.session import Session
from nflow_cli.training.trainer import with_gradient

TWO = {"name": "mixture", "weights": [0.5, 0.5], "means": [[1003.0, -997.0], [997.0, -1003.0]]}
ONE = {
    "name": "mixture",
    "weights": [1.0],
    "means": [[-500.0, 40.0]],
    "covariances": [[[4.0, 1.5], [1.5, 1.0]]],
}


def settings(target, k=2, **train):
    data = {"command": "fit-2d", "target": target, "seed": 3}
    data["flow"] = {"pattern": ["planar"], "k": k, "affine": "full"}
    small = {"steps": 40, "chunk": 20, "batch_size": 256, "first_stage": 600}
    return presets.validate(data | {"train": small | train}, "test")


STOPPED = settings(TWO, checkpoint_seconds=0.0, first_stage=60)


def fit(settings):
    model = built(settings)
    _, rows = with_rows(lambda directory: target_fit.search(model, settings, directory))
    return model, rows


@pytest.mark.parametrize("width", [0.03, 1.0, 100.0])
def test_a_mode_is_reached_at_any_distance_and_of_any_width(width):
    mode = np.array([1000.0, -20.0], "float32")

    def log_prob(x):
        return -0.5 * ops.sum(ops.square((x - mode) / width), axis=-1)

    starts = np.array([[0.0, 0.0], [-3.0, 2.0]], "float32")
    assert np.abs(climb(with_gradient(log_prob), starts) - mode).max() < max(1e-3, 1e-3 * width)


def test_each_start_ends_at_the_highest_point_that_it_saw():
    def log_prob(x):  # nothing beyond 2, and two modes: at -1, and where that begins
        values = -ops.square(ops.square(x[:, 0]) - 1) + 0.1 * x[:, 0]
        return ops.where(ops.abs(x[:, 0]) < 2, values, np.nan)

    starts = np.array([[-1.2], [0.9], [-0.05]], "float32")
    ends = climb(with_gradient(log_prob), starts)[:, 0]
    low, _, high = sorted(np.roots([-4, 0, 4, 0.1]))  # where the slope is 0
    assert np.abs(ends[:2] - [low, high]).max() < 1e-3
    assert min(abs(ends[2] - low), abs(ends[2] - high)) < 1e-3
    values = to_numpy(log_prob(ops.convert_to_tensor(ends[:, None])))
    assert np.all(values >= to_numpy(log_prob(ops.convert_to_tensor(starts))))
    flat = with_gradient(lambda x: 0 * x[:, 0])
    np.testing.assert_array_equal(climb(flat, starts), starts)


@pytest.mark.slow
def test_the_affine_map_alone_becomes_the_gaussian_that_is_fitted():
    slow = {"steps": 1, "learning_rate": 1e-6}
    model, rows = fit(settings(ONE, k=0, chunk=200, first_stage=1_000, **slow))
    scores = scores_of(model.density, model.target)
    assert scores["kl"] < 1e-3
    assert np.abs(to_numpy(model.flow.last["shift"].value) - ONE["means"][0]).max() < 0.05
    assert rows[0]["update"] == -800 and rows[-1]["update"] == 1


@pytest.mark.slow
def test_a_density_to_a_power_is_fitted_where_the_objective_is_annealed():
    annealing = {"share": 0.9, "start": 0.25}
    model, _ = fit(settings(ONE, k=0, steps=1, chunk=200, first_stage=1_000, annealing=annealing))
    expected = 2 * np.linalg.cholesky(ONE["covariances"][0])  # of p^(1/4)
    diagonal = np.exp(to_numpy(model.flow.last["log_scale"].value))
    np.testing.assert_allclose(diagonal, np.diagonal(expected), rtol=0.05)


def test_flows_may_start_from_a_wider_gaussian():
    flow, rng = built(settings(ONE, k=0)).flow, np.random.default_rng(0)
    for weight in flow.last.values():
        weight.assign(rng.standard_normal(weight.shape))
    z = rng.standard_normal((4, 2)).astype("float32")
    before = to_numpy(flow.forward_and_log_det(z)[0])
    for name, value in widened(flow.last, 3.0).items():
        flow.last[name].assign(value)
    after, mean = to_numpy(flow.forward_and_log_det(z)[0]), to_numpy(flow.last["shift"].value)
    np.testing.assert_allclose(after - mean, 3 * (before - mean), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_restarts_have_first_stages_of_their_own():
    model, rows = fit(settings(TWO, restarts=2, halving=False, first_stage=200, steps=20))
    assert [row["update"] for row in rows][:2] == [-180, -160]
    shifts = to_numpy(next(w for w in model.flow.last.values() if "shift" in w.name).value)
    assert min(np.abs(shifts - mean).max() for mean in TWO["means"]) < 1


def test_a_fit_that_is_stopped_and_goes_on_ends_as_one_that_was_not(tmp_path, monkeypatch):
    model = built(STOPPED)
    _, expected = with_rows(lambda whole: target_fit.search(model, STOPPED, whole))
    weights = model.flow.get_weights()
    run = RunDirectory.create("test", str(tmp_path / "run"))

    def stopped(self, *arguments):
        raise Interrupted(15)

    for method in ("fit_first", "fit"):  # in the first stage, and after it
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(Session, method, stopped)
            target_fit.search(model, STOPPED, run)
        saved = Checkpoints(run).load()
        assert (saved is None) == (method == "fit_first")
    target_fit.search(model, STOPPED, run)
    for one, other in zip(weights, model.flow.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    metrics = run.read_metrics()
    np.testing.assert_array_equal(metrics["update"], [row["update"] for row in expected])
