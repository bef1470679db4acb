import functools
import json

import keras
import numpy as np
import pytest
from keras import ops
from loops import session
from running import assert_same_run, with_rows
from short_runs import fitted
from stacks import Formula, built, density_of, scores_of
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.flows.stack import FlowStack, SideBySide
from nflow_cli.inference import reverse_kl_training as target_fit
from nflow_cli.inference.restarts import Restarts, plan
from nflow_cli.inference.reverse_kl_trainer import ReverseKL
from nflow_cli.inference.targets import U1
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.observers import Clock, MetricsLog

# The gradients are longer than clip_norm here, so that every update is clipped.
TRAIN = {"steps": 100, "batch_size": 64, "chunk": 20, "learning_rate": 0.02, "clip_norm": 0.5}
FLOW = {"pattern": ["planar"], "k": 3}  # soon compiled: which maps there are has no part either
MIXED = ["planar", "radial"]


def preset(seed=0, flow=FLOW, **train):
    data = {"command": "fit-2d", "target": "u1", "seed": seed, "flow": flow, "train": TRAIN | train}
    return presets.validate(data | {"evaluate": {"samples": 1000}}, "test")


def fit(settings, model=None):
    """Train; return the stack, the rows of metrics and the record of the restarts."""
    model = model or built(settings)
    training, rows = with_rows(lambda directory: target_fit.search(model, settings, directory))
    return model.flow, rows, training["restarts"]


@functools.cache
def single():
    """One stack, compiled once: a training starts it over."""
    return built(preset())


@functools.cache
def alone(seed):
    """Train one seed without restarts; return its stack, its rows and its record."""
    flow, rows, record = fit(preset(seed=seed), single())
    copy = FlowStack(flow.pattern, flow.k, flow.seed)
    copy.build((None, 2))
    copy.set_weights(flow.get_weights())
    return copy, rows, record


@pytest.fixture(scope="module")
def halved():
    return fit(preset(seed=4, restarts=4))


def weights_of(flow):
    return [to_numpy(v.value) for v in flow.trainable_variables]


def assert_equal_weights(flow, other, **tolerance):
    for got, expected in zip(weights_of(flow), weights_of(other), strict=True):
        np.testing.assert_allclose(got, expected, **tolerance)


def judge(flow, target, seed=0, n=20_000):
    """Return the scores of a stack."""
    return scores_of(density_of(flow), target, seed, n)


def kl(flow):
    return judge(flow, U1(), n=50_000)["kl"]


@pytest.mark.parametrize(
    ("count", "chunks", "expected"),
    [
        (1, 80, [(1, 80)]),
        (2, 80, [(2, 30), (1, 80)]),
        (4, 80, [(4, 30), (2, 40), (1, 80)]),
        (5, 80, [(5, 30), (3, 40), (2, 50), (1, 80)]),
        (8, 40, [(8, 15), (4, 20), (2, 25), (1, 40)]),
        (100, 16, [(100, 6), (50, 8), (25, 10), (13, 12), (7, 14), (4, 16)]),
        (4, 3, [(4, 1), (2, 2), (1, 3)]),
        (4, 2, [(4, 1), (2, 2)]),
        (4, 1, [(4, 1)]),
    ],
)
def test_the_worse_half_goes_after_every_eighth_from_the_third_on(count, chunks, expected):
    assert plan(count, chunks, 1, True) == expected
    assert plan(count, chunks, 1, False) == [(count, chunks)]


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_stacks_side_by_side_are_each_the_stack_of_its_seed(k):
    seeds, points = [3, 0, 9], np.random.default_rng(0).standard_normal((3, 7, 2)).astype("float32")
    together = SideBySide(MIXED, k, seeds)
    z, log_det = together(points)
    back, log_det_back = together.inverse_and_log_det(z)
    for r, seed in enumerate(seeds):
        alone_z, alone_log_det = FlowStack(MIXED, k, seed=seed)(points[r])
        np.testing.assert_allclose(to_numpy(z)[r], to_numpy(alone_z), 1e-5, 1e-6)
        np.testing.assert_allclose(to_numpy(log_det)[r], to_numpy(alone_log_det), 1e-4, 1e-5)
    np.testing.assert_allclose(to_numpy(back), points, 1e-3, 1e-4)
    np.testing.assert_allclose(to_numpy(log_det_back), -to_numpy(log_det), 1e-3, 1e-4)


