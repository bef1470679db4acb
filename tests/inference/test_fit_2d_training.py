"""A fit to a density in the plane, from its loss to its scores, against quadrature."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from running import assert_same_run, peak_memory, with_rows
from short_runs import fitted, without_programs
from stacks import Formula, built, density_of, scores_of
from truth import Grid, call, normal_log_prob, push, to_numpy

from nflow_cli.config import presets
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.errors import DivergenceError
from nflow_cli.evaluation.motion import density_arrays
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference import reverse_kl_training as target_fit
from nflow_cli.inference import targets
from nflow_cli.inference.reverse_kl_trainer import ReverseKL
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.trainer import learning_rate

GRID = Grid(9.0, 601)
TRAIN = {"steps": 13, "batch_size": 32, "chunk": 5, "learning_rate": 0.02}


def preset(train=None, **changes):
    data = {"command": "fit-2d", "evaluate": {"samples": 20_000}, "train": TRAIN | (train or {})}
    return presets.validate(data | changes, "test")


def fit(settings):
    """Build and train; return the model and its rows of metrics."""
    model = built(settings)
    _, rows = with_rows(lambda directory: target_fit.search(model, settings, directory))
    return model, rows


def fit_by_hand(target, train, base=None, pattern=("planar",), k=4):
    """Fit a target that no preset names, as a program would."""
    settings = preset(train)
    density = density_of(FlowStack(list(pattern), k, seed=0), base)
    model = ReverseKL(density, target, settings.train.annealed)
    model.prepare(settings.train, settings.train.steps)
    _, rows = with_rows(lambda directory: target_fit.search(model, settings, directory))
    return model, rows


def weights_of(model):
    return np.concatenate([to_numpy(v.value).ravel() for v in model.trainable_variables])


def judge(model, n=20_000):
    return scores_of(model.density, model.target, 0, n)


def exact_kl(model):
    """Return the KL divergence by quadrature over the base, in NumPy."""
    log_q0 = normal_log_prob(GRID.points)
    z, log_det = push(model.flow, GRID.points)
    return GRID.integral(np.exp(log_q0) * (log_q0 - log_det - call(model.target.log_prob, z)))


SMALL = {"flow": {"pattern": ["planar", "radial"], "k": 3}, "seed": 7}
ANNEALED = {"annealing": {"share": 10 / 13}}


@pytest.fixture(scope="module")
def small():
    return fit(preset(ANNEALED, **SMALL))


@pytest.fixture(scope="module")
def trained():
    """A fit that is long enough to be good."""
    settings = preset(
        {"steps": 1500, "batch_size": 128, "chunk": 500, "learning_rate": 0.03},
        target="multimodal",
        flow={"pattern": ["planar"], "k": 4},
    )
    return built(settings), *fit(settings)


def test_compiled_chunks_make_the_updates_of_a_plain_loop(small):
    import tensorflow as tf

    settings = preset(ANNEALED, **SMALL)
    flow = FlowStack(["planar", "radial"], 3, seed=7)
    flow.build((None, 2))
    variables, target = flow.trainable_variables, targets.Multimodal()
    noise = NoiseChunks(StandardNormal(), 2, [7], 13, 5, 32)
    optimizer = keras.optimizers.Adam(learning_rate(settings.train, settings.train.steps))
    for update in range(13):
        z0 = ops.convert_to_tensor(noise[update // 5][0][update % 5].T)
        beta = min(1.0, 0.01 + 0.99 * update / 10)
        with tf.GradientTape() as tape:
            z, log_det = flow(z0)
            log_q = -0.5 * ops.sum(z0**2, -1) - np.log(2 * np.pi) - log_det
            loss = ops.mean(log_q - beta * target.log_prob(z))
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    expected = np.concatenate([to_numpy(v.value).ravel() for v in variables])
    np.testing.assert_allclose(weights_of(small[0]), expected, 1e-5, 1e-5)
    last = small[1][-1]
    assert (last["update"], last["beta"], last["loss"]) == (13, 1, last["kl"])
    assert last["learning_rate"] == pytest.approx(0, abs=1e-8)


def test_training_brings_the_kl_down_to_a_good_fit_as_quadrature_says(trained):
    before, model, rows = trained
    start, end = judge(before), judge(model, 100_000)
    assert end["kl"] < 0.25 * start["kl"]
    assert end["kl"] > -4 * end["kl_standard_error"]
    assert end["ess"] > start["ess"]
    assert abs(end["kl"] - exact_kl(model)) < 4 * end["kl_standard_error"]
    kls = [row["kl"] for row in rows]
    assert kls == sorted(kls, reverse=True)
    assert [row["update"] for row in rows] == [500, 1000, 1500]
    first = next(model.density.draw(2_000, lambda _: np.random.default_rng(0)))
    arrays = density_arrays(model.density, model.target, first, 0, 500)
    assert not any(np.any(np.isnan(array)) for array in arrays.values())


@pytest.mark.parametrize("target", ["multimodal", "u1", "u2", "u3", "u4"])
def test_without_flows_the_kl_is_that_of_base_and_target(target):
    model = built(preset(target=target, flow={"k": 0}))
    log_q0 = normal_log_prob(GRID.points)
    log_p = call(model.target.log_prob, GRID.points)
    expected = GRID.integral(np.exp(log_q0) * (log_q0 - log_p))
    figures = judge(model, 50_000)
    assert abs(figures["kl"] - expected) < 4 * figures["kl_standard_error"]


def test_a_bounded_base_is_fitted():
    settings = preset(
        {"steps": 600, "batch_size": 128, "chunk": 300, "learning_rate": 0.03},
        target="gaussian-from-uniform",
        flow={"pattern": ["radial"], "k": 2},
    )
    start = judge(built(settings))
    model, _ = fit(settings)
    figures = judge(model)
    assert isinstance(model.density.base, UniformBox)
    assert -4 * figures["kl_standard_error"] < figures["kl"] < 0.5 * start["kl"]


def test_a_target_of_ones_own_needs_no_more_than_log_prob(capsys):
    slope = Formula(lambda z: -0.125 * ops.sum((z - 1.0) ** 2, axis=-1))
    model, rows = fit_by_hand(
        slope, {"steps": 600, "batch_size": 128, "chunk": 300, "learning_rate": 0.03}
    )
    figures = judge(model)
    assert figures["log_z"] is None
    # The free energy is KL - log Z, at least -log Z = -log 8π; no planar stack starts near it.
    low = -np.log(8 * np.pi)
    error = figures["free_energy_standard_error"]
    assert low - 4 * error < figures["free_energy"] < low + 0.3
    assert rows[-1]["kl"] < rows[0]["kl"]
    err = capsys.readouterr().err
    assert "free energy" in err
    assert "KL" not in err


def test_a_density_that_is_not_a_number_ends_in_a_divergence_error():
    hole = Formula(lambda z: ops.log(z[..., 0]) - ops.sum(z * z, axis=-1))
    with pytest.raises(DivergenceError, match="training diverged"):
        fit_by_hand(hole, {}, k=0)


def test_the_model_is_what_the_preset_says_and_another_seed_starts_elsewhere():
    settings = preset(
        target={"name": "ring", "weights": [1.0], "centers": [[0, 0]], "radii": [2.0],
                "widths": [0.5]},
        base="uniform-box",
        flow={"pattern": ["radial", "planar"], "k": 5},
    )  # fmt: skip
    model = built(settings)
    assert isinstance(model.target, targets.Ring)
    assert isinstance(model.density.base, UniformBox)
    assert (model.flow.pattern, model.flow.k) == (["radial", "planar"], 5)
    # 3 radial flows of 4 numbers, 2 planar ones of 5.
    assert model.flow.count_params() == 3 * 4 + 2 * 5
    assert len(model.trainable_variables) == 6
    changes = {"target": "gaussian-from-uniform", "flow": {"k": 0}}
    box = built(preset(**changes))  # a target brings its base unless told otherwise
    normal = built(preset(**changes, base="standard-normal"))
    assert isinstance(box.density.base, UniformBox)
    assert isinstance(normal.density.base, StandardNormal)
    flow = {"pattern": ["planar"], "k": 3}
    first, again, other = (weights_of(built(preset(flow=flow, seed=seed))) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = RunDirectory.create("test", str(tmp_path_factory.mktemp("runs") / "run"))
    settings = preset({"steps": 40, "chunk": 20}, flow={"pattern": ["planar"], "k": 2}, seed=3)
    return folder, settings, fitted(settings, folder).facts


def test_a_run_tells_everything_promised_of_it(finished):
    folder, settings, summary = finished
    promised = (
        "flow k target seed steps kl kl_standard_error ess free_energy log_z log_z_source mass "
        "mass_error estimated_log_z pareto_k moments base_free_energy warnings "
        "n_parameters compile_seconds train_seconds steps_per_second"
    )
    assert set(promised.split()) <= set(summary)
    assert json.loads((folder.path / "summary.json").read_text()) == summary
    assert (summary["flow"], summary["k"], summary["seed"]) == ("planar", 2, 3)
    assert (summary["target"], summary["steps"], summary["n_parameters"]) == ("multimodal", 40, 10)
    assert summary["free_energy"] == summary["kl"] - summary["log_z"]
    assert abs(summary["mass"] - 1) < 1e-3
    flow = keras.saving.load_model(folder.path / "model.keras", compile=False)
    density, samples = PushforwardDensity(StandardNormal(), flow), settings.evaluate.samples
    scores = scores_of(density, targets.Multimodal(), 3, samples)
    assert scores["kl"] == summary["kl"]
    metrics = folder.read_metrics()
    np.testing.assert_array_equal(metrics["update"], [20, 40])
    names = {"loss", "kl", "beta", "learning_rate", "gradient_norm", "elapsed_seconds"}
    assert names <= set(metrics)


@pytest.mark.slow  # the fast tests of the command repeat a run by its config
def test_a_dumped_config_repeats_the_run_to_the_bit(finished, tmp_path):
    folder, settings, _ = finished
    kept = presets.validate(presets.parse_yaml(presets.dump(settings), "kept"), "kept")
    assert kept == settings
    repeat = RunDirectory.create("test", str(tmp_path / "again"))
    fitted(kept, repeat)
    assert_same_run(repeat.path, folder.path)


def test_a_run_without_flows_tells_the_kl_of_its_base(tmp_path):
    run = RunDirectory.create("test", str(tmp_path / "run"))
    with without_programs():
        summary = fitted(preset(flow={"k": 0}), run).facts
    log_q0 = normal_log_prob(GRID.points)
    log_p = call(targets.Multimodal().log_prob, GRID.points)
    expected = GRID.integral(np.exp(log_q0) * (log_q0 - log_p))
    assert abs(summary["kl"] - expected) < 4 * summary["kl_standard_error"]
    assert abs(summary["mass"] - 1) < 1e-3
    assert summary["n_parameters"] == 0


@pytest.mark.slow
def test_the_most_samples_and_the_largest_grid_take_bounded_memory(tmp_path):
    largest = ["--set", "evaluate.samples=10000000", "--set", "evaluate.grid=1000"]
    short = ["--k", 1, "--steps", 20, "--set", "train.chunk=10", "--output", "run"]
    assert peak_memory(tmp_path, "fit-2d", *short, *largest) < 2**21
    assert peak_memory(tmp_path, "check", "run") < 2**21