def test_stacks_side_by_side_restart_as_those_of_other_seeds():
    restarted, new = (SideBySide(MIXED, 5, seeds) for seeds in ([3, 0], [7, 4]))
    for stacks in (restarted, new):
        stacks.build((None, 2))
    restarted.restart(7, 4)
    assert (restarted.seed, restarted.seeds) == (7, [7, 4])
    assert_equal_weights(restarted, new, rtol=0)


@pytest.fixture(scope="module")
def side_by_side():
    """The weights of four restarts without halving, and their KL after two of the five chunks."""
    settings = preset(seed=4, restarts=4, halving=False)
    with session(MetricsLog(Clock()), 100) as opened:
        restarts = Restarts(built(settings), settings.train, settings.seed)
        restarts.fit_until(40, opened)
        early = restarts.evaluate()
        restarts.fit_until(100, opened)
        return weights_of(restarts.trainer.flow), early


def test_every_restart_trains_as_its_seed_alone_does(side_by_side):
    together, _ = side_by_side
    for r in range(4):
        for got, expected in zip(together, weights_of(alone(4 + r)[0]), strict=True):
            np.testing.assert_allclose(got[r], expected, 1e-5, 1e-5)
    assert all(row["gradient_norm"] > 0.5 for row in alone(4)[1])


def test_the_worse_half_goes_and_the_best_ends_as_if_it_were_alone(halved, side_by_side):
    flow, rows, record = halved
    single, single_rows, _ = alone(record.seed)
    assert_equal_weights(flow, single, rtol=1e-5, atol=1e-5)
    assert flow.seed == record.seed == 4 + record.best
    assert sorted(record.updates) == [40, 40, 60, 100]
    assert record.updates[record.best] == 100
    early, dropped = side_by_side[1], [r for r in range(4) if record.updates[r] == 40]
    assert dropped == sorted(np.argsort(early)[2:])
    np.testing.assert_allclose([record.kl[r] for r in dropped], early[dropped], rtol=1e-4)
    # Once it is the only one left, the rows are its own.
    for got, expected in zip(rows[3:], single_rows[3:], strict=True):
        assert got["update"] == expected["update"]
        for name in ("loss", "kl", "gradient_norm", "learning_rate"):
            assert got[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_without_halving_the_best_of_all_is_kept():
    flow, rows, record = fit(preset(seed=4, restarts=4, halving=False))
    kls = [kl(alone(4 + r)[0]) for r in range(4)]
    assert record.best == np.argmin(kls) == np.argmin(record.kl)
    assert record.updates == [100] * 4
    np.testing.assert_allclose(record.kl, kls, atol=0.05)
    assert kl(flow) == pytest.approx(min(kls), abs=1e-3)
    assert [row["update"] for row in rows] == [20, 40, 60, 80, 100]
    # At the end the row is of the restart with the lowest loss.
    losses = [alone(4 + r)[1][-1]["loss"] for r in range(4)]
    assert rows[-1]["loss"] == pytest.approx(min(losses), rel=1e-3)


def test_restarts_are_judged_by_their_kl_at_common_samples():
    settings = preset(restarts=2)
    kls = Restarts(built(settings), settings.train, settings.seed).evaluate()
    for seed in (0, 1):
        scores = judge(FlowStack(FLOW["pattern"], FLOW["k"], seed=seed), U1(), n=50_000)
        # Both are means over 50,000 samples, of different streams.
        assert abs(kls[seed] - scores["kl"]) < 6 * scores["kl_standard_error"]
        assert kls[seed] != scores["kl"]


def test_a_restart_that_diverges_harms_no_other(monkeypatch):
    settings = preset(seed=4, restarts=4, halving=False)

    def spoilt(self, dim, drawn=SideBySide.initial_values):
        values = drawn(self, dim)
        values[0]["w"][self.seeds.index(5)] *= np.nan
        return values

    monkeypatch.setattr(SideBySide, "initial_values", spoilt)
    flow, rows, record = fit(settings)
    assert record.kl[1] is None
    assert record.best != 1
    assert_equal_weights(flow, alone(record.seed)[0], rtol=1e-5, atol=1e-5)
    assert np.all(np.isfinite([row["loss"] for row in rows]))


def test_without_flows_all_restarts_are_alike():  # of seeds that begin again behind the largest
    settings = preset(seed=2**32 - 1, restarts=2)
    assert Restarts(built(settings), settings.train, settings.seed).seeds == [2**32 - 1, 0]
    flow, rows, record = fit(preset(flow={"k": 0}, restarts=3))
    assert rows[-1]["update"] == 100
    assert len(set(record.kl)) == 1
    assert kl(flow) == pytest.approx(kl(FlowStack(FLOW["pattern"], 0)))


def test_early_stopping_ends_the_run_with_the_best_restart():
    flat = {"patience": 10, "min_delta": 100.0, "cool_down": 20}
    flow, rows, record = fit(preset(restarts=4, halving=False, chunk=10, early_stopping=flat))
    # Nothing falls by 100 nats: two windows of two chunks, and the cooling.
    assert rows[-1]["update"] == 60
    assert record.updates == [60] * 4
    assert record.best == np.argmin(record.kl)
    assert kl(flow) == pytest.approx(min(record.kl), abs=0.05)


def test_a_target_without_a_normaliser_is_judged_by_the_free_energy():
    settings = preset(restarts=2, halving=False)
    flow = FlowStack(FLOW["pattern"], FLOW["k"], seed=0)
    slope = Formula(lambda z: -0.5 * ops.sum((z - 1.0) ** 2, axis=-1))
    model = ReverseKL(density_of(flow), slope, settings.train.annealed)
    model.prepare(settings.train, settings.train.steps)
    record = target_fit.search(model, settings)["restarts"]
    # The free energy is at least -log Z = -log 2π; the KL to the target of the config is above 0.
    assert all(-np.log(2 * np.pi) - 0.05 < score < 0 for score in record.kl)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = RunDirectory.create("test", str(tmp_path_factory.mktemp("runs") / "run"))
    settings = preset(seed=3, restarts=2)
    return folder, settings, fitted(settings, folder).facts


def test_the_summary_tells_of_every_restart_and_the_best_alone_is_saved(finished):
    folder, _, summary = finished
    record = summary["restarts"]
    assert json.loads((folder.path / "summary.json").read_text())["restarts"] == record
    assert set(record) == {"count", "best", "seed", "kl", "updates"}
    assert (record["count"], summary["seed"]) == (2, 3)
    assert record["kl"][record["best"]] == summary["kl"]
    assert summary["n_parameters"] == 3 * 5
    assert len(folder.read_metrics()["update"]) == 5
    flow = keras.saving.load_model(folder.path / "model.keras", compile=False)
    assert type(flow) is FlowStack
    assert flow.seed == record["seed"]
    assert judge(flow, U1(), 3, 1000)["kl"] == summary["kl"]
    single = {"count": 1, "best": 0, "seed": 4, "kl": [None], "updates": [100]}
    assert alone(4)[2].model_dump() == single


@pytest.mark.slow
def test_restarts_give_the_same_bits_again(finished, tmp_path):
    folder, settings, _ = finished
    again = RunDirectory.create("test", str(tmp_path / "again"))
    fitted(settings, again)
    assert_same_run(again.path, folder.path)


def test_what_goes_on_from_the_last_one_keeps_its_seed():
    settings = preset(seed=4, restarts=3)
    restarts = Restarts(built(settings), settings.train, settings.seed)
    restarts.restore({"alive": [2], "kl": [1.0, 2.0, 0.5], "updates": [40, 40, 60]})
    assert restarts.trainer is restarts.model
    assert restarts.model.flow.seed == 6
